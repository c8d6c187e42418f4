/* power.h - the parts of the program build/tests/power, each a main of its own. */
#ifndef TESTS_POWER_POWER_H
#define TESTS_POWER_POWER_H

int power_disk(int argc, char **argv);
int power_cuts(int argc, char **argv);
int power_cut(int argc, char **argv);
int power_judge(int argc, char **argv);

#endif
