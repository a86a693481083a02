#include "plane/access_log.h"

#include "unit.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* What a log has handed on. */
struct taken {
    char text[4 * ACCESS_LOG_BATCH];
    size_t size;
    int batches;
};

static void take(void *arg, struct access_log_batch *batch)
{
    struct taken *taken = arg;
    assert_true(taken->size + batch->size < sizeof taken->text);
    memcpy(taken->text + taken->size, batch->bytes, batch->size);
    taken->size += batch->size;
    taken->text[taken->size] = '\0';
    taken->batches++;
    access_log_batch_free(batch);
}

struct desk {
    struct loop *loop;
    struct access_log *log;
    struct taken taken;
};

static int set_up(void **state)
{
    struct desk *desk = calloc(1, sizeof *desk);
    desk->loop = loop_new();
    desk->log = access_log_new(desk->loop, take, &desk->taken);
    *state = desk;
    return 0;
}

static int tear_down(void **state)
{
    struct desk *desk = *state;
    access_log_free(desk->log);
    loop_free(desk->loop);
    free(desk);
    return 0;
}

static struct access_log_entry an_entry(void)
{
    return (struct access_log_entry){.client = STR("10.0.0.1"),
                                     .host = STR("app.test"),
                                     .method = STR("GET"),
                                     .target = STR("/x?y"),
                                     .user_agent = STR("me/1.0"),
                                     .request_id = STR("1f"),
                                     .minor = 1,
                                     .status = 200,
                                     .retries = 2,
                                     .bytes_in = 100,
                                     .bytes_out = 300,
                                     .body_out = 200,
                                     .duration_ns = 1234567890,
                                     .instance = STR("10.0.0.5:80"),
                                     .service = STR("web"),
                                     .pool = STR("web-1")};
}

static const char *written(struct desk *desk, enum snapshot_access_log format,
                           const struct access_log_entry *entry)
{
    struct access_log_entry own = *entry;
    desk->taken.size = 0;
    access_log_write(desk->log, format, &own);
    access_log_flush(desk->log);
    return desk->taken.text;
}

static void a_json_line_has_all_fields_in_order(void **state)
{
    struct access_log_entry entry = an_entry();
    const char *line = written(*state, SNAPSHOT_LOG_JSON, &entry);
    assert_memory_equal(line, "{\"time\":\"20", 11);
    assert_string_equal(
        strstr(line, ",\"client\""),
        ",\"client\":\"10.0.0.1\",\"method\":\"GET\",\"host\":\"app.test\",\"target\":\"/x?y\","
        "\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes_in\":100,\"bytes_out\":300,\"duration\":1.234567,"
        "\"instance\":\"10.0.0.5:80\",\"service\":\"web\",\"pool\":\"web-1\",\"request_id\":\"1f\","
        "\"trace_id\":null,"
        "\"user_agent\":\"me/1.0\",\"referer\":null,\"reason\":null,\"retries\":2}\n");
}

