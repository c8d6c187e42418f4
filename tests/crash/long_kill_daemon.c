/*
 * long_kill_daemon.c - the long form of tests/system/kill_daemon.c: the same tests, scaled by tests/crash/scale.c.
 */
#include "tests/system/kill_daemon.c"
