#include "control/checkup.h"

#include "base/clock.h"
#include "io/issue.h"
#include "unit.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct loop *loop;
static enum checkup_result told;
static char why[256];
/* Of the checks: */
static unsigned proxy_protocol;
static struct tls_context *tls;
static const char *server_name = "";
static bool h2;
static useconds_t stall_us; /* how long this process stands still when a check has begun */

/* An instance that answers one check with these bytes; NULL: it does not answer, and waits for the end. */
struct server {
    int fd;
    const char *answer;
    char request[1024]; /* what it was asked */
    struct sockaddr_in address;
    pthread_t thread;
};

static struct server silent;

static void bind_server(struct server *server, const char *answer)
{
    socklen_t length = sizeof server->address;
    *server = (struct server){.answer = answer};
    server->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&server->address, length), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&server->address, &length), 0);
}

static void *serve(void *arg)
{
    struct server *server = arg;
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
    size_t n = 0;
    ssize_t more;
    while (strstr(server->request, "\r\n\r\n") == NULL &&
           (more = recv(fd, server->request + n, sizeof server->request - 1 - n, 0)) > 0)
        n += (size_t)more;
    if (server->answer != NULL)
        send(fd, server->answer, strlen(server->answer), MSG_NOSIGNAL);
    else
        recv(fd, server->request, 1, 0);
    close(fd);
    return NULL;
}

/* ---- an instance that speaks TLS ---- */

static struct issued site; /* app.test, which believes itself */
static bool shaken;        /* the server has come to the end of a handshake */

static SSL *accept_tls(int fd)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    BIO *certificate = BIO_new_mem_buf(site.certificate, -1), *key = BIO_new_mem_buf(site.key, -1);
    X509 *x509 = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
    SSL_CTX_use_certificate(context, x509);
    SSL_CTX_use_PrivateKey(context, pkey);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    shaken = SSL_accept(ssl) == 1;
    X509_free(x509);
    EVP_PKEY_free(pkey);
    BIO_free(certificate);
    BIO_free(key);
    SSL_CTX_free(context);
    return ssl;
}

