#include "plane/exchange.h"

#include "plane/worker.h"
#include "unit.h"

#define TURN (256 * 1024) /* bytes that a splice moves before others have their turn */

static unsigned deferred_runs;

static void count_run(struct loop_deferred *deferred)
{
    (void)deferred;
    deferred_runs++;
}

/* May it go on at once? *later: does it go on after this turn? */
static bool goes_on(ssize_t count, bool done, bool *later)
{
    static struct worker worker;
    static struct exchange exchange;
    const struct relay relay = {.done = done};
    worker.loop = loop_new();
    exchange = (struct exchange){.worker = &worker, .running.run = count_run};
    deferred_runs = 0;
    bool on = exchange_splices_on(&exchange, &relay, count);
    loop_free(worker.loop); /* runs what was deferred */
    *later = deferred_runs == 1;
    return on;
}

static void a_long_splice_goes_on_after_the_others_and_a_short_or_last_one_at_once(void **state)
{
    (void)state;
    static const struct {
        ssize_t count;
        bool done, on, later;
    } rows[] = {
        {-1, false, true, false},   {0, false, true, false},        {TURN - 1, false, true, false},
        {TURN, false, false, true}, {4 * TURN, false, false, true}, {4 * TURN, true, true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool later;
        assert_int_equal(goes_on(rows[i].count, rows[i].done, &later), rows[i].on);
        assert_int_equal(later, rows[i].later);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_splice_goes_on_after_the_others_and_a_short_or_last_one_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
