/* staging: what `stage` and `deploy` have in common: the options of a deployment, and that it is followed. */
#pragma once

#include "base/err.h"
#include "cli/command.h"

#include <jansson.h>

/* Rows of both tables of options. */
#define STAGING_OPTIONS                                                                                \
    {"hold", 0, OPTION_FLAG, NULL, "stop before the swap until \"upswap promote\""},                   \
        {"allow-untested", 0, OPTION_FLAG, NULL, "swap even if the suite is empty"},                   \
        {"no-wait", 0, OPTION_FLAG, NULL, "return when it is staged"},                                 \
        {"timeout", 0, OPTION_DURATION, "DURATION", "follow no longer; the deployment goes on"},       \
        {"watch", 0, OPTION_DURATION, "DURATION", "how long the old pool stays armed after the swap"}, \
        {"canary", 0, OPTION_NAME, "PCT,PCT,...", "shares of the new sessions before the swap"},       \
        {"pause-with", 0, OPTION_NAME, "COMMAND", "pause, run it, test and swap, resume"},             \
        {"pause-max", 0, OPTION_DURATION, "DURATION", "of all that (30s)"},                            \
    {                                                                                                  \
        "step", 0, OPTION_DURATION, "DURATION", "how long each share is watched (60s)"                 \
    }

/* `done` is what 0 stands for. */
#define STAGING_STATUSES(done)                                                          \
    "Exit status: 0 " done ", 1 the daemon refused,\n"                                  \
    "2 wrong usage, 3 rejected, 4 rolled back, 5 aborted, 6 --timeout reached, 7 the\n" \
    "daemon cannot be reached."
#define STAGING_EXITS(done) "Follows the deployment to its end. " STAGING_STATUSES(done)

/* Adds what these options say to the body of the request. False: a usage fault. */
bool staging_add(json_t *body, const struct arguments *arguments, struct err *err) MUST_CHECK;
/* Sends it, for the service that is the first operand, and follows what comes of it unless --no-wait. Returns
 * the exit status. */
int staging_run(const struct session *session, const struct arguments *arguments, const json_t *body);
