/* A stream under test, with TLS, that has a real OpenSSL at its other end, which speaks through memory: so
 * its bytes can be sent in pieces of any size, kept back or cut. */
#pragma once

#include "io/tls.h"
#include "issue.h"
#include "unit.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct stream stream;
static unsigned calls; /* of ready */
static bool stops;     /* ready stops the loop */
static struct issued good;
static struct tls_context *server, *client;

static SSL_CTX *peer_context;
static SSL *peer;
static int peer_fd;  /* non-blocking */
static size_t piece; /* most bytes that the peer sends at once */
static int newest;   /* version that the peer speaks; 0: any */

static void ready(struct stream *told)
{
    assert_ptr_equal(told, &stream);
    calls++;
    if (stops)
        loop_stop(loop);
}

static void turn(void)
{
    event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
}

/* ---- the peer ---- */

/* What has come for the peer goes into its OpenSSL. */
static size_t peer_hear(void)
{
    static char bytes[65536];
    size_t all = 0;
    ssize_t n;
    while ((n = read(peer_fd, bytes, sizeof bytes)) > 0) {
        assert_int_equal(BIO_write(SSL_get_rbio(peer), bytes, (int)n), n);
        all += (size_t)n;
    }
    return all;
}

/* The next bytes that the peer's OpenSSL has to send, at most a piece. False: none. */
static bool peer_say(void)
{
    char bytes[65536];
    int n = BIO_read(SSL_get_wbio(peer), bytes, (int)(piece < sizeof bytes ? piece : sizeof bytes));
    if (n <= 0)
        return false;
    assert_int_equal(send(peer_fd, bytes, (size_t)n, MSG_NOSIGNAL), n);
    return true;
}

static void peer_begin(const SSL_METHOD *method, bool accepts)
{
    peer_context = SSL_CTX_new(method);
    SSL_CTX_set_max_proto_version(peer_context, newest);
    if (accepts) {
        BIO *bio = BIO_new_mem_buf(good.certificate, -1);
        X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        BIO_free(bio);
        bio = BIO_new_mem_buf(good.key, -1);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO_free(bio);
        assert_int_equal(SSL_CTX_use_cert_and_key(peer_context, leaf, key, NULL, 1), 1);
        X509_free(leaf);
        EVP_PKEY_free(key);
    }
    peer = SSL_new(peer_context);
    SSL_set_bio(peer, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(peer), -1);
    if (accepts)
        SSL_set_accept_state(peer);
    else
        SSL_set_connect_state(peer);
}

/* ---- each test ---- */

static int set_up(void **state)
{
    (void)state;
    struct err err;
    int fds[2];
    good = issue("DNS:example.com, IP:127.0.0.1", false);
    struct tls_pair pair = {.certificate = str_of(good.certificate), .key = str_of(good.key)};
    server = tls_server_new(
        &(struct tls_server_options){.pairs = &pair, .count = 1, .protocols = TLS_H2_HTTP1}, &err);
    client = tls_client_new(
        &(struct tls_client_options){.verify = true, .authorities = str_of(good.certificate)}, &err);
    assert_non_null(server);
    assert_non_null(client);
    loop = loop_new();
    calls = 0;
    piece = SIZE_MAX;
    newest = 0;
    stops = false;
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), errno);
    peer_fd = fds[1];
    assert_true(stream_open(&stream, loop, fds[0], ready));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stream_close(&stream, false);
    stream_close(&stream, false);
    tls_context_free(server);
    tls_context_free(client);
    SSL_free(peer);
    SSL_CTX_free(peer_context);
    peer = NULL;
    peer_context = NULL;
    if (peer_fd >= 0)
        close(peer_fd);
    loop_free(loop);
    issued_free(&good);
    return 0;
}

/* Lets both sides go on until the peer's handshake has ended and the stream has nothing more to read. What is
 * read from the stream goes to `got`. Returns what the last recv gave. */
static ssize_t accept_from(SSL *from, char *got, size_t room)
{
    ssize_t last = STREAM_AGAIN;
    for (unsigned idle = 0; idle < 3;) {
        SSL_do_handshake(from);
        bool moved = peer_say();
        turn();
        while (stream.readable && last < 0) {
            last = stream_recv(&stream, got, room);
            if (last == STREAM_FAILED)
                return last;
            moved |= last > 0;
        }
        moved |= peer_hear() > 0;
        idle = moved ? 0 : idle + 1;
    }
    return last;
}

static void shake_hands_as_server(void)
{
    char none[16];
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    assert_int_equal(accept_from(peer, none, sizeof none), STREAM_AGAIN);
    assert_true(tls_is_up(&stream));
    assert_true(SSL_is_init_finished(peer));
}

static void peer_write(const char *text, size_t size)
{
    assert_int_equal(SSL_write(peer, text, (int)size), size);
}

/* All that the stream can give now. */
static size_t drain(char *bytes, size_t room)
{
    size_t all = 0;
    turn();
    while (stream.readable && all < room) {
        ssize_t n = stream_recv(&stream, bytes + all, room - all);
        if (n <= 0)
            break;
        all += (size_t)n;
    }
    return all;
}
