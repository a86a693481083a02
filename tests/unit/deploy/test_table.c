#include "deploy/table.h"

#include "unit.h"

static const struct deployment_facts plain;
static const struct deployment_facts held = {.hold = true};
static const struct deployment_facts shadow = {.shadow = true, .hold = true};
static const struct deployment_facts canary = {.canary = true, .watch = true};
static const struct deployment_facts watched = {.watch = true};

static const struct transition *go(enum deployment_state state, enum deployment_event event)
{
    return table_find(state, event, &plain);
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

/* It leaves the world before anything else, and then drains. */
#define assert_given_up(row, state)                                        \
    do {                                                                   \
        const struct transition *given = (row);                            \
        assert_row(given, (state), MOVE_OUT, EFFECT_PUBLISH, EFFECT_STOP); \
        assert_int_equal(given->effects[2], EFFECT_DRAIN);                 \
    } while (0)

static void a_staged_deployment_is_tested_when_its_instances_are_ready(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_STAGED, EVENT_READY), DEPLOYMENT_TESTING, MOVE_UP, EFFECT_TELL, EFFECT_TEST);
}

static void one_with_a_command_pauses_its_service_before_the_gate(void **state)
{
    (void)state;
    static const struct deployment_facts pausing = {.pause = true};
    assert_row(table_find(DEPLOYMENT_STAGED, EVENT_READY, &pausing), DEPLOYMENT_PAUSING, MOVE_UP, EFFECT_TELL,
               EFFECT_PAUSE);
    assert_row(go(DEPLOYMENT_PAUSING, EVENT_COMMAND_DONE), DEPLOYMENT_TESTING, MOVE_NONE, EFFECT_STOP,
               EFFECT_TEST);
    assert_given_up(go(DEPLOYMENT_PAUSING, EVENT_COMMAND_FAILED), DEPLOYMENT_REJECTED);
    assert_given_up(go(DEPLOYMENT_PAUSING, EVENT_ABORTED), DEPLOYMENT_ABORTED);
}

static void a_command_is_never_run_twice(void **state)
{
    (void)state;
    static const struct deployment_facts pausing = {.pause = true};
    assert_given_up(go(DEPLOYMENT_PAUSING, EVENT_RESTARTED), DEPLOYMENT_REJECTED);
    assert_row(table_find(DEPLOYMENT_TESTING, EVENT_RESTARTED, &pausing), DEPLOYMENT_TESTING, MOVE_NONE,
               EFFECT_TEST, EFFECT_NONE);
}

static void a_staged_deployment_whose_instances_never_listen_is_rejected(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_STAGED, EVENT_NOT_READY), DEPLOYMENT_REJECTED);
}

static void a_staged_deployment_can_be_aborted(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_STAGED, EVENT_ABORTED), DEPLOYMENT_ABORTED);
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
    assert_row(table_find(DEPLOYMENT_TESTING, EVENT_GATE_PASSED, &held), DEPLOYMENT_HELD, MOVE_NONE,
               EFFECT_STOP, EFFECT_TELL);
}

static void a_failed_gate_rejects(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_TESTING, EVENT_GATE_FAILED), DEPLOYMENT_REJECTED);
}

static void a_running_gate_can_be_aborted(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_TESTING, EVENT_ABORTED), DEPLOYMENT_ABORTED);
}

static void a_gate_that_a_restart_cut_short_begins_anew(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_TESTING, EVENT_RESTARTED), DEPLOYMENT_STAGED, MOVE_BACK, EFFECT_AWAIT,
               EFFECT_NONE);
}

/* ---- shadows ---- */

static void a_passed_suite_is_followed_by_copies_of_live_requests(void **state)
{
    (void)state;
    const struct transition *row = table_find(DEPLOYMENT_TESTING, EVENT_GATE_PASSED, &shadow);
    assert_row(row, DEPLOYMENT_SHADOWING, MOVE_NONE, EFFECT_STOP, EFFECT_TELL);
    assert_int_equal(row->effects[2], EFFECT_SHADOW);
}

