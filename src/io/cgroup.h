/* cgroup: a control group (cgroup v2) for each program that must take along all that descends from it. One
 * KILL reaches everything in it at once, also what forks without end, has fled to a session of its own, or
 * has outlived the warden. Inside the room io only, but for cgroup_begin.
 *
 * The groups are made in this process's own one, where that is ours to divide: systemd has delegated it
 * (Delegate=yes, https://systemd.io/CGROUP_DELEGATION/), or it is the root of what can be seen, as in a
 * container. Nothing here need work: what has no group is held by its warden alone. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

enum { CGROUP_KEEPS = 16 }; /* empty groups that are kept for another program */

/* From here on there are groups, named by `label`, which no other living process uses. What an earlier one
 * has left under that label is killed and removed. False: there will be none, and why. */
bool cgroup_begin(const char *label, struct err *why);

/* Kills what is still in them, and removes them, as far as they are empty by then. There are none any more.
 */
void cgroup_end(void);

struct cgroup {
    char *path;  /* NULL: there is none */
    int fd;      /* its folder; -1: none */
    int kill_fd; /* for cgroup_kill; -1: none */
};

#define CGROUP_NONE ((struct cgroup){.fd = -1, .kill_fd = -1})

/* An empty group; or none, silently. */
struct cgroup cgroup_make(void);
/* Starts a process that runs `run` with `arg`, in the group if there is one and it can be entered. Makes
 * system calls only. In a group it may share our memory (share.h), and we then wait until it has executed a
 * file or ended: `run` must not return, and makes system calls only. Who kills the group ends that wait.
 * Returns the pid, or -1 with errno. */
pid_t cgroup_start(int group_fd, void (*run)(void *arg), void *arg);
/* KILL to all in it. Makes system calls only; -1 is fine. */
void cgroup_kill(int kill_fd);
/* Its program has ended with all that it had started, and nobody has killed by it: it is kept for another
 * one, or removed. */
void cgroup_keep(struct cgroup *group);
/* How many are kept; for tests. */
size_t cgroup_kept(void);
/* Closes and removes it. Something still runs in it: then later, when another group is made or removed. */
void cgroup_remove(struct cgroup *group);
