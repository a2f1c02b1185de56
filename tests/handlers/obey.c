/*
 * obey.c - a serve handler that does what its payload says; the stories of it_serve.c talk to it.
 *
 * Members, in this order: "say" text to stdout as it is; "count" how many of us work now into
 * seen.txt; "sleep" ms; "kill" signal to itself; "exit" status; "deaf" reads no more; "hold" n: answers when
 * n are held, the last one first; "never"; "answer" {…} instead of {"ok":true,"result":payload};
 * "big" n: a result of n bytes. "id_last": the answer's id comes last. Each start adds its pid to pids.txt, EOF on stdin adds a line to eof.txt.
 */
#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLD_MAX 64

static json_t *held[HOLD_MAX];
static size_t held_len;

static void add_line(const char *file, int number)
{
	FILE *f = fopen(file, "a");

	if (f == NULL)
		exit(99);
	fprintf(f, "%d\n", number);
	fclose(f);
}

static int number(const json_t *payload, const char *name)
{
	return (int)json_integer_value(json_object_get(payload, name));
}

/* A directory each while we work; how many there are. */
static void count(int sleep_ms)
{
	char name[32];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(name, sizeof name, "run.%d", (int)getpid());
	mkdir(name, 0755);
	d = opendir(".");
	if (d == NULL)
		exit(99);
	while ((e = readdir(d)) != NULL)
		n += strncmp(e->d_name, "run.", 4) == 0;
	closedir(d);
	add_line("seen.txt", n);
	usleep((useconds_t)sleep_ms * 1000);
	rmdir(name);
}

static void answer(const json_t *job)
{
	json_t *payload = json_object_get(job, "payload"), *id = json_object_get(job, "id"), *a = json_object();

	if (json_object_get(payload, "id_last") == NULL)
		json_object_set(a, "id", id);
	if (json_object_get(payload, "answer") != NULL) {
		json_object_update(a, json_object_get(payload, "answer"));
	} else {
		json_object_set_new(a, "ok", json_true());
		json_object_set(a, "result", payload);
	}
	if (number(payload, "big") > 0) {
		size_t n = (size_t)number(payload, "big");
		char *text = malloc(n + 1);

		if (text == NULL)
			exit(99);
		memset(text, 'x', n);
		text[n] = '\0';
		json_object_set_new(a, "result", json_string(text));
		free(text);
	}
	json_object_set(a, "id", id);
	json_dumpf(a, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(a);
}

static void obey(json_t *job)
{
	const json_t *payload = json_object_get(job, "payload");

	if (json_object_get(payload, "say") != NULL)
		fputs(json_string_value(json_object_get(payload, "say")), stdout);
	fflush(stdout);
	if (json_object_get(payload, "count") != NULL)
		count(number(payload, "sleep"));
	else
		usleep((useconds_t)number(payload, "sleep") * 1000);
	if (json_object_get(payload, "kill") != NULL)
		raise(number(payload, "kill"));
	if (json_object_get(payload, "exit") != NULL) {
		fprintf(stderr, "told to exit\n");
		_exit(number(payload, "exit"));
	}
	while (json_object_get(payload, "deaf") != NULL)
		pause();
	if (json_object_get(payload, "never") != NULL)
		return;
	if (json_object_get(payload, "hold") == NULL) {
		answer(job);
	} else {
		held[held_len++] = json_incref(job);
		if (held_len < (size_t)number(payload, "hold"))
			return;
		while (held_len > 0) {
			answer(held[--held_len]);
			json_decref(held[held_len]);
		}
	}
	fflush(stdout);
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;

	add_line("pids.txt", (int)getpid());
	while (getline(&line, &size, stdin) > 0) {
		json_t *job = json_loads(line, 0, NULL);

		if (job == NULL)
			exit(98);
		obey(job);
		json_decref(job);
	}
	free(line);
	add_line("eof.txt", (int)getpid());
	return 0;
}
