#include "io/file.h"

#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[] = "/tmp/upswap-appender-XXXXXX";
static struct err err;
static struct buf content;
static struct loop *loop;

/* The disk, as the tests want it: this stands before libc's function of the same name. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held;    /* syncs wait until it is let go */
    bool waiting; /* one does */
    int error;    /* what the next sync fails with */
    unsigned syncs;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int fdatasync(int fd)
{
    pthread_mutex_lock(&disk.lock);
    disk.syncs++;
    disk.waiting = true;
    pthread_cond_signal(&disk.changed);
    while (disk.held)
        pthread_cond_wait(&disk.changed, &disk.lock);
    disk.waiting = false;
    int error = disk.error;
    disk.error = 0;
    pthread_mutex_unlock(&disk.lock);
    errno = error;
    return error == 0 ? (int)syscall(SYS_fdatasync, fd) : -1;
}

static void hold_disk(void)
{
    pthread_mutex_lock(&disk.lock);
    disk.held = true;
    disk.waiting = false;
    disk.syncs = 0;
    pthread_mutex_unlock(&disk.lock);
}

static void wait_for_sync(void)
{
    pthread_mutex_lock(&disk.lock);
    while (!disk.waiting)
        pthread_cond_wait(&disk.changed, &disk.lock);
    pthread_mutex_unlock(&disk.lock);
}

static void let_disk_go(int error)
{
    pthread_mutex_lock(&disk.lock);
    disk.held = false;
    disk.error = error;
    pthread_cond_signal(&disk.changed);
    pthread_mutex_unlock(&disk.lock);
}

static const char *in_folder(const char *name)
{
    static char path[2][128];
    static unsigned turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void assert_file_is(const char *name, const char *text)
{
    assert_true(file_read(in_folder(name), 1 << 20, &content, NULL, &err));
    assert_int_equal(content.n, strlen(text));
    assert_memory_equal(content.n == 0 ? "" : content.p, text, content.n);
}

/* Makes writes beyond `bytes` of any file fail with EFBIG: the disk that is full. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_FSIZE, &limit), errno);
    limit.rlim_cur = bytes;
    assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
}

/* What the appender has told, in the order in which it did. */
static struct {
    int errors[2000];
    uintptr_t numbers[2000];
    unsigned count, wanted;
} told;

static void note(void *arg, int error)
{
    told.numbers[told.count] = (uintptr_t)arg;
    told.errors[told.count] = error;
    if (++told.count == told.wanted)
        loop_stop(loop);
}

static void wait_for(unsigned count)
{
    told.wanted = count;
    if (told.count < count)
        loop_run(loop);
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    told.count = told.wanted = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    unlink(in_folder("journal"));
    return 0;
}

static struct appender *open_journal(void)
{
    struct appender *appender = appender_open(loop, in_folder("journal"), &err);
    assert_non_null(appender);
    return appender;
}

static void what_is_appended_is_on_disk_and_told_in_order(void **state)
{
    (void)state;
    struct appender *appender = open_journal();
    struct stat found;
    char expected[1000 * 5 + 1], line[8];
    for (uintptr_t i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "%04d\n", (int)i);
        memcpy(expected + i * 5, line, 6);
        appender_write(appender, (struct str){line, 5}, note, (void *)i);
        memset(line, 'x', sizeof line); /* it was copied */
    }
    assert_int_equal(told.count, 0);
    wait_for(1000);
    assert_file_is("journal", expected);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(told.errors[i], 0);
        assert_int_equal(told.numbers[i], i);
    }
    assert_int_equal(appender_size(appender), 5000);
    assert_return_code(stat(in_folder("journal"), &found), errno);
    assert_int_equal(found.st_mode & 07777, 0600);
    appender_close(appender);
}

static void an_appender_goes_on_where_the_file_ended(void **state)
{
    (void)state;
    struct appender *appender = open_journal();
    assert_true(appender_write_now(appender, STR("one\n"), &err));
    appender_close(appender);
    appender = open_journal();
    assert_int_equal(appender_size(appender), 4);
    assert_true(appender_write_now(appender, STR("two\n"), &err));
    assert_int_equal(appender_size(appender), 8);
    assert_file_is("journal", "one\ntwo\n");
    appender_close(appender);
}

static void writing_now_comes_behind_what_is_queued(void **state)
{
    (void)state;
    struct appender *appender = open_journal();
    for (uintptr_t i = 0; i < 50; i++)
        appender_write(appender, STR("q"), note, (void *)i);
    assert_true(appender_write_now(appender, STR("N"), &err));
    assert_file_is("journal", "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqN");
    assert_int_equal(told.count, 0); /* told by the loop, which has not turned */
    wait_for(50);
    appender_close(appender);
}