static void a_passed_shadow_ends_the_gate_and_the_copies(void **state)
{
    (void)state;
    const struct transition *row = go(DEPLOYMENT_SHADOWING, EVENT_SHADOW_PASSED);
    assert_row(row, DEPLOYMENT_CONFIRMING, MOVE_NONE, EFFECT_STOP, EFFECT_TELL);
    assert_int_equal(row->effects[2], EFFECT_CONFIRM);
    row = table_find(DEPLOYMENT_SHADOWING, EVENT_SHADOW_PASSED, &held);
    assert_row(row, DEPLOYMENT_HELD, MOVE_NONE, EFFECT_STOP, EFFECT_TELL);
    assert_int_equal(row->effects[2], EFFECT_HOLD);
}

static void a_failed_shadow_rejects(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_SHADOWING, EVENT_SHADOW_FAILED), DEPLOYMENT_REJECTED);
}

static void a_shadow_can_be_aborted(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_SHADOWING, EVENT_ABORTED), DEPLOYMENT_ABORTED);
}

static void the_whole_gate_begins_anew_when_a_restart_cut_the_shadow_short(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_SHADOWING, EVENT_RESTARTED), DEPLOYMENT_STAGED, MOVE_BACK, EFFECT_TELL,
               EFFECT_AWAIT);
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
    assert_given_up(go(DEPLOYMENT_HELD, EVENT_ABORTED), DEPLOYMENT_ABORTED);
}

static void a_hold_that_nobody_ends_is_aborted(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_HELD, EVENT_HOLD_EXPIRED), DEPLOYMENT_ABORTED);
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
    assert_row(row, DEPLOYMENT_DRAINING, MOVE_LIVE, EFFECT_SWAP, EFFECT_STOP);
    assert_int_equal(row->effects[2], EFFECT_DRAIN);
}

static void an_instance_that_does_not_accept_once_more_rejects(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_CONFIRMING, EVENT_UNCONFIRMED), DEPLOYMENT_REJECTED);
}

static void abort_wins_until_the_swap_is_decided(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_CONFIRMING, EVENT_ABORTED), DEPLOYMENT_ABORTED);
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

/* ---- canaries ---- */

static void a_canary_takes_its_first_share_instead_of_going_live(void **state)
{
    (void)state;
    const struct transition *row = table_find(DEPLOYMENT_CONFIRMING, EVENT_CONFIRMED, &canary);
    assert_row(row, DEPLOYMENT_CANARY, MOVE_SHARE, EFFECT_PUBLISH, EFFECT_STOP);
    assert_int_equal(row->effects[2], EFFECT_STEP);
}

static void each_step_and_each_promote_gives_a_canary_its_next_share(void **state)
{
    (void)state;
    static const enum deployment_event events[] = {EVENT_STEPPED, EVENT_PROMOTED};
    for (size_t i = 0; i < 2; i++) {
        assert_row(table_find(DEPLOYMENT_CANARY, events[i], &canary), DEPLOYMENT_CANARY, MOVE_SHARE,
                   EFFECT_PUBLISH, EFFECT_STOP);
        assert_row(go(DEPLOYMENT_CANARY, events[i]), DEPLOYMENT_CANARY_CONFIRMING, MOVE_NONE, EFFECT_STOP,
                   EFFECT_CONFIRM);
    }
}

static void a_canary_that_does_not_do_well_is_rolled_back_or_waits(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_CANARY, EVENT_WATCH_FAILED), DEPLOYMENT_ROLLED_BACK);
    assert_row(go(DEPLOYMENT_CANARY, EVENT_DOUBTED), DEPLOYMENT_CANARY_DOUBTED, MOVE_NONE, EFFECT_STOP,
               EFFECT_NONE);
    assert_row(table_find(DEPLOYMENT_CANARY_DOUBTED, EVENT_PROMOTED, &canary), DEPLOYMENT_CANARY, MOVE_SHARE,
               EFFECT_PUBLISH, EFFECT_STOP);
    assert_row(go(DEPLOYMENT_CANARY_DOUBTED, EVENT_PROMOTED), DEPLOYMENT_CANARY_CONFIRMING, MOVE_NONE,
               EFFECT_STOP, EFFECT_CONFIRM);
}

