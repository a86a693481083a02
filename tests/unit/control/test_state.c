#include "control/state.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test_state.XXXXXX";
static char path[64];

static void make_journal(void)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/journal", folder);
    make_journal();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    rmdir(folder);
    return 0;
}

static void a_folder_with_a_journal_can_be_gone_on_with(void **state)
{
    (void)state;
    struct err err;
    assert_true(state_is_there(folder, &err));
}

static void a_folder_without_a_journal_is_none_and_stays_as_it_is(void **state)
{
    (void)state;
    struct err err;
    unlink(path);
    assert_false(state_is_there(folder, &err));
    assert_non_null(
        strstr(err.text, "journal cannot be opened: No such file or directory; put state_directory back"));
    assert_int_equal(access(path, F_OK), -1);
}

static void a_folder_that_is_gone_is_told_and_not_made(void **state)
{
    (void)state;
    struct err err;
    unlink(path);
    rmdir(folder);
    assert_false(state_is_there(folder, &err));
    assert_non_null(strstr(err.text, "restart the daemon to begin anew"));
    assert_int_equal(access(folder, F_OK), -1);
}

static void a_folder_that_may_not_be_written_to_is_told(void **state)
{
    (void)state;
    struct err err;
    bool root = geteuid() == 0; /* whom no mode stops */
    chmod(folder, 0500);
    assert_int_equal(root ? seteuid(65534) : 0, 0);
    assert_false(state_is_there(folder, &err));
    assert_non_null(strstr(err.text, "let the daemon write to it"));
    assert_int_equal(root ? seteuid(0) : 0, 0);
    chmod(folder, 0700);
}

/* What would wait for its other end is killed by the alarm. */
static void a_fifo_in_the_place_of_the_journal_is_told_at_once(void **state)
{
    (void)state;
    struct err err;
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(5);
    assert_false(state_is_there(folder, &err));
    alarm(0);
    assert_non_null(strstr(err.text, "journal is not a regular file; move it away"));
}

static void a_folder_has_its_mark_whatever_is_done_inside(void **state)
{
    (void)state;
    struct err err;
    int mark = state_mark(folder, &err);
    assert_true(mark >= 0);
    unlink(path);
    make_journal();
    assert_true(state_is_marked(folder, mark, &err));
    close(mark);
}

static void a_mark_tells_how_many_records_there_were(void **state)
{
    (void)state;
    struct err err;
    int mark = state_mark(folder, &err);
    assert_int_equal(state_records(mark), 0);
    state_set_records(mark, 7);
    assert_int_equal(state_records(mark), 7);
    assert_true(state_is_marked(folder, mark, &err));
    close(mark);
}

static void a_copy_in_the_place_of_a_folder_does_not_have_its_mark(void **state)
{
    (void)state;
    struct err err;
    char away[sizeof folder + 8];
    int mark = state_mark(folder, &err);
    snprintf(away, sizeof away, "%s.away", folder);
    assert_int_equal(rename(folder, away), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_false(state_is_marked(folder, mark, &err));
    assert_non_null(strstr(err.text, "is not the folder with which the daemon has run"));
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rename(away, folder), 0);
    assert_true(state_is_marked(folder, mark, &err));
    close(mark);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(a_folder_with_a_journal_can_be_gone_on_with),
        EACH(a_folder_without_a_journal_is_none_and_stays_as_it_is),
        EACH(a_folder_that_is_gone_is_told_and_not_made),
        EACH(a_folder_that_may_not_be_written_to_is_told),
        EACH(a_fifo_in_the_place_of_the_journal_is_told_at_once),
        EACH(a_folder_has_its_mark_whatever_is_done_inside),
        EACH(a_mark_tells_how_many_records_there_were),
        EACH(a_copy_in_the_place_of_a_folder_does_not_have_its_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
