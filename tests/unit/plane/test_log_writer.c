#include "plane/log_writer.h"

#include "base/clock.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define LINE 60 /* bytes: its number, and what fills it up */
#define PIECE_LINES 1000
#define PIECE (PIECE_LINES * LINE)
#define MOST (LOG_WRITER_ROOM / PIECE) /* pieces that may wait */

static struct log_writer *writer;
static unsigned handed; /* lines */
static int pipe_ends[2];
static int said[2];      /* a pipe: the sentences of log_error */
static int hung_fd = -1; /* a write there never returns */
static int full_fd = -1; /* a disk with so much room */
static size_t room;

void __wrap_log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void __wrap_log_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    assert_true(vdprintf(said[1], format, args) > 0);
    va_end(args);
}

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    while (fd == hung_fd)
        pause();
    if (fd != full_fd)
        return __real_write(fd, bytes, n);
    n = n < room ? n : room;
    room -= n;
    errno = ENOSPC;
    return n == 0 ? -1 : __real_write(fd, bytes, n);
}

static int start(void **state)
{
    struct err err;
    (void)state;
    handed = 0;
    full_fd = -1;
    assert_int_equal(pipe2(said, O_CLOEXEC), 0);
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    writer = log_writer_start(&err);
    assert_non_null(writer);
    log_writer_use(writer, pipe_ends[1]);
    return 0;
}

/* Who has ended the writer himself has set it to NULL. */
static int stop(void **state)
{
    (void)state;
    close(pipe_ends[0]);
    if (writer != NULL)
        log_writer_end(writer);
    close(said[0]);
    close(said[1]);
    return 0;
}

static void end(void)
{
    log_writer_end(writer);
    writer = NULL;
}

static void hand(unsigned pieces)
{
    while (pieces-- > 0) {
        struct access_log_batch *batch = access_log_batch_new();
        batch->size = PIECE;
        for (char *line = batch->bytes; line < batch->bytes + PIECE; line += LINE)
            snprintf(line, LINE + 1, "%0*u\n", LINE - 1, handed++);
        log_writer_hand(writer, batch);
    }
}