static void *serve_tls(void *arg)
{
    struct server *server = arg;
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
    SSL *ssl = accept_tls(fd);
    if (shaken && SSL_read(ssl, server->request, sizeof server->request - 1) > 0) {
        SSL_write(ssl, server->answer, (int)strlen(server->answer));
        SSL_read(ssl, server->request, 1); /* its end */
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

/* Messages that a client passes over (RFC 5246 section 7.4.1.1: HelloRequest), without an end. */
static void *serve_nothing(void *arg)
{
    struct server *server = arg;
    char record[5 + 16384] = {22, 3, 3, 64, 0};
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
    while (send(fd, record, sizeof record, MSG_NOSIGNAL) > 0)
        continue;
    close(fd);
    return NULL;
}

/* The same behind a handshake: 1 MiB of it, since OpenSSL does not mind when a ticket cannot be sent. */
static void *serve_tickets(void *arg)
{
    struct server *server = arg;
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
    SSL *ssl = accept_tls(fd);
    for (int i = 0; shaken && i < 4096; i++) {
        SSL_new_session_ticket(ssl);
        SSL_do_handshake(ssl);
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void *serve_in_clear(void *arg)
{
    struct server *server = arg;
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
    recv(fd, server->request, sizeof server->request, 0);
    send(fd, server->answer, strlen(server->answer), MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static void believe(const char *authorities, const char *name, bool use_h2)
{
    struct tls_client_options options = {.verify = true, .authorities = str_of(authorities), .h2 = use_h2};
    struct err err;
    tls_context_free(tls);
    tls = tls_client_new(&options, &err);
    assert_non_null(tls);
    server_name = name;
    h2 = use_h2;
}

static void done(void *arg, enum checkup_result result, const char *reason)
{
    (void)arg;
    told = result;
    snprintf(why, sizeof why, "%s", reason);
    loop_stop(loop);
}

static void start(const struct server *server, const char *path, uint64_t timeout_ms)
{
    struct checkup_order order = {.length = sizeof server->address,
                                  .path = path,
                                  .host = "app.test",
                                  .h2 = h2,
                                  .proxy_protocol = proxy_protocol,
                                  .tls = tls,
                                  .server_name = str_of(server_name),
                                  .timeout_ms = timeout_ms,
                                  .done = done};
    memcpy(&order.address, &server->address, sizeof server->address);
    checkup_start(loop, &order);
    usleep(stall_us);
    loop_run(loop);
}

/* One check of an instance that does so. */
static enum checkup_result check(struct server *server, const char *answer, void *(*run)(void *),
                                 const char *path, uint64_t timeout_ms)
{
    bind_server(server, answer);
    assert_int_equal(listen(server->fd, 1), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, run, server), 0);
    start(server, path, timeout_ms);
    pthread_join(server->thread, NULL);
    close(server->fd);
    return told;
}

/* One GET /up that is answered so. */
static enum checkup_result ask(struct server *server, const char *answer, uint64_t timeout_ms)
{
    return check(server, answer, serve, "/up", timeout_ms);
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    told = CHECKUP_UNDECIDED;
    why[0] = '\0';
    proxy_protocol = 0;
    tls_context_free(tls);
    tls = NULL;
    server_name = "";
    h2 = false;
    stall_us = 0;
    shaken = false;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void without_a_path_a_connection_is_enough(void **state)
{
    (void)state;
    struct server server;
    bind_server(&server, NULL);
    assert_int_equal(listen(server.fd, 1), 0);
    start(&server, "", 5000);
    assert_int_equal(told, CHECKUP_PASSED);
    close(server.fd);
}

static void one_that_does_not_listen_fails(void **state)
{
    (void)state;
    struct server server;
    bind_server(&server, NULL);
    start(&server, "", 5000);
    assert_int_equal(told, CHECKUP_FAILED);
    assert_string_equal(why, "does not accept a connection: Connection refused");
    close(server.fd);
}

static void the_statuses_from_200_to_399_pass(void **state)
{
    static const struct {
        const char *answer;
        enum checkup_result result;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", CHECKUP_PASSED},
        {"HTTP/1.0 204 No Content\r\n\r\n", CHECKUP_PASSED},
        {"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", CHECKUP_PASSED},
        {"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", CHECKUP_PASSED},
        {"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", CHECKUP_FAILED},
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", CHECKUP_FAILED},
        {"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n", CHECKUP_FAILED},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", CHECKUP_FAILED},
    };
    (void)state;
    struct server server;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (ask(&server, rows[i].answer, 5000) != rows[i].result)
            fail_msg("row %zu: %s", i, why);
    }
    assert_int_equal(ask(&server, "HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n", 5000), CHECKUP_FAILED);
    assert_string_equal(why, "answered GET /up with 503");
}

static void it_asks_as_the_service_is_asked(void **state)
{
    (void)state;
    struct server server;
    ask(&server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 5000);
    assert_non_null(strstr(server.request, "GET /up HTTP/1.1\r\nHost: app.test\r\n"));
    assert_non_null(strstr(server.request, "\r\nUser-Agent: upswap-health/"));
    assert_non_null(strstr(server.request, "\r\nConnection: close\r\n"));
}

static void a_proxy_header_goes_before_what_it_asks(void **state)
{
    (void)state;
    struct server server;
    proxy_protocol = 1;
    assert_int_equal(ask(&server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 5000), CHECKUP_PASSED);
    assert_ptr_equal(strstr(server.request, "PROXY UNKNOWN\r\nGET /up HTTP/1.1\r\n"), server.request);
}

static void what_is_no_answer_fails_with_what_it_was(void **state)
{
    (void)state;
    struct server server;
    assert_int_equal(ask(&server, "SSH-2.0-OpenSSH_9.2\r\n\r\n", 5000), CHECKUP_FAILED);
    assert_string_equal(why, "gave no valid answer to GET /up: bad-version");
    assert_int_equal(ask(&server, "", 5000), CHECKUP_FAILED);
    assert_string_equal(why, "closed the connection before it had answered GET /up");
    assert_int_equal(ask(&server, "HTTP/1.1 200 OK\r\nConte", 5000), CHECKUP_FAILED);
    assert_string_equal(why, "closed the connection before it had answered GET /up");
}

static void one_that_is_silent_fails_in_time(void **state)
{
    (void)state;
    struct server server;
    assert_int_equal(ask(&server, NULL, 50), CHECKUP_FAILED);
    assert_string_equal(why, "did not answer GET /up within 0.05 s");
}

static void what_this_process_was_late_is_not_the_instances_fault(void **state)
{
    (void)state;
    struct server server;
    stall_us = 300000;
    assert_int_equal(ask(&server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 100), CHECKUP_PASSED);
    assert_int_equal(ask(&server, NULL, 100), CHECKUP_FAILED);
    assert_string_equal(why, "did not answer GET /up within 0.1 s");
}

static void begin_late(struct loop_deferred *deferred)
{
    (void)deferred;
    struct checkup_order order = {
        .length = sizeof silent.address, .path = "/up", .host = "", .timeout_ms = 1000, .done = done};
    memcpy(&order.address, &silent.address, sizeof silent.address);
    (void)loop_ms(loop); /* which is the time of the whole turn */
    usleep(100000);
    checkup_start(loop, &order);
}

static void one_that_begins_late_in_a_turn_has_as_much_time_as_others(void **state)
{
    (void)state;
    struct loop_deferred late = {.run = begin_late};
    bind_server(&silent, NULL);
    assert_int_equal(listen(silent.fd, 1), 0);
    uint64_t begun_ms = clock_mono_ms();
    loop_defer(loop, &late);
    loop_run(loop);
    assert_int_equal(told, CHECKUP_FAILED);
    assert_in_range(clock_mono_ms() - begun_ms, 1095, 1900); /* not less by what it was late, nor twice */
    close(silent.fd);
}

static void one_that_is_given_up_tells_nothing(void **state)
{
    (void)state;
    struct server server;
    bind_server(&server, NULL);
    assert_int_equal(listen(server.fd, 1), 0);
    struct checkup_order order = {
        .length = sizeof server.address, .path = "", .host = "", .timeout_ms = 5000, .done = done};
    memcpy(&order.address, &server.address, sizeof server.address);
    checkup_cancel(checkup_start(loop, &order));
    order.path = "/up";
    order.timeout_ms = 50;
    checkup_start(loop, &order);
    loop_run(loop);
    assert_string_equal(why, "did not answer GET /up within 0.05 s");
    close(server.fd);
}

static void by_tls_the_handshake_is_part_of_the_check(void **state)
{
    (void)state;
    struct server server;
    believe(site.certificate, "app.test", false);
    assert_int_equal(check(&server, NULL, serve_tls, "", 5000), CHECKUP_PASSED);
    assert_true(shaken);
    assert_int_equal(check(&server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", serve_tls, "/up", 5000),
                     CHECKUP_PASSED);
    check(&server, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", serve_tls, "/up", 5000);
    assert_string_equal(why, "answered GET /up with 500");
}

static void who_is_not_believed_fails_with_the_reason(void **state)
{
    (void)state;
    struct server server;
    struct issued other = issue("DNS:app.test", false);
    believe(other.certificate, "app.test", false);
    assert_int_equal(check(&server, NULL, serve_tls, "", 5000), CHECKUP_FAILED);
    assert_ptr_equal(strstr(why, "is not believed: certificate verify failed: "), why);
    believe(site.certificate, "other.test", false);
    assert_int_equal(check(&server, NULL, serve_tls, "/up", 5000), CHECKUP_FAILED);
    assert_string_equal(why, "is not believed: certificate verify failed: hostname mismatch");
    issued_free(&other);
}

static void who_speaks_no_tls_fails(void **state)
{
    (void)state;
    struct server server;
    believe(site.certificate, "app.test", false);
    assert_int_equal(check(&server, "HTTP/1.1 400 Bad Request\r\n\r\n", serve_in_clear, "", 5000),
                     CHECKUP_FAILED);
    assert_ptr_equal(strstr(why, "cannot be spoken to by TLS: "), why);
    assert_int_equal(check(&server, "", serve_in_clear, "/up", 5000), CHECKUP_FAILED);
    assert_ptr_equal(strstr(why, "cannot be spoken to by TLS: "), why);
}

static void who_does_not_agree_to_http2_is_not_asked(void **state)
{
    (void)state;
    struct server server;
    believe(site.certificate, "app.test", true);
    assert_int_equal(check(&server, "", serve_tls, "", 5000), CHECKUP_FAILED);
    assert_string_equal(why, "does not offer HTTP/2 (by ALPN), and upstream is \"h2\"");
    assert_string_equal(server.request, "");
}

static void a_handshake_that_stands_still_fails_in_time(void **state)
{
    (void)state;
    struct server server;
    believe(site.certificate, "app.test", false);
    bind_server(&server, NULL);
    assert_int_equal(listen(server.fd, 1), 0);
    start(&server, "", 50);
    assert_int_equal(told, CHECKUP_FAILED);
    assert_string_equal(why, "did not come to the end of the TLS handshake within 0.05 s");
    close(server.fd);
}

static void a_handshake_without_an_end_is_given_up(void **state)
{
    (void)state;
    struct server server;
    believe(site.certificate, "app.test", false);
    assert_int_equal(check(&server, NULL, serve_nothing, "", 600000), CHECKUP_FAILED);
    assert_string_equal(why, "cannot be spoken to by TLS: Message too long");
    assert_int_equal(check(&server, NULL, serve_tickets, "/up", 600000), CHECKUP_FAILED);
    assert_string_equal(why, "broke the connection: Message too long");
}

static int issue_site(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL, in an instance's thread */
    site = issue("DNS:app.test", false);
    return 0;
}

static int free_site(void **state)
{
    (void)state;
    tls_context_free(tls);
    issued_free(&site);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_path_a_connection_is_enough, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_does_not_listen_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_statuses_from_200_to_399_pass, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_asks_as_the_service_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_proxy_header_goes_before_what_it_asks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_answer_fails_with_what_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_silent_fails_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_this_process_was_late_is_not_the_instances_fault, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_begins_late_in_a_turn_has_as_much_time_as_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_given_up_tells_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(by_tls_the_handshake_is_part_of_the_check, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_not_believed_fails_with_the_reason, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_speaks_no_tls_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_agree_to_http2_is_not_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_handshake_that_stands_still_fails_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_handshake_without_an_end_is_given_up, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("checkup", tests, issue_site, free_site);
}
