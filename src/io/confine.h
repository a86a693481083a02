/* confine: what a process gives up for good, so that whoever takes it over has little of it. Each step is of
 * its own use, none can be undone, and all of them hold for what the process may execute later.
 *
 * A step that the kernel does not know is left out, and said so by the result; one that it knows and refuses
 * is a failure. Where a sanitizer is compiled in, none is taken but that of cores: its runtime opens files,
 * makes threads and looks into the process. */
#pragma once

#include "base/err.h"

/* What there is of it now. */
struct confinement {
    bool calls;        /* only the system calls of confine_rows.h */
    unsigned landlock; /* version of the kernel's Landlock; 0: it has none */
};

/* No process of the same user may look into this one (ptrace, /proc/PID/mem, maps, fd, environ), and it
 * leaves no core. Must come again after each exec. */
bool confine_memory(struct err *err) MUST_CHECK;

/* Where the kernel has Landlock: no file is opened, created, executed or removed by its name, no TCP port
 * bound, no signal sent to a process outside, from the calling thread and those that it starts. What is open
 * stays open. */
bool confine_files(struct confinement *confinement, struct err *err) MUST_CHECK;

/* All threads that run: a filter for their system calls, and no more threads or processes. */
bool confine_calls(struct confinement *confinement, struct err *err) MUST_CHECK;

/* Can this build filter calls at all? Not on a machine whose numbers of calls it does not know, nor under a
 * sanitizer. */
bool confine_has_filter(void);

/* For a log: "a filter of system calls, Landlock 7". */
void confine_describe(const struct confinement *confinement, char out[128]);