static void stop_loop(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

static void turn(struct loop *loop)
{
    struct deadline soon;
    deadline_init(&soon, loop, stop_loop);
    deadline_set(&soon, 0);
    loop_run(loop);
}

static void a_line_has_the_time_of_its_turn(void **state)
{
    struct desk *desk = *state;
    struct access_log_entry entry = an_entry();
    char first[CLOCK_TEXT_SIZE + 9] = "";
    memcpy(first, written(desk, SNAPSHOT_LOG_JSON, &entry), sizeof first - 1);
    uint64_t later_ns = clock_wall_ns() + 2000000;
    while (clock_wall_ns() < later_ns)
        continue;
    assert_memory_equal(written(desk, SNAPSHOT_LOG_JSON, &entry), first, sizeof first - 1);
    turn(desk->loop);
    assert_memory_not_equal(written(desk, SNAPSHOT_LOG_JSON, &entry), first, sizeof first - 1);
}

static void a_combined_line_is_apaches(void **state)
{
    struct access_log_entry entry = an_entry();
    const char *line = written(*state, SNAPSHOT_LOG_COMBINED, &entry);
    assert_memory_equal(line, "10.0.0.1 - - [", 14);
    assert_string_equal(strchr(line, ']'), "] \"GET /x?y HTTP/1.1\" 200 200 \"-\" \"me/1.0\"\n");
    entry = (struct access_log_entry){.client = STR("::1"), .status = 400};
    line = written(*state, SNAPSHOT_LOG_COMBINED, &entry);
    assert_string_equal(strchr(line, ']'), "] \"-\" 400 - \"-\" \"-\"\n");
}

static void no_byte_of_a_client_ends_its_field_or_the_line(void **state)
{
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct access_log_entry entry = an_entry();
    entry.target = (struct str){all, sizeof all};
    entry.user_agent = STR("\"\\\n");
    const char *line = written(*state, SNAPSHOT_LOG_JSON, &entry);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_non_null(strstr(line, "\"target\":\"\\u0000\\u0001"));
    assert_non_null(strstr(line, "\\u001f !\\\"#"));
    assert_non_null(strstr(line, "[\\\\]"));
    assert_non_null(strstr(line, "~\\u007f\\u0080"));
    assert_non_null(strstr(line, "\\u00ff\",\"protocol\""));
    assert_non_null(strstr(line, "\"user_agent\":\"\\\"\\\\\\u000a\""));
    line = written(*state, SNAPSHOT_LOG_COMBINED, &entry);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_non_null(strstr(line, "\"GET \\x00\\x01"));
    assert_non_null(strstr(line, " \"\\\"\\\\\\x0a\"\n"));
}

/* Many bytes are looked at at once, wherever they begin. */
static void a_byte_is_escaped_wherever_it_stands(void **state)
{
    struct desk *desk = *state;
    char target[18], escaped[8], expected[64];
    for (unsigned c = 0; c < 256; c++) {
        bool plain = c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
        bool named = c == '"' || c == '\\';
        snprintf(escaped, sizeof escaped, plain ? "%c" : named ? "\\%c" : "\\u00%02x", c);
        for (size_t at = 0; at < sizeof target; at++) {
            struct access_log_entry entry = an_entry();
            memset(target, 'a', sizeof target);
            target[at] = (char)c;
            entry.target = (struct str){target, sizeof target};
            snprintf(expected, sizeof expected, "\"target\":\"%.*s%s%.*s\"", (int)at, "aaaaaaaaaaaaaaaaaa",
                     escaped, (int)(sizeof target - 1 - at), "aaaaaaaaaaaaaaaaaa");
            assert_non_null(strstr(written(desk, SNAPSHOT_LOG_JSON, &entry), expected));
        }
    }
}

static void the_longest_line_fits_and_is_cut(void **state)
{
    static char most[100000];
    memset(most, 1, sizeof most);
    struct str text = {most, sizeof most};
    struct access_log_entry entry = an_entry();
    entry.method = entry.host = entry.target = entry.user_agent = entry.referer = entry.request_id =
        entry.trace_id = text;
    const char *line = written(*state, SNAPSHOT_LOG_JSON, &entry);
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_in_range(strlen(line), 6 * (ACCESS_LOG_TARGET_MAX + 5 * ACCESS_LOG_TEXT_MAX), ACCESS_LOG_BATCH);
}

static void a_full_batch_is_handed_on_and_no_line_is_torn(void **state)
{
    struct desk *desk = *state;
    struct access_log_entry entry = an_entry();
    int lines = 0;
    while (desk->taken.batches == 0) {
        access_log_write(desk->log, SNAPSHOT_LOG_JSON, &entry);
        lines++;
    }
    assert_true(desk->taken.size > ACCESS_LOG_BATCH - 4096);
    assert_int_equal(desk->taken.text[desk->taken.size - 1], '\n');
    access_log_flush(desk->log);
    for (const char *at = desk->taken.text; (at = strchr(at, '\n')) != NULL; at++)
        lines--;
    assert_int_equal(lines, 0);
}

static void a_full_batch_that_is_given_back_is_the_next_one_and_a_fitted_one_is_not(void **state)
{
    (void)state;
    struct access_log_batch *full = access_log_batch_new();
    full->size = ACCESS_LOG_BATCH;
    assert_ptr_equal(access_log_batch_fit(full), full);
    access_log_batch_free(full);
    struct access_log_batch *next = access_log_batch_new();
    assert_ptr_equal(next, full);
    assert_int_equal(next->size, 0);
    memcpy(next->bytes, "line\n", 5);
    next->size = 5;
    next = access_log_batch_fit(next);
    assert_memory_equal(next->bytes, "line\n", 5);
    access_log_batch_free(next);
    next = access_log_batch_new();
    memset(next->bytes, 'x', ACCESS_LOG_BATCH); /* has room for all */
    access_log_batch_free(next);
}

static void stop_with_it(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

static void lines_are_handed_on_after_a_second(void **state)
{
    struct desk *desk = *state;
    struct access_log_entry entry = an_entry();
    struct deadline end;
    access_log_write(desk->log, SNAPSHOT_LOG_JSON, &entry);
    deadline_init(&end, desk->loop, stop_with_it);
    deadline_set(&end, 1100);
    loop_run(desk->loop);
    assert_int_equal(desk->taken.batches, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_json_line_has_all_fields_in_order),
        TEST(a_line_has_the_time_of_its_turn),
        TEST(a_combined_line_is_apaches),
        TEST(no_byte_of_a_client_ends_its_field_or_the_line),
        TEST(a_byte_is_escaped_wherever_it_stands),
        TEST(the_longest_line_fits_and_is_cut),
        TEST(a_full_batch_is_handed_on_and_no_line_is_torn),
        TEST(a_full_batch_that_is_given_back_is_the_next_one_and_a_fitted_one_is_not),
        TEST(lines_are_handed_on_after_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
