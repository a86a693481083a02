#include "base/log.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIPE_SIZE 16384
#define MANY 1000 /* sentences, more than it takes */

static int ends[2], before;

/* stderr is a pipe. */
static int start(void **state)
{
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE), PIPE_SIZE);
    before = dup(STDERR_FILENO);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    log_open("test");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
    close(before);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* All that is there. */
static const char *read_out(void)
{
    static char text[PIPE_SIZE + 1];
    ssize_t n = read(ends[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    return text;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

static void a_sentence_is_one_line(void **state)
{
    (void)state;
    log_warn("a %s\nof %d words", "sentence", 4);
    const char *text = read_out();
    assert_non_null(strstr(text, " warn  test["));
    assert_non_null(strstr(text, "] a sentence of 4 words\n"));
    assert_int_equal(count_lines(text), 1);
}

/* As if systemd had made this inode our stderr. */
static void tell_journal(ino_t inode)
{
    struct stat status;
    char told[64];
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(told, sizeof told, "%ju:%ju", (uintmax_t)status.st_dev,
             (uintmax_t)(inode != 0 ? inode : status.st_ino));
    assert_int_equal(setenv("JOURNAL_STREAM", told, 1), 0);
    log_open("test");
}

static void the_journal_is_told_how_bad_it_is(void **state)
{
    (void)state;
    tell_journal(0);
    log_error("a");
    assert_memory_equal(read_out(), "<3>2", 4);
    log_warn("b");
    assert_memory_equal(read_out(), "<4>2", 4);
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    log_info("c");
    assert_memory_equal(read_out(), "<6>{", 4);
    log_debug("d");
    assert_memory_equal(read_out(), "<7>{", 4);
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_last_word("e");
    assert_string_equal(read_out(), "<3>upswapd: e\n");
}

static void a_stderr_that_is_not_the_journal_gets_no_priority(void **state)
{
    (void)state;
    tell_journal(1);
    log_error("a");
    assert_memory_equal(read_out(), "20", 2);
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
    log_open("test");
    log_error("b");
    assert_memory_equal(read_out(), "20", 2);
}

static void a_reader_that_stalls_holds_nobody_up_and_is_told_what_it_has_missed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        log_error("sentence %u", i);
    unsigned written = count_lines(read_out());
    assert_in_range(written, 10, MANY - 1);
    log_error("then");
    const char *text = read_out();
    char told[128];
    snprintf(told, sizeof told, "] %u sentences are lost before this one: ", MANY - written);
    assert_non_null(strstr(text, told));
    assert_non_null(strstr(text, "] then\n"));
    log_error("and then");
    assert_int_equal(count_lines(read_out()), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_sentence_is_one_line),
        TEST(the_journal_is_told_how_bad_it_is),
        TEST(a_stderr_that_is_not_the_journal_gets_no_priority),
        TEST(a_reader_that_stalls_holds_nobody_up_and_is_told_what_it_has_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
