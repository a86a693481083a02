#include "control/secrets.h"

#include "unit.h"

#include "base/mem.h"
#include "io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test_secrets.XXXXXX";
static char path[64];

#define NOW 1800000000ULL

static int setup(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/secrets", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* What is in the state directory now. */
static struct snapshot_secrets open_once(void)
{
    struct err err;
    struct secrets *secrets = secrets_open(folder, NOW, &err);
    if (secrets == NULL)
        fail_msg("%s", err.text);
    struct snapshot_secrets keys = *secrets_get(secrets);
    secrets_free(secrets);
    return keys;
}

static void keys_outlive_the_process_and_are_nobody_elses(void **state)
{
    (void)state;
    struct stat status;
    struct snapshot_secrets first = open_once(), second = open_once(), none = {.hash = {0}};
    assert_memory_equal(&first, &second, sizeof first);
    assert_memory_not_equal(&first, &none, sizeof first);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void another_installation_has_other_keys(void **state)
{
    (void)state;
    struct snapshot_secrets first = open_once();
    assert_int_equal(unlink(path), 0);
    struct snapshot_secrets second = open_once();
    assert_memory_not_equal(&first, &second, sizeof first);
}

/* A key signs for a turn and is believed for another. */
static void the_key_of_cookies_takes_turns(void **state)
{
    (void)state;
    struct err err;
    struct snapshot_secrets first = open_once();
    struct secrets *secrets = secrets_open(folder, NOW, &err);
    assert_non_null(secrets);
    assert_false(secrets_turn(secrets, NOW - 5)); /* a clock that was set back */
    assert_false(secrets_turn(secrets, NOW + SECRETS_TURN_S - 1));
    assert_memory_equal(secrets_get(secrets), &first, sizeof first);
    assert_true(secrets_turn(secrets, NOW + SECRETS_TURN_S));
    const struct snapshot_secrets *second = secrets_get(secrets);
    assert_memory_equal(second->hash, first.hash, sizeof first.hash);
    assert_memory_equal(second->cookie[1], first.cookie[0], sizeof first.cookie[0]);
    assert_memory_not_equal(second->cookie[0], first.cookie[0], sizeof first.cookie[0]);
    assert_false(secrets_turn(secrets, NOW + SECRETS_TURN_S + 1));
    struct snapshot_secrets again = open_once();
    assert_memory_equal(&again, second, sizeof again);
    secrets_free(secrets);
}

static void a_daemon_that_was_long_away_turns_at_its_start(void **state)
{
    (void)state;
    struct err err;
    struct snapshot_secrets first = open_once();
    struct secrets *secrets = secrets_open(folder, NOW + 3 * SECRETS_TURN_S, &err);
    assert_non_null(secrets);
    assert_memory_equal(secrets_get(secrets)->cookie[1], first.cookie[0], sizeof first.cookie[0]);
    secrets_free(secrets);
}

/* Its clock was wrong when the key was made; the key must not stay until then. */
static void a_key_from_the_future_has_its_time_from_now_on(void **state)
{
    (void)state;
    struct err err;
    struct snapshot_secrets first = open_once();
    struct secrets *secrets = secrets_open(folder, NOW - 20 * SECRETS_TURN_S, &err);
    assert_memory_equal(secrets_get(secrets), &first, sizeof first);
    secrets_free(secrets);
    secrets = secrets_open(folder, NOW - 19 * SECRETS_TURN_S, &err);
    assert_memory_equal(secrets_get(secrets)->cookie[1], first.cookie[0], sizeof first.cookie[0]);
    secrets_free(secrets);
}

static void a_turn_that_cannot_be_kept_is_none(void **state)
{
    (void)state;
    struct err err;
    struct secrets *secrets = secrets_open(folder, NOW, &err);
    assert_non_null(secrets);
    struct snapshot_secrets before = *secrets_get(secrets);
    unlink(path);
    rmdir(folder);
    assert_false(secrets_turn(secrets, NOW + SECRETS_TURN_S));
    assert_memory_equal(secrets_get(secrets), &before, sizeof before);
    assert_int_equal(mkdir(folder, 0700), 0);
    secrets_free(secrets);
}

static void assert_refused(struct str text)
{
    struct err err;
    assert_true(file_replace(path, text, 0600, &err));
    assert_null(secrets_open(folder, NOW, &err));
    assert_non_null(strstr(err.text, "restore it, or remove it"));
    assert_non_null(strstr(err.text, path));
}

/* A file that was cut or mended by hand must not become other keys unseen. */
static void a_file_that_is_not_whole_is_refused(void **state)
{
    (void)state;
    struct buf text = BUF_EMPTY;
    struct err err;
    (void)open_once();
    assert_true(file_read(path, 4096, &text, NULL, &err));
    for (size_t n = 0; n < text.n; n++)
        assert_refused((struct str){text.p, n});
    buf_add(&text, "x", 1);
    assert_refused(buf_str(&text));
    text.p[text.n - 1] = '\n';
    assert_refused(buf_str(&text));
    text.p[text.n - 2] = 'g';
    assert_refused((struct str){text.p, text.n - 1});
    buf_free(&text);
}

static void a_folder_that_takes_no_file_is_told(void **state)
{
    (void)state;
    struct err err;
    assert_null(secrets_open("/proc/nowhere", NOW, &err));
    assert_non_null(strstr(err.text, "/proc/nowhere/secrets"));
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(keys_outlive_the_process_and_are_nobody_elses),
        EACH(another_installation_has_other_keys),
        EACH(a_file_that_is_not_whole_is_refused),
        EACH(the_key_of_cookies_takes_turns),
        EACH(a_daemon_that_was_long_away_turns_at_its_start),
        EACH(a_key_from_the_future_has_its_time_from_now_on),
        EACH(a_turn_that_cannot_be_kept_is_none),
        EACH(a_folder_that_takes_no_file_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
