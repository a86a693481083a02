/* spawn: a program that was given to a warden, and why that failed. Inside the room io only; child.h is the
 * door. */
#pragma once

#include "base/buf.h"
#include "io/cgroup.h"
#include "io/child.h"
#include "io/nursery.h"
#include "io/warden.h"

struct spawn {
    struct nursling warden;
    pid_t program;              /* leads a process group of the same number; 0: not heard of yet */
    long memory_kib;            /* that it had before the exec: the kernel counts it as the program's */
    int output_fd;              /* stdout and stderr, non-blocking; ends when the last writer is gone */
    int stdout_fd;              /* the same for stdout alone, which then is not in output_fd; -1: it is */
    struct cgroup cgroup;       /* of a contained program and all that descends from it, if it could be had */
    bool reusable;              /* its warden is, when it is done */
    int step, error;            /* why it was not executed; error 0: it was, as far as is known */
    char head[WARDEN_HEAD_MAX]; /* how the file begins that was not executed */
    char *file, *directory;
};

/* Starts it. Does not wait for the exec. */
bool spawn_start(struct spawn *spawn, const struct child_spec *spec, struct err *err) MUST_CHECK;

enum spawn_news {
    SPAWN_NOTHING, /* now */
    SPAWN_REPORT,
    SPAWN_DEAD /* the warden has ended without a report */
};

/* Takes the next report of the warden, and notes what it says of pid and fault. */
enum spawn_news spawn_hear(struct spawn *spawn, struct warden_report *report);

/* KILL goes to the control group, too, from here: no processor is left to the warden by who forks without
 * end. */
void spawn_order(struct spawn *spawn, enum warden_order order);

/* To be asked when the warden is done: was it executed? If not, *why (replaced) gets a sentence. */
bool spawn_was_executed(const struct spawn *spawn, struct buf *why);

/* Closes what is still open, removes the control group. `done`: the warden has said so. Else it kills what
 * there is. */
void spawn_close(struct spawn *spawn, bool done);
