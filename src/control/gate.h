/* gate: runs a suite of uptests against instances and reports the matrix. Knows nothing of deployments.
 *
 * Every cell must pass. Cells of one instance run one after the other, also after a failure; instances run
 * side by side, at most uptests.parallel. Whatever goes wrong is a failed cell or a failed gate with a
 * sentence, never a pass. */
#pragma once

#include "base/err.h"
#include "config/config.h"
#include "io/child.h"

enum gate_cell_state { GATE_WAITING, GATE_RUNNING, GATE_PASSED, GATE_FAILED };
extern const char *const gate_cell_state_names[];

struct gate_cell {
    const char *instance; /* HOST:PORT */
    const char *uptest;   /* file name */
    enum gate_cell_state state;
    char **argv;     /* NULL-terminated */
    int exit_status; /* -1: none */
    int signal;      /* 0: none */
    bool timed_out;
    bool undecided; /* failed, but it was not run, or not to its own end: that says nothing of the instance */
    uint64_t ns;
    char *output; /* the last 64 KiB; made valid UTF-8 */
    size_t output_size;
    char *
        how; /* failed: how, to stand after "uptest U on I": "exited with status 1 after 0.21 s"; else NULL */
    struct child_usage usage;
};

/* What is tested. All of it must stay valid until gate_start returns. */
struct gate_plan {
    const struct config_uptests *uptests;
    const char *service;
    const char *release;          /* or "" */
    const char *deployment;       /* or "" for a run by hand */
    const char *vhost;            /* as by gate_vhost */
    const char *const *instances; /* HOST:PORT */
    size_t instance_count;
};

/* The service's first exact host, or "": then UPTEST_VHOST is host:port of the instance. */
const char *gate_vhost(const struct config_service *service);

struct gate;

/* None of them is called from inside gate_start; gate_free may be called from inside each. A cell that could
 * not be run, since the total_timeout was over, is told by `finished` alone. */
struct gate_callbacks {
    void (*started)(void *arg, const struct gate_cell *cell);
    void (*finished)(void *arg, const struct gate_cell *cell);
    /* Once. `reason` is a sentence that names instance and uptest when it did
     * not pass. The gate stays until gate_free. */
    void (*done)(void *arg, bool passed, const char *reason);
};

/* Lists the suite now. False with a sentence (for the 422): the directory is missing or cannot be read, or
 * has no uptests. *count gets the number of uptests. */
bool gate_check_suite(const struct config_uptests *uptests, const char *release, size_t *count,
                      struct err *err) MUST_CHECK;

/* Starts the run. Never NULL: what cannot be started is reported through done. `required` false
 * (allow_untested, or the config): an empty or absent suite passes. */
struct gate *gate_start(struct loop *loop, const struct gate_plan *plan, bool required,
                        const struct gate_callbacks *callbacks, void *arg);
/* The matrix, row by row: instances in their order, uptests in theirs. */
size_t gate_cell_count(const struct gate *gate);
const struct gate_cell *gate_cell_at(const struct gate *gate, size_t index);
/* Has its end been told? */
bool gate_is_over(const struct gate *gate);
/* For one that is not over: what runs is stopped (TERM, KILL), and has failed since `words`: "its deployment
 * was given up"; what has not begun stays as it is. These callbacks are told from now on; `done` comes when
 * all is gone. Not from inside a callback. */
void gate_give_up(struct gate *gate, const char *words, const struct gate_callbacks *callbacks, void *arg);
/* Stops what runs (TERM, KILL) and frees when it is gone; `done` is not called any more. NULL is fine. */
void gate_free(struct gate *gate);
