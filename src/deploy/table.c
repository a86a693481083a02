/* table.c holds the one list of what a deployment can do. A change of behaviour is a change of a row; each
 * row has its test. */
#include "deploy/table.h"

/* clang-format off */
static const struct transition rows[] = {
{DEPLOYMENT_STAGED, EVENT_READY, IF_PAUSE,
 DEPLOYMENT_PAUSING, MOVE_UP, {EFFECT_TELL, EFFECT_PAUSE}, {"deployment.ready"}},
{DEPLOYMENT_STAGED, EVENT_READY, IF_NO_PAUSE,
 DEPLOYMENT_TESTING, MOVE_UP, {EFFECT_TELL, EFFECT_TEST}, {"deployment.ready"}},
{DEPLOYMENT_STAGED, EVENT_NOT_READY, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rejected"}},
{DEPLOYMENT_STAGED, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_STAGED, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_STAGED, MOVE_BACK, {EFFECT_AWAIT}, {NULL}},

{DEPLOYMENT_LAUNCHING, EVENT_LAUNCHED, ALWAYS,
 DEPLOYMENT_STAGED, MOVE_NONE, {EFFECT_STOP, EFFECT_AWAIT}, {NULL}},
{DEPLOYMENT_LAUNCHING, EVENT_LAUNCH_FAILED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rejected"}},
{DEPLOYMENT_LAUNCHING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_LAUNCHING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rejected"}},

{DEPLOYMENT_PAUSING, EVENT_COMMAND_DONE, ALWAYS,
 DEPLOYMENT_TESTING, MOVE_NONE, {EFFECT_STOP, EFFECT_TEST}, {NULL}},
{DEPLOYMENT_PAUSING, EVENT_COMMAND_FAILED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rejected"}},
{DEPLOYMENT_PAUSING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_PAUSING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rejected"}},

{DEPLOYMENT_TESTING, EVENT_GATE_PASSED, IF_SHADOW,
 DEPLOYMENT_SHADOWING, MOVE_NONE, {EFFECT_STOP, EFFECT_TELL, EFFECT_SHADOW}, {"shadow.started"}},
{DEPLOYMENT_TESTING, EVENT_GATE_PASSED, IF_NOT_HELD,
 DEPLOYMENT_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_CONFIRM}, {"gate.passed"}},
{DEPLOYMENT_TESTING, EVENT_GATE_PASSED, IF_HELD,
 DEPLOYMENT_HELD, MOVE_NONE, {EFFECT_STOP, EFFECT_TELL, EFFECT_HOLD}, {"gate.passed", "deployment.held"}},
{DEPLOYMENT_TESTING, EVENT_GATE_FAILED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"gate.failed", "deployment.rejected"}},
{DEPLOYMENT_TESTING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_TESTING, EVENT_RESTARTED, IF_PAUSE,
 DEPLOYMENT_TESTING, MOVE_NONE, {EFFECT_TEST}, {NULL}},
{DEPLOYMENT_TESTING, EVENT_RESTARTED, IF_NO_PAUSE,
 DEPLOYMENT_STAGED, MOVE_BACK, {EFFECT_AWAIT}, {NULL}},

{DEPLOYMENT_SHADOWING, EVENT_SHADOW_PASSED, IF_NOT_HELD,
 DEPLOYMENT_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_TELL, EFFECT_CONFIRM}, {"gate.passed"}},
{DEPLOYMENT_SHADOWING, EVENT_SHADOW_PASSED, IF_HELD,
 DEPLOYMENT_HELD, MOVE_NONE, {EFFECT_STOP, EFFECT_TELL, EFFECT_HOLD}, {"gate.passed", "deployment.held"}},
{DEPLOYMENT_SHADOWING, EVENT_SHADOW_FAILED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"gate.failed", "deployment.rejected"}},
{DEPLOYMENT_SHADOWING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_SHADOWING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_STAGED, MOVE_BACK, {EFFECT_TELL, EFFECT_AWAIT}, {NULL}},

{DEPLOYMENT_HELD, EVENT_PROMOTED, ALWAYS,
 DEPLOYMENT_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_CONFIRM}, {"deployment.promoted"}},
{DEPLOYMENT_HELD, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_HELD, EVENT_HOLD_EXPIRED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_HELD, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_HELD, MOVE_NONE, {EFFECT_HOLD}, {NULL}},

{DEPLOYMENT_CONFIRMING, EVENT_CONFIRMED, IF_CANARY,
 DEPLOYMENT_CANARY, MOVE_SHARE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_STEP}, {"canary.step"}},
{DEPLOYMENT_CONFIRMING, EVENT_CONFIRMED, IF_WATCH,
 DEPLOYMENT_WATCHING, MOVE_ARM, {EFFECT_SWAP, EFFECT_STOP, EFFECT_WATCH}, {"watch.started"}},
{DEPLOYMENT_CONFIRMING, EVENT_CONFIRMED, IF_NO_WATCH,
 DEPLOYMENT_DRAINING, MOVE_LIVE, {EFFECT_SWAP, EFFECT_STOP, EFFECT_DRAIN}, {NULL}},
{DEPLOYMENT_CONFIRMING, EVENT_UNCONFIRMED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"gate.failed", "deployment.rejected"}},
{DEPLOYMENT_CONFIRMING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_CONFIRMING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_CONFIRMING, MOVE_NONE, {EFFECT_CONFIRM}, {NULL}},

