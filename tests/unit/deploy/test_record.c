#include "deploy/record.h"

#include "unit.h"

#include "base/crc32c.h"
#include "walk.h"

#include <inttypes.h>
#include <stdlib.h>

/* What is written is read, and written again the same. */
static void assert_round_trip(struct record *record)
{
    size_t size, again_size;
    struct err err;
    struct record read;
    char *line = record_encode(record, &size);
    assert_int_equal(line[size - 1], '\n');
    if (!record_decode((struct str){line, size - 1}, &read, &err))
        fail_msg("%s: %s", err.text, line);
    char *again = record_encode(&read, &again_size);
    assert_string_equal(again, line);
    free(line);
    free(again);
    record_free(record);
    record_free(&read);
}

/* A line with its checksum, from what stands before it. */
static bool reads(const char *body)
{
    struct record record;
    struct err err;
    char *line = mem_printf("%s,\"crc\":\"%08" PRIx32 "\"}", body, crc32c(body, strlen(body)));
    bool ok = record_decode(str_of(line), &record, &err);
    record_free(&record);
    free(line);
    return ok;
}

static void a_staged_pool_survives_the_round_trip(void **state)
{
    (void)state;
    struct record record;
    struct pool *pool = make_pool("web-17", 3, 1, true);
    pool->instances[1].pid = 4711;
    pool->instances[1].pid_start = 998877;
    pool->instances[2].weight = 256;
    snprintf(pool->deployment->asker.user, sizeof pool->deployment->asker.user, "root");
    pool->deployment->asker.uid = 0;
    deployment_pause_with(pool->deployment, (const char *const[]){"/bin/sh", "-c", "date"}, 3, 30000);
    pool_record(&record, pool);
    record.seq = 9;
    assert_round_trip(&record);
}

static void a_draining_pool_survives_the_round_trip(void **state)
{
    (void)state;
    struct record record;
    struct pool *pool = make_pool("web-17", 2, 1, true);
    pool->state = POOL_DRAINING;
    pool->reason = RETIRE_REPLACED;
    pool->replaced_by = mem_dup("web-18");
    pool->was_live = true;
    pool->going_since_ns = 5000000;
    pool->going_since_world = 12;
    pool->drain = (struct drain_times){1, 2, 3, 4, 5, 0};
    pool->instances[0].state = INSTANCE_TORN_DOWN;
    pool->instances[0].end = TEARDOWN_LEFT;
    pool->instances[0].forced = true;
    pool->deployment->state = DEPLOYMENT_DRAINING;
    pool->deployment->gate_passed = true;
    pool->deployment->replaces = mem_dup("web-16");
    pool_record(&record, pool);
    assert_round_trip(&record);
}

static void a_canary_and_a_watch_survive_the_round_trip(void **state)
{
    (void)state;
    struct record record;
    struct pool *pool = make_pool("web-17", 2, 1, true);
    pool->deployment->state = DEPLOYMENT_CANARY;
    pool->deployment->since_ns = 4000000;
    pool->deployment->watch_ms = 60000;
    pool->deployment->flaw = mem_dup("p99 has grown");
    pool->deployment->canary =
        (struct canary){.shares = {10000, 100000, 999999}, .count = 3, .taken = 2, .step_ms = 30000};
    pool_record(&record, pool);
    assert_round_trip(&record);
}

static void every_event_survives_the_round_trip(void **state)
{
    (void)state;
    struct pool *pool = make_pool("web-17", 3, 1, true);
    for (unsigned i = 0; i < DEPLOYMENT_EVENTS; i++) {
        struct record record;
        event_record(&record, pool, (enum deployment_event)i);
        assert_round_trip(&record);
    }
    pool_free(pool);
}

static void instance_records_survive_the_round_trip(void **state)
{
    (void)state;
    static const enum record_type types[] = {RECORD_ROTATED, RECORD_RETIRED, RECORD_TORN_DOWN, RECORD_WORLD};
    for (size_t i = 0; i < 4; i++) {
        struct record record;
        record_init(&record, types[i], types[i] == RECORD_WORLD ? NULL : "web-1");
        record.world = 44;
        record.time_ns = 1000000;
        if (types[i] != RECORD_WORLD)
            record_add_instance(&record, 5);
        record.out = record.forced = true;
        record.end = TEARDOWN_FAILED;
        assert_round_trip(&record);
    }
}

static void an_instance_of_a_launch_survives_the_round_trip(void **state)
{
    (void)state;
    struct record record;
    struct pool *pool = make_pool("web-17", 0, 1, true);
    pool->deployment->state = DEPLOYMENT_LAUNCHING;
    pool_record(&record, pool);
    assert_round_trip(&record);
    added_record(&record, "web-17", 5);
    assert_round_trip(&record);
}

