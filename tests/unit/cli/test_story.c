/* A deployment as a page. */
#include "cli/story.h"

#include "unit.h"

#include <stdlib.h>

static char *text;
static size_t text_size;

/* The page, in so many columns (0: it is no terminal); to be freed. */
static char *page(const char *json, size_t width)
{
    FILE *out = open_memstream(&text, &text_size);
    struct terminal terminal = {.out = out, .width = width};
    json_t *deployment = json_loads(json, 0, NULL);
    assert_non_null(out);
    assert_non_null(deployment);
    story_tell(&terminal, deployment);
    json_decref(deployment);
    fclose(out);
    return text;
}

static void assert_page(const char *json, const char *expected)
{
    char *told = page(json, 0);
    assert_string_equal(told, expected);
    free(told);
}

static const char whole[] =
    "{\"deployment\":\"web-17\",\"service\":\"web\",\"release\":\"v42\",\"state\":\"rolled_back\","
    "\"reason\":\"5xx 5.1%, limit 2.0%\\nand more\",\"replaces\":\"web-16\","
    "\"asked_by\":{\"uid\":1000,\"user\":\"ann\",\"pid\":4711},"
    "\"created\":\"2026-11-22T23:59:58.123Z\",\"ended\":\"2026-11-23T00:01:30Z\","
    "\"hold\":true,\"allow_untested\":true,\"instances\":[\"h:1\",\"h:2\"],\"watch\":60.0,"
    "\"canary\":{\"shares\":[5.0,12.5],\"step\":30.0,\"share\":12.5},"
    "\"watched\":{\"seconds\":4.2,\"left\":55.8,\"requests\":2100,\"requests_before\":9000,"
    "\"errors\":{\"share\":0.051,\"limit\":0.02},\"errors_before\":9,\"p99\":0.12,\"p99_before\":0.08,"
    "\"slow\":{\"share\":0.001,\"limit\":0.01},\"slow_seconds\":0.08,\"uptests_passed\":2,"
    "\"failure\":\"5xx\",\"uptest\":{\"output\":\"no cache\"}},"
    "\"launch\":{\"argv\":[\"/"
    "l\",\"v42\"],\"state\":\"passed\",\"exit\":0,\"seconds\":1.5,\"output\":\"up\\n\","
    "\"usage\":{\"user\":0.5,\"system\":0.25,\"memory\":31457280}},"
    "\"command\":{\"argv\":[\"/m\"],\"state\":\"passed\",\"exit\":0,\"seconds\":0.5,\"usage\":null},"
    "\"shadow\":{\"compared\":100,\"differing\":1,\"slower\":2,\"dropped\":3},"
    "\"gate\":{\"cells\":[{\"instance\":\"h:1\",\"uptest\":\"01\",\"state\":\"passed\",\"argv\":[\"/u/"
    "01\",\"h\","
    "\"1\"],\"exit\":0,\"seconds\":0.12,\"usage\":{\"user\":0.01,\"system\":0.0,\"memory_at_most\":2154496},"
    "\"output\":\"\"},{\"instance\":\"h:1\",\"uptest\":\"02\",\"state\":\"failed\",\"argv\":[\"/u/"
    "02\"],\"exit\":3,"
    "\"seconds\":1.0,\"output\":\"no\\ndb\\n\"}]},"
    "\"timeline\":[{\"time\":\"2026-11-22T23:59:58.123Z\",\"state\":\"staged\",\"seconds\":0.5,\"why\":"
    "\"waits\","
    "\"by\":\"ann\"},{\"time\":\"2026-11-22T23:59:59Z\",\"state\":\"testing\",\"seconds\":91.0,\"why\":"
    "\"ready\"},"
    "{\"time\":\"2026-11-23T00:01:30Z\",\"state\":\"rolled_back\",\"seconds\":null,\"why\":\"5xx\",\"by\":"
    "null}],"
    "\"difference\":{\"deployment\":\"web-15\",\"release\":{\"then\":\"v41\",\"now\":\"v42\"},"
    "\"instances\":{\"then\":2,\"now\":2},\"settings\":[{\"name\":\"watch\",\"then\":0.0,\"now\":60.0},"
    "{\"name\":\"canary\",\"then\":null,\"now\":{\"shares\":[5.0],\"step\":30.0}},"
    "{\"name\":\"allow_untested\",\"then\":false,\"now\":true}],"
    "\"uptests\":{\"then\":{\"count\":3,\"seconds\":3.0},\"now\":{\"count\":2,\"seconds\":1.12},"
    "\"new\":[],\"gone\":[\"03\",\"04\"],\"failing\":[\"02\"],"
    "\"slower\":[{\"uptest\":\"02\",\"then\":0.5,\"now\":1.0}]}}}";

