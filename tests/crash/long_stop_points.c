/*
 * long_stop_points.c - the long form of tests/system/stop_points.c: the same tests, scaled by tests/crash/scale.c.
 */
#include "tests/system/stop_points.c"
