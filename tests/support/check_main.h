/*
 * check_main.h - the main() of every test program: run the suite, tell by the
 * exit status. Check's own variables (CK_RUN_CASE, CK_FORK, CK_VERBOSITY,
 * CK_TIMEOUT_MULTIPLIER) work.
 */
#ifndef CHECK_MAIN_H
#define CHECK_MAIN_H

#include <check.h>
#include <stdlib.h>

static inline int check_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
