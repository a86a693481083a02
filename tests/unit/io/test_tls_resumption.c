/* Sessions that a client resumes, with a server of our own at the other end. */
#include "io/tls.h"
#include "issue.h"
#include "unit.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct issued site; /* valid for an hour */
static struct loop *loop;
static struct tls_context *server;
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

/* ---- each test ---- */

static int set_up(void **state)
{
    (void)state;
    struct err err;
    static const struct tls_ticket_key key = {.name = "a key"};
    site = issue("DNS:app.test", false);
    struct tls_pair pair = {.certificate = str_of(site.certificate), .key = str_of(site.key)};
    server = tls_server_new(
        &(struct tls_server_options){.pairs = &pair, .count = 1, .tickets = &key, .ticket_count = 1}, &err);
    assert_non_null(server);
    loop = loop_new();
    later_s = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_context_free(server);
    loop_free(loop);
    issued_free(&site);
    return 0;
}

static struct tls_context *make_client(bool verify)
{
    struct err err;
    struct tls_client_options options = {.verify = verify, .authorities = str_of(site.certificate)};
    struct tls_context *client = tls_client_new(&options, &err);
    assert_non_null(client);
    return client;
}

/* ---- handshakes ---- */

enum outcome { WHOLE, RESUMED, UNVERIFIED };

static void ready(struct stream *stream)
{
    (void)stream;
}

static int shake_hands(struct stream *stream, SSL *peer)
{
    int result;
    while ((result = tls_handshake(stream)) == STREAM_AGAIN) {
        SSL_do_handshake(peer);
        event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    }
    return result;
}

/* The ticket comes behind the handshake, with the first byte. */
static struct ssl_session_st *session_of(struct stream *stream, SSL *peer)
{
    char byte;
    SSL_do_handshake(peer);
    assert_int_equal(SSL_write(peer, "x", 1), 1);
    event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    assert_int_equal(stream_recv(stream, &byte, 1), 1);
    struct ssl_session_st *session = tls_session(stream);
    assert_non_null(session);
    return session;
}

/* A connection that offers *session (NULL: none), which then is the one that it was given. */
static enum outcome connect_with(struct tls_context *client, int version, struct ssl_session_st **session)
{
    int fds[2];
    struct stream stream;
    enum outcome outcome = UNVERIFIED;
    SSL *peer = tls_context_connection(server);
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), errno);
    assert_true(stream_open(&stream, loop, fds[0], ready));
    assert_true(tls_connect(&stream, client, "app.test"));
    SSL_set_fd(peer, fds[1]);
    SSL_set_max_proto_version(peer, version);
    SSL_set_accept_state(peer);
    if (*session != NULL)
        tls_resume(&stream, *session);
    if (shake_hands(&stream, peer) == 0) {
        tls_session_free(*session);
        *session = session_of(&stream, peer);
        outcome = tls_is_resumed(&stream) ? RESUMED : WHOLE;
    } else {
        assert_true(tls_is_unverified(&stream));
    }
    stream_close(&stream, false);
    SSL_free(peer);
    close(fds[1]);
    return outcome;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void a_session_is_resumed_only_while_the_certificate_of_its_server_is_valid(void **state)
{
    (void)state;
    struct tls_context *client = make_client(true);
    for (unsigned i = 0; i < 2; i++) {
        struct ssl_session_st *session = NULL;
        later_s = 0;
        assert_int_equal(connect_with(client, versions[i], &session), WHOLE);
        later_s = 1800;
        assert_int_equal(connect_with(client, versions[i], &session), RESUMED);
        later_s = 7200;
        assert_int_equal(connect_with(client, versions[i], &session), UNVERIFIED);
        tls_session_free(session);
    }
    tls_context_free(client);
}

static void where_nothing_is_verified_no_certificate_runs_out(void **state)
{
    (void)state;
    struct tls_context *client = make_client(false);
    for (unsigned i = 0; i < 2; i++) {
        struct ssl_session_st *session = NULL;
        later_s = 0;
        assert_int_equal(connect_with(client, versions[i], &session), WHOLE);
        later_s = 7200;
        assert_int_equal(connect_with(client, versions[i], &session), RESUMED);
        tls_session_free(session);
    }
    tls_context_free(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_session_is_resumed_only_while_the_certificate_of_its_server_is_valid),
        TEST(where_nothing_is_verified_no_certificate_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
