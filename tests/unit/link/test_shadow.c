#include "link/shadow.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RUN 77
#define SLOT 3
#define THREE 3000000 /* times as slow */

static struct counters *made(unsigned workers)
{
    struct err err;
    int fd = counters_create(workers, &err);
    assert_true(fd >= 0);
    struct counters *counters = counters_map(fd, &err);
    assert_non_null(counters);
    close(fd);
    return counters;
}

static struct shadow_cells *begun(struct counters *counters, unsigned worker)
{
    struct shadow_cells *cells = counters_shadow(counters, worker, SLOT);
    shadow_begin(cells, RUN);
    return cells;
}

static void note(struct shadow_cells *cells, const char *path, unsigned live, unsigned staged)
{
    shadow_note(cells, &(struct shadow_pair){.path = str_of(path), .live = live, .staged = staged}, THREE);
}

static void note_times(struct shadow_cells *cells, const char *path, uint64_t live_us, uint64_t staged_us,
                       uint32_t latency)
{
    struct shadow_pair pair = {str_of(path), 2, 2, live_us, staged_us};
    shadow_note(cells, &pair, latency);
}

static void a_304_is_as_good_as_the_representation(void **state)
{
    (void)state;
    assert_int_equal(shadow_class(200), 2);
    assert_int_equal(shadow_class(304), 2);
    assert_int_equal(shadow_class(302), 3);
    assert_int_equal(shadow_class(599), 5);
}

static void equal_classes_are_no_difference_and_their_times_are_kept(void **state)
{
    (void)state;
    struct counters *counters = made(2);
    struct shadow_sum sum;
    note_times(begun(counters, 0), "/", 1000, 2000, THREE);
    note_times(begun(counters, 1), "/", 1000, 2000, THREE);
    shadow_sum(counters, SLOT, RUN, &sum);
    assert_int_equal(sum.compared, 2);
    assert_int_equal(sum.differing, 0);
    assert_int_equal(sum.slower, 0);
    assert_int_equal(sum.live[counters_bucket(1000)], 2);
    assert_int_equal(sum.staged[counters_bucket(2000)], 2);
    counters_unmap(counters);
}

static void differences_of_all_workers_are_added_up_by_path_and_classes(void **state)
{
    (void)state;
    struct counters *counters = made(2);
    struct shadow_sum sum;
    for (int i = 0; i < 3; i++)
        note(begun(counters, 0), "/often", 2, 5);
    note(begun(counters, 1), "/often", 2, 5);
    note(begun(counters, 1), "/often", 2, 4);
    note(begun(counters, 1), "/once", 2, SHADOW_NO_ANSWER);
    shadow_sum(counters, SLOT, RUN, &sum);
    assert_int_equal(sum.differing, 6);
    assert_int_equal(sum.finding_count[SHADOW_DIFFERS], 3);
    const struct shadow_finding *worst = sum.findings[SHADOW_DIFFERS];
    assert_string_equal(worst->path, "/often");
    assert_int_equal(worst->live, 2);
    assert_int_equal(worst->staged, 5);
    assert_int_equal(worst->count, 4);
    /* What differs says nothing of how fast the release is. */
    assert_int_equal(sum.staged[0], 0);
    counters_unmap(counters);
}

static void slower_is_by_the_factor_and_by_more_than_nothing(void **state)
{
    (void)state;
    struct counters *counters = made(1);
    struct shadow_cells *cells = begun(counters, 0);
    struct shadow_sum sum;
    note_times(cells, "/fast", 1000, 9000, THREE);
    note_times(cells, "/large", 50000, 140000, THREE);
    note_times(cells, "/off", 50000, 999000, 0);
    note_times(cells, "/slow", 50000, 160000, THREE);
    shadow_sum(counters, SLOT, RUN, &sum);
    assert_int_equal(sum.slower, 1);
    assert_int_equal(sum.finding_count[SHADOW_SLOWER], 1);
    assert_string_equal(sum.findings[SHADOW_SLOWER]->path, "/slow");
    counters_unmap(counters);
}

