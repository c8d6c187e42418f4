/*
 * trace.h - what a disk was asked and what it answered, in one order with what the guest said: a file of events.
 *
 *   'W' a write arrives (with its bytes)     'w' the guest is told that it is done
 *   'F' a flush arrives                      'f' the guest is told that it is done
 *   'A' the guest says: step n of writer w and all its steps before are durable
 *   'R' the writers begin                    'E' the guest reports an error
 *
 * What must survive a cut before event number p: each write whose 'w' stands before some 'F' whose 'f' stands before p. Every other
 * write that has arrived may have reached the medium, in parts or not. The disk notes an event before it sends, and after
 * it has received, so each judgement errs in the store's favour.
 */
#ifndef TESTS_POWER_TRACE_H
#define TESTS_POWER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct trace_event {
	char kind;
	uint8_t writer;          /* A */
	uint16_t unused;
	uint32_t bytes;          /* W: that follow */
	uint64_t id;             /* W w F f: request; A: step */
	uint64_t offset;         /* W */
};

struct trace_write {
	uint64_t arrived, done;  /* numbers of events; done UINT64_MAX: never */
	uint64_t offset;
	uint32_t bytes;
	const uint8_t *data;
};

struct trace {
	struct trace_event **event;
	uint64_t events;
	const uint8_t *file;
	size_t file_bytes;
};

/* Maps a trace; an event cut short at the end is left out. False, with a message, when it cannot be read. */
bool trace_load(const char *path, struct trace *out);

static inline const uint8_t *trace_bytes(const struct trace_event *e)
{
	return (const uint8_t *)(e + 1);
}

#endif
