/*
 * spawn.c - the floor of exec jobs: posix_spawn and waitpid alone.
 *
 *   spawn COUNT CONCURRENCY PROGRAM [ARGS]     prints how many a second
 */
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "must.h"

int main(int argc, char **argv)
{
	int count, concurrency, started = 0, running = 0, error;
	double begin = now_us();
	pid_t pid;

	if (argc < 4)
		die("spawn COUNT CONCURRENCY PROGRAM [ARGS]");
	count = must_number(argv[1], "COUNT");
	concurrency = must_number(argv[2], "CONCURRENCY");
	while (started < count || running > 0) {
		if (started < count && running < concurrency) {
			error = posix_spawn(&pid, argv[3], NULL, NULL, argv + 3, environ);
			if (error != 0)
				die("%s: %s", argv[3], strerror(error));
			started++;
			running++;
		} else if (waitpid(-1, &pid, 0) > 0) {
			running--;
		}
	}
	printf("%.1f\n", count / ((now_us() - begin) / 1e6));
	return 0;
}
