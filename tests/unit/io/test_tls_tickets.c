#include "io/tls_context.h"

#include "base/buf.h"
#include "issue.h"
#include "resume.h"
#include "unit.h"

#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

static struct issued site;
static time_t later_s; /* how far the time of day has gone on */

/* ---- instead of the C library's, also for OpenSSL ---- */

__attribute__((visibility("default"))) time_t time(time_t *also)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (also != NULL)
        *also = now.tv_sec + later_s;
    return now.tv_sec + later_s;
}

/* ---- servers ---- */

static struct tls_context *make_server_of(const struct tls_ticket_key *keys, size_t count,
                                          enum tls_verify verify, struct str client_ca)
{
    struct err err;
    struct tls_pair pair = {.certificate = str_of(site.certificate), .key = str_of(site.key)};
    struct tls_context *server = tls_server_new(&(struct tls_server_options){.pairs = &pair,
                                                                             .count = 1,
                                                                             .tickets = keys,
                                                                             .ticket_count = count,
                                                                             .verify = verify,
                                                                             .client_ca = client_ca},
                                                &err);
    assert_non_null(server);
    return server;
}

static struct tls_context *make_server(const struct tls_ticket_key *keys, size_t count,
                                       enum tls_verify verify)
{
    return make_server_of(keys, count, verify, str_of(site.certificate));
}

static struct tls_ticket_key make_key(uint8_t seed)
{
    struct tls_ticket_key key;
    memset(&key, seed, sizeof key);
    return key;
}

/* Is the session in a ticket that this key has sealed? */
static bool is_sealed_by(const SSL_SESSION *session, const struct tls_ticket_key *key)
{
    const unsigned char *ticket;
    size_t size;
    SSL_SESSION_get0_ticket(session, &ticket, &size);
    return size > sizeof key->name && memcmp(ticket, key->name, sizeof key->name) == 0;
}

static void rotate_under(int version)
{
    struct tls_ticket_key first = make_key(1), second = make_key(2), third = make_key(3);
    struct tls_context *before = make_server(&first, 1, TLS_VERIFY_OFF);
    struct tls_context *after = make_server((struct tls_ticket_key[]){second, first}, 2, TLS_VERIFY_OFF);
    struct tls_context *later = make_server((struct tls_ticket_key[]){third, second}, 2, TLS_VERIFY_OFF);
    assert_false(resumes(before, NULL, version));
    SSL_SESSION *old = take_given();
    assert_true(is_sealed_by(old, &first));
    assert_true(resumes(after, old, version));
    SSL_SESSION *renewed = take_given();
    assert_true(is_sealed_by(renewed, &second));
    assert_true(resumes(later, renewed, version));
    assert_false(resumes(later, old, version)); /* its key has left */
    SSL_SESSION *anew = take_given();
    assert_true(is_sealed_by(anew, &third));
    SSL_SESSION_free(old);
    SSL_SESSION_free(renewed);
    SSL_SESSION_free(anew);
    tls_context_free(before);
    tls_context_free(after);
    tls_context_free(later);
}

static void a_ticket_is_taken_as_long_as_its_key_is_kept_and_renewed_under_the_newest(void **state)
{
    (void)state;
    rotate_under(TLS1_3_VERSION);
    rotate_under(TLS1_2_VERSION);
}

static void each_handshake_over_tls_1_3_gives_the_next_ticket_and_no_more(void **state)
{
    (void)state;
    struct tls_ticket_key key = make_key(1);
    struct tls_context *server = make_server(&key, 1, TLS_VERIFY_OFF);
    assert_false(resumes(server, NULL, TLS1_3_VERSION));
    assert_int_equal(given_count, 1);
    for (unsigned i = 0; i < 3; i++) {
        SSL_SESSION *session = take_given();
        assert_true(resumes(server, session, TLS1_3_VERSION));
        assert_int_equal(given_count, 1);
        SSL_SESSION_free(session);
    }
    assert_non_null(given);
    tls_context_free(server);
}

static void a_key_of_the_same_name_opens_no_ticket_of_another(void **state)
{
    (void)state;
    struct tls_ticket_key key = make_key(1), other = make_key(1);
    memset(other.mac, 9, sizeof other.mac);
    struct tls_context *server = make_server(&key, 1, TLS_VERIFY_OFF);
    struct tls_context *forger = make_server(&other, 1, TLS_VERIFY_OFF);
    assert_false(resumes(forger, NULL, TLS1_3_VERSION));
    SSL_SESSION *forged = take_given();
    assert_false(resumes(server, forged, TLS1_3_VERSION));
    SSL_SESSION_free(forged);
    tls_context_free(server);
    tls_context_free(forger);
}