static void a_canary_can_be_given_up_at_any_time(void **state)
{
    (void)state;
    static const enum deployment_state states[] = {DEPLOYMENT_CANARY, DEPLOYMENT_CANARY_DOUBTED,
                                                   DEPLOYMENT_CANARY_CONFIRMING};
    for (size_t i = 0; i < 3; i++) {
        assert_given_up(go(states[i], EVENT_ABORTED), DEPLOYMENT_ABORTED);
        assert_given_up(go(states[i], EVENT_ROLLED_BACK), DEPLOYMENT_ROLLED_BACK);
    }
}

static void an_instance_that_is_gone_when_a_canary_is_to_go_live_rolls_it_back(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_CANARY_CONFIRMING, EVENT_UNCONFIRMED), DEPLOYMENT_ROLLED_BACK);
}

static void the_last_step_of_a_canary_is_the_swap(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_CANARY_CONFIRMING, EVENT_CONFIRMED), DEPLOYMENT_DRAINING, MOVE_LIVE, EFFECT_SWAP,
               EFFECT_STOP);
    assert_row(table_find(DEPLOYMENT_CANARY_CONFIRMING, EVENT_CONFIRMED, &watched), DEPLOYMENT_WATCHING,
               MOVE_ARM, EFFECT_SWAP, EFFECT_STOP);
}

static void a_canary_keeps_its_share_over_a_restart(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_CANARY, EVENT_RESTARTED), DEPLOYMENT_CANARY, MOVE_NONE, EFFECT_STEP,
               EFFECT_NONE);
    assert_row(go(DEPLOYMENT_CANARY_DOUBTED, EVENT_RESTARTED), DEPLOYMENT_CANARY_DOUBTED, MOVE_NONE,
               EFFECT_NONE, EFFECT_NONE);
    assert_row(go(DEPLOYMENT_CANARY_CONFIRMING, EVENT_RESTARTED), DEPLOYMENT_CANARY_CONFIRMING, MOVE_NONE,
               EFFECT_CONFIRM, EFFECT_NONE);
}

/* ---- watches ---- */

static void with_a_watch_the_old_pool_is_armed(void **state)
{
    (void)state;
    const struct transition *row = table_find(DEPLOYMENT_CONFIRMING, EVENT_CONFIRMED, &watched);
    assert_row(row, DEPLOYMENT_WATCHING, MOVE_ARM, EFFECT_SWAP, EFFECT_STOP);
    assert_int_equal(row->effects[2], EFFECT_WATCH);
}

static void a_watch_that_passes_or_is_ended_by_hand_lets_the_armed_pool_go(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_WATCHING, EVENT_WATCH_PASSED), DEPLOYMENT_DRAINING, MOVE_RELEASE, EFFECT_PUBLISH,
               EFFECT_STOP);
    assert_row(go(DEPLOYMENT_WATCHING, EVENT_PROMOTED), DEPLOYMENT_DRAINING, MOVE_RELEASE, EFFECT_PUBLISH,
               EFFECT_STOP);
    assert_row(go(DEPLOYMENT_DOUBTED, EVENT_PROMOTED), DEPLOYMENT_DRAINING, MOVE_RELEASE, EFFECT_PUBLISH,
               EFFECT_STOP);
}

static void a_watch_that_has_failed_and_may_do_nothing_ends_without_having_passed(void **state)
{
    (void)state;
    const struct transition *row = go(DEPLOYMENT_WATCHING, EVENT_WATCH_OVER);
    assert_row(row, DEPLOYMENT_DRAINING, MOVE_RELEASE, EFFECT_PUBLISH, EFFECT_STOP);
    assert_null(row->announce[0]);
}

