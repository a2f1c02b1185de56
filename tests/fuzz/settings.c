/*
 * settings.c - any bytes as a settings file: loaded or refused with at least one problem, never anything else.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fuzz.h"
#include "inifile.h"
#include "settings.h"

static void load(const char *path)
{
	static const struct flag_setting none[] = { { NULL, NULL, NULL } };
	struct problems problems = PROBLEMS_INIT;
	struct settings s = { .path = NULL };
	int rc = settings_load(&s, path, none, &problems);

	must((rc < 0) == (problems.len > 0));
	for (size_t i = 0; i < problems.len; i++)
		must(problems.text[i][0] != '\0' && strchr(problems.text[i], '\n') == NULL &&
		     utf8_valid(problems.text[i], strlen(problems.text[i])));
	problems_release(&problems);
	settings_release(&s);
}

static void parse(const char *data, size_t size)
{
	struct inifile f = INIFILE_INIT;

	inifile_parse(&f, data, size);
	inifile_sort_faults(&f);
	must(f.faults_len <= INIFILE_MAX_FAULTS && f.len <= INIFILE_MAX_SECTIONS);
	inifile_release(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	static char path[64];

	if (fd < 0) {
		fd = memfd_create("settings", MFD_CLOEXEC);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	}
	must(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	parse((const char *)data, size);
	load(path);
	return 0;
}
