/*
 * long_instr_attach.c - the long form of tests/system/instr_attach.c (see tests/crash/scale.c).
 */
#include "tests/system/instr_attach.c"
