#include "control/event_log.h"

#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64], path[96], old_path[100];

static int set_up(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/upswap-event-log-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/events.jsonl", directory);
    snprintf(old_path, sizeof old_path, "%s/events.jsonl.1", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(old_path);
    return rmdir(directory);
}

static struct event_log *open_log(void)
{
    struct err err;
    struct event_log *log = event_log_open(directory, &err);
    assert_non_null(log);
    return log;
}

static bool collect(void *arg, uint64_t seq, struct str line)
{
    (void)line;
    buf_printf(arg, "%u ", (unsigned)seq);
    return true;
}

static void assert_read(struct event_log *log, uint64_t since, const char *service, const char *seqs)
{
    struct buf found = BUF_EMPTY;
    buf_add(&found, "", 0);
    event_log_read(log, since, service, collect, &found);
    assert_string_equal(found.p, seqs);
    buf_free(&found);
}

static void append(const char *file, const char *text)
{
    FILE *out = fopen(file, "a");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static bool keep_first(void *arg, uint64_t seq, struct str line)
{
    (void)seq;
    char **kept = arg;
    assert_null(*kept);
    *kept = str_dup(line);
    return false;
}

static void an_event_has_the_documented_members_and_cannot_be_overruled(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    event_log_add(log, "deployment.staged", "web", "web-1",
                  json_pack("{s:s, s:i, s:s, s:f}", "release", "v1", "seq", 99, "type", "gate.passed",
                            "seconds", 0.0012414710000000001));
    char *line = NULL;
    event_log_read(log, 0, NULL, keep_first, &line);
    json_t *event = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_integer_value(json_object_get(event, "seq")), 1);
    assert_string_equal(json_string_value(json_object_get(event, "type")), "deployment.staged");
    assert_string_equal(json_string_value(json_object_get(event, "service")), "web");
    assert_string_equal(json_string_value(json_object_get(event, "deployment")), "web-1");
    assert_string_equal(json_string_value(json_object_get(event, "release")), "v1");
    assert_int_equal(strlen(json_string_value(json_object_get(event, "time"))), 24);
    assert_non_null(strstr(line, "\"seconds\":0.001241471}"));
    json_decref(event);
    free(line);
    event_log_close(log);
}

static void events_are_read_above_a_number_and_of_a_service(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    event_log_add(log, "gate.passed", "web", "web-1", NULL);
    event_log_add(log, "gate.passed", "api", "api-1", NULL);
    event_log_add(log, "daemon.started", NULL, NULL, NULL);
    event_log_add(log, "gate.failed", "web", "web-2", NULL);
    assert_read(log, 0, NULL, "1 2 3 4 ");
    assert_read(log, 2, NULL, "3 4 ");
    assert_read(log, 0, "web", "1 4 ");
    assert_read(log, 4, NULL, "");
    event_log_close(log);
}

static void numbers_grow_across_restarts(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    event_log_add(log, "gate.passed", "web", "web-1", NULL);
    event_log_add(log, "gate.failed", "web", "web-2", NULL);
    event_log_close(log);
    log = open_log();
    assert_int_equal(event_log_last(log), 2);
    assert_int_equal(event_log_add(log, "gate.passed", "api", NULL, NULL), 3);
    assert_read(log, 0, NULL, "1 2 3 ");
    assert_read(log, 0, "web", "1 2 ");
    event_log_close(log);
}

static void numbers_grow_across_a_restart_whose_file_lacks_the_last_events(void **state)
{
    (void)state;
    uint64_t carried = 0;
    struct event_log *log = open_log();
    event_log_add(log, "gate.passed", "web", "web-1", NULL);
    event_log_carry(log, &carried);
    event_log_add(log, "gate.failed", "web", "web-2", NULL);
    assert_int_equal(carried, 2);
    event_log_close(log);
    carried = 51;
    log = open_log();
    event_log_carry(log, &carried);
    assert_int_equal(event_log_last(log), 51);
    assert_int_equal(event_log_add(log, "gate.passed", "api", NULL, NULL), 52);
    assert_int_equal(carried, 52);
    assert_read(log, 0, NULL, "1 2 51 52 "); /* 51: that 3 to 51 are gone */
    assert_read(log, 51, NULL, "52 ");
    event_log_close(log);
}

static void a_carried_number_that_no_log_comes_to_is_not_believed(void **state)
{
    (void)state;
    uint64_t carried = UINT64_MAX;
    struct event_log *log = open_log();
    event_log_add(log, "gate.passed", "web", "web-1", NULL);
    event_log_carry(log, &carried);
    assert_int_equal(carried, 1);
    assert_int_equal(event_log_add(log, "gate.passed", "api", NULL, NULL), 2);
    event_log_close(log);
}

static void a_torn_last_line_is_cut_off_and_a_line_of_something_else_is_left_out(void **state)
{
    (void)state;
    append(path, "{\"seq\":7,\"service\":\"web\"}\nno event\n{\"seq\":6}\n{\"seq\":8}\n{\"seq\":9,\"ser");
    struct event_log *log = open_log();
    assert_read(log, 0, NULL, "7 8 ");
    assert_int_equal(event_log_add(log, "gate.passed", NULL, NULL, NULL), 9);
    event_log_close(log);
    log = open_log();
    assert_read(log, 0, NULL, "7 8 9 ");
    event_log_close(log);
}

static void a_file_that_holds_nothing_but_a_torn_line_is_emptied(void **state)
{
    (void)state;
    append(path, "{\"seq\":1,");
    struct event_log *log = open_log();
    assert_int_equal(event_log_last(log), 0);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 0);
    event_log_close(log);
}

