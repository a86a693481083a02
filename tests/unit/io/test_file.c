#include "io/file.h"

#include "base/clock.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/upswap-file-XXXXXX";
static struct err err;
static struct buf content;
static struct loop *loop;

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

static void a_file_is_read_whole_or_refused(void **state)
{
    (void)state;
    bool missing = false;
    assert_false(file_read(in_folder("absent"), 100, &content, &missing, &err));
    assert_true(missing);
    assert_true(file_replace(in_folder("file"), STR("0123456789"), 0600, &err));
    assert_true(file_read(in_folder("file"), 10, &content, &missing, &err));
    assert_false(missing);
    assert_str_equal(buf_str(&content), "0123456789");
    assert_false(file_read(in_folder("file"), 9, &content, &missing, &err));
    assert_false(missing);
    assert_non_null(strstr(err.text, "larger than 9 bytes"));
    assert_false(file_read(folder, 100, &content, &missing, &err));
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_return_code(mkfifo(in_folder("fifo"), 0600), errno);
    assert_false(file_read(in_folder("fifo"), 100, &content, NULL, &err)); /* and does not wait */
    unlink(in_folder("fifo"));
    unlink(in_folder("file"));
}

static void a_file_is_replaced_with_its_mode_over_what_an_interrupted_one_left(void **state)
{
    (void)state;
    struct stat found;
    mode_t old = umask(077);
    assert_true(file_replace(in_folder("file"), STR("old"), 0600, &err));
    int left = open(in_folder("file.new"), O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(left, "half of a longer text", 21), 21);
    close(left);
    assert_true(file_replace(in_folder("file"), STR("new"), 0644, &err));
    umask(old);
    assert_file_is("file", "new");
    assert_return_code(stat(in_folder("file"), &found), errno);
    assert_int_equal(found.st_mode & 07777, 0644);
    assert_int_equal(access(in_folder("file.new"), F_OK), -1);
    unlink(in_folder("file"));
}

/* Makes writes beyond `bytes` of any file fail with EFBIG: the disk that is full. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_FSIZE, &limit), errno);
    limit.rlim_cur = bytes;
    assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
}

static void a_replacement_that_fails_leaves_the_old_file(void **state)
{
    (void)state;
    assert_true(file_replace(in_folder("file"), STR("old"), 0600, &err));
    limit_file_size(4);
    assert_false(file_replace(in_folder("file"), STR("too long"), 0600, &err));
    limit_file_size(RLIM_INFINITY);
    assert_non_null(strstr(err.text, "File too large"));
    assert_file_is("file", "old");
    assert_int_equal(access(in_folder("file.new"), F_OK), -1);
    assert_false(file_replace(in_folder("no/folder"), STR("x"), 0600, &err));
    unlink(in_folder("file"));
}

static void folders_are_made_with_those_above(void **state)
{
    (void)state;
    struct stat found;
    assert_true(file_make_directory(in_folder("a/b//c/"), 0700, &err));
    assert_true(file_make_directory(in_folder("a/b/c"), 0700, &err));
    assert_return_code(stat(in_folder("a/b/c"), &found), errno);
    assert_int_equal(found.st_mode & 07777, 0700);
    assert_return_code(stat(in_folder("a/b"), &found), errno);
    assert_int_equal(found.st_mode & 07777, 0755);
    assert_true(file_replace(in_folder("a/file"), STR(""), 0600, &err));
    assert_false(file_make_directory(in_folder("a/file"), 0700, &err));
    assert_non_null(strstr(err.text, "not a folder"));
    assert_false(file_make_directory(in_folder("a/file/b"), 0700, &err));
    unlink(in_folder("a/file"));
    rmdir(in_folder("a/b/c"));
    rmdir(in_folder("a/b"));
    rmdir(in_folder("a"));
}

static void a_lock_is_held_once_and_its_holder_named(void **state)
{
    (void)state;
    char pid[32];
    int first = file_lock(in_folder("lock"), 0, &err);
    assert_return_code(first, errno);
    uint64_t began = clock_mono_ms();
    assert_int_equal(file_lock(in_folder("lock"), 50, &err), -1);
    assert_true(clock_mono_ms() - began >= 50);
    snprintf(pid, sizeof pid, "by process %d;", getpid());
    assert_non_null(strstr(err.text, pid));
    close(first);
    first = file_lock(in_folder("lock"), 0, &err);
    assert_return_code(first, errno);
    close(first);
}

static void a_lock_is_waited_for(void **state)
{
    (void)state;
    int ready[2], go[2];
    char byte;
    assert_return_code(pipe(ready), errno);
    assert_return_code(pipe(go), errno);
    pid_t holder = fork();
    if (holder == 0) {
        alarm(30);
        bool held = file_lock(in_folder("lock"), 0, &err) >= 0 && write(ready[1], "x", 1) == 1;
        close(go[1]);
        _exit(held && read(go[0], &byte, 1) == 1 ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(file_lock(in_folder("lock"), 0, &err), -1);
    assert_int_equal(write(go[1], "x", 1), 1); /* it goes while we wait */
    int fd = file_lock(in_folder("lock"), 30000, &err);
    assert_return_code(fd, errno);
    int status;
    assert_int_equal(waitpid(holder, &status, 0), holder);
    assert_int_equal(status, 0);
    close(fd);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
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

