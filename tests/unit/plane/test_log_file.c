#include "plane/log_file.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1 << 20)

/* What the kernel was told: how often of each MiB. */
static unsigned told[256];

int __wrap_posix_fadvise(int fd, off_t from, off_t size, int advice);
int __wrap_posix_fadvise(int fd, off_t from, off_t size, int advice)
{
    assert_true(fd >= 0 && advice == POSIX_FADV_DONTNEED && from % MIB == 0 && size % MIB == 0);
    for (off_t at = from / MIB; at < (from + size) / MIB; at++)
        told[at]++;
    return 0;
}

static struct log_file file;
static char lines[MIB];

static int start(void **state)
{
    char path[] = "/tmp/upswap-log-XXXXXX";
    (void)state;
    file = (struct log_file){.fd = -1};
    memset(told, 0, sizeof told);
    log_file_use(&file, mkostemp(path, O_APPEND | O_CLOEXEC));
    return unlink(path);
}

static int stop(void **state)
{
    (void)state;
    log_file_use(&file, -1);
    return 0;
}

static void write_mib(unsigned count)
{
    while (count-- > 0) {
        struct str mib = {lines, sizeof lines};
        assert_int_equal(log_file_write(&file, &mib), 0);
        assert_int_equal(mib.n, 0);
    }
}

static void expect_told(unsigned from, unsigned to, unsigned times)
{
    for (unsigned i = from; i < to; i++)
        assert_int_equal(told[i], times);
}

static void what_was_written_long_ago_is_let_go_twice_and_the_end_is_kept(void **state)
{
    (void)state;
    write_mib(39);
    expect_told(0, 256, 0);
    write_mib(1);
    expect_told(0, 8, 1);
    expect_told(8, 256, 0);
    write_mib(60);
    expect_told(0, 56, 2);
    expect_told(56, 64, 1);
    expect_told(64, 256, 0);
}

static void a_log_that_is_gone_on_with_is_let_go_from_where_it_ended(void **state)
{
    (void)state;
    int fd = dup(file.fd);
    assert_int_equal(ftruncate(fd, 100 * MIB), 0);
    log_file_use(&file, fd);
    write_mib(40);
    expect_told(0, 92, 0);
    expect_told(92, 108, 1);
    expect_told(108, 256, 0);
}

static void a_file_that_is_cut_begins_anew(void **state)
{
    (void)state;
    write_mib(48);
    memset(told, 0, sizeof told);
    assert_int_equal(ftruncate(file.fd, 0), 0);
    write_mib(40);
    expect_told(0, 8, 1);
    expect_told(8, 256, 0);
}

static void what_is_no_file_is_written_to_all_the_same(void **state)
{
    (void)state;
    int ends[2];
    char got[4];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    log_file_use(&file, ends[0]);
    struct str line = STR("line");
    assert_int_equal(log_file_write(&file, &line), 0);
    assert_int_equal(recv(ends[1], got, sizeof got, 0), 4);
    assert_memory_equal(got, "line", 4);
    close(ends[1]);
}

static void what_cannot_be_written_stays(void **state)
{
    (void)state;
    struct str line = STR("line");
    log_file_use(&file, open("/dev/full", O_WRONLY | O_CLOEXEC));
    assert_int_equal(log_file_write(&file, &line), ENOSPC);
    assert_int_equal(line.n, 4);
}

static void without_a_file_lines_go_nowhere(void **state)
{
    (void)state;
    struct str line = STR("line");
    log_file_use(&file, -1);
    assert_int_equal(log_file_write(&file, &line), 0);
    assert_int_equal(line.n, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_long_ago_is_let_go_twice_and_the_end_is_kept),
        TEST(a_log_that_is_gone_on_with_is_let_go_from_where_it_ended),
        TEST(a_file_that_is_cut_begins_anew),
        TEST(what_is_no_file_is_written_to_all_the_same),
        TEST(what_cannot_be_written_stays),
        TEST(without_a_file_lines_go_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