static void a_mode_survives_the_round_trip(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < MODE_KINDS; kind++) {
        struct record record;
        record_init(&record, RECORD_MODE, NULL);
        record.time_ns = 1000000;
        record.world = 9;
        record.service = mem_dup("web");
        record.mode.kind = (enum mode_kind)kind;
        record.mode.since_ns = kind == MODE_SERVING ? 0 : 5000000;
        if (kind == MODE_PAUSED) {
            record.mode.length_ms = 30000;
            record.mode.rate = 500000;
            record.mode.slot = 63;
            record.mode.deployment = mem_dup("web-17");
        }
        record.mode.message = kind == MODE_MAINTENANCE ? mem_dup("we \"move\"") : NULL;
        snprintf(record.asker.user, sizeof record.asker.user, "root");
        assert_round_trip(&record);
    }
    assert_false(
        reads("{\"seq\":1,\"time\":\"2026-01-01T00:00:00.000Z\",\"type\":\"mode\",\"service\":\"web\","
              "\"mode\":\"asleep\""));
    assert_false(
        reads("{\"seq\":1,\"time\":\"2026-01-01T00:00:00.000Z\",\"type\":\"mode\",\"service\":\"web\","
              "\"mode\":\"serving\",\"message\":\"why\""));
    static const char *const wrong[] = {
        "\"mode\":\"paused\",\"length\":1,\"rate\":0,\"slot\":64",
        "\"mode\":\"paused\",\"length\":1,\"rate\":0",
        "\"mode\":\"serving\",\"length\":1,\"rate\":0,\"slot\":1",
        "\"length\":1,\"rate\":0,\"slot\":1",
        "\"mode\":\"maintenance\",\"deployment\":\"web-1\"",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *line = mem_printf("{\"seq\":1,\"time\":\"2026-01-01T00:00:00.000Z\",\"type\":\"mode\","
                                "\"service\":\"web\",%s",
                                wrong[i]);
        assert_false(reads(line));
        free(line);
    }
}

/* Where the wall clock was set, a record of any type has both times. */
static void the_steady_time_survives_the_round_trip_of_every_type(void **state)
{
    (void)state;
    struct pool *pool = make_pool("web-17", 3, 1, true);
    struct record records[5];
    pool_record(&records[0], make_pool("web-17", 3, 1, true));
    event_record(&records[1], pool, EVENT_CONFIRMED);
    added_record(&records[2], "web-17", 5);
    record_init(&records[3], RECORD_WORLD, NULL);
    records[3].time_ns = 1000000;
    record_init(&records[4], RECORD_MODE, NULL);
    records[4].time_ns = 1000000;
    records[4].service = mem_dup("web");
    records[4].mode.kind = MODE_MAINTENANCE;
    for (size_t i = 0; i < 5; i++) {
        size_t size;
        struct record read;
        struct err err;
        assert_int_equal(record_moment_ns(&records[i]), records[i].time_ns);
        records[i].steady_ns = 86400123000000;
        assert_int_equal(record_moment_ns(&records[i]), 86400123000000);
        char *line = record_encode(&records[i], &size);
        assert_true(record_decode((struct str){line, size - 1}, &read, &err));
        assert_int_equal(read.steady_ns, 86400123000000);
        free(line);
        record_free(&read);
        assert_round_trip(&records[i]);
    }
    pool_free(pool);
}

/* So a program from before reads what was written while nobody set the clock. */
static void the_steady_time_is_not_written_where_it_is_the_same(void **state)
{
    (void)state;
    struct record record;
    size_t size;
    record_init(&record, RECORD_WORLD, NULL);
    record.time_ns = 1000000;
    char *line = record_encode(&record, &size);
    assert_null(strstr(line, "steady"));
    free(line);
    record_free(&record);
}

static void any_changed_byte_is_noticed(void **state)
{
    (void)state;
    struct record record, read;
    struct err err;
    record_init(&record, RECORD_ROTATED, "web-1");
    record.time_ns = 1000000;
    record_add_instance(&record, 0);
    size_t size;
    char *line = record_encode(&record, &size);
    for (size_t i = 0; i + 1 < size; i++) {
        line[i] ^= 1;
        assert_false(record_decode((struct str){line, size - 1}, &read, &err));
        line[i] ^= 1;
        assert_false(record_decode((struct str){line, i}, &read, &err));
    }
    free(line);
    record_free(&record);
}

#define HEAD "{\"seq\":1,\"time\":\"2026-11-22T10:00:00.123Z\","

