/*
 * notify.h - telling the service manager how it goes: one datagram to $NOTIFY_SOCKET, as systemd takes it; no library is needed.
 */
#ifndef PP_TOOLS_NOTIFY_H
#define PP_TOOLS_NOTIFY_H

/* "READY=1\n", "STOPPING=1\n"... Best effort: without the message the manager's own time-out says what is wrong. 0, or -errno; 0 without a manager. */
int pp_notify(const char *state);

#endif
