/*
 * fuzz.h - what a target of `make fuzz` is: a file beside this one with the function below, and seeds in
 * corpus/<its name>/. A property that does not hold ends it as a crash does.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): also with NDEBUG. */
#define must(what) do { if (!(what)) abort(); } while (0)

#endif