static void unknown_missing_and_wrong_keys_are_refused(void **state)
{
    (void)state;
    assert_true(reads(HEAD "\"type\":\"world\",\"world\":3"));
    assert_false(reads(HEAD "\"type\":\"world\",\"world\":3,\"colour\":\"red\""));
    assert_false(reads(HEAD "\"type\":\"world\",\"world\":\"3\""));
    assert_false(reads(HEAD "\"type\":\"world\",\"world\":-3"));
    assert_false(reads(HEAD "\"type\":\"word\""));
    assert_false(reads("{\"seq\":1,\"type\":\"world\""));
    assert_false(reads("{\"seq\":1,\"time\":\"yesterday\",\"type\":\"world\""));
    assert_false(reads(HEAD "\"seq\":2,\"type\":\"world\""));
    assert_true(reads(HEAD "\"steady\":\"2026-11-21T10:00:00.123Z\",\"type\":\"world\""));
    assert_false(reads(HEAD "\"steady\":\"yesterday\",\"type\":\"world\""));
    assert_false(reads(HEAD "\"steady\":5,\"type\":\"world\""));
}

#define CANARY(shares, taken)                                                                        \
    HEAD "\"type\":\"pool\",\"service\":\"web\",\"pool\":{\"name\":\"web-1\",\"release\":\"\","      \
         "\"state\":\"staged\",\"slot\":0,\"was_live\":true,\"reason\":\"\",\"since_world\":0,"      \
         "\"drain\":[0,0,0,0],\"instances\":[],\"deployment\":{\"state\":\"canary\",\"hold\":false," \
         "\"allow_untested\":false,\"untested\":false,\"gate_passed\":true,\"asked_by\":{\"uid\":0," \
         "\"user\":\"\",\"pid\":0},\"created\":\"2026-11-22T10:00:00.123Z\",\"timeline\":[],"        \
         "\"canary\":{\"shares\":[" shares "],\"taken\":" taken ",\"step\":7}}}"

/* It stands for none, so what has it could not be written again. */
static void the_time_zero_is_refused(void **state)
{
    (void)state;
    const char *zero = "1970-01-01T00:00:00.000Z";
    const char *deployment = CANARY("5", "0");
    char *created = str_dup(str_of(deployment)), *of_created = strstr(created, "2026-11-22T10:00:00.123Z");
    assert_true(reads("{\"seq\":1,\"time\":\"1970-01-01T00:00:00.001Z\",\"type\":\"world\",\"world\":3"));
    assert_false(reads("{\"seq\":1,\"time\":\"1970-01-01T00:00:00.000Z\",\"type\":\"world\",\"world\":3"));
    assert_false(reads(HEAD "\"steady\":\"1970-01-01T00:00:00.000Z\",\"type\":\"world\""));
    of_created = strstr(of_created + 1, "2026-11-22T10:00:00.123Z");
    assert_true(reads(created));
    memcpy(of_created, zero, strlen(zero));
    assert_false(reads(created));
    free(created);
}

static void shares_that_no_canary_can_have_are_refused(void **state)
{
    (void)state;
    assert_true(reads(CANARY("1,999999", "2")));
    assert_false(reads(CANARY("1,999999", "3")));
    assert_false(reads(CANARY("", "0")));
    assert_false(reads(CANARY("0", "0")));
    assert_false(reads(CANARY("5,5", "0")));
    assert_false(reads(CANARY("5,1000000", "0")));
    assert_false(reads(CANARY("\"5\"", "0")));
}

static void events_carry_exactly_their_keys(void **state)
{
    (void)state;
    assert_true(reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"aborted\""));
    assert_true(reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"aborted\",\"world\":3,"
                           "\"drain\":[1,2,3,4]"));
    assert_false(reads(HEAD "\"type\":\"event\",\"event\":\"aborted\""));
    assert_false(reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"exploded\""));
    assert_false(reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"confirmed\",\"world\":3"));
    assert_false(
        reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"aborted\",\"drain\":[1,2,3,4]"));
    assert_false(reads(HEAD "\"type\":\"rotated\",\"pool\":\"web-1\",\"instances\":[-1],\"out\":true"));
    assert_false(reads(HEAD "\"type\":\"retired\",\"pool\":\"web-1\",\"instances\":7,\"forced\":true"));
}

#define INSTANCE                                                                       \
    "{\"address\":\"a:1\",\"resolved\":\"1.2.3.4:1\",\"id\":1,\"slot\":0,%s\"pid\":0," \
    "\"pid_start\":0,\"state\":\"up\",\"forced\":false,\"end\":\"\"}"
