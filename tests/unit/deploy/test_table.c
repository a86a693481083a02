#include "deploy/table.h"

#include "unit.h"

static const struct transition *go(enum deployment_state state, enum deployment_event event)
{
    return table_find(state, event, false);
}

#define assert_row(row, state, move, first, second)          \
    do {                                                     \
        const struct transition *unit_row = (row);           \
        assert_non_null(unit_row);                           \
        assert_int_equal(unit_row->to, (state));             \
        assert_int_equal(unit_row->pool, (move));            \
        assert_int_equal(unit_row->effects[0], (first));     \
        assert_int_equal(unit_row->effects[1], (second));    \
        assert_int_equal(unit_row->effects[3], EFFECT_NONE); \
    } while (0)

static void a_staged_deployment_is_tested_when_its_instances_are_ready(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_STAGED, EVENT_READY), DEPLOYMENT_TESTING, MOVE_UP, EFFECT_TEST, EFFECT_NONE);
}

static void a_staged_deployment_whose_instances_never_listen_is_rejected(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_STAGED, EVENT_NOT_READY), DEPLOYMENT_REJECTED, MOVE_OUT, EFFECT_STOP,
               EFFECT_RETIRE);
}

static void a_staged_deployment_can_be_aborted(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_STAGED, EVENT_ABORTED), DEPLOYMENT_ABORTED, MOVE_OUT, EFFECT_STOP,
               EFFECT_RETIRE);
}

static void a_staged_deployment_awaits_its_instances_anew_after_a_restart(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_STAGED, EVENT_RESTARTED), DEPLOYMENT_STAGED, MOVE_BACK, EFFECT_AWAIT,
               EFFECT_NONE);
}

static void a_passed_gate_without_hold_asks_every_instance_once_more(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_TESTING, EVENT_GATE_PASSED), DEPLOYMENT_CONFIRMING, MOVE_NONE, EFFECT_STOP,
               EFFECT_CONFIRM);
}

static void a_passed_gate_with_hold_waits_for_promote(void **state)
{
    (void)state;
    assert_row(table_find(DEPLOYMENT_TESTING, EVENT_GATE_PASSED, true), DEPLOYMENT_HELD, MOVE_NONE,
               EFFECT_STOP, EFFECT_HOLD);
}

static void a_failed_gate_rejects(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_TESTING, EVENT_GATE_FAILED), DEPLOYMENT_REJECTED, MOVE_OUT, EFFECT_STOP,
               EFFECT_RETIRE);
}

static void a_running_gate_can_be_aborted(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_TESTING, EVENT_ABORTED), DEPLOYMENT_ABORTED, MOVE_OUT, EFFECT_STOP,
               EFFECT_RETIRE);
}

static void a_gate_that_a_restart_cut_short_begins_anew(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_TESTING, EVENT_RESTARTED), DEPLOYMENT_STAGED, MOVE_BACK, EFFECT_AWAIT,
               EFFECT_NONE);
}

static void promote_asks_every_instance_once_more(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_HELD, EVENT_PROMOTED), DEPLOYMENT_CONFIRMING, MOVE_NONE, EFFECT_STOP,
               EFFECT_CONFIRM);
}

static void a_held_deployment_can_be_aborted(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_HELD, EVENT_ABORTED), DEPLOYMENT_ABORTED, MOVE_OUT, EFFECT_STOP, EFFECT_RETIRE);
}

static void a_hold_that_nobody_ends_is_aborted(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_HELD, EVENT_HOLD_EXPIRED), DEPLOYMENT_ABORTED, MOVE_OUT, EFFECT_STOP,
               EFFECT_RETIRE);
}

static void a_held_deployment_stays_held_over_a_restart(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_HELD, EVENT_RESTARTED), DEPLOYMENT_HELD, MOVE_NONE, EFFECT_HOLD, EFFECT_NONE);
}

static void a_confirmed_deployment_goes_live_and_the_old_pool_drains(void **state)
{
    (void)state;
    const struct transition *row = go(DEPLOYMENT_CONFIRMING, EVENT_CONFIRMED);
    assert_row(row, DEPLOYMENT_DRAINING, MOVE_LIVE, EFFECT_PUBLISH, EFFECT_STOP);
    assert_int_equal(row->effects[2], EFFECT_DRAIN);
}

static void an_instance_that_does_not_accept_once_more_rejects(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_CONFIRMING, EVENT_UNCONFIRMED), DEPLOYMENT_REJECTED, MOVE_OUT, EFFECT_STOP,
               EFFECT_RETIRE);
}

static void abort_wins_until_the_swap_is_decided(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_CONFIRMING, EVENT_ABORTED), DEPLOYMENT_ABORTED, MOVE_OUT, EFFECT_STOP,
               EFFECT_RETIRE);
}

