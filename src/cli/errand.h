/* errand: asks the daemon for something that a deployment then goes through, and stays with it. */
#pragma once

#include "cli/command.h"
#include "cli/follow.h"
#include "cli/recall.h"

#include <jansson.h>

struct errand {
    const char *service;
    const char *verb; /* behind the service's path: "/promote" */
    const json_t *body;
    const char *done; /* what the deployment is once that is taken: "promoted" */
    enum follow_until until;
    bool gate_passed;  /* before: its matrix is not shown */
    recall_fn *recall; /* looks for it where the answer is lost */
};

/* Sends it, and follows what comes of it unless --no-wait, for as long as --timeout says; the command's table
 * must have both. Returns the exit status. */
int errand_run(const struct session *session, const struct arguments *arguments, const struct errand *errand);
