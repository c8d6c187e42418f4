/*
 * limits.h - how long a test may wait. All time limits of tests go through test_patience, so that one factor fits them to a slow build:
 * PPDB_TEST_PATIENCE, which .ci/suite sets for the sanitizers.
 */
#ifndef TESTS_LIB_LIMITS_H
#define TESTS_LIB_LIMITS_H

#include <stdint.h>

uint64_t test_patience(uint64_t n);

#endif
