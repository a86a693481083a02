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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole_or_refused),
        cmocka_unit_test(a_file_is_replaced_with_its_mode_over_what_an_interrupted_one_left),
        cmocka_unit_test(a_replacement_that_fails_leaves_the_old_file),
        cmocka_unit_test(folders_are_made_with_those_above),
        cmocka_unit_test(a_lock_is_held_once_and_its_holder_named),
        cmocka_unit_test(a_lock_is_waited_for),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