static void without_keys_there_are_no_tickets(void **state)
{
    (void)state;
    struct tls_context *server = make_server(NULL, 0, TLS_VERIFY_OFF);
    assert_false(resumes(server, NULL, TLS1_3_VERSION));
    assert_null(given);
    tls_context_free(server);
}

static void a_session_is_not_resumed_where_clients_are_verified_otherwise(void **state)
{
    (void)state;
    struct tls_ticket_key key = make_key(1);
    struct tls_context *open = make_server(&key, 1, TLS_VERIFY_OFF);
    struct tls_context *asking = make_server(&key, 1, TLS_VERIFY_OPTIONAL);
    assert_false(resumes(open, NULL, TLS1_3_VERSION));
    SSL_SESSION *session = take_given();
    assert_false(resumes(asking, session, TLS1_3_VERSION));
    SSL_SESSION_free(session);
    tls_context_free(open);
    tls_context_free(asking);
}

/* For a client, from now on; it is its own authority, whose PEM is added. */
static struct certificate *certify(struct buf *authorities)
{
    struct err err;
    struct issued issued = issue(NULL, false);
    struct certificate *certificate = certificate_read(str_of(issued.certificate), str_of(issued.key), &err);
    assert_non_null(certificate);
    buf_add_str(authorities, str_of(issued.certificate));
    issued_free(&issued);
    return certificate;
}

static void outlive_under(int version)
{
    struct tls_ticket_key key = make_key(1);
    struct buf authorities = BUF_EMPTY;
    struct certificate *first = certify(&authorities); /* for an hour */
    later_s = 7200;
    struct certificate *second = certify(&authorities);
    later_s = 0;
    struct tls_context *server = make_server_of(&key, 1, TLS_VERIFY_REQUIRED, buf_str(&authorities));
    shown = first;
    assert_false(resumes(server, NULL, version));
    SSL_SESSION *session = take_given();
    later_s = 1800;
    assert_true(resumes(server, session, version));
    SSL_SESSION_free(session);
    session = take_given();
    later_s = 7200;
    shown = second;
    assert_false(resumes(server, session, version));
    SSL_SESSION_free(session);
    session = take_given(); /* of the second */
    assert_true(resumes(server, session, version));
    SSL_SESSION_free(session);
    later_s = 0;
    shown = NULL;
    certificate_free(first);
    certificate_free(second);
    buf_free(&authorities);
    tls_context_free(server);
}

static void a_session_is_resumed_only_while_the_certificate_of_its_client_is_valid(void **state)
{
    (void)state;
    outlive_under(TLS1_3_VERSION);
    outlive_under(TLS1_2_VERSION);
}

static void a_session_of_a_client_without_a_certificate_is_resumed_where_one_is_optional(void **state)
{
    (void)state;
    struct tls_ticket_key key = make_key(1);
    struct tls_context *server = make_server(&key, 1, TLS_VERIFY_OPTIONAL);
    assert_false(resumes(server, NULL, TLS1_3_VERSION));
    SSL_SESSION *session = take_given();
    later_s = 7200;
    assert_true(resumes(server, session, TLS1_3_VERSION));
    later_s = 0;
    SSL_SESSION_free(session);
    tls_context_free(server);
}

static int set_up(void **state)
{
    (void)state;
    site = issue("DNS:example.com", false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    issued_free(&site);
    SSL_SESSION_free(given);
    given = NULL;
    shown = NULL;
    later_s = 0;
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_ticket_is_taken_as_long_as_its_key_is_kept_and_renewed_under_the_newest),
        TEST(each_handshake_over_tls_1_3_gives_the_next_ticket_and_no_more),
        TEST(a_key_of_the_same_name_opens_no_ticket_of_another),
        TEST(without_keys_there_are_no_tickets),
        TEST(a_session_is_not_resumed_where_clients_are_verified_otherwise),
        TEST(a_session_is_resumed_only_while_the_certificate_of_its_client_is_valid),
        TEST(a_session_of_a_client_without_a_certificate_is_resumed_where_one_is_optional),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
