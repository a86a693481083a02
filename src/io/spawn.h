/* spawn: fork and exec, and why they failed. Inside the room io only; child.h is the door. */
#pragma once

#include "base/buf.h"
#include "io/cgroup.h"
#include "io/child.h"
#include "io/warden.h"

struct spawn {
    pid_t warden;         /* our child; see warden.h */
    pid_t program;        /* its child, leads a process group of the same number; 0: not heard of yet */
    long memory_kib;      /* that it had before the exec: the kernel counts it as the program's */
    int pidfd;            /* readable when the warden, and so all that it answers for, has ended */
    int socket;           /* of the warden, non-blocking */
    int output_fd;        /* stdout and stderr, non-blocking; ends when the last writer is gone */
    int stdout_fd;        /* the same for stdout alone, which then is not in output_fd; -1: it is */
    struct cgroup cgroup; /* of a contained program and all that descends from it, if it could be had */
    int step, error;      /* why it was not executed; error 0: it was, as far as is known */
    char *file, *directory;
};

/* Starts it. Does not wait for the exec. */
bool spawn_start(struct spawn *spawn, const struct child_spec *spec, struct err *err) MUST_CHECK;

/* Takes the next report of the warden, and notes what it says of pid and fault. False: there is none now. */
bool spawn_hear(struct spawn *spawn, struct warden_report *report);

/* KILL goes to the control group, too, from here: no processor is left to the warden by who forks without
 * end. */
void spawn_order(const struct spawn *spawn, enum warden_order order);

/* To be asked when the warden has ended: was it executed? If not, *why (replaced) gets a sentence. */
bool spawn_was_executed(const struct spawn *spawn, struct buf *why);

/* Closes what is still open, removes the control group. Does not reap. */
void spawn_close(struct spawn *spawn);
