/* fake_conductor: stands in for the conductor, so that the API and the metrics are tested alone. It knows the
 * services of a config, writes down what it is asked and answers what the test says, when the test says. */
#pragma once

#include "control/conductor.h"
#include "control/past.h"
#include "deploy/registry.h"

struct conductor {
    struct config *config;
    struct registry *registry;
    struct counters *counters;
    struct past past;
    size_t instances; /* of the one pool that each service has; 0: it has none */
    uint64_t version;
    struct schedule_tally scheduled; /* of each service */
    int64_t certificates_end;        /* of listener 1 */
    uint64_t journal_failures;
    const char *listener; /* address of listener 1, or NULL */

    char asked[512];    /* the last command */
    struct asker asker; /* and whose it was */
    bool holds;         /* commands are answered by fake_conductor_answer only */
    unsigned status;    /* to answer with; its body is {"asked": asked}, its sentence "because" */
    outcome_fn done;    /* of the command that is held */
    void *arg;
};

/* With the services of this config text. */
struct conductor *fake_conductor_new(const char *config);
void fake_conductor_free(struct conductor *conductor);
/* Another config, of services s0, s1 and so on. */
void fake_conductor_configure(struct conductor *conductor, unsigned count);
/* Answers what is held. */
void fake_conductor_answer(struct conductor *conductor);
