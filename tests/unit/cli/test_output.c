#include "cli/render.h"
#include "cli/report.h"

#include "unit.h"

#include "cli/follow.h"

#include <stdlib.h>

static char *text;
static size_t text_size;

/* A terminal, or what is none, whose output ends in `text`. */
static struct terminal capture(bool is_terminal)
{
    FILE *out = open_memstream(&text, &text_size);
    assert_non_null(out);
    return (struct terminal){.out = out, .colour = is_terminal, .live = is_terminal};
}

static void assert_output(struct terminal *terminal, const char *expected)
{
    fclose(terminal->out);
    assert_string_equal(text, expected);
    free(text);
}

static void show(struct terminal *terminal, const char *json)
{
    json_t *event = json_loads(json, 0, NULL);
    assert_non_null(event);
    report_event(terminal, 1234, event);
    json_decref(event);
}

static void an_event_is_a_line_with_its_time(void **state)
{
    (void)state;
    struct terminal terminal = capture(false);
    show(&terminal, "{\"type\":\"uptest.finished\",\"instance\":\"h:1\",\"uptest\":\"01\",\"passed\":false,"
                    "\"exit\":2,\"seconds\":0.5,\"output\":\"a\\r\\nb\\n\"}");
    show(&terminal, "{\"type\":\"swap.published\",\"deployment\":\"web-2\",\"nanoseconds\":1500000}");
    show(&terminal, "{\"type\":\"drain.finished\",\"pool\":\"web-1\",\"seconds\":30.0,\"forced\":2}");
    show(&terminal, "{\"type\":\"deployment.rejected\",\"deployment\":\"web-2\",\"why\":\"no db\"}");
    assert_output(&terminal, "     1.2 s  h:1  01  exited with 2 in 0.50 s\n"
                             "               a\n               b\n"
                             "     1.2 s  web-2 is live, 1.500 ms from decision to publication\n"
                             "     1.2 s  web-1 is drained in 30.0 s, 2 instances at the deadline\n"
                             "     1.2 s  web-2 is rejected: no db\n");
}

static void events_of_a_daemon_of_another_version_are_shown_as_far_as_they_go(void **state)
{
    (void)state;
    struct terminal terminal = capture(false);
    show(&terminal, "{\"type\":\"uptest.finished\"}");
    show(&terminal, "{\"type\":\"deployment.rejected\",\"deployment\":5,\"reason\":null}");
    show(&terminal, "{\"type\":\"canary.stop\"}");
    show(&terminal, "{}");
    assert_output(&terminal, "     1.2 s  ?  ?  failed in 0.00 s\n     1.2 s  ? is rejected\n"
                             "     1.2 s  canary.stop\n     1.2 s  ?\n");
}

