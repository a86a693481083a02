#include "keeper/handover.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the words of the header lie. */
enum { MAGIC_AT = 0, LAYOUT_AT = 8, PROTOCOL_AT = 16, STORED_AT = 32 };

static struct handover *given(void)
{
    struct handover *handover = calloc(1, sizeof *handover);
    snprintf(handover->version, sizeof handover->version, "7.7");
    handover->program = open("/dev/null", O_RDONLY | O_CLOEXEC);
    handover->control = (struct handover_role){.pid = 11, .channel = -1};
    handover->proxies[0] =
        (struct handover_role){.pid = 12, .channel = -1, .control_end = -1, .proxy_end = -1};
    handover->proxy_count = 1;
    return handover;
}

static struct store *filled(void)
{
    struct store *store = store_new();
    store_put(store, "config", open("/dev/null", O_RDONLY | O_CLOEXEC));
    store_put(store, "counters", open("/dev/zero", O_RDONLY | O_CLOEXEC));
    return store;
}

static int written(void)
{
    struct err err;
    struct handover *handover = given();
    struct store *store = filled();
    int fd = handover_write(handover, store, &err);
    assert_true(fd >= 0);
    close(handover->program);
    free(handover);
    store_free(store);
    return fd;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct err err;
    struct handover *handover = given(), *read = calloc(1, sizeof *read);
    struct store *store = filled(), *taken = store_new();
    int fd = handover_write(handover, store, &err);
    assert_true(handover_check(fd, &err));
    assert_true(handover_read(fd, read, taken, &err));
    assert_memory_equal(handover, read, sizeof *read);
    assert_int_equal(store_count(taken), 2);
    assert_int_equal(store_get(taken, "counters"), store_get(store, "counters"));
    close(fd);
    close(handover->program);
    store_free(store);
    store_free(taken); /* its descriptors were the other's, too */
    free(handover);
    free(read);
}

static void only_what_is_kept_passes_an_exec(void **state)
{
    (void)state;
    struct handover *handover = given();
    struct store *store = filled();
    int fd = store_get(store, "config");
    handover_keep(handover, store, true);
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    assert_int_equal(fcntl(handover->program, F_GETFD), 0);
    handover_keep(handover, store, false);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(handover->program, F_GETFD), FD_CLOEXEC);
    close(handover->program);
    store_free(store);
    free(handover);
}

static void assert_refused(off_t at, uint64_t word, const char *why)
{
    struct err err;
    int fd = written();
    assert_int_equal(pwrite(fd, &word, sizeof word, at), sizeof word);
    assert_false(handover_check(fd, &err));
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    close(fd);
}

static void what_another_version_may_mean_otherwise_is_refused(void **state)
{
    (void)state;
    assert_refused(MAGIC_AT, 1, "no state of an upswapd");
    assert_refused(LAYOUT_AT, 99, "layout 99");
    assert_refused(PROTOCOL_AT, 99, "protocol 99");
    assert_refused(STORED_AT, 3, "size");
    assert_refused(STORED_AT, UINT64_MAX, "size");
}

static void a_descriptor_that_is_not_there_is_refused(void **state)
{
    (void)state;
    struct err err;
    int fd = written(); /* the store's descriptors are closed */
    struct handover *read = calloc(1, sizeof *read);
    struct store *taken = store_new();
    assert_true(handover_check(fd, &err));
    assert_false(handover_read(fd, read, taken, &err));
    assert_non_null(strstr(err.text, "is not there"));
    close(fd);
    free(taken);
    free(read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(only_what_is_kept_passes_an_exec),
        cmocka_unit_test(what_another_version_may_mean_otherwise_is_refused),
        cmocka_unit_test(a_descriptor_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