static void a_write_that_fails_is_cut_back_and_takes_those_behind_it_along(void **state)
{
    (void)state;
    static char big[100000];
    memset(big, 'b', sizeof big);
    struct appender *appender = open_journal();
    assert_true(appender_write_now(appender, STR("good\n"), &err));
    limit_file_size(1000); /* the first write is cut short at this, the second fails */
    appender_write(appender, STR("lost\n"), note, (void *)0);
    appender_write(appender, (struct str){big, sizeof big}, note, (void *)1);
    appender_write(appender, (struct str){big, sizeof big}, note, (void *)2);
    wait_for(3);
    /* Whether the first got its own turn of the thread is open; if so it is there, and told to be. */
    bool first_good = told.errors[0] == 0;
    assert_int_equal(told.errors[1], EFBIG);
    assert_int_equal(told.errors[2], EFBIG);
    assert_file_is("journal", first_good ? "good\nlost\n" : "good\n");
    assert_int_equal(appender_size(appender), content.n);
    assert_false(appender_write_now(appender, (struct str){big, sizeof big}, &err));
    assert_non_null(strstr(err.text, "journal: File too large"));
    assert_file_is("journal", first_good ? "good\nlost\n" : "good\n");
    limit_file_size(RLIM_INFINITY);
    appender_write(appender, STR("again\n"), note, (void *)3);
    wait_for(4);
    assert_int_equal(told.errors[3], 0);
    assert_file_is("journal", first_good ? "good\nlost\nagain\n" : "good\nagain\n");
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
    unlink(in_folder("lock"));
    return rmdir(folder);
}

#define APPENDER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole_or_refused),
        cmocka_unit_test(a_file_is_replaced_with_its_mode_over_what_an_interrupted_one_left),
        cmocka_unit_test(a_replacement_that_fails_leaves_the_old_file),
        cmocka_unit_test(folders_are_made_with_those_above),
        cmocka_unit_test(a_lock_is_held_once_and_its_holder_named),
        cmocka_unit_test(a_lock_is_waited_for),
        APPENDER_TEST(what_is_appended_is_on_disk_and_told_in_order),
        APPENDER_TEST(an_appender_goes_on_where_the_file_ended),
        APPENDER_TEST(writing_now_comes_behind_what_is_queued),
        APPENDER_TEST(a_write_that_fails_is_cut_back_and_takes_those_behind_it_along),
        APPENDER_TEST(a_full_disk_is_told_and_can_be_asked_again),
        APPENDER_TEST(closing_finishes_what_is_queued_and_calls_back),
        APPENDER_TEST(a_callback_may_close_the_appender),
        APPENDER_TEST(a_journal_that_cannot_be_opened_is_named),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
