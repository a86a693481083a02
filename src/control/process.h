/* process: the processes behind instances that were staged with a pid. Each is held by a pidfd, so that a
 * signal reaches exactly the process that was meant, and none that later got its number. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct processes;

struct processes *processes_new(void);
void processes_free(struct processes *processes);

/* Opens the process `pid`. Returns a pidfd, and *start: when it started, in ticks since boot. -1 and a
 * sentence: there is none (*gone), or it cannot be looked at, for want of a descriptor or of memory. */
int process_open(int64_t pid, uint64_t *start, bool *gone, struct err *err) MUST_CHECK;

/* Holds the pidfd (owned from now on) for an instance. */
void processes_hold(struct processes *processes, uint64_t instance, int fd);
/* Opens `pid` again for an instance, after a restart, if it is still the process that started at `start`.
 * Where it cannot be looked at now, that is tried again by those who ask for it. */
void processes_recover(struct processes *processes, uint64_t instance, int64_t pid, uint64_t start);
/* Sends the signal. False with a sentence: it is gone, or is not held any more, or cannot be looked at. */
bool processes_signal(struct processes *processes, uint64_t instance, int number, struct err *err);
/* Is the process of the instance known to run still? False with a sentence as above. */
bool processes_is_alive(struct processes *processes, uint64_t instance, struct err *err);
/* Lets go. */
void processes_drop(struct processes *processes, uint64_t instance);
