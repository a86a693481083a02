/* A plan strikes once, where it says, in the life that it names; without fault points there is nothing. */
#include "base/fault.h"

#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef FAULT_POINTS

/* Runs the function in a process of its own, under this plan; its wait status. */
static int in_child(const char *plan, unsigned lives, void (*run)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("UPSWAP_FAULTS", plan, 1);
        for (unsigned i = 0; i < lives; i++)
            fault_birth("test");
        fault_role("test");
        run();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Exits with the number of the first passing of four that fails; 0: none. */
static void pass_four_times(void)
{
    for (int i = 1; i <= 4; i++) {
        if (FAULTY("test.call", EDQUOT, 7) == -1)
            _exit(errno == EDQUOT ? i : 99);
    }
}

static void the_planned_passing_fails_and_no_other(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(in_child("test.1/test.call:3", 1, pass_four_times)), 3);
    assert_int_equal(WEXITSTATUS(in_child("other.1/test.call:1 test.1/test.call:2", 1, pass_four_times)), 2);
    assert_int_equal(WEXITSTATUS(in_child("test.1/test.call:31", 1, pass_four_times)), 0);
    assert_int_equal(WEXITSTATUS(in_child("", 1, pass_four_times)), 0);
}

static void another_life_is_not_struck(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(in_child("test.1/test.call:3", 2, pass_four_times)), 0);
    assert_int_equal(WEXITSTATUS(in_child("test.2/test.call:3", 2, pass_four_times)), 3);
}

static void die_at_a_detail(void)
{
    fault_die("test.point", "other");
    fault_die("test.point", "of two words");
    _exit(1);
}

static void a_point_is_its_detail_too(void **state)
{
    (void)state;
    int status = in_child("test.1/test.point.of-two-words:1", 1, die_at_a_detail);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = in_child("test.1/test.point.of-two-words:2", 1, die_at_a_detail);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void pass_in_children(void)
{
    int status = 0, number = 0;
    while (number < 4 && WEXITSTATUS(status) == 0) {
        number++;
        if (fork() == 0)
            _exit(FAULTY("test.call", EIO, 0) == -1);
        wait(&status);
    }
    _exit(number);
}

static void forked_children_count_together(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(in_child("test.1/test.call:3", 1, pass_in_children)), 3);
}

/* What counts has a lock; somewhere in these the child has it. */
static void count_on_beside_killed_children(void)
{
    alarm(20);
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        while (child == 0)
            fault_die("test.point", NULL);
        usleep(500);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        fault_die("test.other", NULL);
    }
    _exit(0);
}

static void a_child_that_is_killed_while_it_counts_holds_nobody_up(void **state)
{
    (void)state;
    assert_int_equal(in_child("test.1/test.call:1", 1, count_on_beside_killed_children), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_planned_passing_fails_and_no_other),
        cmocka_unit_test(another_life_is_not_struck),
        cmocka_unit_test(a_point_is_its_detail_too),
        cmocka_unit_test(forked_children_count_together),
        cmocka_unit_test(a_child_that_is_killed_while_it_counts_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void without_fault_points_nothing_fails(void **state)
{
    (void)state;
    _Static_assert(!fault_fails("test.call", EIO), "a constant");
    assert_int_equal(FAULTY("test.call", EIO, 7), 7);
    fault_die("test.point", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_fault_points_nothing_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