static void a_recorded_pass_is_confirmed_anew_after_a_restart(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_CONFIRMING, EVENT_RESTARTED), DEPLOYMENT_CONFIRMING, MOVE_NONE, EFFECT_CONFIRM,
               EFFECT_NONE);
}

static void a_deployment_is_done_when_the_old_pool_is_retired(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_DRAINING, EVENT_OLD_RETIRED), DEPLOYMENT_DONE, MOVE_NONE, EFFECT_NONE,
               EFFECT_NONE);
}

/* The tests above name every pair that has a row; all others must have none. */
static void every_other_pair_is_refused(void **state)
{
    (void)state;
    static const unsigned allowed[DEPLOYMENT_STATES] = {
        [DEPLOYMENT_STAGED] =
            1U << EVENT_READY | 1U << EVENT_NOT_READY | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_TESTING] =
            1U << EVENT_GATE_PASSED | 1U << EVENT_GATE_FAILED | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_CONFIRMING] =
            1U << EVENT_CONFIRMED | 1U << EVENT_UNCONFIRMED | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_HELD] =
            1U << EVENT_PROMOTED | 1U << EVENT_ABORTED | 1U << EVENT_HOLD_EXPIRED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_DRAINING] = 1U << EVENT_OLD_RETIRED,
    };
    for (unsigned from = 0; from < DEPLOYMENT_STATES; from++) {
        for (unsigned event = 0; event < DEPLOYMENT_EVENTS; event++) {
            for (unsigned held = 0; held < 2; held++) {
                bool found =
                    table_find((enum deployment_state)from, (enum deployment_event)event, held != 0) != NULL;
                assert_int_equal(found, allowed[from] >> event & 1);
            }
        }
    }
}

static void a_pool_goes_live_by_a_confirmation_only(void **state)
{
    (void)state;
    size_t count;
    const struct transition *rows = table_rows(&count);
    for (size_t i = 0; i < count; i++) {
        bool swap = rows[i].from == DEPLOYMENT_CONFIRMING && rows[i].event == EVENT_CONFIRMED;
        assert_int_equal(rows[i].pool == MOVE_LIVE, swap);
        assert_int_equal(rows[i].effects[0] == EFFECT_PUBLISH, swap);
    }
}

static void names_lead_back_to_states_and_events(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DEPLOYMENT_STATES; i++) {
        enum deployment_state found;
        assert_true(deployment_state_parse(str_of(deployment_state_name((enum deployment_state)i)), &found));
        assert_int_equal(found, i);
    }
    for (unsigned i = 0; i < DEPLOYMENT_EVENTS; i++) {
        enum deployment_event found;
        assert_true(deployment_event_parse(str_of(deployment_event_name((enum deployment_event)i)), &found));
        assert_int_equal(found, i);
    }
    assert_string_equal(deployment_state_shown(DEPLOYMENT_CONFIRMING), "testing");
}

static void a_deployment_runs_or_has_swapped_or_has_ended(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DEPLOYMENT_STATES; i++) {
        enum deployment_state s = (enum deployment_state)i;
        int kinds = deployment_state_is_running(s) + deployment_state_is_end(s) + (s == DEPLOYMENT_DRAINING);
        assert_int_equal(kinds, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_staged_deployment_is_tested_when_its_instances_are_ready),
        cmocka_unit_test(a_staged_deployment_whose_instances_never_listen_is_rejected),
        cmocka_unit_test(a_staged_deployment_can_be_aborted),
        cmocka_unit_test(a_staged_deployment_awaits_its_instances_anew_after_a_restart),
        cmocka_unit_test(a_passed_gate_without_hold_asks_every_instance_once_more),
        cmocka_unit_test(a_passed_gate_with_hold_waits_for_promote),
        cmocka_unit_test(a_failed_gate_rejects),
        cmocka_unit_test(a_running_gate_can_be_aborted),
        cmocka_unit_test(a_gate_that_a_restart_cut_short_begins_anew),
        cmocka_unit_test(promote_asks_every_instance_once_more),
        cmocka_unit_test(a_held_deployment_can_be_aborted),
        cmocka_unit_test(a_hold_that_nobody_ends_is_aborted),
        cmocka_unit_test(a_held_deployment_stays_held_over_a_restart),
        cmocka_unit_test(a_confirmed_deployment_goes_live_and_the_old_pool_drains),
        cmocka_unit_test(an_instance_that_does_not_accept_once_more_rejects),
        cmocka_unit_test(abort_wins_until_the_swap_is_decided),
        cmocka_unit_test(a_recorded_pass_is_confirmed_anew_after_a_restart),
        cmocka_unit_test(a_deployment_is_done_when_the_old_pool_is_retired),
        cmocka_unit_test(every_other_pair_is_refused),
        cmocka_unit_test(a_pool_goes_live_by_a_confirmation_only),
        cmocka_unit_test(names_lead_back_to_states_and_events),
        cmocka_unit_test(a_deployment_runs_or_has_swapped_or_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
