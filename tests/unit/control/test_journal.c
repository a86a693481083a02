#include "control/journal.h"

#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "control/state.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char directory[64];
    char path[80];
    struct loop *loop;
    struct registry *registry;
    struct journal *journal;
    int left;  /* answers to wait for */
    int error; /* of the last one */
};

static bool open_it(struct place *place, uint64_t compact_bytes, struct err *err)
{
    place->registry = registry_new();
    place->journal =
        journal_open(place->loop, place->directory, place->registry, compact_bytes, NULL, NULL, err);
    return place->journal != NULL;
}

static void close_it(struct place *place)
{
    journal_close(place->journal);
    registry_free(place->registry);
    place->journal = NULL;
    place->registry = NULL;
}

static int setup(void **state)
{
    struct place *place = mem_zero(1, sizeof *place);
    struct err err;
    snprintf(place->directory, sizeof place->directory, "/tmp/upswap-journal-XXXXXX");
    *state = place;
    if (mkdtemp(place->directory) == NULL)
        return -1;
    snprintf(place->path, sizeof place->path, "%s/journal", place->directory);
    place->loop = loop_new();
    return open_it(place, UINT64_MAX, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    struct place *place = *state;
    close_it(place);
    loop_free(place->loop);
    unlink(place->path);
    rmdir(place->directory);
    free(place);
    return 0;
}

static void done(void *arg, struct record *record, int error)
{
    struct place *place = arg;
    struct err err;
    place->error = error;
    if (error == 0)
        assert_true(registry_apply(place->registry, record, NULL, &err));
    if (--place->left == 0)
        loop_stop(place->loop);
}

static void append(struct place *place, struct record *records, int count)
{
    place->left = count;
    for (int i = 0; i < count; i++)
        journal_append(place->journal, &records[i], done, place);
    loop_run(place->loop);
    for (int i = 0; i < count; i++)
        record_free(&records[i]);
}

static void make_live(struct record *record, const char *name)
{
    struct pool *pool = pool_new(name, "v1", 1);
    struct str service;
    uint64_t number;
    assert_true(pool_name_parse(str_of(name), &service, &number));
    pool->instances[0].address = mem_dup("127.0.0.1:80");
    pool->instances[0].resolved = mem_dup("127.0.0.1:80");
    pool->instances[0].state = INSTANCE_UP;
    pool->state = POOL_LIVE;
    record_init(record, RECORD_POOL, NULL);
    record->service = str_dup(service);
    record->fresh = pool;
}

/* Three services, each with a live pool. */
static void write_three(struct place *place)
{
    struct record records[3];
    make_live(&records[0], "a-0");
    make_live(&records[1], "b-0");
    make_live(&records[2], "c-0");
    append(place, records, 3);
    assert_int_equal(place->error, 0);
    close_it(place);
}

static void read_bytes(struct place *place, struct buf *bytes)
{
    struct err err;
    assert_true(file_read(place->path, SIZE_MAX / 2, bytes, NULL, &err));
}

static void write_bytes(struct place *place, const char *bytes, size_t size)
{
    int fd = open(place->path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

static size_t line_end(const struct buf *bytes, unsigned lines)
{
    size_t at = 0;
    while (lines-- > 0)
        at = (size_t)((const char *)memchr(bytes->p + at, '\n', bytes->n - at) - bytes->p) + 1;
    return at;
}

static void what_was_appended_is_there_again(void **state)
{
    struct place *place = *state;
    struct err err;
    write_three(place);
    assert_true(open_it(place, UINT64_MAX, &err));
    assert_non_null(registry_service(place->registry, "a")->live);
    assert_non_null(registry_service(place->registry, "c")->live);
}

static void the_mark_of_the_folder_has_the_number_of_records(void **state)
{
    struct place *place = *state;
    struct err err;
    int mark = state_mark(place->directory, &err), ours = dup(mark);
    journal_mark(place->journal, mark);
    assert_int_equal(state_records(ours), 0);
    write_three(place);
    assert_int_equal(state_records(ours), 3);
    close(ours);
    assert_true(open_it(place, 1, &err)); /* which compacts it */
    assert_int_equal(journal_read(place->journal), 3);
    mark = state_mark(place->directory, &err);
    ours = dup(mark);
    journal_mark(place->journal, mark);
    assert_int_equal(state_records(ours), 4); /* with that of the world */
    close(ours);
}

/* Cuts the file at every byte: what is torn is dropped, and nothing else; it can be appended to again. */
static void a_torn_last_record_is_dropped_wherever_it_is_torn(void **state)
{
    struct place *place = *state;
    struct buf bytes = BUF_EMPTY;
    struct err err;
    write_three(place);
    read_bytes(place, &bytes);
    size_t second = line_end(&bytes, 2);
    for (size_t size = second; size < bytes.n; size += 7) {
        struct record record;
        write_bytes(place, bytes.p, size);
        assert_true(open_it(place, UINT64_MAX, &err));
        assert_int_equal(HASH_COUNT(place->registry->services), 2);
        make_live(&record, "d-0");
        append(place, &record, 1);
        close_it(place);
        assert_true(open_it(place, UINT64_MAX, &err));
        assert_int_equal(HASH_COUNT(place->registry->services), 3);
        close_it(place);
    }
    buf_free(&bytes);
    assert_true(open_it(place, UINT64_MAX, &err));
}

static void a_last_line_with_a_wrong_checksum_is_torn_too(void **state)
{
    struct place *place = *state;
    struct buf bytes = BUF_EMPTY;
    struct err err;
    write_three(place);
    read_bytes(place, &bytes);
    bytes.p[bytes.n - 20] ^= 1;
    write_bytes(place, bytes.p, bytes.n);
    assert_true(open_it(place, UINT64_MAX, &err));
    assert_int_equal(HASH_COUNT(place->registry->services), 2);
    buf_free(&bytes);
}

/* Of a program that knows more than this one: nothing of it is thrown away. */
static void a_last_line_that_is_whole_and_not_understood_is_kept(void **state)
{
    struct place *place = *state;
    struct buf bytes = BUF_EMPTY, after = BUF_EMPTY;
    struct err err;
    static const char body[] = "{\"seq\":4,\"time\":\"2026-11-22T10:00:00.123Z\",\"type\":\"world\","
                               "\"world\":9,\"colour\":\"red\"";
    write_three(place);
    read_bytes(place, &bytes);
    buf_printf(&bytes, "%s,\"crc\":\"%08" PRIx32 "\"}\n", body, crc32c(body, sizeof body - 1));
    write_bytes(place, bytes.p, bytes.n);
    assert_false(open_it(place, UINT64_MAX, &err));
    assert_non_null(strstr(err.text, "record 4 "));
    assert_non_null(strstr(err.text, "colour"));
    assert_false(journal_check(place->directory, 60000, &err));
    assert_non_null(strstr(err.text, "does not know it: "));
    assert_non_null(strstr(err.text, "; take a version that does"));
    read_bytes(place, &after);
    assert_int_equal(after.n, bytes.n);
    assert_memory_equal(after.p, bytes.p, bytes.n);
    buf_free(&bytes);
    buf_free(&after);
    close_it(place);
    unlink(place->path);
    assert_true(open_it(place, UINT64_MAX, &err));
}

static void damage_further_up_names_record_and_offset(void **state)
{
    struct place *place = *state;
    struct buf bytes = BUF_EMPTY;
    struct err err;
    char offset[32];
    write_three(place);
    read_bytes(place, &bytes);
    size_t first = line_end(&bytes, 1);
    bytes.p[first + 30] ^= 1;
    write_bytes(place, bytes.p, bytes.n);
    assert_false(open_it(place, UINT64_MAX, &err));
    snprintf(offset, sizeof offset, "at byte %zu", first);
    assert_non_null(strstr(err.text, "record 2 "));
    assert_non_null(strstr(err.text, offset));
    assert_non_null(strstr(err.text, "truncate -s"));
    registry_free(place->registry);
    bytes.p[first + 30] ^= 1;
    write_bytes(place, bytes.p, bytes.n);
    buf_free(&bytes);
    assert_true(open_it(place, UINT64_MAX, &err));
}

/* Turns a bit of this line, the first being 0. */
static void damage_line(struct place *place, unsigned line)
{
    struct buf bytes = BUF_EMPTY;
    read_bytes(place, &bytes);
    bytes.p[line_end(&bytes, line) + 30] ^= 1;
    write_bytes(place, bytes.p, bytes.n);
    buf_free(&bytes);
}

static void damage_names_what_is_live_without_the_record_and_all_behind_it(void **state)
{
    struct place *place = *state;
    struct err err;
    write_three(place);
    for (unsigned line = 0; line < 2; line++) {
        damage_line(place, line);
        assert_false(open_it(place, UINT64_MAX, &err));
        registry_free(place->registry);
        damage_line(place, line);
        assert_non_null(
            strstr(err.text, line == 0 ? "live is then nothing but the instances that the config names, and"
                                       : "live is then a-0, else nothing but"));
        assert_non_null(strstr(err.text, "until control starts"));
    }
    assert_true(open_it(place, UINT64_MAX, &err));
}

static void damage_names_the_first_of_many_that_are_live_and_counts_the_rest(void **state)
{
    struct place *place = *state;
    struct err err;
    struct record records[60];
    for (unsigned i = 0; i < 60; i++) {
        char name[32];
        snprintf(name, sizeof name, "service-%u-0", i);
        make_live(&records[i], name);
    }
    append(place, records, 60);
    close_it(place);
    damage_line(place, 50);
    assert_false(open_it(place, UINT64_MAX, &err));
    registry_free(place->registry);
    damage_line(place, 50);
    assert_non_null(strstr(err.text, "live is then service-0-0, service-1-0, "));
    assert_non_null(strstr(err.text, " and 42 more, else nothing but"));
    assert_non_null(strstr(err.text, "until control starts"));
    assert_true(open_it(place, UINT64_MAX, &err));
}

static void a_check_tells_damage_and_no_torn_record_and_changes_nothing(void **state)
{
    struct place *place = *state;
    struct buf before = BUF_EMPTY, after = BUF_EMPTY;
    struct err err;
    assert_true(journal_check(place->directory, 60000, &err));
    write_three(place);
    read_bytes(place, &before);
    size_t second = line_end(&before, 2);
    for (size_t size = second; size <= before.n; size++) {
        write_bytes(place, before.p, size);
        assert_true(journal_check(place->directory, 60000, &err));
        read_bytes(place, &after);
        assert_int_equal(after.n, size);
    }
    damage_line(place, 1);
    assert_false(journal_check(place->directory, 60000, &err));
    assert_non_null(strstr(err.text, "record 2 "));
    assert_non_null(strstr(err.text, "stop the daemon, put the file back"));
    assert_null(strstr(err.text, "truncate"));
    assert_true(journal_check(place->directory, 0, &err)); /* it does not get that far */
    damage_line(place, 1);
    read_bytes(place, &after);
    assert_memory_equal(after.p, before.p, before.n);
    buf_free(&before);
    buf_free(&after);
    assert_true(open_it(place, UINT64_MAX, &err));
}

/* What would wait for its other end is killed by the alarm. */
static void a_fifo_in_its_place_is_refused_at_once(void **state)
{
    struct place *place = *state;
    struct err err;
    close_it(place);
    unlink(place->path);
    assert_int_equal(mkfifo(place->path, 0600), 0);
    alarm(5);
    assert_false(open_it(place, UINT64_MAX, &err));
    assert_non_null(strstr(err.text, "journal is not a regular file; move it away"));
    assert_false(journal_check(place->directory, 60000, &err));
    alarm(0);
    registry_free(place->registry);
    unlink(place->path);
    assert_true(open_it(place, UINT64_MAX, &err));
}

static void a_lost_line_is_noticed_by_the_numbers(void **state)
{
    struct place *place = *state;
    struct buf bytes = BUF_EMPTY;
    struct err err;
    write_three(place);
    read_bytes(place, &bytes);
    size_t first = line_end(&bytes, 1), second = line_end(&bytes, 2);
    memmove(bytes.p + first, bytes.p + second, bytes.n - second);
    write_bytes(place, bytes.p, bytes.n - (second - first));
    assert_false(open_it(place, UINT64_MAX, &err));
    assert_non_null(strstr(err.text, "its number is 3"));
    registry_free(place->registry);
    buf_free(&bytes);
    unlink(place->path);
    assert_true(open_it(place, UINT64_MAX, &err));
}

static void compaction_keeps_what_there_is_and_the_highest_version(void **state)
{
    struct place *place = *state;
    struct record record;
    struct err err;
    struct buf before = BUF_EMPTY, after = BUF_EMPTY;
    for (unsigned i = 1; i <= 20; i++) {
        record_init(&record, RECORD_WORLD, NULL);
        record.world = i;
        append(place, &record, 1);
    }
    record_init(&record, RECORD_MODE, NULL);
    record.service = mem_dup("a");
    record.mode.kind = MODE_MAINTENANCE;
    record.mode.message = mem_dup("we move");
    record.asker.uid = 7;
    append(place, &record, 1);
    uint64_t since_ns = registry_service(place->registry, "a")->mode.since_ns;
    write_three(place);
    read_bytes(place, &before);
    assert_true(open_it(place, 100, &err));
    make_live(&record, "d-0");
    append(place, &record, 1);
    close_it(place);
    read_bytes(place, &after);
    assert_true(after.n < before.n);
    assert_true(open_it(place, UINT64_MAX, &err));
    assert_int_equal(HASH_COUNT(place->registry->services), 4);
    assert_int_equal(place->registry->world, 20);
    const struct mode *mode = &registry_service(place->registry, "a")->mode;
    assert_int_equal(mode->kind, MODE_MAINTENANCE);
    assert_string_equal(mode->message, "we move");
    assert_int_equal(mode->asker.uid, 7);
    assert_int_equal(mode->since_ns, since_ns);
    buf_free(&before);
    buf_free(&after);
}

static void start_maintenance(struct place *place)
{
    struct record record;
    record_init(&record, RECORD_MODE, NULL);
    record.service = mem_dup("a");
    record.mode.kind = MODE_MAINTENANCE;
    append(place, &record, 1);
    assert_int_equal(place->error, 0);
}

static uint64_t maintained_since_ns(const struct place *place)
{
    return registry_service(place->registry, "a")->mode.since_ns;
}

/* Each time the clock has been set by another hour: what a replay or a compaction has is what was measured.
 */
static void a_beginning_is_the_same_however_the_wall_clock_was_set(void **state)
{
    struct place *place = *state;
    struct err err;
    struct buf bytes = BUF_EMPTY;
    uint64_t ahead_ns = clock_steady_ahead_ns();
    for (int hours = -1; hours <= 1; hours++) {
        clock_steady_set(ahead_ns + (uint64_t)(hours * 3600000000000LL));
        uint64_t before_ns = clock_steady_ns(), since_ns;
        start_maintenance(place);
        since_ns = maintained_since_ns(place);
        assert_in_range(since_ns, before_ns - 200000000, clock_steady_ns() + 200000000);
        close_it(place);
        read_bytes(place, &bytes);
        buf_add(&bytes, "", 1);
        assert_true((strstr(bytes.p, "\"steady\"") != NULL) == (hours != 0));
        clock_steady_set(ahead_ns);
        assert_true(open_it(place, hours < 0 ? UINT64_MAX : 1, &err));
        assert_int_equal(maintained_since_ns(place), since_ns);
        close_it(place);
        assert_true(open_it(place, 1, &err));
        assert_int_equal(maintained_since_ns(place), since_ns);
        read_bytes(place, &bytes);
        buf_add(&bytes, "", 1);
        assert_null(strstr(bytes.p, "\"steady\"")); /* a compaction has but what programs from before read */
    }
    buf_free(&bytes);
}

/* A limit on the file's size stands for a full disk. */
static void a_record_that_cannot_be_written_gives_its_number_back(void **state)
{
    struct place *place = *state;
    struct record records[2];
    struct err err;
    struct rlimit old, full;
    make_live(&records[0], "a-0");
    append(place, records, 1);
    struct buf bytes = BUF_EMPTY;
    read_bytes(place, &bytes);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    full = (struct rlimit){bytes.n + 10, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    make_live(&records[0], "b-0");
    make_live(&records[1], "c-0");
    append(place, records, 2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(place->error, EFBIG);
    assert_int_equal(HASH_COUNT(place->registry->services), 1);
    make_live(&records[0], "b-0");
    append(place, records, 1);
    assert_int_equal(place->error, 0);
    close_it(place);
    assert_true(open_it(place, UINT64_MAX, &err));
    assert_int_equal(HASH_COUNT(place->registry->services), 2);
    buf_free(&bytes);
}

static struct rlimit unlimited;
static int failed; /* records */

/* There is room again as soon as the first has failed. */
static void done_and_make_room(void *arg, struct record *record, int error)
{
    failed += error != 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    done(arg, record, error);
}

static void what_was_appended_behind_a_record_that_cannot_be_written_is_not_written_either(void **state)
{
    struct place *place = *state;
    struct record records[3];
    struct rlimit full;
    struct err err;
    make_live(&records[0], "a-0");
    make_live(&records[1], "b-0");
    make_live(&records[2], "c-0");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    full = (struct rlimit){10, unlimited.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    failed = 0;
    place->left = 3;
    for (int i = 0; i < 3; i++)
        journal_append(place->journal, &records[i], done_and_make_room, place);
    loop_run(place->loop);
    for (int i = 0; i < 3; i++)
        record_free(&records[i]);
    assert_int_equal(failed, 3);
    close_it(place);
    assert_true(open_it(place, UINT64_MAX, &err));
    assert_int_equal(HASH_COUNT(place->registry->services), 0);
}

static struct record later;

/* Between two records of one batch the file goes, and another record comes. */
static void done_and_take_away(void *arg, struct record *record, int error)
{
    struct place *place = arg;
    done(arg, record, error);
    if (strcmp(record->service, "b") != 0)
        return;
    assert_return_code(unlink(place->path), errno);
    journal_append(place->journal, &later, done, place);
}

static void a_journal_that_is_written_anew_has_all_of_the_batch_before(void **state)
{
    struct place *place = *state;
    struct record records[3];
    struct err err;
    journal_mark(place->journal, state_mark(place->directory, &err));
    make_live(&records[0], "a-0");
    make_live(&records[1], "b-0");
    make_live(&records[2], "c-0");
    make_live(&later, "d-0");
    place->left = 4;
    for (int i = 0; i < 3; i++)
        journal_append(place->journal, &records[i], done_and_take_away, place);
    loop_run(place->loop);
    assert_int_equal(place->error, 0);
    for (int i = 0; i < 3; i++)
        record_free(&records[i]);
    record_free(&later);
    close_it(place);
    assert_true(open_it(place, UINT64_MAX, &err));
    assert_int_equal(HASH_COUNT(place->registry->services), 4);
}

static void a_journal_that_was_removed_is_written_anew_as_long_as_its_folder_is_the_marked_one(void **state)
{
    struct place *place = *state;
    struct record record;
    struct err err;
    int mark = state_mark(place->directory, &err), ours = dup(mark);
    journal_mark(place->journal, mark);
    make_live(&record, "a-0");
    append(place, &record, 1);
    assert_return_code(unlink(place->path), errno);
    make_live(&record, "b-0");
    append(place, &record, 1);
    assert_int_equal(place->error, 0);
    assert_int_equal(state_records(ours), 3); /* with that of the world */
    close_it(place);
    assert_true(open_it(place, UINT64_MAX, &err));
    assert_int_equal(HASH_COUNT(place->registry->services), 2);
    assert_return_code(unlink(place->path), errno); /* of this one there is no mark */
    make_live(&record, "c-0");
    append(place, &record, 1);
    assert_int_equal(place->error, ENOENT);
    assert_int_equal(journal_failures(place->journal), 1);
    assert_int_equal(access(place->path, F_OK), -1);
    char *failure = journal_failure(place->journal, ENOENT);
    assert_non_null(strstr(failure, "journal is gone, or is another file, and cannot be written anew: "));
    free(failure);
    close(ours);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(what_was_appended_is_there_again),
        EACH(the_mark_of_the_folder_has_the_number_of_records),
        EACH(a_torn_last_record_is_dropped_wherever_it_is_torn),
        EACH(a_last_line_with_a_wrong_checksum_is_torn_too),
        EACH(a_last_line_that_is_whole_and_not_understood_is_kept),
        EACH(damage_further_up_names_record_and_offset),
        EACH(damage_names_what_is_live_without_the_record_and_all_behind_it),
        EACH(damage_names_the_first_of_many_that_are_live_and_counts_the_rest),
        EACH(a_check_tells_damage_and_no_torn_record_and_changes_nothing),
        EACH(a_fifo_in_its_place_is_refused_at_once),
        EACH(a_lost_line_is_noticed_by_the_numbers),
        EACH(compaction_keeps_what_there_is_and_the_highest_version),
        EACH(a_beginning_is_the_same_however_the_wall_clock_was_set),
        EACH(a_record_that_cannot_be_written_gives_its_number_back),
        EACH(what_was_appended_behind_a_record_that_cannot_be_written_is_not_written_either),
        EACH(a_journal_that_is_written_anew_has_all_of_the_batch_before),
        EACH(a_journal_that_was_removed_is_written_anew_as_long_as_its_folder_is_the_marked_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
