/* What binds requests, through the whole plane: cookies to an instance, pins to a pool. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OK "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

/* One worker, whose rotation begins with the first instance. */
static struct rig *start(const char *affinity, const char *pin)
{
    struct rig *rig = rig_start(1);
    struct rig_world *world = rig_world(rig);
    world->affinity_cookie = affinity;
    world->pin_cookie = pin;
    world->rules.pin_s = 60;
    memset(world->settings.secrets.cookie[0], 1, sizeof world->settings.secrets.cookie[0]);
    memset(world->settings.secrets.cookie[1], 2, sizeof world->settings.secrets.cookie[1]);
    rig_publish(rig);
    return rig;
}

static char seen[4096]; /* by the instance */

static bool is_called(struct rig *rig, unsigned *instance)
{
    for (*instance = 0; *instance < RIG_INSTANCES; ++*instance) {
        if (rig_is_called(rig, *instance))
            return true;
    }
    return false;
}

/* Asks with these lines, answers as the instance that is called; the head of the answer. *chosen (may be
 * NULL) gets that instance. */
static const char *ask(struct rig *rig, const char *lines, unsigned *chosen)
{
    char head[3000];
    int client = rig_client(rig);
    unsigned instance = 0;
    snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", lines);
    rig_say(client, head);
    rig_until(is_called(rig, &instance));
    int app = rig_accept(rig, instance);
    snprintf(seen, sizeof seen, "%s", rig_head(app));
    rig_say(app, OK);
    const char *answer = rig_head(client);
    close(app);
    close(client);
    if (chosen != NULL)
        *chosen = instance;
    return answer;
}

/* "Cookie: NAME=TOKEN CRLF" of an answer's Set-Cookie line, or "". */
static const char *cookie_of(const char *answer)
{
    static char line[200];
    const char *field = rig_field(answer, "Set-Cookie");
    line[0] = '\0';
    if (field != NULL)
        snprintf(line, sizeof line, "Cookie: %.*s\r\n", (int)strcspn(field, ";"), field);
    return line;
}

static uint64_t forged(struct rig *rig, uint32_t pool)
{
    return counters_read(&counters_pool(rig_counters(rig), 0, pool)->forged);
}

static uint64_t requests(struct rig *rig, uint32_t pool)
{
    return counters_read(&counters_pool(rig_counters(rig), 0, pool)->requests);
}

static void an_affinity_cookie_leads_back_and_is_given_once(void **state)
{
    (void)state;
    struct rig *rig = start("us", NULL);
    for (unsigned i = 0; i < RIG_INSTANCES; i++) {
        unsigned first, again;
        char cookie[200];
        snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", &first)));
        assert_true(strlen(cookie) == sizeof "Cookie: us=\r\n" - 1 + 43);
        for (unsigned n = 0; n < 4; n++) {
            assert_null(rig_field(ask(rig, cookie, &again), "Set-Cookie"));
            assert_int_equal(again, first);
            assert_null(strstr(seen, "us=")); /* the app does not see it */
        }
    }
    assert_int_equal(forged(rig, 1), 0);
    assert_int_equal(rig_stop(rig), 0);
}

static void a_cookie_says_what_browsers_should_know(void **state)
{
    (void)state;
    struct rig *rig = start("us", NULL);
    const char *field = rig_field(ask(rig, "", NULL), "Set-Cookie");
    assert_string_equal(field + 3 + 43, "; Path=/; HttpOnly; SameSite=Lax");
    rig_world(rig)->rules.affinity_s = 90;
    struct address_prefix everybody = {.bits = 0};
    rig_world(rig)->trusted = &everybody;
    rig_publish(rig);
    field = rig_field(ask(rig, "X-Forwarded-Proto: https\r\n", NULL), "Set-Cookie");
    assert_string_equal(field + 3 + 43, "; Path=/; Max-Age=90; HttpOnly; SameSite=Lax; Secure");
    assert_int_equal(rig_stop(rig), 0);
}