static void a_watch_that_fails_swaps_back_or_waits(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_WATCHING, EVENT_WATCH_FAILED), DEPLOYMENT_ROLLED_BACK, MOVE_BACK_OUT,
               EFFECT_SWAP, EFFECT_STOP);
    assert_row(go(DEPLOYMENT_WATCHING, EVENT_DOUBTED), DEPLOYMENT_DOUBTED, MOVE_NONE, EFFECT_STOP,
               EFFECT_NONE);
}

static void a_watch_that_fails_and_may_do_nothing_goes_on(void **state)
{
    (void)state;
    static const enum deployment_state states[] = {DEPLOYMENT_WATCHING, DEPLOYMENT_CANARY};
    for (size_t i = 0; i < 2; i++) {
        const struct transition *row = go(states[i], EVENT_FLAWED);
        assert_row(row, states[i], MOVE_NONE, EFFECT_NONE, EFFECT_NONE);
        assert_string_equal(row->announce[0], "watch.failed");
    }
}

static void a_watched_deployment_can_be_rolled_back_by_hand(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_WATCHING, EVENT_ROLLED_BACK), DEPLOYMENT_ROLLED_BACK, MOVE_BACK_OUT, EFFECT_SWAP,
               EFFECT_STOP);
    assert_row(go(DEPLOYMENT_DOUBTED, EVENT_ROLLED_BACK), DEPLOYMENT_ROLLED_BACK, MOVE_BACK_OUT, EFFECT_SWAP,
               EFFECT_STOP);
}

static void a_watch_goes_on_after_a_restart(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_WATCHING, EVENT_RESTARTED), DEPLOYMENT_WATCHING, MOVE_NONE, EFFECT_WATCH,
               EFFECT_NONE);
    assert_row(go(DEPLOYMENT_DOUBTED, EVENT_RESTARTED), DEPLOYMENT_DOUBTED, MOVE_NONE, EFFECT_NONE,
               EFFECT_NONE);
}

static void a_launch_that_went_well_awaits_its_instances(void **state)
{
    (void)state;
    assert_row(go(DEPLOYMENT_LAUNCHING, EVENT_LAUNCHED), DEPLOYMENT_STAGED, MOVE_NONE, EFFECT_STOP,
               EFFECT_AWAIT);
}

static void a_launch_that_failed_rejects(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_LAUNCHING, EVENT_LAUNCH_FAILED), DEPLOYMENT_REJECTED);
}

static void a_launch_can_be_aborted(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_LAUNCHING, EVENT_ABORTED), DEPLOYMENT_ABORTED);
}

static void a_launch_that_a_restart_cut_short_is_rejected(void **state)
{
    (void)state;
    assert_given_up(go(DEPLOYMENT_LAUNCHING, EVENT_RESTARTED), DEPLOYMENT_REJECTED);
}

