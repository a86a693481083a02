/* spawn: fork and exec, and why they failed. Inside the room io only; child.h is the door. */
#pragma once

#include "base/buf.h"
#include "io/child.h"

struct spawn {
    pid_t pid;     /* leads a process group of the same number */
    int pidfd;     /* readable when it has exited */
    int output_fd; /* stdout and stderr, non-blocking; ends when the last writer is gone */
    int stdout_fd; /* the same for stdout alone, which then is not in output_fd; -1: it is */
    int report_fd; /* tells, once it has exited, whether it was ever executed */
    char *file, *directory;
};

/* Starts it. Does not wait for the exec. */
bool spawn_start(struct spawn *spawn, const struct child_spec *spec, struct err *err) MUST_CHECK;

/* To be asked after its exit: was it executed? If not, *why (replaced) gets a sentence. */
bool spawn_was_executed(const struct spawn *spawn, struct buf *why);

/* Closes what is still open. Does not reap. */
void spawn_close(struct spawn *spawn);
