/* The wall clock may be set; here the steady one is told another amount instead, which is the same seen from
 * the other side. */
#include "base/clock.h"
#include "base/fault.h"

#include "unit.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000000LL
#define HOUR (3600 * 1000 * MS)

/* The wall clock is set by so much, and nothing else happens. */
static void set_wall(int64_t by_ns)
{
    clock_steady_set(clock_steady_ahead_ns() - (uint64_t)by_ns);
}

static void the_steady_clock_begins_with_the_wall_clock_and_goes_on(void **state)
{
    (void)state;
    uint64_t wall_ns = clock_wall_ns(), steady_ns = clock_steady_ns();
    assert_in_range(steady_ns, wall_ns - 1000 * MS, wall_ns + 1000 * MS);
    uint64_t ahead_ns = clock_steady_ahead_ns();
    assert_int_equal(clock_set_by_ns(), 0);
    assert_true(clock_steady_ns() >= steady_ns);
    assert_int_equal(clock_steady_ahead_ns(), ahead_ns);
}

static void what_it_is_told_stands_for_another_process(void **state)
{
    (void)state;
    uint64_t before_ns = clock_mono_ns();
    clock_steady_set(5 * HOUR);
    assert_int_equal(clock_steady_ahead_ns(), 5 * HOUR);
    uint64_t steady_ns = clock_steady_ns();
    assert_in_range(steady_ns, before_ns + 5 * HOUR, clock_mono_ns() + 5 * HOUR);
}

static void that_the_wall_clock_was_set_is_seen_in_both_directions(void **state)
{
    (void)state;
    int64_t before_ns = clock_set_by_ns();
    set_wall(HOUR);
    assert_in_range(clock_set_by_ns() - before_ns, HOUR - 100 * MS, HOUR + 100 * MS);
    set_wall(-3 * HOUR);
    assert_in_range(before_ns - clock_set_by_ns(), 2 * HOUR - 100 * MS, 2 * HOUR + 100 * MS);
    assert_int_equal(clock_set_by_ns() % MS, 0);
}

/* Else what is told of one moment would tremble. */
static void small_differences_are_none_until_they_add_up(void **state)
{
    (void)state;
    clock_steady_set(clock_wall_ns() - clock_mono_ns() - HOUR);
    int64_t first_ns = clock_set_by_ns();
    for (unsigned i = 0; i < 50; i++) {
        set_wall(i % 2 == 0 ? 20 * MS : -20 * MS);
        assert_int_equal(clock_set_by_ns(), first_ns);
    }
    for (unsigned i = 0; i < 8; i++)
        set_wall(20 * MS);
    assert_in_range(clock_set_by_ns() - first_ns, 60 * MS, 260 * MS);
}

#ifdef FAULT_POINTS

static int days_of(int64_t ns)
{
    return (int)((ns + (ns < 0 ? -HOUR : HOUR)) / (24 * HOUR));
}

/* Exits with 0 where only the wall clock was set: a day forward, then two back. */
static void set_in_this_process(void)
{
    int64_t start_ns = (int64_t)clock_wall_ns();
    uint64_t ahead_ns = clock_steady_ahead_ns();
    const int days[] = {0, 1, 0, -1};
    for (unsigned i = 0; i < 4; i++) {
        if (days_of((int64_t)clock_wall_ns() - start_ns) != days[i] || days_of(clock_set_by_ns()) != days[i])
            _exit(1 + (int)i);
        clock_may_be_set();
    }
    _exit(clock_steady_ahead_ns() == ahead_ns ? 0 : 9);
}

static void a_test_sets_the_wall_clock_alone(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        clock_steady_set(clock_wall_ns() - clock_mono_ns());
        setenv("UPSWAP_FAULTS", "test.1/clock.forward:1 test.1/clock.back:2 test.1/clock.back:3", 1);
        fault_birth("test");
        fault_role("test");
        set_in_this_process();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_steady_clock_begins_with_the_wall_clock_and_goes_on),
        cmocka_unit_test(what_it_is_told_stands_for_another_process),
        cmocka_unit_test(that_the_wall_clock_was_set_is_seen_in_both_directions),
        cmocka_unit_test(small_differences_are_none_until_they_add_up),
#ifdef FAULT_POINTS
        cmocka_unit_test(a_test_sets_the_wall_clock_alone),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