/* There is more of it than room is made for where a short answer is written. */
static void a_cookie_with_a_long_name_is_given_whole(void **state)
{
    char name[900] = "";
    (void)state;
    memset(name, 'u', sizeof name - 1);
    struct rig *rig = start(name, NULL);
    int client = rig_client(rig), instance = rig_ask(rig, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    rig_say(instance, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const char *field = rig_field(rig_head(client), "Set-Cookie");
    assert_memory_equal(field, name, sizeof name - 1);
    assert_string_equal(field + sizeof name + 43, "; Path=/; HttpOnly; SameSite=Lax");
    assert_string_equal(rig_bytes(client, 2), "ok");
    close(client);
    close(instance);
    assert_int_equal(rig_stop(rig), 0);
}

/* Each is as none: the request is balanced, and the client gets a new one. */
static void cookies_that_are_none_of_ours_bind_nothing_and_are_counted(void **state)
{
    (void)state;
    struct rig *rig = start("us", NULL);
    char good[200], line[3000], huge[2500];
    memset(huge, 'A', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    snprintf(good, sizeof good, "%s", cookie_of(ask(rig, "", NULL)));
    const char *token = good + sizeof "Cookie: us=" - 1;
    const char *const bad[] = {"", "x", "\"\"", huge, "0000000000000000000000000000000000000000000"};
    uint64_t count = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(line, sizeof line, "Cookie: us=%s\r\n", bad[i]);
        assert_non_null(rig_field(ask(rig, line, NULL), "Set-Cookie"));
        assert_int_equal(forged(rig, 1), ++count);
    }
    snprintf(line, sizeof line, "Cookie: us=%.42s\r\n", token); /* cut */
    assert_non_null(rig_field(ask(rig, line, NULL), "Set-Cookie"));
    snprintf(line, sizeof line, "Cookie: us=%.43s", token);
    line[sizeof "Cookie: us=" - 1] = line[sizeof "Cookie: us=" - 1] == 'A' ? 'B' : 'A'; /* another id */
    strcat(line, "\r\n");
    assert_non_null(rig_field(ask(rig, line, NULL), "Set-Cookie"));
    assert_int_equal(forged(rig, 1), count + 2);
    /* Behind a few bad ones the good one still counts; behind many nobody looks. */
    snprintf(line, sizeof line, "Cookie: us=a; us=b; us=c; us=%.43s\r\n", token);
    assert_null(rig_field(ask(rig, line, NULL), "Set-Cookie"));
    snprintf(line, sizeof line, "Cookie: us=a; us=b; us=c; us=d; us=%.43s\r\n", token);
    assert_non_null(rig_field(ask(rig, line, NULL), "Set-Cookie"));
    assert_int_equal(rig_stop(rig), 0);
}

static void a_cookie_of_the_key_before_holds_and_is_signed_anew(void **state)
{
    (void)state;
    struct rig *rig = start("us", NULL);
    struct snapshot_secrets *secrets = &rig_world(rig)->settings.secrets;
    char cookie[200];
    unsigned first, again;
    (void)ask(rig, "", NULL);
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", &first)));
    memcpy(secrets->cookie[1], secrets->cookie[0], sizeof secrets->cookie[1]);
    memset(secrets->cookie[0], 3, sizeof secrets->cookie[0]);
    rig_publish(rig);
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, cookie, &again)));
    assert_int_equal(again, first);
    assert_true(cookie[0] != '\0');
    assert_null(rig_field(ask(rig, cookie, &again), "Set-Cookie"));
    assert_int_equal(again, first);
    assert_int_equal(rig_stop(rig), 0);
}

static void an_instance_out_of_rotation_binds_nobody(void **state)
{
    (void)state;
    struct rig *rig = start("us", NULL);
    char cookie[200];
    unsigned first, again;
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", &first)));
    rig_world(rig)->drained[first] = true;
    rig_publish(rig);
    assert_non_null(rig_field(ask(rig, cookie, &again), "Set-Cookie"));
    assert_true(again != first);
    assert_int_equal(rig_stop(rig), 0);
}

/* The pool in slot 1 gives way to that in slot 2, and takes pinned requests until then. */
static void swap(struct rig *rig, uint64_t pinned_until_ms)
{
    struct rig_world *world = rig_world(rig);
    uint64_t later_ms = clock_mono_ms() + 60000;
    world->pool = 2;
    world->draining = 1;
    world->drain = (struct snapshot_drain){.requests_until_ms = later_ms,
                                           .streams_until_ms = later_ms,
                                           .websockets_until_ms = later_ms,
                                           .tunnels_until_ms = later_ms,
                                           .pinned_until_ms = pinned_until_ms};
    rig_publish(rig);
}

