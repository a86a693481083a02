/* What was found of a deployment, in a folder of its own. */
#include "control/archive.h"

#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct bench {
    char folder[64];
    struct loop *loop;
    struct archive *archive;
    unsigned done;
    bool failed;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct err err;
    *state = bench;
    strcpy(bench->folder, "/tmp/upswap-archive-XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    bench->loop = loop_new();
    bench->archive = archive_open(bench->loop, bench->folder, &err);
    assert_non_null(bench->archive);
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    char command[128];
    archive_close(bench->archive);
    loop_free(bench->loop);
    snprintf(command, sizeof command, "rm -r %s", bench->folder);
    assert_int_equal(system(command), 0);
    free(bench);
    return 0;
}

static void done(void *arg, const char *failure)
{
    struct bench *bench = arg;
    bench->done++;
    bench->failed = failure != NULL;
    loop_stop(bench->loop);
}

static void expect(struct bench *bench, enum archive_kind kind, int64_t number)
{
    json_t *read = archive_read(bench->archive, "web-1", kind);
    assert_int_equal(json_integer_value(json_object_get(read, "n")), number);
    json_decref(read);
}

static void what_was_written_is_read_again_until_it_is_dropped(void **state)
{
    struct bench *bench = *state;
    archive_write(bench->archive, "web-1", ARCHIVE_COMMAND, json_pack("{s:i}", "n", 7), done, bench);
    loop_run(bench->loop);
    assert_int_equal(bench->done, 1);
    assert_false(bench->failed);
    expect(bench, ARCHIVE_COMMAND, 7);
    assert_null(archive_read(bench->archive, "web-1", ARCHIVE_WATCH));
    archive_drop(bench->archive, "web-1");
    assert_null(archive_read(bench->archive, "web-1", ARCHIVE_COMMAND));
}

static void what_is_published_is_read_before_it_is_on_disk_and_after(void **state)
{
    struct bench *bench = *state;
    for (int n = 1; n <= 2; n++) { /* the second time there is a file */
        archive_publish(bench->archive, "web-1", ARCHIVE_WATCH, json_pack("{s:i}", "n", n), done, bench);
        expect(bench, ARCHIVE_WATCH, n);
        loop_run(bench->loop);
        expect(bench, ARCHIVE_WATCH, n);
    }
    assert_int_equal(bench->done, 2);
}

static void what_cannot_be_written_is_told_and_not_shown_any_more(void **state)
{
    struct bench *bench = *state;
    archive_publish(bench->archive, "no/such/folder", ARCHIVE_WATCH, json_pack("{s:i}", "n", 1), done, bench);
    loop_run(bench->loop);
    assert_true(bench->failed);
    assert_null(archive_read(bench->archive, "no/such/folder", ARCHIVE_WATCH));
}

static void write_gate(const struct bench *bench, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/deployments/web-1.json", bench->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_damaged_file_is_there_and_not_shown(void **state)
{
    struct bench *bench = *state;
    static const char *const damaged[] = {"",
                                          "{\"passed\":tr",
                                          "[1,2]",
                                          "{}",
                                          "{\"passed\":1,\"cells\":[]}",
                                          "{\"passed\":true,\"cells\":{}}",
                                          "{\"passed\":true,\"cells\":[{\"x\":1},5,null]}"};
    assert_false(archive_has(bench->archive, "web-1", ARCHIVE_GATE));
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        write_gate(bench, damaged[i]);
        assert_null(archive_read(bench->archive, "web-1", ARCHIVE_GATE));
        assert_true(archive_has(bench->archive, "web-1", ARCHIVE_GATE));
    }
}

/* Counts the lines of the log that the reading writes. */
static unsigned lines_of_reading(const struct bench *bench)
{
    char path[128], text[4096];
    snprintf(path, sizeof path, "%s/log", bench->folder);
    int log = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600), before = dup(STDERR_FILENO);
    dup2(log, STDERR_FILENO);
    assert_null(archive_read(bench->archive, "web-1", ARCHIVE_GATE));
    dup2(before, STDERR_FILENO);
    close(before);
    ssize_t size = pread(log, text, sizeof text, 0);
    close(log);
    unsigned lines = 0;
    for (ssize_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return lines;
}

static void a_damaged_file_is_complained_of_once_until_it_changes(void **state)
{
    struct bench *bench = *state;
    write_gate(bench, "[1,2]");
    assert_int_equal(lines_of_reading(bench), 1);
    assert_int_equal(lines_of_reading(bench), 0);
    write_gate(bench, "[1,2,3]");
    assert_int_equal(lines_of_reading(bench), 1);
    assert_int_equal(lines_of_reading(bench), 0);
    archive_drop(bench->archive, "web-1");
    assert_int_equal(lines_of_reading(bench), 0);
    write_gate(bench, "[1,2,3]");
    assert_int_equal(lines_of_reading(bench), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read_again_until_it_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_published_is_read_before_it_is_on_disk_and_after, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_there_and_not_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_complained_of_once_until_it_changes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_told_and_not_shown_any_more, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
