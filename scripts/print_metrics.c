/*
 * print_metrics.c - writes docs/metrics.md to stdout: `make docs`.
 */
#include <stdio.h>

#include "metrics_text.h"

int main(void)
{
	struct buf text = BUF_INIT;

	metrics_markdown(&text);
	fputs(buf_text(&text), stdout);
	buf_release(&text);
	return 0;
}