/* The tests above name every pair that has a row; all others must have none. */
static void every_other_pair_is_refused(void **state)
{
    (void)state;
    static const unsigned allowed[DEPLOYMENT_STATES] = {
        [DEPLOYMENT_STAGED] =
            1U << EVENT_READY | 1U << EVENT_NOT_READY | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_LAUNCHING] =
            1U << EVENT_LAUNCHED | 1U << EVENT_LAUNCH_FAILED | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_TESTING] =
            1U << EVENT_GATE_PASSED | 1U << EVENT_GATE_FAILED | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_SHADOWING] = 1U << EVENT_SHADOW_PASSED | 1U << EVENT_SHADOW_FAILED | 1U << EVENT_ABORTED |
                                 1U << EVENT_RESTARTED,
        [DEPLOYMENT_CONFIRMING] =
            1U << EVENT_CONFIRMED | 1U << EVENT_UNCONFIRMED | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_HELD] =
            1U << EVENT_PROMOTED | 1U << EVENT_ABORTED | 1U << EVENT_HOLD_EXPIRED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_CANARY] = 1U << EVENT_STEPPED | 1U << EVENT_PROMOTED | 1U << EVENT_WATCH_FAILED |
                              1U << EVENT_DOUBTED | 1U << EVENT_FLAWED | 1U << EVENT_ROLLED_BACK |
                              1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_CANARY_DOUBTED] =
            1U << EVENT_PROMOTED | 1U << EVENT_ROLLED_BACK | 1U << EVENT_ABORTED | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_CANARY_CONFIRMING] = 1U << EVENT_CONFIRMED | 1U << EVENT_UNCONFIRMED |
                                         1U << EVENT_ROLLED_BACK | 1U << EVENT_ABORTED |
                                         1U << EVENT_RESTARTED,
        [DEPLOYMENT_PAUSING] = 1U << EVENT_COMMAND_DONE | 1U << EVENT_COMMAND_FAILED | 1U << EVENT_ABORTED |
                               1U << EVENT_RESTARTED,
        [DEPLOYMENT_WATCHING] = 1U << EVENT_WATCH_PASSED | 1U << EVENT_WATCH_OVER | 1U << EVENT_PROMOTED |
                                1U << EVENT_WATCH_FAILED | 1U << EVENT_DOUBTED | 1U << EVENT_FLAWED |
                                1U << EVENT_ROLLED_BACK | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_DOUBTED] = 1U << EVENT_PROMOTED | 1U << EVENT_ROLLED_BACK | 1U << EVENT_RESTARTED,
        [DEPLOYMENT_DRAINING] = 1U << EVENT_OLD_RETIRED,
    };
    /* While a share is left there is nothing to confirm once more, and a shadow that is to come has not
     * passed. */
    for (unsigned from = 0; from < DEPLOYMENT_STATES; from++) {
        for (unsigned event = 0; event < DEPLOYMENT_EVENTS; event++) {
            for (unsigned facts = 0; facts < 32; facts++) {
                struct deployment_facts given = {(facts & 1) != 0, (facts & 2) != 0, (facts & 4) != 0,
                                                 (facts & 8) != 0, (facts & 16) != 0};
                bool found =
                    table_find((enum deployment_state)from, (enum deployment_event)event, &given) != NULL;
                bool is_odd =
                    (from == DEPLOYMENT_CANARY_CONFIRMING && event == EVENT_CONFIRMED && given.canary) ||
                    (from == DEPLOYMENT_SHADOWING && event == EVENT_SHADOW_PASSED && given.shadow);
                assert_int_equal(found, !is_odd && (allowed[from] >> event & 1));
            }
        }
    }
}

static void no_two_rows_hold_at_once(void **state)
{
    (void)state;
    size_t count;
    const struct transition *rows = table_rows(&count);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            bool same = rows[i].from == rows[k].from && rows[i].event == rows[k].event;
            assert_false(same && (rows[i].condition == rows[k].condition || rows[k].condition == ALWAYS ||
                                  rows[i].condition == ALWAYS));
        }
    }
}

