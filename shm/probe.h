/*
 * probe.h - places where bpftrace, SystemTap and gdb can look on (USDT): a nop each, and a note in the ELF file that says where it is and where
 * its arguments lie.
 *
 * PPDB_PROBE(name, arguments...): up to 12 numbers or pointers, of what is at hand anyway. Provider "ppdb". The list of probes with their
 * arguments is in tools/bpftrace/README.md, ready scripts beside it. Without <sys/sdt.h> (Debian: systemtap-sdt-dev) nothing is left of it.
 */
#ifndef PP_SHM_PROBE_H
#define PP_SHM_PROBE_H

#if defined(__has_include) && !defined(PP_NO_PROBES)
#if __has_include(<sys/sdt.h>)
#define SDT_USE_VARIADIC 1
#include <sys/sdt.h>
#define PPDB_PROBE(...) STAP_PROBEV(ppdb, __VA_ARGS__)
#endif
#endif

#ifndef PPDB_PROBE
#define PPDB_PROBE(...) pp_probe_nothing(#__VA_ARGS__)
#define pp_probe_nothing(text) ((void)0)
#endif

#endif
