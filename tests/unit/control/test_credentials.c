/* The keeper is a channel that nobody reads; what would go to the proxy is looked at here. */
#include "control/credentials.h"

#include "io/issue.h"
#include "io/resume.h"
#include "link/keyring.h"
#include "pass.h"
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#define PLAIN "listeners = ({ address = \"127.0.0.1:0\"; });\n"
#define OVER_TLS "listeners = ({ address = \"127.0.0.1:0\"; tls = { certificate = \"%s/site.pem\"; }; });\n"

static char folder[64], pem[96], admin[96];
static struct loop *loop;
static struct channel *keeper;
static int other_end;
static int counters_fd;
static struct counters *counters;
static struct sockets *sockets;
static int told; /* the descriptor that the proxy would be sent; -1: none yet */

static void changed(void *arg, int fd)
{
    (void)arg;
    told = fd;
}

static void write_site(void)
{
    struct issued site = issue("DNS:example.com", false);
    FILE *file = fopen(pem, "w");
    assert_non_null(file);
    fprintf(file, "%s%s", site.certificate, site.key);
    fclose(file);
    issued_free(&site);
}

/* Both live as long as the process; what is held here is no leak. */
static struct {
    struct credentials *credentials;
    struct sockets *sockets;
} held[16];
static size_t held_count;

static struct credentials *begin(void)
{
    assert_true(held_count < sizeof held / sizeof *held);
    held[held_count].credentials = credentials_new(loop, keeper, changed, NULL);
    held[held_count].sockets = sockets;
    return held[held_count++].credentials;
}

static void write_text(char text[512], bool tls)
{
    int n = snprintf(text, 512, "admin = { socket = \"%s\"; };\nservices = ({ name = \"web\"; });\n", admin);
    if (tls)
        snprintf(text + n, (size_t)(512 - n), OVER_TLS, folder);
    else
        snprintf(text + n, (size_t)(512 - n), PLAIN);
}

/* The config with or without TLS comes in force. */
static void adopt(struct credentials *credentials, bool tls)
{
    char text[512];
    struct err err;
    write_text(text, tls);
    FILE *file = fmemopen(text, strlen(text), "r");
    struct config *config = config_parse(file, "test.conf", &err);
    fclose(file);
    if (config == NULL || !credentials_prepare(credentials, config, &err) ||
        !sockets_prepare(sockets, config, &err))
        fail_msg("%s", err.text);
    sockets_commit(sockets);
    credentials_commit(credentials, config, str_of(text), sockets);
    sockets_settle(sockets);
    config_free(config);
}

/* What is told to the proxy: how many records of this kind? */
static size_t count(enum keyring_kind kind)
{
    struct keyring keyring;
    struct keyring_record record;
    struct err err;
    size_t found = 0;
    assert_true(keyring_map(&keyring, told, &err));
    while (keyring_next(&keyring, &record))
        found += record.kind == kind;
    assert_int_equal(keyring.at, keyring.n);
    keyring_unmap(&keyring);
    return found;
}

static void a_control_that_comes_after_takes_what_there_is_without_the_files(void **state)
{
    (void)state;
    adopt(begin(), true);
    assert_int_equal(count(KEYRING_KEY), 1);
    int kept = dup(told);
    unlink(pem);
    struct credentials *next = begin();
    credentials_restore(next, kept);
    adopt(next, true);
    assert_int_equal(told, kept);
}

static void what_was_made_for_another_config_is_made_anew(void **state)
{
    (void)state;
    struct credentials *first = begin();
    adopt(first, true);
    adopt(first, false);
    assert_int_equal(count(KEYRING_KEY), 0);
    int kept = dup(told); /* a control has died when it had told the keeper of the config alone */
    struct credentials *next = begin();
    credentials_restore(next, kept);
    adopt(next, true);
    assert_int_not_equal(told, kept);
    assert_int_equal(count(KEYRING_TICKETS), 1);
    assert_int_equal(count(KEYRING_LISTENER), 1);
    assert_int_equal(count(KEYRING_KEY), 1);
    kept = dup(told); /* and what was made anew is its config's */
    next = begin();
    credentials_restore(next, kept);
    adopt(next, true);
    assert_int_equal(told, kept);
}

static void what_was_made_for_another_config_stays_where_the_files_are_no_good(void **state)
{
    (void)state;
    struct credentials *first = begin();
    adopt(first, true);
    adopt(first, false);
    int kept = dup(told);
    unlink(pem);
    struct credentials *next = begin();
    credentials_restore(next, kept);
    adopt(next, true);
    assert_int_equal(told, kept);
    write_site();
    adopt(next, true); /* a reload mends it */
    assert_int_equal(count(KEYRING_KEY), 1);
}

/* Prepares this listener's keys of tls, with the certificate that is there. */
static bool prepares(const char *keys, struct err *err)
{
    char text[512];
    snprintf(text, sizeof text,
             "listeners = ({ address = \"127.0.0.1:0\"; tls = { certificate = \"%s\"; %s }; });\n", pem,
             keys);
    FILE *file = fmemopen(text, strlen(text), "r");
    struct config *config = config_parse(file, "test.conf", err);
    fclose(file);
    bool good = config != NULL && credentials_prepare(begin(), config, err);
    config_free(config);
    return good;
}