static void a_pool_goes_live_by_a_confirmation_or_a_rollback_only(void **state)
{
    (void)state;
    size_t count;
    const struct transition *rows = table_rows(&count);
    for (size_t i = 0; i < count; i++) {
        enum pool_move move = rows[i].pool;
        bool swaps = move == MOVE_LIVE || move == MOVE_ARM;
        if (swaps)
            assert_int_equal(rows[i].event, EVENT_CONFIRMED);
        assert_int_equal(rows[i].effects[0] == EFFECT_SWAP, swaps || move == MOVE_BACK_OUT);
        /* Whoever gets or loses clients does so with a world of its own, and first. */
        bool moves =
            swaps || move == MOVE_SHARE || move == MOVE_RELEASE || move == MOVE_BACK_OUT || move == MOVE_OUT;
        assert_int_equal(transition_publishes(&rows[i]), moves);
        assert_true(!moves || rows[i].effects[0] == EFFECT_SWAP || rows[i].effects[0] == EFFECT_PUBLISH);
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
    assert_string_equal(deployment_state_shown(DEPLOYMENT_CANARY_CONFIRMING), "canary");
    assert_string_equal(deployment_state_shown(DEPLOYMENT_CANARY_DOUBTED), "canary");
    assert_string_equal(deployment_state_shown(DEPLOYMENT_DOUBTED), "watching");
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
        cmocka_unit_test(one_with_a_command_pauses_its_service_before_the_gate),
        cmocka_unit_test(a_command_is_never_run_twice),
        cmocka_unit_test(a_staged_deployment_whose_instances_never_listen_is_rejected),
        cmocka_unit_test(a_staged_deployment_can_be_aborted),
        cmocka_unit_test(a_staged_deployment_awaits_its_instances_anew_after_a_restart),
        cmocka_unit_test(a_passed_gate_without_hold_asks_every_instance_once_more),
        cmocka_unit_test(a_passed_gate_with_hold_waits_for_promote),
        cmocka_unit_test(a_failed_gate_rejects),
        cmocka_unit_test(a_running_gate_can_be_aborted),
        cmocka_unit_test(a_gate_that_a_restart_cut_short_begins_anew),
        cmocka_unit_test(a_passed_suite_is_followed_by_copies_of_live_requests),
        cmocka_unit_test(a_passed_shadow_ends_the_gate_and_the_copies),
        cmocka_unit_test(a_failed_shadow_rejects),
        cmocka_unit_test(a_shadow_can_be_aborted),
        cmocka_unit_test(the_whole_gate_begins_anew_when_a_restart_cut_the_shadow_short),
        cmocka_unit_test(promote_asks_every_instance_once_more),
        cmocka_unit_test(a_held_deployment_can_be_aborted),
        cmocka_unit_test(a_hold_that_nobody_ends_is_aborted),
        cmocka_unit_test(a_held_deployment_stays_held_over_a_restart),
        cmocka_unit_test(a_confirmed_deployment_goes_live_and_the_old_pool_drains),
        cmocka_unit_test(an_instance_that_does_not_accept_once_more_rejects),
        cmocka_unit_test(abort_wins_until_the_swap_is_decided),
        cmocka_unit_test(a_recorded_pass_is_confirmed_anew_after_a_restart),
        cmocka_unit_test(a_deployment_is_done_when_the_old_pool_is_retired),
        cmocka_unit_test(a_canary_takes_its_first_share_instead_of_going_live),
        cmocka_unit_test(each_step_and_each_promote_gives_a_canary_its_next_share),
        cmocka_unit_test(a_canary_that_does_not_do_well_is_rolled_back_or_waits),
        cmocka_unit_test(a_canary_can_be_given_up_at_any_time),
        cmocka_unit_test(an_instance_that_is_gone_when_a_canary_is_to_go_live_rolls_it_back),
        cmocka_unit_test(the_last_step_of_a_canary_is_the_swap),
        cmocka_unit_test(a_canary_keeps_its_share_over_a_restart),
        cmocka_unit_test(with_a_watch_the_old_pool_is_armed),
        cmocka_unit_test(a_watch_that_passes_or_is_ended_by_hand_lets_the_armed_pool_go),
        cmocka_unit_test(a_watch_that_has_failed_and_may_do_nothing_ends_without_having_passed),
        cmocka_unit_test(a_watch_that_fails_swaps_back_or_waits),
        cmocka_unit_test(a_watch_that_fails_and_may_do_nothing_goes_on),
        cmocka_unit_test(a_watched_deployment_can_be_rolled_back_by_hand),
        cmocka_unit_test(a_watch_goes_on_after_a_restart),
        cmocka_unit_test(a_launch_that_went_well_awaits_its_instances),
        cmocka_unit_test(a_launch_that_failed_rejects),
        cmocka_unit_test(a_launch_can_be_aborted),
        cmocka_unit_test(a_launch_that_a_restart_cut_short_is_rejected),
        cmocka_unit_test(every_other_pair_is_refused),
        cmocka_unit_test(no_two_rows_hold_at_once),
        cmocka_unit_test(a_pool_goes_live_by_a_confirmation_or_a_rollback_only),
        cmocka_unit_test(names_lead_back_to_states_and_events),
        cmocka_unit_test(a_deployment_runs_or_has_swapped_or_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
