/*
 * long_disk.c - the long form of tests/unit/disk.c: a million crash points of each kind (scaled by tests/crash/scale.c).
 */
#define DISK_POINTS 100000
#include "tests/unit/disk.c"