static void a_pin_holds_while_the_old_pool_takes_it_and_is_never_renewed(void **state)
{
    (void)state;
    struct rig *rig = start(NULL, "pin");
    char cookie[200];
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
    assert_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    swap(rig, clock_mono_ms() + 60000);
    assert_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    assert_null(strstr(seen, "pin="));
    rig_until(requests(rig, 1) == 3 && requests(rig, 2) == 0);
    assert_non_null(
        rig_field(ask(rig, "", NULL), "Set-Cookie")); /* who is not pinned is served by the live one */
    rig_until(requests(rig, 2) == 1);
    swap(rig, 0);
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, cookie, NULL)));
    assert_true(cookie[0] != '\0');
    rig_until(requests(rig, 2) == 2 && requests(rig, 1) == 3);
    assert_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    assert_int_equal(forged(rig, 1) + forged(rig, 2), 0);
    assert_int_equal(rig_stop(rig), 0);
}

/* The world still lets pins in, but its time is over. */
static void workers_look_at_the_time_themselves(void **state)
{
    (void)state;
    struct rig *rig = start(NULL, "pin");
    char cookie[200];
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
    swap(rig, clock_mono_ms());
    assert_non_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    rig_until(requests(rig, 2) == 1 && requests(rig, 1) == 1);
    assert_int_equal(rig_stop(rig), 0);
}

static void a_pin_to_a_pool_that_nobody_knows_is_a_new_one_to_the_live_pool(void **state)
{
    (void)state;
    struct rig *rig = start(NULL, "pin");
    char cookie[200];
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
    rig_world(rig)->pool = 2;
    rig_publish(rig);
    assert_non_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    assert_int_equal(rig_stop(rig), 0);
}

/* A pin may end before the time of its pool does. */
static void a_pin_that_is_too_old_binds_nobody(void **state)
{
    (void)state;
    struct rig *rig = start(NULL, "pin");
    char cookie[200];
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
    rig_world(rig)->rules.pin_s = 1;
    swap(rig, clock_mono_ms() + 60000);
    uint64_t end_ms = clock_mono_ms() + RIG_SECONDS * 1000;
    while (rig_field(ask(rig, cookie, NULL), "Set-Cookie") == NULL)
        assert_true(clock_mono_ms() < end_ms);
    rig_until(requests(rig, 2) == 1);
    assert_int_equal(rig_stop(rig), 0);
}

/* The world says what the steady clock shows; what the wall clock shows is nothing to a pin. */
static void a_pin_ages_by_the_clock_that_nobody_sets(void **state)
{
    (void)state;
    struct rig *rig = start(NULL, "pin");
    uint64_t *ahead_ns = &rig_world(rig)->settings.steady_ahead_ns;
    char cookie[200];
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
    swap(rig, clock_mono_ms() + 600000);
    assert_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    *ahead_ns += 30 * 1000000000ULL; /* half of its time */
    rig_publish(rig);
    assert_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    *ahead_ns += 31 * 1000000000ULL;
    rig_publish(rig);
    assert_non_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
    assert_int_equal(rig_stop(rig), 0);
}

/* Its connections serve the next pinned request too, and its requests have the drain's deadlines. */
static void a_pinned_request_is_cut_at_the_deadline_of_the_drain(void **state)
{
    (void)state;
    struct rig *rig = start(NULL, "pin");
    char head[300];
    snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", cookie_of(ask(rig, "", NULL)));
    swap(rig, clock_mono_ms() + 60000);
    rig_world(rig)->drain.requests_until_ms = clock_mono_ms();
    rig_publish(rig);
    int client = rig_client(rig);
    rig_say(client, head);
    const char *answer = rig_head(client);
    assert_memory_equal(answer, "HTTP/1.1 503", 12);
    assert_string_equal(rig_field(answer, "X-Upswap"), "drain-deadline");
    close(client);
    assert_int_equal(rig_stop(rig), 0);
}

/* ---- canaries ---- */