static void the_authorities_of_clients_are_read_where_none_is_asked_too(void **state)
{
    (void)state;
    char keys[256];
    struct err err = {""};
    assert_false(prepares("client_verify = \"off\"; client_ca = \"/no/such.pem\";", &err));
    assert_string_equal(err.text, "test.conf:1: cannot open /no/such.pem: No such file or directory");
    snprintf(keys, sizeof keys, "client_verify = \"off\"; client_ca = \"%s\";", pem);
    assert_true(prepares(keys, &err));
}

#define HOUR (3600 * UINT64_C(1000)) /* ms */
#define KEYS_MOST 8

/* A server with the ticket keys that the proxy was told of last. */
static struct tls_context *serve(const struct issued *site)
{
    struct tls_ticket_key keys[KEYS_MOST];
    struct tls_pair pair = {.certificate = str_of(site->certificate), .key = str_of(site->key)};
    struct tls_server_options options = {.pairs = &pair, .count = 1, .tickets = keys};
    struct keyring keyring;
    struct keyring_record record;
    struct err err;
    assert_true(keyring_map(&keyring, told, &err));
    while (keyring_next(&keyring, &record)) {
        if (record.kind != KEYRING_TICKETS)
            continue;
        assert_true(record.bytes.n <= sizeof keys);
        memcpy(keys, record.bytes.p, record.bytes.n);
        options.ticket_count = record.bytes.n / sizeof *keys;
    }
    keyring_unmap(&keyring);
    struct tls_context *server = tls_server_new(&options, &err);
    assert_non_null(server);
    return server;
}

/* By a server of now. */
static bool is_resumed(const struct issued *site, SSL_SESSION *session)
{
    struct tls_context *server = serve(site);
    SSL_SESSION *copy = session == NULL ? NULL : SSL_SESSION_dup(session); /* it is used up */
    bool resumed = resumes(server, copy, TLS1_3_VERSION);
    SSL_SESSION_free(copy);
    tls_context_free(server);
    return resumed;
}

/* Just before the hours are over there is no new key; then there is one, beside all else that there was. */
static void rotate(uint64_t hours)
{
    int before = told;
    size_t listeners = count(KEYRING_LISTENER), keys = count(KEYRING_KEY);
    pass(loop, hours * HOUR - 60000);
    assert_int_equal(told, before);
    told = -1;
    pass(loop, 120000);
    assert_int_not_equal(told, -1);
    assert_int_equal(count(KEYRING_LISTENER), listeners);
    assert_int_equal(count(KEYRING_KEY), keys);
    assert_int_equal(count(KEYRING_TICKETS), 1);
}

static void a_ticket_is_taken_until_the_fourth_key_after_its_own_eight_hours_each(void **state)
{
    (void)state;
    struct issued site = issue("DNS:example.com", false);
    adopt(begin(), true);
    assert_false(is_resumed(&site, NULL));
    SSL_SESSION *first = take_given();
    for (int i = 0; i < 3; i++) {
        rotate(8);
        assert_true(is_resumed(&site, first));
    }
    SSL_SESSION *renewed = take_given();
    rotate(8);
    assert_false(is_resumed(&site, first));
    assert_true(is_resumed(&site, renewed));
    SSL_SESSION_free(first);
    SSL_SESSION_free(renewed);
    SSL_SESSION_free(given);
    issued_free(&site);
}

/* A control that comes so many hours after the first one was begun, and takes up what there is. */
static void follow(uint64_t first_ahead_ns, uint64_t hours)
{
    struct credentials *next = begin();
    int kept = dup(told);
    clock_steady_set(first_ahead_ns + hours * HOUR * 1000000);
    credentials_restore(next, kept);
    adopt(next, true);
    assert_int_equal(told, kept);
}

static void a_key_has_its_eight_hours_over_every_control(void **state)
{
    (void)state;
    uint64_t ahead_ns = clock_steady_ahead_ns();
    adopt(begin(), true);
    follow(ahead_ns, 7);
    rotate(1); /* at seven by the steady clock, which does not hear of what passes here */
    follow(ahead_ns, 14);
    int second = told;
    pass(loop, 60000);
    assert_int_equal(told, second);
    follow(ahead_ns, 16);
    told = -1;
    pass(loop, 60000);
    assert_int_not_equal(told, -1);
    clock_steady_set(ahead_ns);
}

static int set_up(void **state)
{
    static const struct channel_callbacks callbacks = {NULL, NULL};
    struct err err;
    int ends[2];
    (void)state;
    strcpy(folder, "/tmp/upswap-credentials-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(pem, sizeof pem, "%s/site.pem", folder);
    snprintf(admin, sizeof admin, "%s/admin.sock", folder);
    assert_true(channel_pair(ends, &err));
    loop = loop_new();
    keeper = channel_open(loop, ends[0], &callbacks, NULL);
    other_end = ends[1];
    counters_fd = counters_create(1, &err);
    counters = counters_map(counters_fd, &err);
    assert_non_null(counters);
    sockets = sockets_new(counters, keeper);
    told = -1;
    write_site();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    channel_close(keeper);
    close(other_end);
    loop_free(loop);
    counters_unmap(counters);
    close(counters_fd);
    unlink(admin);
    unlink(pem);
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_control_that_comes_after_takes_what_there_is_without_the_files),
        TEST(what_was_made_for_another_config_is_made_anew),
        TEST(what_was_made_for_another_config_stays_where_the_files_are_no_good),
        TEST(the_authorities_of_clients_are_read_where_none_is_asked_too),
        TEST(a_ticket_is_taken_until_the_fourth_key_after_its_own_eight_hours_each),
        TEST(a_key_has_its_eight_hours_over_every_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
