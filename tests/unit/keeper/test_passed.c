#include "keeper/passed.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST 3

static struct store *store;

static void environment(const char *pid, const char *count, const char *names)
{
    char own[16];
    snprintf(own, sizeof own, "%d", (int)getpid());
    setenv("LISTEN_PID", pid == NULL ? own : pid, 1);
    setenv("LISTEN_FDS", count, 1);
    names == NULL ? unsetenv("LISTEN_FDNAMES") : setenv("LISTEN_FDNAMES", names, 1);
}

/* Nothing of it may come to what is started later, nor be taken twice. */
static void assert_environment_is_clean(void)
{
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
}

/* The first `count` descriptors are open, those after them are not. */
static int set_up(void **state)
{
    (void)state;
    store = store_new();
    for (int fd = FIRST; fd < FIRST + 8; fd++)
        close(fd);
    for (int i = 0; i < 2; i++)
        assert_int_equal(open("/dev/null", O_RDONLY), FIRST + i);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_free(store);
    return 0;
}

static void they_are_stored_with_their_names_and_closed_by_an_exec(void **state)
{
    struct err err;
    (void)state;
    environment(NULL, "2", "web.socket:api.socket");
    assert_true(passed_take(store, &err));
    assert_int_equal(store_get(store, "passed 0 web.socket"), FIRST);
    assert_int_equal(store_get(store, "passed 1 api.socket"), FIRST + 1);
    assert_int_equal(fcntl(FIRST, F_GETFD), FD_CLOEXEC);
    assert_environment_is_clean();
}

static void names_may_be_missing(void **state)
{
    struct err err;
    (void)state;
    environment(NULL, "2", "web.socket");
    assert_true(passed_take(store, &err));
    assert_int_equal(store_get(store, "passed 0 web.socket"), FIRST);
    assert_int_equal(store_get(store, "passed 1 "), FIRST + 1);
}

static void what_is_for_another_process_is_left_alone(void **state)
{
    static const char *const pids[] = {"1", "", "no number", "18446744073709551616"};
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++) {
        environment(pids[i], "2", NULL);
        assert_true(passed_take(store, &err));
        assert_int_equal(store_count(store), 0);
        assert_environment_is_clean();
    }
}

static void nothing_passed_is_nothing_taken(void **state)
{
    struct err err;
    (void)state;
    unsetenv("LISTEN_PID");
    assert_true(passed_take(store, &err));
    assert_int_equal(store_count(store), 0);
}

static void a_promise_of_what_is_not_there_is_refused(void **state)
{
    static const char *const counts[] = {"3", "many", "-1", "18446744073709551615"};
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        environment(NULL, counts[i], NULL);
        assert_false(passed_take(store, &err));
        assert_non_null(strstr(err.text, "LISTEN_FDS"));
        assert_environment_is_clean();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(they_are_stored_with_their_names_and_closed_by_an_exec),
        TEST(names_may_be_missing),
        TEST(what_is_for_another_process_is_left_alone),
        TEST(nothing_passed_is_nothing_taken),
        TEST(a_promise_of_what_is_not_there_is_refused),
    };
    return cmocka_run_group_tests_name("passed", tests, NULL, NULL);
}
