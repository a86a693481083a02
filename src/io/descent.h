/* descent: kills all that descends from this process. Inside the room io only; makes system calls only, so
 * that it may be called in a fork of a process with threads. */
#pragma once

#include <sys/types.h>

/* One round: sends KILL to every child, to the groups that they are in, and to what descends from them as far
 * as can be seen. Nobody is reaped. What is forked meanwhile, or hidden behind a thread, is met in a later
 * round, when its parent has ended and it has come to us (PR_SET_CHILD_SUBREAPER).
 *
 * `session`: where others of ours are too, in groups that a descendant may have joined; so of its groups only
 * those are killed that a child leads, and `program`, who was the first child. This process has left it. */
void descent_kill(pid_t session, pid_t program);
