/*
 * long_kill_points.c - the long form of tests/system/kill_points.c: the same tests, scaled by tests/crash/scale.c.
 */
#include "tests/system/kill_points.c"
