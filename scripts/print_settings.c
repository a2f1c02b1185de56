/*
 * print_settings.c - writes docs/settings.md to stdout: `make docs`.
 */
#include "settings.h"

int main(void)
{
	settings_print_markdown();
	return 0;
}
