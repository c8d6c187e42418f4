/*
 * scale.c - the crash suite runs the kill and stop tests of the system suite ten times as long: thousands of killed clients, hundreds of
 * killed daemons, later passages of each fault point. PPDB_TEST_SCALE still overrides it.
 */
#include <stdlib.h>

__attribute__((constructor)) static void scale(void)
{
	setenv("PPDB_TEST_SCALE", "10", 0);
}