static void a_frequent_path_is_found_among_any_number_of_others(void **state)
{
    (void)state;
    struct counters *counters = made(1);
    struct shadow_cells *cells = begun(counters, 0);
    struct shadow_sum sum;
    char path[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(path, sizeof path, "/item/%d", i);
        note(cells, path, 2, 5);
        if (i % 8 == 0)
            note(cells, "/broken", 2, 5);
    }
    shadow_sum(counters, SLOT, RUN, &sum);
    assert_int_equal(sum.finding_count[SHADOW_DIFFERS], SHADOW_PLACES);
    assert_string_equal(sum.findings[SHADOW_DIFFERS]->path, "/broken");
    assert_in_range(sum.findings[SHADOW_DIFFERS]->count, 300, 375);
    counters_unmap(counters);
}

static void long_paths_are_cut_and_say_so(void **state)
{
    (void)state;
    struct counters *counters = made(1);
    struct shadow_cells *cells = begun(counters, 0);
    struct shadow_sum sum;
    char path[300];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    note(cells, path, 2, 5);
    path[SHADOW_PATH_MAX] = '\0';
    note(cells, path, 2, 5);
    shadow_sum(counters, SLOT, RUN, &sum);
    assert_int_equal(sum.finding_count[SHADOW_DIFFERS], 2);
    size_t lengths[2] = {strlen(sum.findings[SHADOW_DIFFERS][0].path),
                         strlen(sum.findings[SHADOW_DIFFERS][1].path)};
    assert_int_equal(lengths[0] + lengths[1], 2 * SHADOW_PATH_MAX + 3);
    counters_unmap(counters);
}

static void another_run_begins_with_nothing_and_reads_nothing(void **state)
{
    (void)state;
    struct counters *counters = made(1);
    struct shadow_cells *cells = begun(counters, 0);
    struct shadow_sum sum;
    note(cells, "/old", 2, 5);
    shadow_sum(counters, SLOT, RUN + 1, &sum);
    assert_int_equal(sum.compared, 0);
    shadow_begin(cells, RUN + 1);
    note(cells, "/new", 2, 2);
    shadow_sum(counters, SLOT, RUN + 1, &sum);
    assert_int_equal(sum.compared, 1);
    assert_int_equal(sum.finding_count[SHADOW_DIFFERS], 0);
    counters_unmap(counters);
}

/* The proxy is the exposed role: it may write anything there. */
static void nothing_that_a_hostile_writer_leaves_is_believed(void **state)
{
    (void)state;
    struct counters *counters = made(256);
    struct shadow_sum sum;
    for (unsigned i = 0; i < 256; i++) {
        struct shadow_cells *cells = counters_shadow(counters, i, SLOT);
        memset(cells, i % 2 == 0 ? 0xff : 0x1b, sizeof *cells);
        cells->run = RUN;
        for (size_t k = 0; k < SHADOW_PLACES; k++)
            cells->places[0][k].seen = i * SHADOW_PLACES + k + 1;
    }
    shadow_sum(counters, SLOT, RUN, &sum);
    assert_true(sum.differing <= sum.compared);
    for (unsigned kind = 0; kind < SHADOW_KINDS; kind++) {
        assert_in_range(sum.finding_count[kind], 1, SHADOW_FINDINGS);
        for (size_t i = 0; i < sum.finding_count[kind]; i++) {
            const struct shadow_finding *finding = &sum.findings[kind][i];
            assert_true(finding->live <= 5 && finding->staged <= 5);
            for (const char *p = finding->path; *p != '\0'; p++)
                assert_in_range(*p, '!', '~');
            assert_true(strlen(finding->path) < sizeof finding->path);
        }
    }
    counters_unmap(counters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_304_is_as_good_as_the_representation),
        cmocka_unit_test(equal_classes_are_no_difference_and_their_times_are_kept),
        cmocka_unit_test(differences_of_all_workers_are_added_up_by_path_and_classes),
        cmocka_unit_test(slower_is_by_the_factor_and_by_more_than_nothing),
        cmocka_unit_test(a_frequent_path_is_found_among_any_number_of_others),
        cmocka_unit_test(long_paths_are_cut_and_say_so),
        cmocka_unit_test(another_run_begins_with_nothing_and_reads_nothing),
        cmocka_unit_test(nothing_that_a_hostile_writer_leaves_is_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
