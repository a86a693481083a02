/* table: what a deployment may do next, as data: rows of (state, event, condition) -> (next state, what
 * becomes of its pool, effects). A pair without a row is not allowed. Nothing is done here. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum deployment_state {
    DEPLOYMENT_STAGED,     /* waits until every instance accepts a connection */
    DEPLOYMENT_LAUNCHING,  /* before that: launch.command runs, and adds instances. Users see "staged" */
    DEPLOYMENT_PAUSING,    /* the service is paused, and its command runs when nothing is in flight. Users see
                              "testing" */
    DEPLOYMENT_TESTING,    /* the gate runs */
    DEPLOYMENT_SHADOWING,  /* the uptests passed; it is sent copies of live requests. Users see "testing" */
    DEPLOYMENT_CONFIRMING, /* passed, released; every instance must accept once more. Users see "testing" */
    DEPLOYMENT_HELD,       /* passed; waits for promote */
    DEPLOYMENT_CANARY,     /* takes a share of the new sessions */
    DEPLOYMENT_CANARY_DOUBTED, /* the same, and it does not do well: waits for promote or rollback. Users see
                                  "canary", here and in the next */
    DEPLOYMENT_CANARY_CONFIRMING, /* its last share passed; every instance must accept once more */
    DEPLOYMENT_WATCHING,          /* live; the pool before it is armed */
    DEPLOYMENT_DOUBTED,  /* the same, and it does not do well: waits for promote or rollback. Users see
                            "watching" */
    DEPLOYMENT_DRAINING, /* live; the pool before it, if any, drains and is torn down */
    DEPLOYMENT_DONE,
    DEPLOYMENT_REJECTED,
    DEPLOYMENT_ABORTED,
    DEPLOYMENT_ROLLED_BACK, /* had clients, and has been taken back */
    DEPLOYMENT_STATES
};

enum deployment_event {
    EVENT_LAUNCHED,       /* launch.command has ended well */
    EVENT_LAUNCH_FAILED,  /* it has not, or what it printed is of no use */
    EVENT_READY,          /* every instance has accepted a connection */
    EVENT_NOT_READY,      /* one did not in time, or its name means nothing */
    EVENT_COMMAND_DONE,   /* the command that was to run in the pause has ended well */
    EVENT_COMMAND_FAILED, /* it has not, or could not be run */
    EVENT_GATE_PASSED,    /* every cell passed */
    EVENT_GATE_FAILED,    /* one did not, or the result could not be kept */
    EVENT_SHADOW_PASSED,  /* it answers as the live pool does, or too little was seen to tell */
    EVENT_SHADOW_FAILED,  /* it does not, or the result could not be kept */
    EVENT_PROMOTED,       /* asked for */
    EVENT_CONFIRMED,      /* every instance accepted once more: this is the swap */
    EVENT_UNCONFIRMED,    /* one did not */
    EVENT_ABORTED,        /* asked for */
    EVENT_HOLD_EXPIRED,   /* nobody promoted it in time */
    EVENT_STEPPED,        /* the canary's share was watched for long enough */
    EVENT_WATCH_PASSED,
    EVENT_WATCH_OVER,   /* it has failed, its time is over, and that is to change nothing */
    EVENT_WATCH_FAILED, /* and is to be rolled back */
    EVENT_DOUBTED,      /* the watch failed, and a person is to decide */
    EVENT_FLAWED,       /* the watch failed, and that is to change nothing: it goes on */
    EVENT_ROLLED_BACK,  /* asked for */
    EVENT_OLD_RETIRED,  /* the swap is published, and no pool before it is left */
    EVENT_RESTARTED,    /* the conductor has come up anew and nothing runs for this deployment */
    DEPLOYMENT_EVENTS
};

/* What the conductor does after the record is on disk, in the order of a row. */
enum effect {
    EFFECT_NONE,    /* ends a row's list */
    EFFECT_STOP,    /* end what runs for the deployment: probe, gate, hold timer */
    EFFECT_AWAIT,   /* resolve the names, probe until every instance accepts */
    EFFECT_PAUSE,   /* pause the service, and run the command when it is quiet */
    EFFECT_TEST,    /* run the gate */
    EFFECT_SHADOW,  /* send it copies of live requests, and compare */
    EFFECT_HOLD,    /* start the hold timer */
    EFFECT_CONFIRM, /* probe every instance once */
    EFFECT_TELL,    /* send the world when there is time for it */
    EFFECT_PUBLISH, /* send the world */
    EFFECT_SWAP,    /* the same, since another pool is live */
    EFFECT_STEP,    /* watch a canary's share */
    EFFECT_WATCH,   /* watch the pool that has just gone live */
    EFFECT_DRAIN,   /* see the pools drain that leave */
};
#define EFFECTS_MAX 4

/* What becomes of the deployment's own pool. */
enum pool_move {
    MOVE_NONE,
    MOVE_UP,       /* its instances are up */
    MOVE_BACK,     /* back to where its instances are awaited */
    MOVE_SHARE,    /* its next share of the new sessions */
    MOVE_LIVE,     /* and the live one before it, if any, drains */
    MOVE_ARM,      /* live, and the one before it is armed */
    MOVE_RELEASE,  /* the armed one drains */
    MOVE_BACK_OUT, /* the armed one is live again, and it drains itself */
    MOVE_OUT,      /* never live: it drains */
};

/* What tells rows for the same state and event apart. */
struct deployment_facts {
    bool hold;   /* staged with hold */
    bool shadow; /* its uptests are to be followed by copies of live requests, and there is a live pool */
    bool canary; /* there is another share for it to take */
    bool watch;  /* it is to be watched, and there is a pool to go back to */
    bool pause;  /* a command runs in a pause, which lasts until the swap */
};

enum condition {
    ALWAYS,
    IF_SHADOW,
    IF_HELD,     /* and no shadow */
    IF_NOT_HELD, /* nor that */
    IF_CANARY,
    IF_NO_CANARY,
    IF_WATCH,    /* and no canary */
    IF_NO_WATCH, /* nor canary */
    IF_PAUSE,
    IF_NO_PAUSE
};

struct transition {
    enum deployment_state from;
    enum deployment_event event;
    enum condition condition;
    enum deployment_state to;
    enum pool_move pool;
    enum effect effects[EFFECTS_MAX];
    const char *announce[2]; /* types in the event log; NULL: none */
};

/* The row for this state and event. NULL: not allowed. */
const struct transition *table_find(enum deployment_state state, enum deployment_event event,
                                    const struct deployment_facts *facts);
/* Does the row make a world that must be numbered before it is recorded? */
bool transition_publishes(const struct transition *row);
/* All rows, for tests and documentation. */
const struct transition *table_rows(size_t *count);

/* The state's name as users see it, and as the journal has it. */
const char *deployment_state_shown(enum deployment_state state);
const char *deployment_state_name(enum deployment_state state);
bool deployment_state_parse(struct str name, enum deployment_state *state);
const char *deployment_event_name(enum deployment_event event);
bool deployment_event_parse(struct str name, enum deployment_event *event);

/* Until it is left alone with its traffic, or has ended: only one of a service is in such a state at a time.
 */
bool deployment_state_is_running(enum deployment_state state);
/* Does it take a share of the new sessions? */
bool deployment_state_is_canary(enum deployment_state state);
/* Is it live, with an armed pool to go back to? */
bool deployment_state_is_watched(enum deployment_state state);
/* done, rejected, aborted, rolled back: no row leads on. */
bool deployment_state_is_end(enum deployment_state state);
