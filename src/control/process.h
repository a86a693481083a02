/* process: the processes behind instances that were staged with a pid. Each is held by a pidfd, so that a
 * signal reaches exactly the process that was meant, and none that later got its number. */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct processes;

struct processes *processes_new(void);
void processes_free(struct processes *processes);

/* Opens the process `pid`. Returns a pidfd, and *start: when it started, in ticks since boot. -1: there is
 * none, or the kernel cannot. */
int process_open(int64_t pid, uint64_t *start, struct err *err) MUST_CHECK;

/* Holds the pidfd (owned from now on) for an instance. */
void processes_hold(struct processes *processes, uint64_t instance, int fd);
/* Opens `pid` again for an instance, after a restart, if it is still the process that started at `start`. */
void processes_recover(struct processes *processes, uint64_t instance, int64_t pid, uint64_t start);
/* Sends the signal. False with a sentence: it is gone, or is not held any more. */
bool processes_signal(struct processes *processes, uint64_t instance, int number, struct err *err);
/* Does the process of the instance still run? False where none is held. */
bool processes_is_alive(struct processes *processes, uint64_t instance);
/* Lets go. */
void processes_drop(struct processes *processes, uint64_t instance);
