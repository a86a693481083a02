/* table.c holds the one list of what a deployment can do. A change of behaviour is a change of a row; each
 * row has its test. */
#include "deploy/table.h"

/* clang-format off */
static const struct transition rows[] = {
{DEPLOYMENT_STAGED, EVENT_READY, ALWAYS,
 DEPLOYMENT_TESTING, MOVE_UP, {EFFECT_TEST}, {"deployment.ready"}},
{DEPLOYMENT_STAGED, EVENT_NOT_READY, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"deployment.rejected"}},
{DEPLOYMENT_STAGED, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"deployment.aborted"}},
{DEPLOYMENT_STAGED, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_STAGED, MOVE_BACK, {EFFECT_AWAIT}, {NULL}},

{DEPLOYMENT_TESTING, EVENT_GATE_PASSED, IF_NOT_HELD,
 DEPLOYMENT_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_CONFIRM}, {"gate.passed"}},
{DEPLOYMENT_TESTING, EVENT_GATE_PASSED, IF_HELD,
 DEPLOYMENT_HELD, MOVE_NONE, {EFFECT_STOP, EFFECT_HOLD}, {"gate.passed", "deployment.held"}},
{DEPLOYMENT_TESTING, EVENT_GATE_FAILED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"gate.failed", "deployment.rejected"}},
{DEPLOYMENT_TESTING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"deployment.aborted"}},
{DEPLOYMENT_TESTING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_STAGED, MOVE_BACK, {EFFECT_AWAIT}, {NULL}},

{DEPLOYMENT_HELD, EVENT_PROMOTED, ALWAYS,
 DEPLOYMENT_CONFIRMING, MOVE_NONE, {EFFECT_STOP, EFFECT_CONFIRM}, {"deployment.promoted"}},
{DEPLOYMENT_HELD, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"deployment.aborted"}},
{DEPLOYMENT_HELD, EVENT_HOLD_EXPIRED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"deployment.aborted"}},
{DEPLOYMENT_HELD, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_HELD, MOVE_NONE, {EFFECT_HOLD}, {NULL}},

{DEPLOYMENT_CONFIRMING, EVENT_CONFIRMED, ALWAYS,
 DEPLOYMENT_DRAINING, MOVE_LIVE, {EFFECT_PUBLISH, EFFECT_STOP, EFFECT_DRAIN}, {NULL}},
{DEPLOYMENT_CONFIRMING, EVENT_UNCONFIRMED, ALWAYS,
 DEPLOYMENT_REJECTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"gate.failed", "deployment.rejected"}},
{DEPLOYMENT_CONFIRMING, EVENT_ABORTED, ALWAYS,
 DEPLOYMENT_ABORTED, MOVE_OUT, {EFFECT_STOP, EFFECT_RETIRE}, {"deployment.aborted"}},
{DEPLOYMENT_CONFIRMING, EVENT_RESTARTED, ALWAYS,
 DEPLOYMENT_CONFIRMING, MOVE_NONE, {EFFECT_CONFIRM}, {NULL}},

{DEPLOYMENT_DRAINING, EVENT_OLD_RETIRED, ALWAYS,
 DEPLOYMENT_DONE, MOVE_NONE, {EFFECT_NONE}, {"deployment.done"}},
};
/* clang-format on */

static const struct {
    const char *name;  /* in the journal */
    const char *shown; /* to users */
    bool running, end;
} states[DEPLOYMENT_STATES] = {
    [DEPLOYMENT_STAGED] = {"staged", "staged", true, false},
    [DEPLOYMENT_TESTING] = {"testing", "testing", true, false},
    [DEPLOYMENT_CONFIRMING] = {"confirming", "testing", true, false},
    [DEPLOYMENT_HELD] = {"held", "held", true, false},
    [DEPLOYMENT_DRAINING] = {"draining", "draining", false, false},
    [DEPLOYMENT_DONE] = {"done", "done", false, true},
    [DEPLOYMENT_REJECTED] = {"rejected", "rejected", false, true},
    [DEPLOYMENT_ABORTED] = {"aborted", "aborted", false, true},
};

static const char *const event_names[DEPLOYMENT_EVENTS] = {
    [EVENT_READY] = "ready",
    [EVENT_NOT_READY] = "not_ready",
    [EVENT_GATE_PASSED] = "gate_passed",
    [EVENT_GATE_FAILED] = "gate_failed",
    [EVENT_PROMOTED] = "promoted",
    [EVENT_CONFIRMED] = "confirmed",
    [EVENT_UNCONFIRMED] = "unconfirmed",
    [EVENT_ABORTED] = "aborted",
    [EVENT_HOLD_EXPIRED] = "hold_expired",
    [EVENT_OLD_RETIRED] = "old_retired",
    [EVENT_RESTARTED] = "restarted",
};

static bool holds(enum condition condition, bool held)
{
    return condition == ALWAYS || held == (condition == IF_HELD);
}

const struct transition *table_find(enum deployment_state state, enum deployment_event event, bool held)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct transition *row = &rows[i];
        if (row->from == state && row->event == event && holds(row->condition, held))
            return row;
    }
    return NULL;
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
    return states[state].running;
}

bool deployment_state_is_end(enum deployment_state state)
{
    return states[state].end;
}
