/* trial: asks another program whether it could take over, without giving anything out of the hand: it is run
 * with a copy of what it would get, checks that, and says so. */
#pragma once

#include "base/err.h"
#include "io/loop.h"

#include <stdbool.h>
#include <sys/types.h>

struct trial;

struct trial_spec {
    struct loop *loop;
    int program; /* opened with O_PATH; stays the caller's, as all descriptors do */
    const char *config_path;
    int handover; /* see handover.h */
    int counters;
    int config; /* the text of the config in force */
    /* How it ended: the version of a program that can take over, or NULL and why not. The trial is freed. */
    void (*done)(void *arg, const char *version, const char *sentence);
    void *arg;
};

/* NULL: it could not be run. `done` is never called from inside. */
struct trial *trial_start(const struct trial_spec *spec, struct err *err) MUST_CHECK;
pid_t trial_pid(const struct trial *trial);
/* Some child has ended: takes the end of this one, if it is that. */
void trial_reap(struct trial *trial);
/* Nobody waits any more: kills it, without a word. */
void trial_stop(struct trial *trial);
