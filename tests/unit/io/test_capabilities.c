/* Each test is a child: what is dropped is gone. */
#include "io/capabilities.h"

#include "unit.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT (CAPABILITY(CAP_KILL) | CAPABILITY(CAP_SETUID))

static void expect_in_child(bool (*says)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(says() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static bool drops_all(void)
{
    return capabilities_limit(0, false) && capabilities_permitted() == 0;
}

static void nothing_is_left_of_nothing_kept(void **state)
{
    (void)state;
    expect_in_child(drops_all);
}

static bool keeps_two(void)
{
    return capabilities_limit(KEPT, false) && capabilities_permitted() == KEPT &&
           capabilities_limit(UINT64_MAX, false) && capabilities_permitted() == KEPT;
}

static void what_is_kept_stays_and_what_is_dropped_does_not_come_back(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    expect_in_child(keeps_two);
}

static bool bounds_all(void)
{
    if (!capabilities_bound(CAPABILITY(CAP_KILL)) || prctl(PR_CAPBSET_READ, CAP_KILL) != 1)
        return false;
    for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++) {
        if (i != CAP_KILL && prctl(PR_CAPBSET_READ, i) != 0)
            return false;
    }
    return true;
}

static void what_may_ever_be_had_is_bounded(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    expect_in_child(bounds_all);
}

static bool bounds_nothing(void)
{
    return capabilities_limit(0, false) && capabilities_bound(0) && capabilities_bound(0);
}

static void who_may_bound_nothing_goes_on(void **state)
{
    (void)state;
    expect_in_child(bounds_nothing);
}

/* An ambient one is had by a program that an ordinary user executes. */
static bool raise_ambient(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{KEPT, KEPT, KEPT}, {0, 0, 0}};
    return syscall(SYS_capset, &head, data) == 0 &&
           prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0;
}

static int ambient(void)
{
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0);
}

static bool clears_ambient(void)
{
    return raise_ambient() && ambient() == 1 && capabilities_limit(KEPT, false) && ambient() == 0;
}

static bool leaves_ambient(void)
{
    return raise_ambient() && capabilities_limit(KEPT, true) && ambient() == 1;
}

static void children_inherit_nothing_unless_that_is_wanted(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    expect_in_child(clears_ambient);
    expect_in_child(leaves_ambient);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_of_nothing_kept),
        cmocka_unit_test(what_is_kept_stays_and_what_is_dropped_does_not_come_back),
        cmocka_unit_test(what_may_ever_be_had_is_bounded),
        cmocka_unit_test(who_may_bound_nothing_goes_on),
        cmocka_unit_test(children_inherit_nothing_unless_that_is_wanted),
    };
    return cmocka_run_group_tests_name("capabilities", tests, NULL, NULL);
}