{DEPLOYMENT_CANARY, EVENT_STEPPED, IF_CANARY,
 DEPLOYMENT_CANARY, MOVE_SHARE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_STEP}, {"canary.step"}},
{DEPLOYMENT_CANARY, EVENT_STEPPED, IF_NO_CANARY,
 DEPLOYMENT_CANARY_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_CONFIRM}, {NULL}},
{DEPLOYMENT_CANARY, EVENT_PROMOTED, IF_CANARY,
 DEPLOYMENT_CANARY, MOVE_SHARE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_STEP}, {"deployment.promoted", "canary.step"}},
{DEPLOYMENT_CANARY, EVENT_PROMOTED, IF_NO_CANARY,
 DEPLOYMENT_CANARY_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_CONFIRM}, {"deployment.promoted"}},
{DEPLOYMENT_CANARY, EVENT_WATCH_FAILED, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"watch.failed", "deployment.rolled_back"}},
{DEPLOYMENT_CANARY, EVENT_DOUBTED, ALWAYS,
 DEPLOYMENT_CANARY_DOUBTED, MOVE_NONE, {EFFECT_STOP}, {"watch.failed"}},
{DEPLOYMENT_CANARY, EVENT_FLAWED, ALWAYS,
 DEPLOYMENT_CANARY, MOVE_NONE, {EFFECT_NONE}, {"watch.failed"}},
{DEPLOYMENT_CANARY, EVENT_ROLLED_BACK, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rolled_back"}},
{DEPLOYMENT_CANARY, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_CANARY, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_CANARY, MOVE_NONE, {EFFECT_STEP}, {NULL}},

{DEPLOYMENT_CANARY_DOUBTED, EVENT_PROMOTED, IF_CANARY,
 DEPLOYMENT_CANARY, MOVE_SHARE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_STEP}, {"deployment.promoted", "canary.step"}},
{DEPLOYMENT_CANARY_DOUBTED, EVENT_PROMOTED, IF_NO_CANARY,
 DEPLOYMENT_CANARY_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_CONFIRM}, {"deployment.promoted"}},
{DEPLOYMENT_CANARY_DOUBTED, EVENT_ROLLED_BACK, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rolled_back"}},
{DEPLOYMENT_CANARY_DOUBTED, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_CANARY_DOUBTED, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_CANARY_DOUBTED, MOVE_NONE, {EFFECT_NONE}, {NULL}},

{DEPLOYMENT_CANARY_CONFIRMING, EVENT_CONFIRMED, IF_WATCH,
 DEPLOYMENT_WATCHING, MOVE_ARM, {EFFECT_SWAP, EFFECT_STOP, EFFECT_WATCH}, {"watch.started"}},
{DEPLOYMENT_CANARY_CONFIRMING, EVENT_CONFIRMED, IF_NO_WATCH,
 DEPLOYMENT_DRAINING, MOVE_LIVE, {EFFECT_SWAP, EFFECT_STOP, EFFECT_DRAIN}, {NULL}},
{DEPLOYMENT_CANARY_CONFIRMING, EVENT_UNCONFIRMED, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"gate.failed", "deployment.rolled_back"}},
{DEPLOYMENT_CANARY_CONFIRMING, EVENT_ROLLED_BACK, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rolled_back"}},
{DEPLOYMENT_CANARY_CONFIRMING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.aborted"}},
{DEPLOYMENT_CANARY_CONFIRMING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_CANARY_CONFIRMING, MOVE_NONE, {EFFECT_CONFIRM}, {NULL}},

{DEPLOYMENT_WATCHING, EVENT_WATCH_PASSED, ALWAYS,
 DEPLOYMENT_DRAINING, MOVE_RELEASE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"watch.passed"}},
{DEPLOYMENT_WATCHING, EVENT_WATCH_OVER, ALWAYS,
 DEPLOYMENT_DRAINING, MOVE_RELEASE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {NULL}},
{DEPLOYMENT_WATCHING, EVENT_PROMOTED, ALWAYS,
 DEPLOYMENT_DRAINING, MOVE_RELEASE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.promoted"}},
{DEPLOYMENT_WATCHING, EVENT_WATCH_FAILED, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_BACK_OUT, {EFFECT_SWAP, EFFECT_STOP, EFFECT_DRAIN}, {"watch.failed", "deployment.rolled_back"}},
{DEPLOYMENT_WATCHING, EVENT_DOUBTED, ALWAYS,
 DEPLOYMENT_DOUBTED, MOVE_NONE, {EFFECT_STOP}, {"watch.failed"}},
{DEPLOYMENT_WATCHING, EVENT_FLAWED, ALWAYS,
 DEPLOYMENT_WATCHING, MOVE_NONE, {EFFECT_NONE}, {"watch.failed"}},
{DEPLOYMENT_WATCHING, EVENT_ROLLED_BACK, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_BACK_OUT, {EFFECT_SWAP, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rolled_back"}},
{DEPLOYMENT_WATCHING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_WATCHING, MOVE_NONE, {EFFECT_WATCH}, {NULL}},

{DEPLOYMENT_DOUBTED, EVENT_PROMOTED, ALWAYS,
 DEPLOYMENT_DRAINING, MOVE_RELEASE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.promoted"}},
{DEPLOYMENT_DOUBTED, EVENT_ROLLED_BACK, ALWAYS,
 DEPLOYMENT_ROLLED_BACK, MOVE_BACK_OUT, {EFFECT_SWAP, EFFECT_STOP, EFFECT_DRAIN}, {"deployment.rolled_back"}},
{DEPLOYMENT_DOUBTED, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_DOUBTED, MOVE_NONE, {EFFECT_NONE}, {NULL}},

{DEPLOYMENT_DRAINING, EVENT_OLD_RETIRED, ALWAYS,
 DEPLOYMENT_DONE, MOVE_NONE, {EFFECT_NONE}, {"deployment.done"}},
};
/* clang-format on */

#define RUNS 1U    /* one of a service at a time */
#define CANARY 2U  /* has a share of the new sessions */
#define WATCHED 4U /* is live, and there is an armed pool */
#define ENDED 8U

static const struct {
    const char *name;  /* in the journal */
    const char *shown; /* to users */
    unsigned kind;
} states[DEPLOYMENT_STATES] = {
    [DEPLOYMENT_STAGED] = {"staged", "staged", RUNS},
    [DEPLOYMENT_LAUNCHING] = {"launching", "staged", RUNS},
    [DEPLOYMENT_PAUSING] = {"pausing", "testing", RUNS},
    [DEPLOYMENT_TESTING] = {"testing", "testing", RUNS},
    [DEPLOYMENT_SHADOWING] = {"shadowing", "testing", RUNS},
    [DEPLOYMENT_CONFIRMING] = {"confirming", "testing", RUNS},
    [DEPLOYMENT_HELD] = {"held", "held", RUNS},
    [DEPLOYMENT_CANARY] = {"canary", "canary", RUNS | CANARY},
    [DEPLOYMENT_CANARY_DOUBTED] = {"canary_doubted", "canary", RUNS | CANARY},
    [DEPLOYMENT_CANARY_CONFIRMING] = {"canary_confirming", "canary", RUNS | CANARY},
    [DEPLOYMENT_WATCHING] = {"watching", "watching", RUNS | WATCHED},
    [DEPLOYMENT_DOUBTED] = {"doubted", "watching", RUNS | WATCHED},
    [DEPLOYMENT_DRAINING] = {"draining", "draining", 0},
    [DEPLOYMENT_DONE] = {"done", "done", ENDED},
    [DEPLOYMENT_REJECTED] = {"rejected", "rejected", ENDED},
    [DEPLOYMENT_ABORTED] = {"aborted", "aborted", ENDED},
    [DEPLOYMENT_ROLLED_BACK] = {"rolled_back", "rolled_back", ENDED},
};

static const char *const event_names[DEPLOYMENT_EVENTS] = {
    [EVENT_LAUNCHED] = "launched",
    [EVENT_LAUNCH_FAILED] = "launch_failed",
    [EVENT_READY] = "ready",
    [EVENT_NOT_READY] = "not_ready",
    [EVENT_COMMAND_DONE] = "command_done",
    [EVENT_COMMAND_FAILED] = "command_failed",
    [EVENT_GATE_PASSED] = "gate_passed",
    [EVENT_GATE_FAILED] = "gate_failed",
    [EVENT_SHADOW_PASSED] = "shadow_passed",
    [EVENT_SHADOW_FAILED] = "shadow_failed",
    [EVENT_PROMOTED] = "promoted",
    [EVENT_CONFIRMED] = "confirmed",
    [EVENT_UNCONFIRMED] = "unconfirmed",
    [EVENT_ABORTED] = "aborted",
    [EVENT_HOLD_EXPIRED] = "hold_expired",
    [EVENT_STEPPED] = "stepped",
    [EVENT_WATCH_PASSED] = "watch_passed",
    [EVENT_WATCH_OVER] = "watch_over",
    [EVENT_WATCH_FAILED] = "watch_failed",
    [EVENT_DOUBTED] = "doubted",
    [EVENT_FLAWED] = "flawed",
    [EVENT_ROLLED_BACK] = "rolled_back",
    [EVENT_OLD_RETIRED] = "old_retired",
    [EVENT_RESTARTED] = "restarted",
};

static bool holds(enum condition condition, const struct deployment_facts *facts)
{
    switch (condition) {
    case IF_SHADOW:
        return facts->shadow;
    case IF_HELD:
        return !facts->shadow && facts->hold;
    case IF_NOT_HELD:
        return !facts->shadow && !facts->hold;
    case IF_CANARY:
        return facts->canary;
    case IF_NO_CANARY:
        return !facts->canary;
    case IF_WATCH:
        return !facts->canary && facts->watch;
    case IF_NO_WATCH:
        return !facts->canary && !facts->watch;
    case IF_PAUSE:
        return facts->pause;
    case IF_NO_PAUSE:
        return !facts->pause;
    case ALWAYS:
        break;
    }
    return true;
}

const struct transition *table_find(enum deployment_state state, enum deployment_event event,
                                    const struct deployment_facts *facts)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct transition *row = &rows[i];
        if (row->from == state && row->event == event && holds(row->condition, facts))
            return row;
    }
    return NULL;
}

bool transition_publishes(const struct transition *row)
{
    for (size_t i = 0; i < EFFECTS_MAX; i++) {
        if (row->effects[i] == EFFECT_PUBLISH || row->effects[i] == EFFECT_SWAP)
            return true;
    }
    return false;
}

const struct transition *table_rows(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

const char *deployment_state_shown(enum deployment_state state)
{
    return states[state].shown;
}

const char *deployment_state_name(enum deployment_state state)
{
    return states[state].name;
}

bool deployment_state_parse(struct str name, enum deployment_state *state)
{
    for (unsigned i = 0; i < DEPLOYMENT_STATES; i++) {
        if (str_equal(name, str_of(states[i].name))) {
            *state = (enum deployment_state)i;
            return true;
        }
    }
    return false;
}

const char *deployment_event_name(enum deployment_event event)
{
    return event_names[event];
}

bool deployment_event_parse(struct str name, enum deployment_event *event)
{
    for (unsigned i = 0; i < DEPLOYMENT_EVENTS; i++) {
        if (str_equal(name, str_of(event_names[i]))) {
            *event = (enum deployment_event)i;
            return true;
        }
    }
    return false;
}

bool deployment_state_is_running(enum deployment_state state)
{
    return (states[state].kind & RUNS) != 0;
}

bool deployment_state_is_canary(enum deployment_state state)
{
    return (states[state].kind & CANARY) != 0;
}

bool deployment_state_is_watched(enum deployment_state state)
{
    return (states[state].kind & WATCHED) != 0;
}

bool deployment_state_is_end(enum deployment_state state)
{
    return (states[state].kind & ENDED) != 0;
}