/* The pool in slot 1 is live, that in slot 2 takes a share. */
static struct rig *start_canary(uint32_t share, const char *cookie)
{
    struct rig *rig = start(NULL, NULL);
    rig_world(rig)->candidate = 2;
    rig_world(rig)->share = share;
    rig_world(rig)->canary_cookie = cookie;
    rig_publish(rig);
    return rig;
}

static void new_sessions_are_drawn_just_as_the_share_says(void **state)
{
    (void)state;
    struct rig *rig = start_canary(200000, "canary");
    for (unsigned i = 0; i < 50; i++)
        assert_true(cookie_of(ask(rig, "", NULL))[0] != '\0');
    rig_until(requests(rig, 1) + requests(rig, 2) == 50);
    assert_in_range(requests(rig, 2), 9, 11);
    assert_int_equal(rig_stop(rig), 0);
}

static void a_session_stays_on_its_side_of_a_canary(void **state)
{
    (void)state;
    struct rig *rig = start_canary(500000, "canary");
    for (unsigned i = 0; i < 4; i++) {
        char cookie[200];
        uint64_t before = requests(rig, 2);
        snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
        rig_until(requests(rig, 1) + requests(rig, 2) == 4 * i + 1);
        bool is_of_it = requests(rig, 2) > before;
        for (unsigned k = 0; k < 3; k++) {
            assert_null(rig_field(ask(rig, cookie, NULL), "Set-Cookie"));
            assert_null(strstr(seen, "canary="));
        }
        rig_until(requests(rig, 1) + requests(rig, 2) == 4 * i + 4);
        assert_int_equal(requests(rig, 2) - before, is_of_it ? 4 : 0);
    }
    assert_int_equal(rig_stop(rig), 0);
}

static void a_cookie_of_another_canary_binds_nobody(void **state)
{
    (void)state;
    struct rig *rig = start_canary(999999, "canary");
    char cookie[200];
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
    rig_world(rig)->candidate = 3;
    rig_publish(rig);
    assert_true(cookie_of(ask(rig, cookie, NULL))[0] != '\0');
    rig_until(requests(rig, 3) == 1);
    assert_int_equal(rig_stop(rig), 0);
}

static void by_address_a_client_is_of_a_share_without_a_cookie(void **state)
{
    (void)state;
    struct rig *rig = start_canary(999999, NULL);
    for (unsigned i = 0; i < 3; i++)
        assert_null(rig_field(ask(rig, "", NULL), "Set-Cookie"));
    rig_until(requests(rig, 2) == 3);
    rig_world(rig)->share = 1;
    rig_publish(rig);
    ask(rig, "", NULL);
    rig_until(requests(rig, 1) == 1);
    assert_int_equal(rig_stop(rig), 0);
}

static void a_canary_without_a_share_gets_nobody(void **state)
{
    (void)state;
    struct rig *rig = start_canary(0, "canary");
    for (unsigned i = 0; i < 5; i++)
        assert_null(rig_field(ask(rig, "", NULL), "Set-Cookie"));
    rig_until(requests(rig, 1) == 5);
    assert_int_equal(requests(rig, 2), 0);
    assert_int_equal(rig_stop(rig), 0);
}

/* ---- previews ---- */

#define SECRET "not-to-be-guessed"

static void the_secret_field_leads_to_the_staged_pool_and_nothing_else_does(void **state)
{
    (void)state;
    struct rig *rig = start_canary(0, "canary");
    rig_world(rig)->preview_field = "X-Look";
    rig_world(rig)->preview_secret = SECRET;
    rig_publish(rig);
    ask(rig, "x-look: " SECRET "\r\n", NULL);
    rig_until(requests(rig, 2) == 1);
    ask(rig, "X-Look: not-to-be-guesseD\r\n", NULL);
    ask(rig, "X-Look: not-to-be-guesse\r\n", NULL);
    ask(rig, "X-Look: \r\n", NULL);
    ask(rig, "", NULL);
    rig_until(requests(rig, 1) == 4);
    assert_int_equal(requests(rig, 2), 1);
    assert_int_equal(rig_stop(rig), 0);
}