/* What is there, waited for. */
static const char *sentence(void)
{
    static char text[1024];
    struct pollfd come = {.fd = said[0], .events = POLLIN};
    assert_int_equal(poll(&come, 1, 20000), 1);
    ssize_t n = read(said[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    return text;
}

static bool is_silent(void)
{
    struct pollfd come = {.fd = said[0], .events = POLLIN};
    return poll(&come, 1, 0) == 0;
}

static void expect_said(const char *part)
{
    const char *text = sentence();
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* The next line, or -1: there is none. */
static int next_line(int fd)
{
    char line[LINE + 1];
    size_t n = 0;
    while (n < LINE) {
        ssize_t got = read(fd, line + n, LINE - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (n == 0)
        return -1;
    assert_int_equal(n, LINE);
    assert_int_equal(line[LINE - 1], '\n');
    line[LINE] = '\0';
    return atoi(line);
}

static void expect_lines(int fd, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        assert_int_equal(next_line(fd), i);
}

/* Lines that are there until the end, the last one perhaps not whole. */
static unsigned count_lines(int fd)
{
    unsigned lines = 0;
    char c;
    while (read(fd, &c, 1) == 1)
        lines += c == '\n';
    return lines;
}

/* One that is full inside of a line. */
static void use_small_pipe(void)
{
    assert_int_equal(fcntl(pipe_ends[1], F_SETPIPE_SZ, PAGE), PAGE);
}

static void wait_until_full(void)
{
    struct pollfd pipe = {.fd = pipe_ends[1], .events = POLLOUT};
    while (poll(&pipe, 1, 0) == 1)
        sched_yield();
}

static int new_file(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    log_writer_use(writer, dup(fd));
    return fd;
}

static void expect_file(int fd, unsigned from, unsigned to)
{
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    expect_lines(fd, from, to);
    assert_int_equal(next_line(fd), -1);
    close(fd);
}

static void lines_wait_for_a_reader_that_stalls_and_lose_their_order_never(void **state)
{
    (void)state;
    hand(MOST);
    expect_lines(pipe_ends[0], 0, MOST * PIECE_LINES);
    hand(1);
    expect_lines(pipe_ends[0], MOST * PIECE_LINES, (MOST + 1) * PIECE_LINES);
    assert_true(is_silent());
}

static unsigned number_in(const char *text)
{
    return (unsigned)strtoul(strpbrk(text, "0123456789"), NULL, 10);
}

static void beyond_the_room_whole_pieces_are_lost_and_their_lines_counted(void **state)
{
    (void)state;
    use_small_pipe();
    hand(MOST + 3);
    unsigned before = handed;
    const char *first = sentence();
    assert_non_null(strstr(first, "the access log cannot be written"));
    assert_non_null(strstr(first, "lines are lost: its reader or its disk is held up"));
    unsigned lost = number_in(first);
    expect_lines(pipe_ends[0], 0, MOST * PIECE_LINES);
    hand(1);
    expect_lines(pipe_ends[0], before, before + PIECE_LINES);
    end();
    if (lost < 3 * PIECE_LINES) /* the others came within the same minute */
        lost += number_in(sentence());
    assert_int_equal(lost, 3 * PIECE_LINES);
    assert_true(is_silent());
}

static void a_line_is_whole_before_the_next_goes_to_another_file(void **state)
{
    (void)state;
    use_small_pipe();
    hand(1);
    wait_until_full();
    int file = new_file();
    hand(1);
    expect_lines(pipe_ends[0], 0, PAGE / LINE + 1);
    assert_int_equal(next_line(pipe_ends[0]), -1);
    end();
    expect_file(file, PAGE / LINE + 1, 2 * PIECE_LINES);
    assert_true(is_silent());
}

static void another_file_does_not_wait_for_a_reader_that_stalls(void **state)
{
    (void)state;
    use_small_pipe();
    hand(1);
    wait_until_full();
    int file = new_file();
    hand(1);
    expect_said(" 1 line is lost: its reader or its disk is held up");
    end();
    assert_int_equal(count_lines(pipe_ends[0]), PAGE / LINE);
    expect_file(file, PAGE / LINE + 1, 2 * PIECE_LINES);
}

static void the_end_writes_what_waits_but_does_not_wait_for_a_reader_that_stalls(void **state)
{
    (void)state;
    hand(3);
    uint64_t began = clock_mono_ms();
    end();
    assert_in_range(clock_mono_ms() - began, LOG_WRITER_PATIENCE_MS, 15 * LOG_WRITER_PATIENCE_MS);
    unsigned lost = number_in(sentence());
    assert_int_equal(count_lines(pipe_ends[0]) + lost, 3 * PIECE_LINES);
}

static void a_write_that_does_not_return_holds_up_neither_workers_nor_the_end(void **state)
{
    (void)state;
    hung_fd = memfd_create("log", MFD_CLOEXEC);
    log_writer_use(writer, hung_fd);
    hand(MOST + 3);
    end();
    expect_said("a write has not returned");
}

static void lines_that_cannot_be_written_are_counted_and_said_once_a_minute_and_at_the_end(void **state)
{
    (void)state;
    log_writer_use(writer, open("/dev/full", O_WRONLY | O_CLOEXEC));
    hand(1);
    expect_said("the access log cannot be written, 1000 lines are lost: No space left on device");
    hand(2);
    end();
    expect_said("the access log cannot be written, 2000 lines are lost: No space left on device");
}

static void a_reader_that_has_gone_is_an_error_like_others(void **state)
{
    (void)state;
    hand(4);
    close(pipe_ends[0]);
    expect_said("lines are lost: Broken pipe");
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    log_writer_use(writer, pipe_ends[1]);
    hand(1);
    expect_lines(pipe_ends[0], 4 * PIECE_LINES, 5 * PIECE_LINES);
}

static void a_line_that_a_full_disk_has_torn_takes_no_other_with_it(void **state)
{
    (void)state;
    char text[LINE + 40 + 1 + PIECE + 1];
    int file = memfd_create("log", MFD_CLOEXEC), copy = dup(file);
    full_fd = file;
    room = LINE + 40;
    log_writer_use(writer, file);
    hand(1);
    expect_said(" 999 lines are lost: No space");
    room = SIZE_MAX;
    hand(1);
    end();
    assert_int_equal(pread(copy, text, sizeof text, 0), sizeof text - 1);
    assert_int_equal(text[LINE + 40], '\n');
    assert_int_equal(strtoul(text + LINE + 40 + 1, NULL, 10), PIECE_LINES);
    close(copy);
}

static void the_same_file_opened_anew_goes_on_with_the_line(void **state)
{
    (void)state;
    use_small_pipe();
    hand(1);
    wait_until_full();
    log_writer_use(writer, dup(pipe_ends[1]));
    struct pollfd come = {.fd = said[0], .events = POLLIN};
    assert_int_equal(poll(&come, 1, LOG_WRITER_PATIENCE_MS + 300), 0);
    expect_lines(pipe_ends[0], 0, PIECE_LINES);
}

static void a_file_that_is_come_back_to_goes_on_with_the_line_and_the_one_between_gets_nothing(void **state)
{
    (void)state;
    use_small_pipe();
    hand(1);
    wait_until_full();
    int between = new_file();
    log_writer_use(writer, dup(pipe_ends[1]));
    struct pollfd come = {.fd = said[0], .events = POLLIN};
    assert_int_equal(poll(&come, 1, LOG_WRITER_PATIENCE_MS + 300), 0);
    expect_lines(pipe_ends[0], 0, PIECE_LINES);
    expect_file(between, 0, 0);
}

static void where_two_others_follow_the_last_one_has_the_lines(void **state)
{
    (void)state;
    use_small_pipe();
    hand(1);
    wait_until_full();
    int between = new_file(), last = new_file();
    expect_lines(pipe_ends[0], 0, PAGE / LINE + 1);
    end();
    expect_file(between, 0, 0);
    expect_file(last, PAGE / LINE + 1, PIECE_LINES);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(lines_wait_for_a_reader_that_stalls_and_lose_their_order_never),
        TEST(beyond_the_room_whole_pieces_are_lost_and_their_lines_counted),
        TEST(a_line_is_whole_before_the_next_goes_to_another_file),
        TEST(another_file_does_not_wait_for_a_reader_that_stalls),
        TEST(the_end_writes_what_waits_but_does_not_wait_for_a_reader_that_stalls),
        TEST(lines_that_cannot_be_written_are_counted_and_said_once_a_minute_and_at_the_end),
        TEST(a_reader_that_has_gone_is_an_error_like_others),
        TEST(a_line_that_a_full_disk_has_torn_takes_no_other_with_it),
        TEST(the_same_file_opened_anew_goes_on_with_the_line),
        TEST(a_file_that_is_come_back_to_goes_on_with_the_line_and_the_one_between_gets_nothing),
        TEST(where_two_others_follow_the_last_one_has_the_lines),
        TEST(
            a_write_that_does_not_return_holds_up_neither_workers_nor_the_end), /* leaves its thread behind */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
