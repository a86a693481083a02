#include "keeper/store.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int any_fd(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

struct seen {
    const char *names[4];
    int fds[4];
    size_t count;
};

static void collect(void *arg, const char *name, int fd)
{
    struct seen *seen = arg;
    seen->names[seen->count] = name;
    seen->fds[seen->count++] = fd;
}

static void what_is_put_is_listed_in_order(void **state)
{
    (void)state;
    struct store *store = store_new();
    int a = any_fd(), b = any_fd();
    struct seen seen = {.count = 0};
    store_put(store, "a", a);
    store_put(store, "b", b);
    assert_int_equal(store_count(store), 2);
    store_each(store, collect, &seen);
    assert_string_equal(seen.names[0], "a");
    assert_int_equal(seen.fds[0], a);
    assert_string_equal(seen.names[1], "b");
    assert_int_equal(seen.fds[1], b);
    store_free(store);
}

static void a_name_put_again_closes_the_old_descriptor(void **state)
{
    (void)state;
    struct store *store = store_new();
    int old = any_fd(), new = any_fd();
    store_put(store, "a", old);
    store_put(store, "a", new);
    assert_int_equal(store_count(store), 1);
    assert_false(is_open(old));
    assert_true(is_open(new));
    store_free(store);
}

static void dropping_and_freeing_close(void **state)
{
    (void)state;
    struct store *store = store_new();
    int a = any_fd(), b = any_fd();
    store_put(store, "a", a);
    store_put(store, "b", b);
    store_drop(store, "a");
    store_drop(store, "never there");
    assert_false(is_open(a));
    assert_int_equal(store_count(store), 1);
    store_free(store);
    assert_false(is_open(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_listed_in_order),
        cmocka_unit_test(a_name_put_again_closes_the_old_descriptor),
        cmocka_unit_test(dropping_and_freeing_close),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
