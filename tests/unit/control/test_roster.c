/* What a launch prints, taken apart. */
#include "control/roster.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct buf seen; /* "ADDRESS/WEIGHT/PID " for each instance */
static struct err err;

static bool note(void *arg, const struct endpoint *endpoint, struct err *why)
{
    const char *unwanted = arg;
    if (unwanted != NULL && str_equal(endpoint->address, str_of(unwanted)))
        return err_set(why, "it is not wanted");
    buf_printf(&seen, "%.*s/%u/%d ", STR_ARG(endpoint->address), endpoint->weight, (int)endpoint->pid);
    return true;
}

/* Gives the text in pieces of `step` bytes. */
static bool read_in_steps(const char *text, size_t size, size_t step, const char *unwanted)
{
    struct roster roster = {BUF_EMPTY, 0};
    bool ok = true;
    buf_free(&seen);
    seen = BUF_EMPTY;
    for (size_t at = 0; ok && at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        ok = roster_take(&roster, (struct str){text + at, n}, note, (void *)(uintptr_t)unwanted, &err);
    }
    ok = ok && roster_end(&roster, note, (void *)(uintptr_t)unwanted, &err);
    roster_free(&roster);
    return ok;
}

static void assert_reads(const char *text, const char *instances)
{
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        if (!read_in_steps(text, strlen(text), step, NULL))
            fail_msg("%s", err.text);
        assert_str_equal(buf_str(&seen), instances);
    }
}

static void assert_refuses(const char *text, const char *why)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        assert_false(read_in_steps(text, strlen(text), step, "10.0.0.9:1"));
        if (strstr(err.text, why) == NULL)
            fail_msg("no \"%s\" in \"%s\"", why, err.text);
    }
}

static void each_line_is_an_instance(void **state)
{
    (void)state;
    assert_reads("127.0.0.1:8001\n[::1]:8002\napp-1.internal:80\nunix:/run/a.sock\n",
                 "127.0.0.1:8001/1/0 [::1]:8002/1/0 app-1.internal:80/1/0 unix:/run/a.sock/1/0 ");
}

static void options_stand_behind_spaces_or_commas(void **state)
{
    (void)state;
    assert_reads("10.0.0.1:80 pid=4711\n10.0.0.2:80,weight=3\n10.0.0.3:80,pid=5,weight=2\n"
                 "10.0.0.4:80 \t weight=9  pid=6\n",
                 "10.0.0.1:80/1/4711 10.0.0.2:80/3/0 10.0.0.3:80/2/5 10.0.0.4:80/9/6 ");
}

static void blank_lines_and_carriage_returns_are_nothing(void **state)
{
    (void)state;
    assert_reads("\n  \n10.0.0.1:80\r\n\r\n\t10.0.0.2:80 \n", "10.0.0.1:80/1/0 10.0.0.2:80/1/0 ");
    assert_reads("", "");
    assert_reads("\n", "");
}

static void a_last_line_needs_no_end(void **state)
{
    (void)state;
    assert_reads("10.0.0.1:80\n10.0.0.2:80 pid=7", "10.0.0.1:80/1/0 10.0.0.2:80/1/7 ");
}

static void what_is_no_instance_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_refuses("10.0.0.1:80\nstarting the app ...\n", "line 2 of its stdout, \"starting the app ...\"");
    assert_str_equal(buf_str(&seen), "10.0.0.1:80/1/0 ");
    assert_refuses("\n\n10.0.0.1\n", "line 3 of its stdout, \"10.0.0.1\"");
    assert_refuses("10.0.0.1:0\n", "line 1 of its stdout");
    assert_refuses("10.0.0.1:80 pid=0\n", "line 1 of its stdout");
    assert_refuses("10.0.0.1:80 pid=1 pid=2\n", "pid is written twice");
    assert_refuses("10.0.0.1:80 and more\n", "\"and\" is no option of an instance");
    assert_refuses("10.0.0.1:80,weight=0\n", "the weight 0 is not from 1 to");
    assert_refuses("10.0.0.1:80,,pid=3\n", "is no option of an instance");
    assert_refuses("no address\n", "line 1 of its stdout, \"no address\": \"address\" is no option");
    assert_refuses("no end", "line 1 of its stdout, \"no end\"");
}

static void what_its_user_does_not_want_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_refuses("10.0.0.8:1\n10.0.0.9:1\n10.0.0.10:1\n",
                   "line 2 of its stdout, \"10.0.0.9:1\": it is not wanted");
    assert_str_equal(buf_str(&seen), "10.0.0.8:1/1/0 ");
}

static void lines_without_end_and_bytes_that_are_no_text_are_refused(void **state)
{
    (void)state;
    size_t size = 2000;
    char *text = malloc(size);
    memset(text, 'x', size);
    assert_false(read_in_steps(text, size, 64, NULL));
    assert_non_null(strstr(err.text, "too long"));
    text[size - 1] = '\n';
    assert_false(read_in_steps(text, size, size, NULL));
    assert_non_null(strstr(err.text, "too long"));
    free(text);
    assert_false(read_in_steps("10.0.0.1:80\0x\n", 14, 14, NULL));
    assert_non_null(strstr(err.text, "no text"));
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&seen);
    seen = BUF_EMPTY;
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_line_is_an_instance),
        TEST(options_stand_behind_spaces_or_commas),
        TEST(blank_lines_and_carriage_returns_are_nothing),
        TEST(a_last_line_needs_no_end),
        TEST(what_is_no_instance_is_refused_with_its_line),
        TEST(what_its_user_does_not_want_is_refused_with_its_line),
        TEST(lines_without_end_and_bytes_that_are_no_text_are_refused),
    };
    return cmocka_run_group_tests_name("roster", tests, NULL, NULL);
}
