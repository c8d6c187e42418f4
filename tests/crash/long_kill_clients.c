/*
 * long_kill_clients.c - the long form of tests/system/kill_clients.c: the same tests, scaled by tests/crash/scale.c.
 */
#include "tests/system/kill_clients.c"
