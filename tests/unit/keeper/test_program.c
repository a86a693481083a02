#include "keeper/program.h"

#include "unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char self[PATH_MAX]; /* this program, and the folder that it is in */
static char folder[PATH_MAX];

static int find_self(void **state)
{
    (void)state;
    if (realpath("/proc/self/exe", self) == NULL)
        return -1;
    strcpy(folder, self);
    *strrchr(folder, '/') = '\0';
    return 0;
}

static void assert_found(const char *name, const char *expected)
{
    char path[HANDOVER_PATH_MAX];
    program_find(name, "/proc/self/exe", path);
    assert_string_equal(path, expected);
}

static void a_path_is_taken_as_it_was_given_links_included(void **state)
{
    (void)state;
    char link[] = "/tmp/upswap-program-XXXXXX";
    assert_found(self, self);
    assert_non_null(mkdtemp(link));
    char name[64];
    snprintf(name, sizeof name, "%s/link", link);
    assert_int_equal(symlink(self, name), 0);
    assert_found(name, name);
    unlink(name);
    rmdir(link);
}

static void a_relative_path_holds_after_a_change_of_folder(void **state)
{
    (void)state;
    char here[PATH_MAX], name[PATH_MAX], expected[PATH_MAX * 2];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    snprintf(name, sizeof name, "./%s", strrchr(self, '/') + 1);
    snprintf(expected, sizeof expected, "%s/%s", folder, name);
    assert_found(name, expected);
    assert_int_equal(chdir(here), 0);
}

static void a_name_is_looked_for_as_the_shell_does(void **state)
{
    (void)state;
    char *before = strdup(getenv("PATH"));
    char path[PATH_MAX * 2];
    snprintf(path, sizeof path, "/nowhere::%s:/bin", folder);
    setenv("PATH", path, 1);
    assert_found(strrchr(self, '/') + 1, self);
    setenv("PATH", before, 1);
    free(before);
}

static void a_name_that_is_another_program_is_not_believed(void **state)
{
    (void)state;
    assert_found("/bin/sh", self);
    assert_found("sh", self);
    assert_found("", self);
    assert_found(NULL, self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_taken_as_it_was_given_links_included),
        cmocka_unit_test(a_relative_path_holds_after_a_change_of_folder),
        cmocka_unit_test(a_name_is_looked_for_as_the_shell_does),
        cmocka_unit_test(a_name_that_is_another_program_is_not_believed),
    };
    return cmocka_run_group_tests_name("program", tests, find_self, NULL);
}
