/*
 * long_instr_daemon.c - the long form of tests/unit/instr_daemon.c: every instruction, in both sync modes (see tests/crash/scale.c).
 */
#include "tests/unit/instr_daemon.c"