static void a_listener_of_staged_pools_leads_there_and_gives_no_cookies(void **state)
{
    (void)state;
    struct rig *rig = start("affinity", "pin");
    rig_world(rig)->candidate = 2;
    rig_world(rig)->door_is_staged = true;
    rig_publish(rig);
    assert_null(rig_field(ask(rig, "", NULL), "Set-Cookie"));
    rig_until(requests(rig, 2) == 1);
    rig_world(rig)->candidate = 0;
    rig_publish(rig);
    int client = rig_client(rig);
    rig_say(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *answer = rig_head(client);
    assert_memory_equal(answer, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(answer, "X-Upswap: no-staged-pool\r\n"));
    close(client);
    assert_int_equal(rig_stop(rig), 0);
}

/* ---- who has nobody ---- */

static void expect_sentence(int client, const char *lines, const char *sentence)
{
    char request[300];
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n%s\r\n",
             lines);
    rig_say(client, request);
    const char *head = rig_head(client);
    assert_string_equal(rig_field(head, "X-Upswap"), "no-instance");
    assert_non_null(strstr(rig_bytes(client, (size_t)atoi(rig_field(head, "Content-Length"))), sentence));
}

static void where_no_instance_is_up_the_pool_is_named_that_was_asked(void **state)
{
    (void)state;
    struct rig *rig = start_canary(999999, NULL);
    struct rig_world *world = rig_world(rig);
    world->preview_field = "X-Look";
    world->preview_secret = SECRET;
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        world->drained[i] = true;
    rig_publish(rig);
    int client = rig_client(rig), last = rig_client(rig);
    expect_sentence(client, "X-Look: " SECRET "\r\n", "No instance of the staged pool is up.");
    expect_sentence(client, "", "No instance of the live pool is up."); /* a canary's goes there */
    rig_say_stop(rig);
    rig_until(rig_is_deaf(rig)); /* who stops leaves each where it is */
    expect_sentence(last, "", "No instance of the canary is up.");
    close(client);
    close(last);
    assert_int_equal(rig_join(rig), 0);
}

static void a_pin_to_a_pool_without_an_instance_is_named(void **state)
{
    (void)state;
    struct rig *rig = start(NULL, "pin");
    char cookie[200];
    snprintf(cookie, sizeof cookie, "%s", cookie_of(ask(rig, "", NULL)));
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        rig_world(rig)->drained[i] = true;
    swap(rig, clock_mono_ms() + 60000);
    int client = rig_client(rig);
    rig_say_stop(rig);
    rig_until(rig_is_deaf(rig));
    expect_sentence(client, cookie, "No instance of the pool that this session is pinned to is up.");
    close(client);
    assert_int_equal(rig_join(rig), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_sessions_are_drawn_just_as_the_share_says),
        cmocka_unit_test(a_session_stays_on_its_side_of_a_canary),
        cmocka_unit_test(a_cookie_of_another_canary_binds_nobody),
        cmocka_unit_test(by_address_a_client_is_of_a_share_without_a_cookie),
        cmocka_unit_test(a_canary_without_a_share_gets_nobody),
        cmocka_unit_test(the_secret_field_leads_to_the_staged_pool_and_nothing_else_does),
        cmocka_unit_test(a_listener_of_staged_pools_leads_there_and_gives_no_cookies),
        cmocka_unit_test(where_no_instance_is_up_the_pool_is_named_that_was_asked),
        cmocka_unit_test(a_pin_to_a_pool_without_an_instance_is_named),
        cmocka_unit_test(an_affinity_cookie_leads_back_and_is_given_once),
        cmocka_unit_test(a_cookie_says_what_browsers_should_know),
        cmocka_unit_test(a_cookie_with_a_long_name_is_given_whole),
        cmocka_unit_test(cookies_that_are_none_of_ours_bind_nothing_and_are_counted),
        cmocka_unit_test(a_cookie_of_the_key_before_holds_and_is_signed_anew),
        cmocka_unit_test(an_instance_out_of_rotation_binds_nobody),
        cmocka_unit_test(a_pin_holds_while_the_old_pool_takes_it_and_is_never_renewed),
        cmocka_unit_test(workers_look_at_the_time_themselves),
        cmocka_unit_test(a_pin_to_a_pool_that_nobody_knows_is_a_new_one_to_the_live_pool),
        cmocka_unit_test(a_pin_that_is_too_old_binds_nobody),
        cmocka_unit_test(a_pin_ages_by_the_clock_that_nobody_sets),
        cmocka_unit_test(a_pinned_request_is_cut_at_the_deadline_of_the_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