static void an_end_of_an_uptest_is_told_by_its_cause(void **state)
{
    (void)state;
    static const struct {
        const char *json, *verdict;
    } rows[] = {
        {"{\"passed\":true,\"exit\":0}", "passed"},
        {"{\"state\":\"passed\"}", "passed"},
        {"{\"state\":\"failed\",\"exit\":1,\"signal\":null}", "exited with 1"},
        {"{\"state\":\"failed\",\"exit\":null,\"signal\":9}", "ended by signal 9"},
        {"{\"passed\":false,\"signal\":15,\"timed_out\":true}", "timed out"},
        {"{\"passed\":false,\"exit\":0}", "failed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char verdict[REPORT_VERDICT_MAX];
        json_t *cell = json_loads(rows[i].json, 0, NULL);
        assert_string_equal(report_verdict(cell, verdict), rows[i].verdict);
        json_decref(cell);
    }
}

static void what_is_no_terminal_gets_no_colour(void **state)
{
    (void)state;
    struct terminal terminal = capture(false);
    terminal_line(&terminal, TONE_GOOD, "%s", "good");
    assert_output(&terminal, "good\n");
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
    (void)state;
    struct terminal terminal = capture(false);
    terminal_line(&terminal, TONE_PLAIN, "%s", "a\033[2J\r\x7f\xc2\x9b\tb \xc3\xa9");
    assert_output(&terminal, "a?[2J???\tb \xc3\xa9\n");
}

static void results_are_counted(void **state)
{
    (void)state;
    struct terminal terminal = capture(false);
    json_t *results =
        json_loads("[{\"Name\":\"01\",\"Passed\":true,\"Output\":\"x\",\"Host\":\"h\",\"Port\":1,"
                   "\"Seconds\":0.25},{\"Name\":\"02\",\"Passed\":false,\"Output\":\"no\"}]",
                   0, NULL);
    render_results(&terminal, results);
    json_decref(results);
    assert_output(&terminal, "h:1  01  passed in 0.25 s\n?:0  02  failed in 0.00 s\n    no\n"
                             "1 of 2 uptests passed\n");
}

static void a_result_says_how_its_uptest_ended(void **state)
{
    (void)state;
    struct terminal terminal = capture(false);
    json_t *results = json_loads("[{\"Host\":\"h\",\"Port\":1,\"Name\":\"01\",\"Passed\":false,\"Exit\":255,"
                                 "\"Signal\":null,\"TimedOut\":false,\"Seconds\":1.0},"
                                 "{\"Host\":\"h\",\"Port\":1,\"Name\":\"02\",\"Passed\":false,\"Exit\":null,"
                                 "\"Signal\":9,\"TimedOut\":false,\"Seconds\":1.0},"
                                 "{\"Host\":\"h\",\"Port\":1,\"Name\":\"03\",\"Passed\":false,\"Exit\":null,"
                                 "\"Signal\":15,\"TimedOut\":true,\"Seconds\":4.01}]",
                                 0, NULL);
    render_results(&terminal, results);
    json_decref(results);
    assert_output(&terminal, "h:1  01  exited with 255 in 1.00 s\nh:1  02  ended by signal 9 in 1.00 s\n"
                             "h:1  03  timed out in 4.01 s\n0 of 3 uptests passed\n");
}

static void a_watch_shows_what_it_has_seen_and_its_limits(void **state)
{
    (void)state;
    struct terminal terminal = capture(false);
    json_t *service =
        json_loads("{\"service\":\"web\",\"state\":\"serving\",\"deployment\":{\"deployment\":\"web-2\","
                   "\"state\":\"watching\",\"watched\":{\"seconds\":4.2,\"left\":55.8,"
                   "\"requests\":2100,\"requests_before\":9000,\"errors\":{\"share\":0.051,\"limit\":0.02},"
                   "\"slow\":{\"share\":0.001,\"limit\":0.01},\"slow_seconds\":0.08,\"failure\":\"5xx\","
                   "\"uptest\":{\"output\":\"no cache\"}}}}",
                   0, NULL);
    render_service(&terminal, service);
    json_decref(service);
    assert_output(&terminal, "web: serving\n  deployment web-2 is watching\n"
                             "  watched for 4 s, 56 s are left: 2100 requests\n"
                             "    5xx 5.1%, limit 2.0%; 80 ms or longer 0.1%, limit 1.0%\n    no cache\n");
}

/* As "proxy_runs" says; an earlier daemon tells by the proxy's process alone. */
static void that_no_proxy_runs_is_said_whichever_way_the_daemon_tells_it(void **state)
{
    (void)state;
#define NOBODY "no services are configured\n"
#define NO_PROXY \
    "! no proxy runs, and clients wait: it is being started; the daemon's log says what prevents that\n"
    static const struct {
        const char *status, *output;
    } examples[] = {
        {"{\"proxy_runs\":false,\"pids\":{\"proxy\":0}}", NOBODY NO_PROXY},
        {"{\"proxy_runs\":true,\"pids\":{\"proxy\":0}}", NOBODY},
        {"{\"pids\":{\"proxy\":0}}", NOBODY NO_PROXY},
        {"{\"pids\":{\"proxy\":7}}", NOBODY},
        {"{}", NOBODY},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct terminal terminal = capture(false);
        json_t *status = json_loads(examples[i].status, 0, NULL);
        render_status(&terminal, status);
        json_decref(status);
        assert_output(&terminal, examples[i].output);
    }
}

static void only_an_end_has_an_exit_status(void **state)
{
    (void)state;
    assert_int_equal(follow_status("done", FOLLOW_ENDED), CLI_DONE);
    assert_int_equal(follow_status("rejected", FOLLOW_HELD), CLI_REJECTED);
    assert_int_equal(follow_status("rolled_back", FOLLOW_SWAPPED), CLI_ROLLED_BACK);
    assert_int_equal(follow_status("aborted", FOLLOW_ENDED), CLI_ABORTED);
    assert_int_equal(follow_status("held", FOLLOW_HELD), CLI_DONE);
    assert_int_equal(follow_status("held", FOLLOW_SWAPPED), -1);
    assert_int_equal(follow_status("watching", FOLLOW_SWAPPED), CLI_DONE);
    assert_int_equal(follow_status("canary", FOLLOW_SWAPPED), CLI_DONE);
    assert_int_equal(follow_status("testing", FOLLOW_SWAPPED), -1);
    assert_int_equal(follow_status("watching", FOLLOW_ENDED), -1);
    assert_int_equal(follow_status("draining", FOLLOW_HELD), -1);
    assert_int_equal(follow_status("", FOLLOW_HELD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_a_line_with_its_time),
        cmocka_unit_test(events_of_a_daemon_of_another_version_are_shown_as_far_as_they_go),
        cmocka_unit_test(an_end_of_an_uptest_is_told_by_its_cause),
        cmocka_unit_test(what_is_no_terminal_gets_no_colour),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
        cmocka_unit_test(results_are_counted),
        cmocka_unit_test(a_result_says_how_its_uptest_ended),
        cmocka_unit_test(a_watch_shows_what_it_has_seen_and_its_limits),
        cmocka_unit_test(that_no_proxy_runs_is_said_whichever_way_the_daemon_tells_it),
        cmocka_unit_test(only_an_end_has_an_exit_status),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
