#include "control/gate.h"

#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/child.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop *loop;
static struct gate *gate;
static char directory[64];
static struct config_uptests uptests;
static bool ended, passed;
static char reason[2048];
static struct buf trace; /* "+uptest@instance " and "-uptest@instance " */
static size_t running, running_most;

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    gate = NULL;
    strcpy(directory, "/tmp/upswap-gate-XXXXXX");
    assert_non_null(mkdtemp(directory));
    uptests = (struct config_uptests){.directory = directory,
                                      .timeout_ms = 10000,
                                      .total_timeout_ms = 60000,
                                      .parallel = 8,
                                      .required = true};
    ended = passed = false;
    running = running_most = 0;
    reason[0] = '\0';
    trace = BUF_EMPTY;
    buf_add(&trace, "", 0);
    return 0;
}

static void remove_all(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    for (struct dirent *item; (item = readdir(folder)) != NULL;) {
        if (item->d_name[0] == '.' && strspn(item->d_name, ".") == strlen(item->d_name))
            continue;
        char *inside = mem_printf("%s/%s", path, item->d_name);
        if (unlink(inside) != 0)
            remove_all(inside);
        free(inside);
    }
    closedir(folder);
    rmdir(path);
}

static int tear_down(void **state)
{
    (void)state;
    gate_free(gate);
    loop_free(loop);
    remove_all(directory);
    buf_free(&trace);
    return 0;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    char *path = mem_printf("%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

static void script(const char *name, const char *text)
{
    char *whole = mem_printf("#!/bin/sh\n%s\n", text);
    write_file(name, whole, 0755);
    free(whole);
}

static void on_started(void *arg, const struct gate_cell *cell)
{
    (void)arg;
    assert_int_equal(cell->state, GATE_RUNNING);
    buf_printf(&trace, "+%s@%s ", cell->uptest, cell->instance);
    running++;
    running_most = running > running_most ? running : running_most;
}

static void on_finished(void *arg, const struct gate_cell *cell)
{
    (void)arg;
    assert_true(cell->state == GATE_PASSED || cell->state == GATE_FAILED);
    buf_printf(&trace, "-%s@%s ", cell->uptest, cell->instance);
    running--;
}

static void on_done(void *arg, bool ok, const char *why)
{
    (void)arg;
    assert_false(ended);
    ended = true;
    passed = ok;
    snprintf(reason, sizeof reason, "%s", why);
    loop_stop(loop);
}

static const struct gate_callbacks callbacks = {on_started, on_finished, on_done};

static void start(const char *const *instances, size_t count, bool required)
{
    struct gate_plan plan = {.uptests = &uptests,
                             .service = "web",
                             .release = "v1",
                             .deployment = "web-1",
                             .vhost = "",
                             .instances = instances,
                             .instance_count = count};
    gate = gate_start(loop, &plan, required, &callbacks, NULL);
    assert_false(ended);
}

static void run(const char *const *instances, size_t count)
{
    start(instances, count, true);
    loop_run(loop);
    assert_true(ended);
}

static void run_one(void)
{
    static const char *const one[] = {"127.0.0.1:8001"};
    run(one, 1);
}

static void assert_reason(const char *wanted)
{
    if (strstr(reason, wanted) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", wanted, reason);
}

static void a_suite_that_passes_passes_on_every_instance(void **state)
{
    (void)state;
    static const char *const two[] = {"127.0.0.1:8001", "[::1]:8002"};
    script("02_b", "echo \"$1 $2\"");
    script("01_a", "echo a >&2");
    uptests.parallel = 1;
    run(two, 2);
    assert_true(passed);
    assert_string_equal(reason, "");
    assert_string_equal(trace.p, "+01_a@127.0.0.1:8001 -01_a@127.0.0.1:8001 +02_b@127.0.0.1:8001 "
                                 "-02_b@127.0.0.1:8001 +01_a@[::1]:8002 -01_a@[::1]:8002 +02_b@[::1]:8002 "
                                 "-02_b@[::1]:8002 ");
    assert_int_equal(gate_cell_count(gate), 4);
    const struct gate_cell *cell = gate_cell_at(gate, 3);
    assert_string_equal(cell->instance, "[::1]:8002");
    assert_string_equal(cell->uptest, "02_b");
    assert_string_equal(cell->output, "::1 8002\n");
    assert_string_equal(cell->argv[1], "::1");
    assert_string_equal(cell->argv[2], "8002");
    assert_null(cell->argv[3]);
    assert_int_equal(cell->exit_status, 0);
    assert_true(cell->ns > 0);
    assert_string_equal(gate_cell_at(gate, 0)->output, "a\n");
}

static void a_failure_names_uptest_instance_status_and_last_line_and_the_rest_still_runs(void **state)
{
    (void)state;
    static const char *const two[] = {"127.0.0.1:8001", "127.0.0.1:8002"};
    script("01_a", "exit 0");
    script("02_login", "echo hello; echo ' wrong page '; echo; test $2 != 8002");
    script("03_c", "test $2 != 8002");
    run(two, 2);
    assert_false(passed);
    assert_reason("uptest 02_login on 127.0.0.1:8002 exited with status 1 after 0.");
    assert_reason(" s: \"wrong page\"; and 1 more of 6 failed");
    assert_int_equal(gate_cell_at(gate, 3)->state, GATE_PASSED);
    assert_int_equal(gate_cell_at(gate, 4)->state, GATE_FAILED);
    assert_int_equal(gate_cell_at(gate, 5)->state, GATE_FAILED);
    assert_int_equal(gate_cell_at(gate, 4)->exit_status, 1);
}

static void a_signal_is_a_failure_and_is_named(void **state)
{
    (void)state;
    script("01_a", "kill -SEGV $$");
    run_one();
    assert_false(passed);
    assert_reason("uptest 01_a on 127.0.0.1:8001 was ended by signal 11 (SIGSEGV) after 0.");
    assert_int_equal(gate_cell_at(gate, 0)->signal, SIGSEGV);
    assert_int_equal(gate_cell_at(gate, 0)->exit_status, -1);
}

static void a_timeout_fails_also_what_then_exits_with_0(void **state)
{
    (void)state;
    script("01_a", "trap 'exit 0' TERM; echo waiting; sleep 60 & wait");
    uptests.timeout_ms = 200;
    run_one();
    assert_false(passed);
    assert_reason("uptest 01_a on 127.0.0.1:8001 was killed after 0.");
    assert_reason("since its timeout was over: \"waiting\"");
    assert_true(gate_cell_at(gate, 0)->timed_out);
}

static void the_total_timeout_fails_what_runs_and_what_has_not_begun(void **state)
{
    (void)state;
    static const char *const two[] = {"127.0.0.1:8001", "127.0.0.1:8002"};
    script("01_a", "trap 'exit 0' TERM; sleep 60 & wait");
    script("02_b", "exit 0");
    uptests.parallel = 1;
    uptests.total_timeout_ms = 250;
    run(two, 2);
    assert_false(passed);
    assert_reason("since the gate's total_timeout of 0.25 s was over; and 3 more of 4 failed");
    assert_string_equal(gate_cell_at(gate, 1)->output, "the gate's total_timeout of 0.25 s was over");
    for (size_t i = 0; i < 4; i++)
        assert_true(gate_cell_at(gate, i)->undecided);
    assert_true(gate_cell_at(gate, 3)->timed_out);
    assert_true(gate_cell_at(gate, 0)->ns < 9000000000);
    assert_string_equal(trace.p, "+01_a@127.0.0.1:8001 -01_a@127.0.0.1:8001 -02_b@127.0.0.1:8001 "
                                 "-01_a@127.0.0.1:8002 -02_b@127.0.0.1:8002 ");
}

static void what_cannot_be_run_is_a_failed_uptest_that_says_why(void **state)
{
    (void)state;
    write_file("01_mode", "#!/bin/sh\n", 0644);
    write_file("02_interpreter", "#!/nowhere/sh\n", 0755);
    write_file("03_format", "no program\n", 0755);
    char *link = mem_printf("%s/04_link", directory);
    assert_int_equal(symlink("/nowhere/file", link), 0);
    free(link);
    run_one();
    assert_false(passed);
    assert_reason("uptest 01_mode on 127.0.0.1:8001 could not be started: \"");
    assert_reason("and 3 more of 4 failed");
    static const char *const why[] = {"is not executable", "interpreter", "neither a program",
                                      "its link leads nowhere"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(gate_cell_at(gate, i)->state, GATE_FAILED);
        assert_true(gate_cell_at(gate, i)->undecided);
        assert_non_null(strstr(gate_cell_at(gate, i)->output, why[i]));
    }
}

static void a_file_that_vanishes_or_is_not_executable_fails_even_behind_a_runner(void **state)
{
    (void)state;
    static char env[] = "/usr/bin/env";
    char *runner[] = {env};
    script("01_a", "rm -f ${0%/*}/02_b ${0%/*}/03_c");
    script("02_b", "exit 0");
    script("03_c", "exit 0");
    write_file("04_d", "#!/bin/sh\n", 0644);
    uptests.runner = (struct config_list){runner, 1};
    run_one();
    assert_false(passed);
    assert_reason("uptest 02_b on 127.0.0.1:8001 could not be started: \"");
    assert_reason("it has vanished");
    assert_reason("and 2 more of 4 failed");
    assert_non_null(strstr(gate_cell_at(gate, 3)->output, "is not executable"));
}

static void hidden_files_and_folders_are_no_uptests(void **state)
{
    (void)state;
    struct err err;
    size_t count;
    script("10_a", "exit 0");
    script("9_b", "exit 0");
    script(".hidden", "exit 1");
    char *folder = mem_printf("%s/05_folder", directory);
    assert_int_equal(mkdir(folder, 0755), 0);
    free(folder);
    assert_true(gate_check_suite(&uptests, "v1", &count, &err));
    assert_int_equal(count, 2);
    run_one();
    assert_true(passed);
    assert_string_equal(gate_cell_at(gate, 0)->uptest, "10_a");
}

static void a_suite_that_is_empty_or_gone_fails_unless_it_is_not_required(void **state)
{
    (void)state;
    static const char *const one[] = {"127.0.0.1:8001"};
    struct err err;
    size_t count;
    static char nowhere[] = "/nowhere/%{release}/uptests";
    assert_false(gate_check_suite(&uptests, "v1", &count, &err));
    assert_non_null(strstr(err.text, "has no uptests"));
    run_one();
    assert_false(passed);
    assert_reason("has no uptests");
    gate_free(gate);
    uptests.directory = nowhere;
    ended = false;
    run_one();
    assert_false(passed);
    assert_reason("/nowhere/v1/uptests does not exist");
    gate_free(gate);
    ended = false;
    start(one, 1, false);
    loop_run(loop);
    assert_true(passed);
    assert_int_equal(gate_cell_count(gate), 0);
    gate_free(gate);
    uptests.directory = NULL;
    ended = false;
    run_one();
    assert_false(passed);
    assert_reason("no uptests are configured");
}

static void a_name_that_no_report_could_carry_fails_the_gate(void **state)
{
    (void)state;
    script("01_a", "exit 0");
    script("02_\xff", "exit 0");
    run_one();
    assert_false(passed);
    assert_reason("has a file whose name is not UTF-8, number 2 in byte order");
}

static void a_gate_without_instances_does_not_pass(void **state)
{
    (void)state;
    script("01_a", "exit 0");
    run(NULL, 0);
    assert_false(passed);
    assert_reason("no instances");
}

static void the_environment_is_clean_and_later_sources_win(void **state)
{
    (void)state;
    static char env_file[96], mode[] = "APP_MODE=config", vhost[] = "UPTEST_SERVICE=forged";
    char *environment[] = {mode, vhost};
    setenv("UPSWAP_SECRET", "1", 1);
    write_file(".env", "# comment\n\nexport APP_MODE='file'\nQUOTED=\"a b\" \r\nPLAIN=$HOME # x\n", 0600);
    snprintf(env_file, sizeof env_file, "%s/.env", directory);
    uptests.env_file = env_file;
    uptests.environment = (struct config_list){environment, 2};
    script("01_a", "env | sort | grep -v '^PWD=\\|^_=\\|^SHLVL=\\|^OLDPWD='");
    run_one();
    assert_true(passed);
    const char *output = gate_cell_at(gate, 0)->output;
    assert_null(strstr(output, "UPSWAP_SECRET"));
    static const char *const wanted[] = {
        "APP_MODE=config\n",
        "QUOTED=a b\n",
        "PLAIN=$HOME # x\n",
        "UPTEST_SERVICE=web\n",
        "UPTEST_RELEASE=v1\n",
        "UPTEST_DEPLOYMENT=web-1\n",
        "UPTEST_HOST=127.0.0.1\n",
        "UPTEST_PORT=8001\n",
        "UPTEST_VHOST=127.0.0.1:8001\n",
        "PATH=",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (strstr(output, wanted[i]) == NULL)
            fail_msg("%s is not in:\n%s", wanted[i], output);
    }
    unsetenv("UPSWAP_SECRET");
}

static void an_env_file_that_cannot_be_read_or_has_a_bad_line_fails_the_gate_and_is_named(void **state)
{
    (void)state;
    static char missing[] = "/nowhere/.env", bad[96], wanted[128];
    script("01_a", "exit 0");
    uptests.env_file = missing;
    run_one();
    assert_false(passed);
    assert_reason("env_file: ");
    assert_reason("/nowhere/.env");
    gate_free(gate);
    ended = false;
    write_file(".env", "A=1\n\nno assignment\n", 0600);
    snprintf(bad, sizeof bad, "%s/.env", directory);
    snprintf(wanted, sizeof wanted, "%s/.env:3: ", directory);
    uptests.env_file = bad;
    run_one();
    assert_false(passed);
    assert_reason(wanted);
}

static void the_release_is_put_into_chdir_and_runner(void **state)
{
    (void)state;
    static char chdir[96], program[] = "/usr/bin/env", variable[] = "RUN=%{release}";
    char *runner[] = {program, variable};
    char *folder = mem_printf("%s/v1", directory);
    assert_int_equal(mkdir(folder, 0755), 0);
    snprintf(chdir, sizeof chdir, "%s/%%{release}", directory);
    uptests.chdir = chdir;
    uptests.runner = (struct config_list){runner, 2};
    script("01_a", "pwd; echo $RUN");
    run_one();
    assert_true(passed);
    char *wanted = mem_printf("%s\nv1\n", folder);
    assert_string_equal(gate_cell_at(gate, 0)->output, wanted);
    assert_string_equal(gate_cell_at(gate, 0)->argv[1], "RUN=v1");
    free(wanted);
    free(folder);
}

static void an_unknown_user_fails_the_gate(void **state)
{
    (void)state;
    static char user[] = "no-such-user";
    script("01_a", "exit 0");
    uptests.user = user;
    run_one();
    assert_false(passed);
    assert_reason("no-such-user");
}

static void the_last_64_kib_of_output_are_kept_as_valid_text(void **state)
{
    (void)state;
    script("01_a", "head -c 200000 /dev/zero | tr '\\0' x; printf '\\377end\\n'; exit 1");
    run_one();
    assert_false(passed);
    const struct gate_cell *cell = gate_cell_at(gate, 0);
    assert_in_range(cell->output_size, 65000, 65536);
    assert_string_equal(cell->output + cell->output_size - 7, "\xef\xbf\xbd"
                                                              "end\n");
}

static void too_much_output_is_killed_and_named(void **state)
{
    (void)state;
    script("01_a", "exec cat /dev/zero");
    run_one();
    assert_false(passed);
    assert_reason("since it had written more than 256 MiB");
}

static void at_most_parallel_instances_are_tested_at_once(void **state)
{
    (void)state;
    enum { INSTANCES = 40 };
    char *instances[INSTANCES];
    script("01_a", "exit 0");
    script("02_b", "exit 0");
    for (int i = 0; i < INSTANCES; i++)
        instances[i] = mem_printf("127.0.0.1:%d", 8000 + i);
    uptests.parallel = 3;
    run((const char *const *)instances, INSTANCES);
    assert_true(passed);
    assert_int_equal(running_most, 3);
    assert_int_equal(gate_cell_count(gate), 2 * INSTANCES);
    for (int i = 0; i < INSTANCES; i++)
        free(instances[i]);
}

static void instances_are_tested_side_by_side(void **state)
{
    (void)state;
    static const char *const two[] = {"127.0.0.1:8001", "127.0.0.1:8002"};
    /* Each waits for the other: one after the other they would run into their timeout. */
    script("01_a", "mkfifo ${0%/*}/.8001 ${0%/*}/.8002 2>/dev/null; case $2 in\n"
                   "8001) echo >${0%/*}/.8002; read x <${0%/*}/.8001;;\n"
                   "8002) read x <${0%/*}/.8002; echo >${0%/*}/.8001;;\nesac");
    run(two, 2);
    if (!passed)
        fail_msg("%s", reason);
}

static void free_the_gate(void *arg, const struct gate_cell *cell)
{
    (void)arg;
    (void)cell;
    gate_free(gate);
    gate = NULL;
    loop_stop(loop);
}

/* Nothing runs that was started. */
static void stop_when_childless(void *arg)
{
    (void)arg;
    if (child_count() == 0)
        loop_stop(loop);
}

static void a_gate_may_be_freed_from_inside_each_callback(void **state)
{
    (void)state;
    static const char *const two[] = {"127.0.0.1:8001", "127.0.0.1:8002"};
    struct gate_plan plan = {.uptests = &uptests,
                             .service = "web",
                             .release = "",
                             .deployment = "",
                             .vhost = "",
                             .instances = two,
                             .instance_count = 2};
    struct gate_callbacks freeing[] = {{free_the_gate, on_finished, on_done},
                                       {on_started, free_the_gate, on_done}};
    script("01_a", "exit 0");
    for (size_t i = 0; i < 2; i++) {
        gate = gate_start(loop, &plan, true, &freeing[i], NULL);
        loop_run(loop);
        assert_null(gate);
        assert_false(ended);
    }
    gate = gate_start(loop, &plan, true, &callbacks, NULL);
    gate_free(gate);
    gate = NULL;
    loop_on_turn(loop, stop_when_childless, NULL);
    loop_run(loop);
    assert_false(ended);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_suite_that_passes_passes_on_every_instance),
        TEST(a_failure_names_uptest_instance_status_and_last_line_and_the_rest_still_runs),
        TEST(a_signal_is_a_failure_and_is_named),
        TEST(a_timeout_fails_also_what_then_exits_with_0),
        TEST(the_total_timeout_fails_what_runs_and_what_has_not_begun),
        TEST(what_cannot_be_run_is_a_failed_uptest_that_says_why),
        TEST(a_file_that_vanishes_or_is_not_executable_fails_even_behind_a_runner),
        TEST(hidden_files_and_folders_are_no_uptests),
        TEST(a_suite_that_is_empty_or_gone_fails_unless_it_is_not_required),
        TEST(a_name_that_no_report_could_carry_fails_the_gate),
        TEST(a_gate_without_instances_does_not_pass),
        TEST(the_environment_is_clean_and_later_sources_win),
        TEST(an_env_file_that_cannot_be_read_or_has_a_bad_line_fails_the_gate_and_is_named),
        TEST(the_release_is_put_into_chdir_and_runner),
        TEST(an_unknown_user_fails_the_gate),
        TEST(the_last_64_kib_of_output_are_kept_as_valid_text),
        TEST(too_much_output_is_killed_and_named),
        TEST(at_most_parallel_instances_are_tested_at_once),
        TEST(instances_are_tested_side_by_side),
        TEST(a_gate_may_be_freed_from_inside_each_callback),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
