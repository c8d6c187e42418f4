/*
 * long_instr_client.c - the long form of tests/unit/instr_client.c: every instruction, in both sync modes (see tests/crash/scale.c).
 */
#include "tests/unit/instr_client.c"