static void only_the_last_ones_are_kept(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    for (int i = 0; i < EVENT_LOG_KEPT + 5; i++)
        event_log_add(log, "uptest.finished", "web", "web-1", NULL);
    event_log_close(log);
    log = open_log();
    assert_int_equal(event_log_last(log), EVENT_LOG_KEPT + 5);
    assert_int_equal(event_log_add(log, "gate.passed", "api", NULL, NULL), EVENT_LOG_KEPT + 6);
    assert_read(log, EVENT_LOG_KEPT + 4, NULL, "10005 10006 ");
    char *first = NULL;
    event_log_read(log, 0, "api", keep_first, &first);
    assert_non_null(first);
    struct buf all = BUF_EMPTY;
    event_log_read(log, 0, NULL, collect, &all);
    assert_memory_equal(all.p, "7 8 ", 4);
    buf_free(&all);
    free(first);
    event_log_close(log);
}

static bool collect_text(void *arg, uint64_t seq, struct str line)
{
    (void)seq;
    json_t *event = json_loadb(line.p, line.n, 0, NULL);
    assert_non_null(json_object_get(event, "time"));
    json_object_del(event, "time");
    char *text = json_dumps(event, JSON_COMPACT);
    buf_printf(arg, "%s\n", text);
    free(text);
    json_decref(event);
    return false;
}

static void assert_first(struct event_log *log, uint64_t since, const char *service, const char *text)
{
    struct buf found = BUF_EMPTY;
    event_log_read(log, since, service, collect_text, &found);
    assert_string_equal(found.p, text);
    buf_free(&found);
}

static void a_reader_is_told_first_which_of_the_events_that_it_asks_for_are_gone(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    for (int i = 0; i < EVENT_LOG_KEPT + 5; i++)
        event_log_add(log, "gate.passed", "web", NULL, NULL);
    static const char kept[] = "{\"seq\":6,\"service\":\"web\",\"type\":\"gate.passed\"}\n";
    static const char gone[] = "{\"seq\":5,\"type\":\"events.missed\",\"first\":3,\"last\":5}\n";
    assert_first(log, 0, NULL, kept);
    assert_first(log, 5, NULL, kept);
    assert_first(log, 2, NULL, gone);
    assert_first(log, 2, "api", gone);
    event_log_close(log);
}

