/*
 * main.c - build/tests/power: a disk that remembers everything, what is left of it when power goes, and a judge. tests/power/run uses
 * them; the protocol is in trace.h and steps.h.
 */
#include "tests/power/power.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	static const struct { const char *name, *usage; int (*main)(int, char **); } part[] = {
		{"disk", "IMAGE TRACE DISKSOCKET PORTSOCKET SEED     serves one guest until it is gone", power_disk},
		{"cuts", "TRACE COUNT SEED                           prints moments worth a look", power_cuts},
		{"cut", "TRACE IMAGE OUT EVENT SEED MODE            makes what is left when power goes before EVENT", power_cut},
		{"judge", "SEED ACKED0,...                            reads `ppdb scan`: does it hold what it must?", power_judge},
	};
	size_t parts = sizeof(part) / sizeof(*part);

	for (size_t i = 0; argc > 1 && i < parts; i++)
		if (!strcmp(argv[1], part[i].name))
			return part[i].main(argc - 1, argv + 1);
	for (size_t i = 0; i < parts; i++)
		fprintf(stderr, "usage: power %s %s\n", part[i].name, part[i].usage);
	return 2;
}