#define POOL(instance)                                                                          \
    HEAD "\"type\":\"pool\",\"service\":\"web\",\"pool\":{\"name\":\"web-1\",\"release\":\"\"," \
         "\"state\":\"live\",\"slot\":0,\"was_live\":true,\"reason\":\"\",\"since_world\":0,"   \
         "\"drain\":[0,0,0,0],\"instances\":[" instance "]}"

static bool reads_weight(const char *weight)
{
    char *body = mem_printf(POOL(INSTANCE), weight);
    bool ok = reads(body);
    free(body);
    return ok;
}

static void a_journal_from_before_there_were_weights_is_read(void **state)
{
    (void)state;
    assert_true(reads_weight(""));
    assert_true(reads_weight("\"weight\":256,"));
    assert_false(reads_weight("\"weight\":0,"));
    assert_false(reads_weight("\"weight\":257,"));
    assert_false(reads_weight("\"weight\":\"3\","));
}

/* So a program from before reads what it can read. */
static void the_usual_weight_is_not_written(void **state)
{
    (void)state;
    struct record record;
    size_t size;
    pool_record(&record, make_pool("web-1", 2, 1, false));
    char *line = record_encode(&record, &size);
    assert_null(strstr(line, "weight"));
    free(line);
    record_free(&record);
}

static void tunnels_without_a_time_of_their_own_have_that_of_websockets(void **state)
{
    (void)state;
    struct record record;
    struct err err;
    const char *body = HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"confirmed\",\"world\":3,"
                            "\"drain\":[1,2,3,4]";
    char *line = mem_printf("%s,\"crc\":\"%08" PRIx32 "\"}", body, crc32c(body, strlen(body)));
    assert_true(record_decode(str_of(line), &record, &err));
    assert_int_equal(record.drain.websockets_ms, 3);
    assert_int_equal(record.drain.tunnels_ms, 3);
    assert_int_equal(record.drain.spread_ms, 4);
    record_free(&record);
    free(line);
}

static void the_time_of_pinned_sessions_survives_the_round_trip(void **state)
{
    (void)state;
    struct record record;
    struct pool *pool = make_pool("web-17", 2, 1, true);
    event_record(&record, pool, EVENT_CONFIRMED);
    record.drain.pinned_ms = 900000;
    assert_round_trip(&record);
    pool->state = POOL_DRAINING;
    pool->was_live = true;
    pool->drain.pinned_ms = 900000;
    pool_record(&record, pool);
    assert_round_trip(&record);
    assert_false(reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"aborted\",\"pinned\":5"));
    assert_false(reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"confirmed\",\"world\":3,"
                            "\"drain\":[1,2,3,4],\"pinned\":-1"));
    assert_true(reads(HEAD "\"type\":\"event\",\"pool\":\"web-1\",\"event\":\"confirmed\",\"world\":3,"
                           "\"drain\":[1,2,3,4]"));
}

static void a_pool_name_is_service_dash_number(void **state)
{
    (void)state;
    struct str service;
    uint64_t number;
    assert_true(pool_name_parse(STR("web-1-17"), &service, &number));
    assert_str_equal(service, "web-1");
    assert_int_equal(number, 17);
    assert_false(pool_name_parse(STR("web"), &service, &number));
    assert_false(pool_name_parse(STR("web-"), &service, &number));
    assert_false(pool_name_parse(STR("-17"), &service, &number));
    assert_false(pool_name_parse(STR("web-x"), &service, &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_staged_pool_survives_the_round_trip),
        cmocka_unit_test(a_draining_pool_survives_the_round_trip),
        cmocka_unit_test(a_canary_and_a_watch_survive_the_round_trip),
        cmocka_unit_test(the_time_zero_is_refused),
        cmocka_unit_test(shares_that_no_canary_can_have_are_refused),
        cmocka_unit_test(every_event_survives_the_round_trip),
        cmocka_unit_test(instance_records_survive_the_round_trip),
        cmocka_unit_test(an_instance_of_a_launch_survives_the_round_trip),
        cmocka_unit_test(a_mode_survives_the_round_trip),
        cmocka_unit_test(the_steady_time_survives_the_round_trip_of_every_type),
        cmocka_unit_test(the_steady_time_is_not_written_where_it_is_the_same),
        cmocka_unit_test(any_changed_byte_is_noticed),
        cmocka_unit_test(unknown_missing_and_wrong_keys_are_refused),
        cmocka_unit_test(events_carry_exactly_their_keys),
        cmocka_unit_test(a_journal_from_before_there_were_weights_is_read),
        cmocka_unit_test(the_usual_weight_is_not_written),
        cmocka_unit_test(the_time_of_pinned_sessions_survives_the_round_trip),
        cmocka_unit_test(tunnels_without_a_time_of_their_own_have_that_of_websockets),
        cmocka_unit_test(a_pool_name_is_service_dash_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
