/*
 * long_sched.c - the long form of tests/unit/sched.c: ten times the seeds, and the mutants that take long to be found.
 */
#include "tests/unit/sched.c"
