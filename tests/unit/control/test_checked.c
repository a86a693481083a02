/* What was found out about certificates is remembered by their bytes, and by nothing else. */
#include "control/checked.h"

#include "base/mem.h"
#include "io/issue.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TIMES 20

static char folder[64], pem[96], key[96];
static struct checked *checked; /* lives as long as the process */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/upswap-checked-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(pem, sizeof pem, "%s/site.pem", folder);
    snprintf(key, sizeof key, "%s/site.key", folder);
    struct issued site = issue("DNS:example.com", false);
    write_file(pem, site.certificate);
    write_file(key, site.key);
    issued_free(&site);
    if (checked == NULL)
        checked = checked_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(pem);
    unlink(key);
    return rmdir(folder);
}

static bool is_good_for(bool by_name, struct err *err)
{
    struct certificate_files files;
    bool good = checked_read(checked, &files, pem, key, NULL, by_name, err);
    assert_int_equal(files.key.n > 0, true);
    certificate_files_wipe(&files);
    return good;
}

static bool is_good(struct err *err)
{
    return is_good_for(false, err);
}

/* ns of processor for so many readings, of which each is the first one after a sweep, or none is. */
static uint64_t cost(bool swept)
{
    struct timespec began, ended;
    struct err err;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
    for (unsigned i = 0; i < TIMES; i++) {
        for (unsigned sweeps = swept ? 2 : 0; sweeps > 0; sweeps--)
            checked_sweep(checked);
        assert_true(is_good(&err));
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    return (uint64_t)((ended.tv_sec - began.tv_sec) * 1000000000 + ended.tv_nsec - began.tv_nsec);
}

static void a_pair_that_has_not_changed_is_not_checked_again_until_nobody_asks_for_it_any_more(void **state)
{
    (void)state;
    struct err err;
    assert_true(is_good(&err));
    uint64_t known = cost(false);
    assert_true(known < cost(true) / 3);
    assert_true(is_good(&err));
    checked_sweep(checked); /* it was asked for since the one before */
    assert_true(cost(false) < known * 3);
}

static void a_pair_one_of_whose_files_is_another_is_checked(void **state)
{
    (void)state;
    struct err err;
    struct issued other = issue("DNS:example.com", false);
    assert_true(is_good(&err));
    char *known = NULL;
    size_t size = 0;
    FILE *file = fopen(key, "r");
    assert_true(getdelim(&known, &size, '\0', file) > 0);
    fclose(file);
    write_file(key, other.key);
    assert_false(is_good(&err));
    assert_non_null(strstr(err.text, pem));
    assert_false(is_good(&err)); /* nor is it good the second time */
    write_file(key, known);
    assert_true(is_good(&err));
    write_file(pem, other.certificate);
    assert_false(is_good(&err));
    free(known);
    issued_free(&other);
}

static void a_pair_without_a_name_is_good_only_where_it_needs_none(void **state)
{
    (void)state;
    struct err err;
    struct issued nameless = issue("IP:127.0.0.1", false);
    write_file(pem, nameless.certificate);
    write_file(key, nameless.key);
    assert_true(is_good_for(false, &err));
    assert_false(is_good_for(true, &err));
    assert_non_null(strstr(err.text, "no client is ever shown the certificate"));
    issued_free(&nameless);
}

static void an_end_is_that_of_the_text_that_is_asked_about(void **state)
{
    (void)state;
    struct issued site = issue("DNS:example.com", false);
    int64_t ends = checked_end(checked, str_of(site.certificate));
    assert_true(ends > time(NULL));
    assert_int_equal(checked_end(checked, str_of(site.certificate)), ends);
    assert_int_equal(checked_end(checked, STR("none")), 0);
    issued_free(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_pair_that_has_not_changed_is_not_checked_again_until_nobody_asks_for_it_any_more, begin, end),
        cmocka_unit_test_setup_teardown(a_pair_one_of_whose_files_is_another_is_checked, begin, end),
        cmocka_unit_test_setup_teardown(a_pair_without_a_name_is_good_only_where_it_needs_none, begin, end),
        cmocka_unit_test_setup_teardown(an_end_is_that_of_the_text_that_is_asked_about, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
