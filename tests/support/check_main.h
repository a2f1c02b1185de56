/*
 * check_main.h - the main() of every test program: run the suite, tell by the
 * exit status. Check's own variables (CK_RUN_CASE, CK_FORK, CK_VERBOSITY,
 * CK_TIMEOUT_MULTIPLIER) work.
 */
#ifndef CHECK_MAIN_H
#define CHECK_MAIN_H

#include <check.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * make's posix_spawn() starts us with the C library's own two signals ignored, and all that we start would
 * inherit that. sigaction() refuses to touch them; the kernel does not (all zero is SIG_DFL).
 */
static inline void reset_own_signals(void)
{
	static const unsigned long plain[4];

	for (int signo = 32; signo <= 33; signo++)
		syscall(SYS_rt_sigaction, signo, plain, NULL, 8);
}

static inline int check_main(Suite *suite)
{
	reset_own_signals();
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
