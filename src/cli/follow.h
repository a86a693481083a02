/* follow: stays with a deployment until its end, shows what happens to it, and makes the exit status of it.
 */
#pragma once

#include "cli/cli.h"
#include "cli/command.h"

/* How far it goes. */
enum follow_until {
    FOLLOW_ENDED,
    FOLLOW_HELD,   /* or held */
    FOLLOW_SWAPPED /* or it has clients: as a canary, or as the live pool */
};

struct follow_plan {
    const char *service;
    const char *deployment;
    uint64_t since; /* number of an event before its first; 0 is always right */
    enum follow_until until;
    bool gate_passed;    /* before `since`: its matrix is not shown */
    uint64_t start_ms;   /* monotonic: when it was staged */
    uint64_t timeout_ms; /* from start_ms; 0: none */
};

/* With --json it prints the events and then the deployment; FOLLOW_SWAPPED: the deployment alone. Returns the
 * exit status. */
int follow(const struct session *session, const struct follow_plan *plan);

/* The exit status that a deployment's state means: -1 while it goes on. */
int follow_status(const char *state, enum follow_until until);