static void the_whole_story_is_told(void **state)
{
    (void)state;
    assert_page(
        whole,
        "web-17: rolled_back\n"
        "  5xx 5.1%, limit 2.0%\n"
        "  and more\n"
        "  release     v42\n"
        "  instances   h:1, h:2\n"
        "  asked by    ann, uid 1000, pid 4711\n"
        "  in place of web-16\n"
        "  to be       accepted without uptests; held before the swap; a canary of 5%, 12.5%, each for "
        "30.0 s; watched for 1m 00s\n"
        "  created     2026-11-22 23:59:58 UTC\n"
        "  ended       2026-11-23 00:01:30 UTC\n"
        "\n"
        "timeline, in UTC: when, state, for how long, why\n"
        "  2026-11-22\n"
        "  23:59:58  staged        0.50 s  waits (ann)\n"
        "  23:59:59  testing       1m 31s  ready\n"
        "  2026-11-23\n"
        "  00:01:30  rolled_back           5xx\n"
        "\n"
        "since web-15, the last good deployment\n"
        "  release     v41 -> v42\n"
        "  instances   2, as then\n"
        "  watch       0.00 s -> 1m 00s\n"
        "  canary      no -> 5%, each for 30.0 s\n"
        "  untested    no -> yes\n"
        "  uptests     3 in 3.00 s -> 2 in 1.12 s\n"
        "  gone        03, 04\n"
        "  failing now 02\n"
        "  slower      02: 0.50 s -> 1.00 s\n"
        "\n"
        "launch\n"
        "  v42  launch.command  passed, 1.50 s\n"
        "    CPU 0.50 s user, 0.25 s system; memory 31.5 MB\n"
        "    /l v42\n"
        "    up\n"
        "\n"
        "command of the pause\n"
        "  web  the command of the pause  passed, 0.50 s\n"
        "    /m\n"
        "\n"
        "copies of live requests\n"
        "  compared    100; 1 answered differently, 2 slower, 3 not sent\n"
        "\n"
        "watched for 4.20 s\n"
        "                             requests      5xx        p99     >= 80 ms\n"
        "  web-17                         2100    5.10%     120 ms        0.10%\n"
        "  web-16                         9000    0.10%      80 ms\n"
        "  limit                                  2.00%                   1.00%\n"
        "  runs of its uptests that passed: 2\n"
        "  5xx\n"
        "    no cache\n"
        "\n"
        "uptests: 1 of 2 passed\n"
        "  h:1  01  passed, 0.12 s\n"
        "    CPU 0.01 s user, 0.00 s system; memory at most 2.2 MB\n"
        "    /u/01 h 1\n"
        "  h:1  02  exited with 3, 1.00 s\n"
        "    /u/02\n"
        "    no\n"
        "    db\n");
}

static void on_a_terminal_it_ends_where_that_ends(void **state)
{
    (void)state;
    for (size_t width = 80; width <= 132; width += 52) {
        char *told = page(whole, width);
        struct str rest = str_of(told), line;
        while (str_split(&rest, '\n', &line))
            assert_in_range(line.n, 0, width);
        free(told);
    }
}

static void a_text_that_is_broken_goes_on_in_its_column(void **state)
{
    (void)state;
    char *told =
        page("{\"timeline\":[{\"time\":\"2026-11-22T10:00:00Z\",\"state\":\"testing\",\"seconds\":0.25,"
             "\"why\":\"all its instances accept connections\"}]}",
             60);
    const char *timeline = strstr(told, "  10:00:00");
    assert_non_null(timeline);
    assert_string_equal(timeline, "  10:00:00  testing       0.25 s  all its instances accept\n"
                                  "                                  connections\n");
    free(told);
}

static void what_is_not_known_is_not_told(void **state)
{
    (void)state;
    assert_page("{}", "?: ?\n  asked by    nobody that is known\n  created     - UTC\n");
    assert_page(
        "{\"deployment\":\"web-1\",\"state\":5,\"asked_by\":{\"user\":\"token\",\"uid\":null,\"pid\":null},"
        "\"timeline\":[{}],\"gate\":{\"cells\":[{}]},\"difference\":{},\"watched\":{},\"shadow\":[]}",
        "web-1: ?\n  asked by    token\n  created     - UTC\n\n"
        "timeline, in UTC: when, state, for how long, why\n  -         ?\n\n"
        "since ?, the last good deployment\n  release     none, as then\n  instances   0, as then\n\n"
        "watched for 0.00 s\n"
        "                             requests      5xx        p99\n"
        "  web-1                             0    0.00%       0 ms\n\n"
        "uptests: 0 of 1 passed\n  ?  ?  ?, 0.00 s\n");
}

static void a_watch_that_goes_on_says_for_how_long(void **state)
{
    (void)state;
    char *told =
        page("{\"state\":\"watching\",\"ended\":null,\"watched\":{\"seconds\":4.2,\"left\":75.8}}", 0);
    assert_non_null(strstr(told, "\nwatched for 4.20 s, for another 1m 16s\n"));
    free(told);
}

static void a_length_of_time_is_short(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *expected;
    } rows[] = {{0, "0.00 s"},      {-1, "0.00 s"},   {9.994, "9.99 s"}, {9.996, "10.0 s"},
                {59.44, "59.4 s"},  {59.6, "1m 00s"}, {3599, "59m 59s"}, {3600, "1h 00m"},
                {86399, "23h 59m"}, {1e6, "11d 13h"}, {1e300, "0.00 s"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[STORY_LENGTH_SIZE];
        assert_string_equal(story_length(rows[i].seconds, out), rows[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_story_is_told),
        cmocka_unit_test(on_a_terminal_it_ends_where_that_ends),
        cmocka_unit_test(a_text_that_is_broken_goes_on_in_its_column),
        cmocka_unit_test(what_is_not_known_is_not_told),
        cmocka_unit_test(a_watch_that_goes_on_says_for_how_long),
        cmocka_unit_test(a_length_of_time_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
