/*
 * duration.c - any text as a duration, a size, a rate, a share: what is accepted can be written and read again.
 */
#include <string.h>
#include "clock.h"
#include "fuzz.h"
#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), out[USEC_TEXT_MAX];
	usec_t t = 42, again;
	struct rate rate;
	double share;

	if (usec_parse(text, &t) == 0) {
		must(t <= USEC_LONGEST);
		usec_text(t, out);
		must(usec_parse(out, &again) == 0 && again == t / MSEC * MSEC);
	}
	if (rate_parse(text, &rate) == 0)
		must(rate.n > 0 ? rate.per > 0 : true);
	if (share_parse(text, &share) == 0)
		must(share >= 0 && share <= 1);
	size_parse_or(text, 0);
	free(text);
	return 0;
}