static void what_waits_meanwhile_is_synced_together(void **state)
{
    (void)state;
    struct appender *appender = open_journal();
    hold_disk();
    appender_write(appender, STR("1"), note, NULL);
    wait_for_sync();
    for (int i = 0; i < 100; i++)
        appender_write(appender, STR("x"), note, NULL);
    assert_int_equal(appender_size(appender), 0);
    let_disk_go(0);
    wait_for(101);
    assert_int_equal(disk.syncs, 2);
    assert_int_equal(appender_size(appender), 101);
    appender_close(appender);
}

static void a_failed_sync_is_cut_back_and_takes_what_waits_behind_it_along(void **state)
{
    (void)state;
    struct appender *appender = open_journal();
    assert_true(appender_write_now(appender, STR("good\n"), &err));
    hold_disk();
    appender_write(appender, STR("lost\n"), note, NULL);
    wait_for_sync();
    appender_write(appender, STR("behind\n"), note, NULL);
    appender_write(appender, STR("behind\n"), note, NULL);
    let_disk_go(EIO);
    wait_for(3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(told.errors[i], EIO);
    assert_file_is("journal", "good\n");
    assert_int_equal(appender_size(appender), 5);
    appender_write(appender, STR("again\n"), note, NULL);
    wait_for(4);
    assert_int_equal(told.errors[3], 0);
    assert_file_is("journal", "good\nagain\n");
    appender_close(appender);
}

static void a_write_cut_short_is_taken_off_again(void **state)
{
    (void)state;
    static char big[100000];
    memset(big, 'b', sizeof big);
    struct appender *appender = open_journal();
    assert_true(appender_write_now(appender, STR("good\n"), &err));
    limit_file_size(1000); /* the first write gives a short count at this, the next one fails */
    appender_write(appender, (struct str){big, sizeof big}, note, NULL);
    wait_for(1);
    assert_int_equal(told.errors[0], EFBIG);
    assert_file_is("journal", "good\n");
    assert_false(appender_write_now(appender, (struct str){big, sizeof big}, &err));
    limit_file_size(RLIM_INFINITY);
    assert_non_null(strstr(err.text, "journal: File too large"));
    assert_file_is("journal", "good\n");
    assert_true(appender_write_now(appender, STR("again\n"), &err));
    assert_file_is("journal", "good\nagain\n");
    appender_close(appender);
}

static void a_full_disk_is_told_and_can_be_asked_again(void **state)
{
    (void)state;
    struct appender *appender = appender_open(loop, "/dev/full", &err);
    assert_non_null(appender);
    for (uintptr_t i = 0; i < 3; i++) {
        appender_write(appender, STR("x"), note, (void *)i);
        wait_for((unsigned)i + 1);
        /* A device cannot be cut back either: from then on that is what is told. */
        assert_int_equal(told.errors[i], i == 0 ? ENOSPC : EINVAL);
    }
    appender_close(appender);
}

static void closing_finishes_what_is_queued_and_calls_back(void **state)
{
    (void)state;
    struct appender *appender = open_journal();
    for (uintptr_t i = 0; i < 20; i++)
        appender_write(appender, STR("x"), note, (void *)i);
    appender_close(appender);
    assert_int_equal(told.count, 20);
    assert_file_is("journal", "xxxxxxxxxxxxxxxxxxxx");
}

static void close_from_inside(void *arg, int error)
{
    note(NULL, error);
    if (told.count == 1)
        appender_close(arg);
}

static void a_callback_may_close_the_appender(void **state)
{
    (void)state;
    struct appender *appender = open_journal();
    for (int i = 0; i < 20; i++)
        appender_write(appender, STR("x"), close_from_inside, appender);
    told.wanted = 20;
    loop_run(loop);
    assert_int_equal(told.count, 20);
}

static void a_journal_that_cannot_be_opened_is_named(void **state)
{
    (void)state;
    assert_null(appender_open(loop, in_folder("no/journal"), &err));
    assert_non_null(strstr(err.text, "no/journal: No such file"));
}

static int make_folder(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    buf_free(&content);
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_appended_is_on_disk_and_told_in_order),
        TEST(an_appender_goes_on_where_the_file_ended),
        TEST(writing_now_comes_behind_what_is_queued),
        TEST(what_waits_meanwhile_is_synced_together),
        TEST(a_failed_sync_is_cut_back_and_takes_what_waits_behind_it_along),
        TEST(a_write_cut_short_is_taken_off_again),
        TEST(a_full_disk_is_told_and_can_be_asked_again),
        TEST(closing_finishes_what_is_queued_and_calls_back),
        TEST(a_callback_may_close_the_appender),
        TEST(a_journal_that_cannot_be_opened_is_named),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
