/* Each test stands for a few controls, one after the other: what the clock was told by the one before is
 * thrown away between them. */
#include "control/steady.h"

#include "unit.h"

#include "base/clock.h"
#include "io/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR_NS 3600000000000ULL
#define BOOT "/proc/sys/kernel/random/boot_id"

static char folder[] = "/tmp/test_steady.XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/clock", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Another process begins, whose wall clock is ahead of the monotonic one by so much. */
static void begin(uint64_t ahead_ns)
{
    clock_steady_set(ahead_ns);
    steady_open(folder);
}

static void write_file(struct str text)
{
    struct err err;
    assert_true(file_replace(path, text, 0600, &err));
}

static struct str read_file(void)
{
    static struct buf text;
    struct err err;
    assert_true(file_read(path, 4096, &text, NULL, &err));
    return buf_str(&text);
}

static void every_control_of_a_boot_has_the_same_clock(void **state)
{
    (void)state;
    struct stat status;
    begin(100 * HOUR_NS);
    assert_int_equal(clock_steady_ahead_ns(), 100 * HOUR_NS);
    begin(124 * HOUR_NS);
    assert_int_equal(clock_steady_ahead_ns(), 100 * HOUR_NS);
    begin(76 * HOUR_NS);
    assert_int_equal(clock_steady_ahead_ns(), 100 * HOUR_NS);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void another_boot_begins_another_clock(void **state)
{
    (void)state;
    char line[200];
    begin(100 * HOUR_NS);
    snprintf(line, sizeof line, "%.*s", (int)read_file().n, read_file().p);
    line[0] = line[0] == 'a' ? 'b' : 'a';
    write_file(str_of(line));
    begin(200 * HOUR_NS);
    assert_int_equal(clock_steady_ahead_ns(), 200 * HOUR_NS);
    begin(300 * HOUR_NS);
    assert_int_equal(clock_steady_ahead_ns(), 200 * HOUR_NS);
}

static void assert_not_taken_up(struct str text)
{
    write_file(text);
    begin(200 * HOUR_NS);
    if (clock_steady_ahead_ns() != 200 * HOUR_NS)
        fail_msg("taken up: %.*s", STR_ARG(text));
    begin(300 * HOUR_NS); /* and it was written anew */
    assert_int_equal(clock_steady_ahead_ns(), 200 * HOUR_NS);
}

static void a_line_that_is_cut_or_none_at_all_is_as_good_as_none(void **state)
{
    (void)state;
    static const char *const amounts[] = {
        "", "0", "-5", "1x", "18446744073709551615", "4611686018427387904", "1 2", "18446744073709551616"};
    char whole[200], line[200];
    begin(123 * HOUR_NS);
    snprintf(whole, sizeof whole, "%.*s", (int)read_file().n, read_file().p);
    for (size_t n = 0; n < strlen(whole); n++)
        assert_not_taken_up((struct str){whole, n});
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++) {
        snprintf(line, sizeof line, "%.36s %s\n", whole, amounts[i]);
        assert_not_taken_up(str_of(line));
    }
    snprintf(line, sizeof line, "%s%s", whole, whole);
    assert_not_taken_up(str_of(line));
}

static void without_a_place_for_it_the_clock_goes_on(void **state)
{
    (void)state;
    clock_steady_set(100 * HOUR_NS);
    steady_open("/proc/nowhere");
    assert_int_equal(clock_steady_ahead_ns(), 100 * HOUR_NS);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(every_control_of_a_boot_has_the_same_clock),
        EACH(another_boot_begins_another_clock),
        EACH(a_line_that_is_cut_or_none_at_all_is_as_good_as_none),
        EACH(without_a_place_for_it_the_clock_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