static void a_reader_of_a_service_has_read_what_is_not_for_it(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    struct buf none = BUF_EMPTY;
    event_log_add(log, "gate.passed", "web", NULL, NULL);
    event_log_add(log, "gate.passed", "web", NULL, NULL);
    assert_int_equal(event_log_read(log, 1, "api", collect, &none), 2);
    assert_int_equal(none.n, 0);
    event_log_close(log);
}

static void a_full_file_is_rotated_once_and_both_are_read_back(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    char *wide = mem_alloc(1 << 20);
    memset(wide, 'x', (1 << 20) - 1);
    wide[(1 << 20) - 1] = '\0';
    for (int i = 0; i < 40; i++)
        event_log_add(log, "uptest.finished", "web", NULL, json_pack("{s:s}", "output", wide));
    free(wide);
    event_log_close(log);
    struct stat status;
    assert_int_equal(stat(old_path, &status), 0);
    assert_in_range(status.st_size, 31 << 20, 32 << 20);
    assert_int_equal(stat(path, &status), 0);
    assert_in_range(status.st_size, 1 << 20, 10 << 20);
    log = open_log();
    assert_int_equal(event_log_add(log, "gate.passed", NULL, NULL, NULL), 41);
    assert_read(log, 30, NULL, "31 32 33 34 35 36 37 38 39 40 41 ");
    event_log_close(log);
}

struct follower {
    struct event_subscription subscription;
    uint64_t last;
    unsigned count;
    char service[16];
    bool leaves;
};

static void follower_added(struct event_subscription *subscription, uint64_t seq, const char *service,
                           struct str line)
{
    struct follower *follower = mem_container(subscription, struct follower, subscription);
    assert_int_equal(line.p[0], '{');
    follower->last = seq;
    follower->count++;
    strcpy(follower->service, service == NULL ? "-" : service);
    if (follower->leaves)
        event_log_unsubscribe(subscription);
}

static void followers_are_told_of_each_event_until_they_leave(void **state)
{
    (void)state;
    struct event_log *log = open_log();
    struct follower a = {.subscription.added = follower_added}, b = a;
    b.leaves = true;
    event_log_subscribe(log, &a.subscription);
    event_log_subscribe(log, &b.subscription);
    event_log_add(log, "gate.passed", "web", NULL, NULL);
    event_log_add(log, "daemon.started", NULL, NULL, NULL);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.last, 2);
    assert_string_equal(a.service, "-");
    assert_int_equal(b.count, 1);
    assert_string_equal(b.service, "web");
    event_log_unsubscribe(&a.subscription);
    event_log_add(log, "daemon.started", NULL, NULL, NULL);
    assert_int_equal(a.count, 2);
    event_log_close(log);
}

static void a_folder_that_is_not_there_is_an_error_that_names_the_file(void **state)
{
    (void)state;
    struct err err;
    assert_null(event_log_open("/nowhere/at/all", &err));
    assert_non_null(strstr(err.text, "/nowhere/at/all/events.jsonl"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_event_has_the_documented_members_and_cannot_be_overruled),
        TEST(events_are_read_above_a_number_and_of_a_service),
        TEST(numbers_grow_across_restarts),
        TEST(numbers_grow_across_a_restart_whose_file_lacks_the_last_events),
        TEST(a_carried_number_that_no_log_comes_to_is_not_believed),
        TEST(a_torn_last_line_is_cut_off_and_a_line_of_something_else_is_left_out),
        TEST(a_file_that_holds_nothing_but_a_torn_line_is_emptied),
        TEST(only_the_last_ones_are_kept),
        TEST(a_reader_is_told_first_which_of_the_events_that_it_asks_for_are_gone),
        TEST(a_reader_of_a_service_has_read_what_is_not_for_it),
        TEST(a_full_file_is_rotated_once_and_both_are_read_back),
        TEST(followers_are_told_of_each_event_until_they_leave),
        TEST(a_folder_that_is_not_there_is_an_error_that_names_the_file),
    };
    return cmocka_run_group_tests_name("event_log", tests, NULL, NULL);
}
