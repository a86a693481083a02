/* table: what a deployment may do next, as data: rows of (state, event, condition) -> (next state, what
 * becomes of its pool, effects). A pair without a row is not allowed. Nothing is done here. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum deployment_state {
    DEPLOYMENT_STAGED,     /* waits until every instance accepts a connection */
    DEPLOYMENT_TESTING,    /* the gate runs */
    DEPLOYMENT_CONFIRMING, /* passed, released; every instance must accept once more. Users see "testing" */
    DEPLOYMENT_HELD,       /* passed; waits for promote */
    DEPLOYMENT_DRAINING,   /* live; the pool before it, if any, drains and is torn down */
    DEPLOYMENT_DONE,
    DEPLOYMENT_REJECTED,
    DEPLOYMENT_ABORTED,
    DEPLOYMENT_STATES
};

enum deployment_event {
    EVENT_READY,        /* every instance has accepted a connection */
    EVENT_NOT_READY,    /* one did not in time, or its name means nothing */
    EVENT_GATE_PASSED,  /* every cell passed */
    EVENT_GATE_FAILED,  /* one did not, or the result could not be kept */
    EVENT_PROMOTED,     /* asked for */
    EVENT_CONFIRMED,    /* every instance accepted once more: this is the swap */
    EVENT_UNCONFIRMED,  /* one did not */
    EVENT_ABORTED,      /* asked for */
    EVENT_HOLD_EXPIRED, /* nobody promoted it in time */
    EVENT_OLD_RETIRED,  /* the swap is published, and no pool before it is left */
    EVENT_RESTARTED,    /* the conductor has come up anew and nothing runs for this deployment */
    DEPLOYMENT_EVENTS
};

/* What the conductor does after the record is on disk, in the order of a row. */
enum effect {
    EFFECT_NONE,    /* ends a row's list */
    EFFECT_STOP,    /* end what runs for the deployment: probe, gate, hold timer */
    EFFECT_AWAIT,   /* resolve the names, probe until every instance accepts */
    EFFECT_TEST,    /* run the gate */
    EFFECT_HOLD,    /* start the hold timer */
    EFFECT_CONFIRM, /* probe every instance once */
    EFFECT_PUBLISH, /* send the world */
    EFFECT_DRAIN,   /* watch the pool that has just been replaced, if any, drain */
    EFFECT_RETIRE,  /* tear the deployment's own pool down */
};
#define EFFECTS_MAX 4

/* What becomes of the deployment's own pool. */
enum pool_move {
    MOVE_NONE,
    MOVE_UP,   /* its instances are up */
    MOVE_BACK, /* back to where its instances are awaited */
    MOVE_LIVE, /* and the live one before it, if any, drains */
    MOVE_OUT,  /* was never live: is drained at once and torn down */
};

/* Which of two rows for the same state and event holds. */
enum condition { ALWAYS, IF_HELD, IF_NOT_HELD };

struct transition {
    enum deployment_state from;
    enum deployment_event event;
    enum condition condition;
    enum deployment_state to;
    enum pool_move pool;
    enum effect effects[EFFECTS_MAX];
    const char *announce[2]; /* types in the event log; NULL: none */
};

/* The row for this state and event. `held`: staged with hold. NULL: not allowed. */
const struct transition *table_find(enum deployment_state state, enum deployment_event event, bool held);
/* All rows, for tests and documentation. */
const struct transition *table_rows(size_t *count);

/* The state's name as users see it, and as the journal has it. */
const char *deployment_state_shown(enum deployment_state state);
const char *deployment_state_name(enum deployment_state state);
bool deployment_state_parse(struct str name, enum deployment_state *state);
const char *deployment_event_name(enum deployment_event event);
bool deployment_event_parse(struct str name, enum deployment_event *event);

/* Before the swap: only one of a service is in such a state at a time. */
bool deployment_state_is_running(enum deployment_state state);
/* done, rejected, aborted: no row leads on. */
bool deployment_state_is_end(enum deployment_state state);
