/* child: runs a program in a process group of its own, and, if it is not contained, in a session of its own,
 * under a warden (warden.h), and reports once, when it has ended with all that it has to take along, and its
 * output has been read. Never blocks the loop, but that a start waits for a warden (nursery.h).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

#include <sys/types.h>

/* Whom the program runs as. Made once with child_user_find. */
struct child_user {
    uid_t uid;
    gid_t gid;
    int group_count;
    gid_t groups[64];
};

/* Looks a user up, with its groups. */
bool child_user_find(const char *name, struct child_user *user, struct err *err) MUST_CHECK;

/* Could this process run a program as that user, and end it? False with a sentence where it may not change to
 * it, or send it a signal. */
bool child_user_check(const char *name, struct err *err) MUST_CHECK;

struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is the file: absolute, or found along PATH of envp */
    const char *const *envp; /* the whole environment; NULL-terminated */
    const char *directory;   /* working directory; NULL: "/" */
    const struct child_user *user; /* NULL: as this process */
    uint64_t timeout_ms;           /* then the group gets TERM; 0: none */
    uint64_t kill_after_ms;        /* from TERM to KILL */
    uint64_t linger_ms;            /* what is left after the file has exited gets this long, then KILL */
    bool contained;         /* "what is left": all that descends from it; else what is in its process group */
    size_t output_max;      /* bytes of output kept: the last ones */
    uint64_t output_limit;  /* bytes of output after which the group is killed; 0: none (output is read and
                               dropped) */
    uint64_t memory_max;    /* RLIMIT_AS, bytes; 0: as is */
    uint64_t processes_max; /* RLIMIT_NPROC, applied only with a user other than root; 0: as is. The kernel
                               counts all processes of that user, those of other children too */
    uint64_t file_max;      /* RLIMIT_FSIZE, bytes; 0: as is */
    bool apart; /* stdout is no part of the output: it is for child_on_stdout, and counts for output_limit */
};

/* What a program has used: itself, and what it has waited for. */
struct child_usage {
    bool known; /* false: it was not executed, or nobody lived to tell */
    bool bound; /* memory is what was there before the exec: the most that it may have had, not what it had */
    uint64_t user_us, system_us; /* of CPU time */
    uint64_t memory; /* bytes: the most that one of its processes had in memory at once, shared pages too */
};

struct child_result {
    bool started;    /* false: could not be executed; output says why in a sentence */
    int exit_status; /* -1: did not exit by itself */
    int signal;      /* that ended it; 0: none */
    bool timed_out;
    bool stopped;      /* child_stop was called before it had ended */
    uint64_t ns;       /* from start to exit */
    struct str output; /* stdout and stderr together, or, if `apart`, stderr: the last output_max bytes; valid
                          during the callback */
    size_t late;       /* bytes at its end that came when the time was over: what TERM has made it say */
    bool truncated;    /* there was more output than is kept */
    bool overflowed;   /* it wrote more than output_limit, and was killed for that */
    struct child_usage usage;
};

struct child;

/* Starts it. stdin is /dev/null; no descriptor of the daemon is inherited; signals are as by default. When
 * the daemon dies, it is killed with all that is left. `done` is called exactly once, never from inside this
 * call, and the child is not to be used after it. NULL with err: no process or pipe could be had (an exec
 * that fails is a result, not an error). */
struct child *child_start(struct loop *loop, const struct child_spec *spec,
                          void (*done)(void *arg, const struct child_result *result), void *arg,
                          struct err *err);

/* TERM to the group now, KILL after kill_after_ms. `done` still comes. */
void child_stop(struct child *child);

/* How many there are of whose programs something may still run, those included whose `done` has come late.
 * For tests. */
size_t child_count(void);

/* Calls `output` with each piece of output as it comes; set right after child_start. */
void child_on_output(struct child *child, void (*output)(void *arg, struct str bytes));

/* The same with what stands apart: stdout. It may call child_stop. */
void child_on_stdout(struct child *child, void (*piece)(void *arg, struct str bytes));
