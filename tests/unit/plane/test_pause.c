#include "plane/pause.h"

#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

#define SLOT 3
#define WORKERS 2
#define PLACES 400

static struct loop *loop;
static struct counters *counters;
static struct pause pause_of[WORKERS];
static struct pause_place places[PLACES];
static unsigned gone; /* places that were let go, in the order in which they came */

static void go(struct pause_place *place)
{
    assert_false(pause_is_waiting(place));
    if (gone < PLACES && place == &places[gone])
        gone++;
    else
        fail_msg("place %d goes before place %u", (int)(place - places), gone);
}

static int begin(void **state)
{
    (void)state;
    struct err err;
    loop = loop_new();
    int fd = counters_create(WORKERS, &err);
    counters = counters_map(fd, &err);
    close(fd);
    for (unsigned i = 0; i < WORKERS; i++)
        pause_init(&pause_of[i], loop, counters, i, go);
    memset(places, 0, sizeof places);
    gone = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        if (pause_is_waiting(&places[i]))
            pause_leave(&places[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pause_release(&pause_of[i]);
    loop_free(loop);
    counters_unmap(counters);
    return 0;
}

static void stop_loop(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

static void turn(uint64_t ms)
{
    struct deadline stop;
    deadline_init(&stop, loop, stop_loop);
    deadline_set(&stop, ms);
    loop_run(loop);
    deadline_clear(&stop);
}

/* Rules of a service that is paused for so long, by the traffic of so many requests a second. */
static struct snapshot_rules paused(uint64_t ms, uint32_t rate)
{
    return (struct snapshot_rules){.mode = SNAPSHOT_PAUSED,
                                   .pause = {.until_ms = clock_mono_ms() + ms,
                                             .bytes_most = 1000,
                                             .most = PLACES,
                                             .rate = rate * 1000,
                                             .slot = SLOT}};
}

/* The world says this of the service; NULL: it has none. */
static void tell(const struct snapshot_rules *rules)
{
    static const char *const paths[] = {"/"};
    struct snapshot_service_spec service = {
        .name = "web", .paths = paths, .path_count = 1, .live = SNAPSHOT_NONE};
    struct err err;
    size_t size;
    if (rules != NULL)
        service.rules = *rules;
    else
        service.name = "other";
    struct snapshot_spec spec = {.version = 1, .services = &service, .service_count = 1};
    void *image = snapshot_freeze(&spec, &size, &err);
    assert_non_null(image);
    for (unsigned i = 0; i < WORKERS; i++)
        pause_turn(&pause_of[i], snapshot_open(image, size, &err));
    free(image);
}

static bool join(unsigned worker, const struct snapshot_rules *rules, unsigned place, uint32_t bytes)
{
    return pause_join(&pause_of[worker], STR("web"), rules, &places[place], bytes);
}

static uint64_t waiting(void)
{
    return counters_pause_sum(counters, SLOT).waiting;
}

static const struct snapshot_rules serving;

static void who_waits_goes_in_order_after_the_resume_and_newcomers_behind(void **state)
{
    (void)state;
    struct snapshot_rules rules = paused(60000, 1000);
    tell(&rules);
    for (unsigned i = 0; i < 5; i++)
        assert_true(join(0, &rules, i, 1));
    turn(60);
    assert_int_equal(gone, 0);
    assert_int_equal(waiting(), 5);
    tell(&serving);
    assert_true(pause_holds(&pause_of[0], STR("web"), &serving));
    assert_true(pause_holds(&pause_of[1], STR("web"), &serving)); /* the other worker's newcomers wait too */
    assert_true(join(0, &serving, 5, 1));
    turn(200);
    assert_int_equal(gone, 6);
    assert_false(pause_holds(&pause_of[0], STR("web"), &serving));
    assert_false(pause_is_used(&pause_of[0]) || pause_is_used(&pause_of[1]));
}

static void they_go_when_the_time_is_over_without_any_word(void **state)
{
    (void)state;
    struct snapshot_rules rules = paused(100, 1000);
    tell(&rules);
    assert_true(join(0, &rules, 0, 1));
    turn(60);
    assert_int_equal(gone, 0);
    turn(300);
    assert_int_equal(gone, 1);
    assert_false(pause_holds(&pause_of[0], STR("web"), &rules));
}

static void a_pause_that_is_told_of_anew_lasts_longer(void **state)
{
    (void)state;
    struct snapshot_rules rules = paused(50, 1000);
    tell(&rules);
    assert_true(join(0, &rules, 0, 1));
    rules = paused(60000, 1000);
    tell(&rules);
    turn(200);
    assert_int_equal(gone, 0);
    tell(&serving);
    turn(100);
    assert_int_equal(gone, 1);
}

static void a_line_is_let_go_at_less_than_twice_the_rate(void **state)
{
    (void)state;
    struct snapshot_rules rules = paused(60000, 200);
    tell(&rules);
    turn(1000);
    for (unsigned i = 0; i < PLACES / 2; i++)
        assert_true(join(0, &rules, i, 0));
    tell(&serving);
    uint64_t from_ms = clock_mono_ms();
    turn(400);
    uint64_t most = (clock_mono_ms() - from_ms) * 400 / 1000;
    assert_in_range(gone, 1, most);
}

static void so_many_and_so_many_bytes_wait_over_all_workers(void **state)
{
    (void)state;
    struct snapshot_rules rules = paused(60000, 0);
    rules.pause.most = 3;
    tell(&rules);
    assert_true(join(0, &rules, 0, 400));
    assert_true(join(1, &rules, 1, 400));
    assert_false(join(1, &rules, 2, 400));
    assert_true(join(0, &rules, 2, 200));
    assert_false(join(1, &rules, 3, 0));
    pause_leave(&places[0]);
    assert_true(join(1, &rules, 3, 400));
    assert_int_equal(counters_pause_sum(counters, SLOT).bytes, 1000);
}

static void a_service_that_is_gone_or_in_maintenance_lets_all_go_at_once(void **state)
{
    (void)state;
    struct snapshot_rules rules = paused(60000, 1);
    const struct snapshot_rules *after[] = {NULL, &(struct snapshot_rules){.mode = SNAPSHOT_MAINTENANCE}};
    for (unsigned i = 0; i < 2; i++) {
        tell(&rules);
        gone = 0;
        for (unsigned k = 0; k < 50; k++)
            assert_true(join(0, &rules, k, 1));
        tell(after[i]);
        assert_int_equal(gone, 50);
        turn(60);
    }
}

static void another_slot_takes_what_waits_with_it(void **state)
{
    (void)state;
    struct snapshot_rules rules = paused(60000, 1);
    tell(&rules);
    assert_true(join(0, &rules, 0, 7));
    rules.pause.slot = SLOT + 1;
    tell(&rules);
    assert_int_equal(waiting(), 0);
    assert_int_equal(counters_pause_sum(counters, SLOT + 1).waiting, 1);
    assert_int_equal(counters_pause_sum(counters, SLOT + 1).bytes, 7);
}

static void the_pace_is_below_twice_the_rate_and_has_an_end(void **state)
{
    (void)state;
    assert_in_range(pause_pace(500000, 2500, 5000, 0), 800000, 999999);
    assert_in_range(pause_pace(0, 2500, 5000, 0), 800000, 999999); /* by what came together */
    assert_in_range(pause_pace(500000, 50, 5000, 0), 800000,
                    999999); /* clients that wait ask for nothing new */
    assert_int_equal(pause_pace(0, 0, 5000, 0), 20000);
    assert_int_equal(pause_pace(100000, 0, 5000, 19999), 180000);
    assert_int_equal(pause_pace(100000, 0, 5000, 20000), 360000);
    assert_int_equal(pause_pace(100000, 0, 5000, 30000), 720000);
    assert_in_range(pause_pace(UINT32_MAX, UINT32_MAX, 0, UINT64_MAX / 2), 1, 10000000000ULL);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(who_waits_goes_in_order_after_the_resume_and_newcomers_behind),
        EACH(they_go_when_the_time_is_over_without_any_word),
        EACH(a_pause_that_is_told_of_anew_lasts_longer),
        EACH(a_line_is_let_go_at_less_than_twice_the_rate),
        EACH(so_many_and_so_many_bytes_wait_over_all_workers),
        EACH(a_service_that_is_gone_or_in_maintenance_lets_all_go_at_once),
        EACH(another_slot_takes_what_waits_with_it),
        cmocka_unit_test(the_pace_is_below_twice_the_rate_and_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
