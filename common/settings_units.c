/*
 * settings_units.c - numbers with a unit: sizes, rates, shares.
 *
 * Not here: durations (clock.c); which numbers a setting takes (settings_table.c).
 */
#include <string.h>
#include "setting.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int setting_digits(const char **text, uint64_t *out)
{
	uint64_t n = 0;

	if (!is_digit(**text))
		return -1;
	for (; is_digit(**text); (*text)++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(**text - '0'), &n))
			return -1;
	*out = n;
	return 0;
}

uint64_t size_parse_or(const char *text, uint64_t bad)
{
	static const struct { const char *name; unsigned shift; } units[] = {
		{ "", 0 }, { "B", 0 }, { "KB", 10 }, { "KiB", 10 }, { "MB", 20 }, { "MiB", 20 }, { "GB", 30 }, { "GiB", 30 },
	};
	uint64_t n;

	if (setting_digits(&text, &n) < 0)
		return bad;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (strcasecmp(text, units[i].name) == 0)
			return n <= UINT64_MAX >> units[i].shift ? n << units[i].shift : bad;
	return bad;
}

int rate_parse(const char *text, struct rate *out)
{
	static const struct { const char *name; usec_t per; } units[] = { { "/s", SEC }, { "/m", MINUTE }, { "/h", HOUR } };
	uint64_t n;

	if (setting_digits(&text, &n) < 0 || n == 0 || n > 1000000000)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text, units[i].name) == 0) {
			*out = (struct rate){ (uint32_t)n, units[i].per };
			return 0;
		}
	}
	return -1;
}

int share_parse(const char *text, double *out)
{
	uint64_t whole = 0, part = 0;
	double scale = 1, share;

	if (*text != '.' && setting_digits(&text, &whole) < 0)
		return -1;
	if (*text == '.') {
		const char *from = ++text;

		if (setting_digits(&text, &part) < 0)
			return -1;
		while (from++ < text)
			scale *= 10;
	}
	share = (double)whole + (double)part / scale;
	if (*text == '%') {
		share /= 100;
		text++;
	}
	if (*text != '\0' || share > 1)
		return -1;
	*out = share;
	return 0;
}
