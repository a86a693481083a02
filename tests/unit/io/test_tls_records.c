/* A server's records once OpenSSL is gone, beside OpenSSL as a client; and beside a client that says what no
 * OpenSSL would. */
#include "io/tls_state.h"

#include "tls_peer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UPDATE "\x18\0\0\1"

/* ---- what no OpenSSL would say ---- */

static uint64_t unheard; /* records that are forged, but not opened yet */

/* Sends a record as the client, of whatever is to be inside, with the key that the stream expects. */
static void forge(const char *inner, size_t n)
{
    static unsigned char record[32768];
    struct tls_key *key = &stream.tls->receiving;
    unsigned char nonce[12];
    int done;
    memcpy(nonce, key->secret.iv, 12);
    for (int i = 0; i < 8; i++)
        nonce[11 - i] ^= (unsigned char)((key->sequence + unheard) >> (8 * i));
    size_t length = n + 16;
    memcpy(record, (unsigned char[]){23, 3, 3, (unsigned char)(length >> 8), (unsigned char)length}, 5);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key->secret.key, nonce), 1);
    assert_int_equal(EVP_EncryptUpdate(cipher, NULL, &done, record, 5), 1);
    assert_int_equal(EVP_EncryptUpdate(cipher, record + 5, &done, (const unsigned char *)inner, (int)n), 1);
    assert_int_equal(EVP_EncryptFinal_ex(cipher, record + 5 + n, &done), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, 16, record + 5 + n), 1);
    EVP_CIPHER_CTX_free(cipher);
    assert_int_equal(write(peer_fd, record, 5 + length), 5 + length);
    turn();
}

static ssize_t hear(char *bytes, size_t room)
{
    return stream_recv(&stream, bytes, room);
}

/* The stream has failed, with this alert, and has told the peer. */
static void assert_refused(int alert, const char *reason)
{
    char bytes[64];
    struct err err;
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
    assert_int_equal(stream.error, EPROTO);
    assert_false(stream.readable);
    assert_false(tls_is_refused(&stream));
    tls_why(&stream, &err);
    assert_string_equal(err.text, reason);
    peer_hear();
    ERR_clear_error();
    assert_true(SSL_read(peer, bytes, sizeof bytes) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + alert);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
}

#define FORGE(text) forge(text, sizeof(text) - 1)
#define DATA "\x17"
#define HANDSHAKE "\x16"
#define ALERT "\x15"

/* ---- tests ---- */

static void after_a_handshake_openssl_is_gone_and_nothing_is_held(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    assert_null(stream.tls->ssl);
    peer_write("hello", 5);
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 5);
    assert_null(stream.tls->raw);
    assert_null(stream.tls->text);
    assert_null(stream.tls->sealed);
    assert_false(tls_is_unanswered(&stream));
}

static void every_suite_carries_text_both_ways(void **state)
{
    (void)state;
    static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                         "TLS_CHACHA20_POLY1305_SHA256"};
    char bytes[64];
    struct iovec part = {(char[]){"answer"}, 6};
    for (size_t i = 0; i < 3; i++) {
        if (i > 0) {
            tear_down(state);
            set_up(state);
        }
        assert_true(tls_accept(&stream, loop, server));
        peer_begin(TLS_client_method(), false);
        assert_int_equal(SSL_set_ciphersuites(peer, suites[i]), 1);
        assert_int_equal(accept_from(peer, bytes, sizeof bytes), STREAM_AGAIN);
        assert_null(stream.tls->ssl);
        assert_string_equal(tls_cipher(&stream), suites[i]);
        assert_string_equal(tls_version(&stream), "TLSv1.3");
        for (unsigned round = 0; round < 3; round++) {
            peer_write("request", 7);
            peer_say();
            assert_int_equal(drain(bytes, sizeof bytes), 7);
            assert_int_equal(stream_send(&stream, &part, 1), 6);
            peer_hear();
            assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 6);
            assert_memory_equal(bytes, "answer", 6);
        }
    }
}

/* OpenSSL's config can say so, by default_properties. */
static void where_openssls_own_kdf_is_asked_for_openssl_goes_on(void **state)
{
    char bytes[64];
    struct iovec part = {(char[]){"answer"}, 6};
    tear_down(state);
    assert_int_equal(EVP_set_default_properties(NULL, "provider=default"), 1);
    set_up(state);
    shake_hands_as_server();
    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    assert_non_null(stream.tls->ssl);
    peer_write("request", 7);
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 7);
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    peer_hear();
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 6);
}

static void tls_1_2_stays_with_openssl(void **state)
{
    (void)state;
    newest = TLS1_2_VERSION;
    shake_hands_as_server();
    assert_non_null(stream.tls->ssl);
    assert_true(SSL_get_read_ahead(stream.tls->ssl)); /* a record, one call */
}

/* The server gives them from now on. */
static void with_tickets(void)
{
    struct err err;
    static const struct tls_ticket_key key = {.name = {1}, .aes = {2}, .mac = {3}};
    struct tls_pair pair = {.certificate = str_of(good.certificate), .key = str_of(good.key)};
    tls_context_free(server);
    server = tls_server_new(
        &(struct tls_server_options){.pairs = &pair, .count = 1, .tickets = &key, .ticket_count = 1}, &err);
    assert_non_null(server);
}

/* RFC 6066 section 4. */
static void who_asks_for_short_records_gets_them(void **state)
{
    (void)state;
    char bytes[2048];
    static char sent[2000];
    struct iovec part = {sent, sizeof sent};
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_set_tlsext_max_fragment_length(peer, TLSEXT_max_fragment_length_512);
    assert_int_equal(accept_from(peer, bytes, sizeof bytes), STREAM_AGAIN);
    assert_null(stream.tls->ssl);
    assert_int_equal(stream_send(&stream, &part, 1), sizeof sent);
    peer_hear();
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 512);
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), sizeof sent - 3 * 512);
}

/* OpenSSL, if it did not tell of the records that it writes. */
static void count_no_records(int written, int version, int type, const void *bytes, size_t size, SSL *ssl,
                             void *arg)
{
    struct tls *tls = arg;
    (void)version;
    (void)bytes;
    (void)ssl;
    if (written && type == SSL3_RT_HANDSHAKE && tls->sending.secret.secret_size > 0)
        tls->said += size;
}

static void where_records_may_be_uncounted_openssl_goes_on(void **state)
{
    (void)state;
    char bytes[64];
    static const struct tls_secret none;
    struct iovec part = {(char[]){"answer"}, 6};
    with_tickets();
    assert_true(tls_accept(&stream, loop, server));
    SSL_set_msg_callback(stream.tls->ssl, count_no_records);
    peer_begin(TLS_client_method(), false);
    assert_int_equal(accept_from(peer, bytes, sizeof bytes), STREAM_AGAIN);
    assert_non_null(stream.tls->ssl);
    assert_memory_equal(&stream.tls->sending.secret, &none, sizeof none);
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    peer_hear();
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 6);
}

/* Which is sealed with the key of the text, before the keys are taken over. */
static void a_ticket_counts_as_a_record(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"answer"}, 6};
    with_tickets();
    SSL_SESSION *session = NULL;
    for (unsigned i = 0; i < 2; i++) {
        assert_true(tls_accept(&stream, loop, server));
        peer_begin(TLS_client_method(), false);
        if (session != NULL)
            SSL_set_session(peer, session);
        assert_int_equal(accept_from(peer, bytes, sizeof bytes), STREAM_AGAIN);
        assert_null(stream.tls->ssl);
        assert_int_equal(tls_is_resumed(&stream), i);
        assert_int_equal(stream.tls->sending.sequence, 1);
        assert_int_equal(stream_send(&stream, &part, 1), 6);
        peer_hear();
        assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 6);
        SSL_SESSION_free(session);
        session = SSL_get1_session(peer);
        assert_true(SSL_SESSION_is_resumable(session));
        if (i == 1)
            break;
        SSL_shutdown(peer);
        stream_close(&stream, false);
        SSL_free(peer);
        SSL_CTX_free(peer_context);
        close(peer_fd);
        int fds[2];
        assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), errno);
        peer_fd = fds[1];
        assert_true(stream_open(&stream, loop, fds[0], ready));
    }
    SSL_SESSION_free(session);
}

static void await_bytes(int fd)
{
    struct pollfd come = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&come, 1, 10000), 1);
}

/* To where the peer has ended its handshake, but not yet said so, over whatever the stream goes. */
static void shake_hands_but_for_the_end(void)
{
    char none[16];
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_do_handshake(peer);
    peer_say();
    await_bytes(stream.fd);
    turn();
    assert_int_equal(hear(none, sizeof none), STREAM_AGAIN);
    await_bytes(peer_fd);
    peer_hear();
    assert_int_equal(SSL_do_handshake(peer), 1);
}

/* As most clients do: their request goes with the last message of the handshake. */
static void send_with_the_end_of_the_handshake(const char *text, size_t size, size_t kept_back)
{
    shake_hands_but_for_the_end();
    peer_write(text, size);
    piece = (size_t)BIO_pending(SSL_get_wbio(peer)) - kept_back;
    peer_say();
    piece = SIZE_MAX;
}

static void a_request_may_come_with_the_end_of_the_handshake(void **state)
{
    (void)state;
    char bytes[64];
    send_with_the_end_of_the_handshake("request", 7, 0);
    assert_int_equal(drain(bytes, sizeof bytes), 7);
    assert_memory_equal(bytes, "request", 7);
    assert_null(stream.tls->ssl);
    assert_false(stream.readable);
}

static void a_part_of_a_request_may_come_with_the_end_of_the_handshake(void **state)
{
    (void)state;
    char bytes[64];
    for (size_t kept_back = 1; kept_back < 29; kept_back++) {
        if (kept_back > 1) {
            tear_down(state);
            set_up(state);
        }
        send_with_the_end_of_the_handshake("request", 7, kept_back);
        assert_int_equal(drain(bytes, sizeof bytes), 0);
        assert_true(tls_is_up(&stream));
        assert_false(stream.readable);
        peer_say();
        assert_int_equal(drain(bytes, sizeof bytes), 7);
        assert_memory_equal(bytes, "request", 7);
    }
}

static void much_may_come_with_the_end_of_the_handshake(void **state)
{
    (void)state;
    static char sent[16000], got[sizeof sent];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 3);
    send_with_the_end_of_the_handshake(sent, sizeof sent, 0);
    assert_int_equal(drain(got, sizeof got), sizeof sent);
    assert_memory_equal(got, sent, sizeof sent);
}

static void padding_is_no_text(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    FORGE("hello" DATA "\0\0\0");
    assert_int_equal(hear(bytes, sizeof bytes), 5);
    assert_memory_equal(bytes, "hello", 5);
    FORGE("a\0b\0" DATA);
    assert_int_equal(hear(bytes, sizeof bytes), 4);
    assert_memory_equal(bytes, "a\0b\0", 4);
}

static void the_longest_record_is_taken_and_a_longer_one_is_not(void **state)
{
    (void)state;
    static char inner[16386], got[20000];
    shake_hands_as_server();
    memset(inner, 'x', 16384);
    inner[16384] = 23;
    forge(inner, 16385);
    assert_int_equal(drain(got, sizeof got), 16384);
    forge(inner, 16386); /* a byte of padding */
    assert_refused(TLS_ALERT_OVERFLOW, "packet length too long");
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *inner;
        size_t n;
        int alert;
        const char *reason;
    } cases[] = {
#define CASE(text, alert, reason) {text, sizeof(text) - 1, alert, reason}
        CASE("\0\0\0", TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE("\1\x14", TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE("text\x63", TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE(HANDSHAKE, TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE(UPDATE HANDSHAKE, TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE(UPDATE "\2" HANDSHAKE, TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE(UPDATE "\0" UPDATE "\0" HANDSHAKE, TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE("\x04\0\0\1\0" HANDSHAKE, TLS_ALERT_UNEXPECTED, "unexpected message"),
        CASE(ALERT, TLS_ALERT_DECODE, "bad length"),
        CASE("\1" ALERT, TLS_ALERT_DECODE, "bad length"),
        CASE("\1\0\0" ALERT, TLS_ALERT_DECODE, "bad length"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (i > 0) {
            tear_down(state);
            set_up(state);
        }
        shake_hands_as_server();
        forge(cases[i].inner, cases[i].n);
        assert_refused(cases[i].alert, cases[i].reason);
    }
}

static void say_plainly(const char *bytes, size_t n)
{
    assert_int_equal(write(peer_fd, bytes, n), n);
    turn();
}

static void plain_records_are_refused_after_a_handshake(void **state)
{
    (void)state;
    shake_hands_as_server();
    say_plainly("\x14\3\3\0\1\1", 6); /* change_cipher_spec, which is heard only before (section 5) */
    assert_refused(TLS_ALERT_UNEXPECTED, "unexpected message");
}

static void a_head_is_refused_before_its_record_comes(void **state)
{
    (void)state;
    shake_hands_as_server();
    say_plainly("\x17\3\3\x41\1", 5);
    assert_refused(TLS_ALERT_OVERFLOW, "packet length too long");
}

static void messages_that_come_to_nothing_are_borne_for_a_while(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    for (unsigned i = 0; i < 32; i++) {
        FORGE(DATA);
        assert_int_equal(hear(bytes, sizeof bytes), STREAM_AGAIN);
        assert_false(stream.readable);
    }
    FORGE("text" DATA);
    assert_int_equal(hear(bytes, sizeof bytes), 4);
    for (unsigned i = 0; i < 32; i++) {
        FORGE("\1\x5a" ALERT); /* user_canceled */
        assert_int_equal(hear(bytes, sizeof bytes), STREAM_AGAIN);
    }
    FORGE(DATA);
    assert_refused(TLS_ALERT_UNEXPECTED, "unexpected message");
}

/* As JSSE does it: for each record that it reads, until it reads that we have another key. */
static void who_asks_for_another_key_again_and_again_is_borne(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"answer"}, 6};
    shake_hands_as_server();
    for (unsigned i = 0; i < 1000; i++) {
        FORGE(UPDATE "\1" HANDSHAKE);
        assert_int_equal(hear(bytes, sizeof bytes), STREAM_AGAIN);
    }
    FORGE("text" DATA);
    assert_int_equal(hear(bytes, sizeof bytes), 4);
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    assert_int_equal(stream.tls->sending.sequence, 1); /* one update answers them all */
}

static void fired(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

/* What the client says next, sealed with its key as that goes on. */
static struct tls_key client_key;

static size_t seal_update(unsigned char *wire)
{
    memcpy(wire + TLS_RECORD_HEAD, UPDATE "\0", 5);
    size_t n = tls_key_seal(&client_key, wire, TLS_TYPE_HANDSHAKE, 5);
    assert_true(tls_key_update(&client_key));
    return n;
}

static size_t seal_text(unsigned char *wire, char text)
{
    wire[TLS_RECORD_HEAD] = (unsigned char)text;
    return tls_key_seal(&client_key, wire, TLS_TYPE_DATA, 1);
}

static void begin_client_key(void)
{
    client_key = (struct tls_key){.secret = stream.tls->receiving.secret};
    assert_true(tls_key_begin(&client_key, stream.tls->receiving.suite));
}

/* Each update costs us ten times what it costs the peer, and makes nobody go on: all that is due comes first.
 */
static void updates_of_keys_keep_nobody_waiting(void **state)
{
    (void)state;
    static unsigned char wire[101 * 32];
    char bytes[64];
    unsigned rests = 0;
    size_t n = 0;
    ssize_t heard;
    shake_hands_as_server();
    begin_client_key();
    for (unsigned i = 0; i < 100; i++)
        n += seal_update(wire + n);
    n += seal_text(wire + n, 'x');
    say_plainly((const char *)wire, n);
    while ((heard = hear(bytes, sizeof bytes)) == STREAM_AGAIN && rests < 20) {
        assert_false(stream.readable);
        calls = 0;
        turn(); /* by an edge it would be called now */
        assert_int_equal(calls, 0);
        stops = true;
        loop_run(loop);
        stops = false;
        assert_true(stream.readable);
        rests++;
    }
    assert_int_equal(heard, 1);
    assert_int_equal(rests, 100 / 16);
    tls_key_end(&client_key);
}

static void a_stream_that_is_closed_while_it_rests_is_not_called(void **state)
{
    (void)state;
    static unsigned char wire[40 * 32];
    char bytes[64];
    size_t n = 0;
    struct deadline later;
    shake_hands_as_server();
    begin_client_key();
    for (unsigned i = 0; i < 40; i++)
        n += seal_update(wire + n);
    tls_key_end(&client_key);
    say_plainly((const char *)wire, n);
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_AGAIN);
    stream_close(&stream, false);
    calls = 0;
    deadline_init(&later, loop, fired);
    deadline_set(&later, 50);
    loop_run(loop);
    assert_int_equal(calls, 0);
}

static void many_small_records_are_read_in_parts(void **state)
{
    (void)state;
    static unsigned char wire[300 * 32];
    char bytes[4096];
    size_t n = 0;
    shake_hands_as_server();
    begin_client_key();
    for (unsigned i = 0; i < 300; i++)
        n += seal_text(wire + n, 'x');
    tls_key_end(&client_key);
    say_plainly((const char *)wire, n);
    assert_int_equal(hear(bytes, sizeof bytes), 128);
    assert_true(stream.readable);
    assert_int_equal(hear(bytes, sizeof bytes), 128);
    assert_int_equal(hear(bytes, sizeof bytes), 44);
    assert_false(stream.readable);
}

/* Both ends of a TCP connection in place of the pair: only TCP has a reset. */
static void over_tcp(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_return_code(bind(listener, (struct sockaddr *)&name, size), errno);
    assert_return_code(listen(listener, 1), errno);
    assert_return_code(getsockname(listener, (struct sockaddr *)&name, &size), errno);
    assert_return_code(connect(fd, (struct sockaddr *)&name, size), errno);
    stream_close(&stream, true);
    close(peer_fd);
    peer_fd = fd;
    assert_return_code(fcntl(fd, F_SETFL, O_NONBLOCK), errno);
    assert_return_code(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), errno);
    assert_true(stream_open(&stream, loop, accept4(listener, NULL, NULL, SOCK_NONBLOCK), ready));
    close(listener);
}

/* When what it has sent has come. */
static void peer_reset(void)
{
    await_bytes(stream.fd);
    setsockopt(peer_fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(peer_fd);
    peer_fd = -1;
    turn();
}

static unsigned sends;

/* Stands in front of the C library's. */
ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
    sends++;
    return syscall(SYS_sendto, fd, bytes, n, flags, NULL, 0);
}

static void who_has_ended_is_told_of_the_end_and_who_has_reset_is_not(void **state)
{
    (void)state;
    for (unsigned resets = 0; resets < 2; resets++) {
        over_tcp();
        shake_hands_as_server();
        SSL_shutdown(peer);
        assert_true(peer_say());
        if (resets)
            peer_reset();
        sends = 0;
        stream_close(&stream, false);
        assert_int_equal(sends, resets ? 0 : 1);
        tear_down(state);
        set_up(state);
    }
}

/* In one edge. */
static void a_reset_is_found_behind_half_a_record(void **state)
{
    (void)state;
    char bytes[64];
    over_tcp();
    shake_hands_as_server();
    peer_write("never whole", 11);
    piece = 20;
    assert_true(peer_say());
    peer_reset();
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
    assert_int_equal(stream.error, ECONNRESET);
}

static void half_a_record_makes_no_call_where_the_flag_is_false(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    peer_write("one", 3);
    piece = (size_t)BIO_pending(SSL_get_wbio(peer)) + 10;
    peer_write("two", 3);
    assert_true(peer_say());
    turn();
    assert_int_equal(hear(bytes, sizeof bytes), 3);
    assert_true(peer_say()); /* is there, but no turn has told of it */
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_AGAIN);
    turn();
    assert_int_equal(hear(bytes, sizeof bytes), 3);
}

static void a_reset_is_found_behind_half_a_handshake(void **state)
{
    (void)state;
    char bytes[64];
    over_tcp();
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_do_handshake(peer);
    piece = 100;
    assert_true(peer_say());
    peer_reset();
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
}

static void a_reset_is_found_behind_a_whole_handshake(void **state)
{
    (void)state;
    char bytes[64];
    over_tcp();
    with_tickets();
    shake_hands_but_for_the_end();
    peer_say();
    peer_reset();
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
}

static void a_reset_is_found_behind_a_handshake_and_half_a_record(void **state)
{
    (void)state;
    char bytes[64];
    over_tcp();
    send_with_the_end_of_the_handshake("never whole", 11, 5);
    peer_reset();
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
}

/* Where a call has heard enough updates before it comes to that half. */
static void a_reset_is_found_behind_updates_and_half_a_record(void **state)
{
    (void)state;
    static unsigned char wire[17 * 32];
    char bytes[64];
    size_t n = 0;
    over_tcp();
    shake_hands_as_server();
    begin_client_key();
    for (unsigned i = 0; i < 16; i++)
        n += seal_update(wire + n);
    seal_text(wire + n, 'x');
    tls_key_end(&client_key);
    say_plainly((const char *)wire, n + 10);
    peer_reset();
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_AGAIN);
    stops = true;
    loop_run(loop);
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
}

static void nothing_follows_a_fatal_alert(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"answer"}, 6};
    shake_hands_as_server();
    say_plainly("\x14\3\3\0\1\1", 6);
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
    assert_int_equal(read(peer_fd, bytes, sizeof bytes), 24);
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_FAILED);
    stream_close(&stream, false);
    assert_int_equal(read(peer_fd, bytes, sizeof bytes), 0);
}

static void text_behind_a_close_notify_is_not_heard(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    FORGE("before" DATA);
    unheard = 1;
    FORGE("\1\0" ALERT);
    unheard = 0;
    say_plainly("whatever", 8);
    assert_int_equal(hear(bytes, sizeof bytes), 6);
    assert_true(stream.readable);
    assert_int_equal(hear(bytes, sizeof bytes), 0);
    assert_int_equal(hear(bytes, sizeof bytes), 0);
    assert_int_equal(stream.error, 0);
    assert_null(stream.tls->raw);
}

static void an_alert_of_the_peers_ends_it(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    FORGE("\2\x28" ALERT);
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
    assert_int_equal(stream.error, EPROTO);
    assert_true(tls_is_refused(&stream));
    stream_close(&stream, false);
    assert_int_equal(peer_hear(), 0); /* who has closed is told nothing */
}

static void text_that_came_before_a_failure_is_given_first(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    FORGE("before" DATA);
    say_plainly("GET / HTTP/1.1\r\n", 16);
    assert_int_equal(hear(bytes, sizeof bytes), 6);
    assert_true(stream.readable);
    assert_refused(TLS_ALERT_UNEXPECTED, "unexpected message");
}

static void keys_are_updated_again_and_again(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"answer"}, 6};
    shake_hands_as_server();
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(
            SSL_key_update(peer, i % 3 == 0 ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED), 1);
        peer_write("request", 7);
        peer_say();
        assert_int_equal(drain(bytes, sizeof bytes), 7);
        if (i % 2 == 0) {
            assert_int_equal(stream_send(&stream, &part, 1), 6);
            peer_hear();
            assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 6);
        }
    }
}

/* RFC 8446 section 5.5. */
static void a_key_that_has_sealed_enough_is_followed_by_another(void **state)
{
    (void)state;
    unsigned char bytes[128], text[128];
    uint8_t type;
    struct iovec part = {(char[]){"answer"}, 6};
    shake_hands_as_server();
    stream.tls->sending.sequence = (1U << 24) - 1;
    struct tls_key theirs = stream.tls->sending;
    assert_true(tls_key_begin(&theirs, theirs.suite));
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    assert_int_equal(stream.tls->sending.sequence, 1);
    assert_int_equal(read(peer_fd, bytes, sizeof bytes), 28 + 27 + 28);
    assert_int_equal(tls_key_open(&theirs, bytes, 28, text, &type), 6);
    assert_int_equal(tls_key_open(&theirs, bytes + 28, 27, text, &type), 5);
    assert_int_equal(type, TLS_TYPE_HANDSHAKE);
    assert_memory_equal(text, UPDATE "\0", 5);
    assert_true(tls_key_update(&theirs));
    assert_int_equal(tls_key_open(&theirs, bytes + 55, 28, text, &type), 6);
    assert_int_equal(type, TLS_TYPE_DATA);
    tls_key_end(&theirs);
}

static void fill_socket(void)
{
    static char junk[4096];
    while (send(stream.fd, junk, sizeof junk, MSG_DONTWAIT) > 0)
        ;
    while (send(stream.fd, junk, 1, MSG_DONTWAIT) > 0)
        ;
}

static void an_answer_to_a_key_update_waits_for_room_and_so_does_the_text(void **state)
{
    (void)state;
    static char junk[65536];
    unsigned char bytes[128], text[128];
    uint8_t type;
    struct iovec part = {(char[]){"answer"}, 6};
    shake_hands_as_server();
    struct tls_key theirs = stream.tls->sending;
    assert_true(tls_key_begin(&theirs, theirs.suite));
    turn();
    fill_socket();
    FORGE(UPDATE "\1" HANDSHAKE);
    assert_int_equal(hear((char *)bytes, sizeof bytes), STREAM_AGAIN);
    assert_false(stream.recv_awaits_write);
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_AGAIN);
    assert_false(stream.writable);
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_AGAIN);
    while (read(peer_fd, junk, sizeof junk) > 0)
        ;
    turn();
    assert_true(stream.writable);
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    assert_int_equal(read(peer_fd, bytes, sizeof bytes), 27 + 28);
    assert_int_equal(tls_key_open(&theirs, bytes, 27, text, &type), 5);
    assert_true(tls_key_update(&theirs));
    assert_int_equal(tls_key_open(&theirs, bytes + 27, 28, text, &type), 6);
    tls_key_end(&theirs);
}

/* Half a record must not be followed by another. */
static void a_close_in_the_middle_of_a_record_says_no_more(void **state)
{
    (void)state;
    static char junk[1 << 20], sent[200000];
    struct iovec part = {sent, sizeof sent};
    size_t all = 0;
    ssize_t n;
    shake_hands_as_server();
    turn();
    while (stream.writable)
        assert_int_not_equal(stream_send(&stream, &part, 1), STREAM_FAILED);
    assert_non_null(stream.tls->sealed);
    while ((n = read(peer_fd, junk, sizeof junk)) > 0)
        all += (size_t)n;
    turn();
    assert_true(stream.writable);
    stream_close(&stream, false);
    assert_int_equal(read(peer_fd, junk, sizeof junk), 0);
    assert_true(all > 0);
}

static void a_peer_may_have_no_more_than_its_limit(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    tls_limit(&stream, 60);
    FORGE("hello" DATA);
    assert_int_equal(hear(bytes, sizeof bytes), 5);
    FORGE("hello, again, and for long" DATA);
    assert_int_equal(hear(bytes, sizeof bytes), 26);
    FORGE("too much" DATA);
    assert_int_equal(hear(bytes, sizeof bytes), STREAM_FAILED);
    assert_int_equal(stream.error, EMSGSIZE);
}

static void a_record_behind_what_has_filled_the_room_keeps_the_stream_readable(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    peer_write("one", 3);
    peer_write("two", 3);
    peer_say();
    turn();
    assert_int_equal(hear(bytes, 3), 3);
    assert_false(stream.kernel_readable);
    assert_true(stream.readable);
    assert_int_equal(hear(bytes, sizeof bytes), 3);
    assert_memory_equal(bytes, "two", 3);
    assert_false(stream.readable);
}

static void an_end_is_said_once(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    stream_shut(&stream);
    assert_int_equal(read(peer_fd, bytes, sizeof bytes), 24);
    stream_close(&stream, false);
    assert_int_equal(read(peer_fd, bytes, sizeof bytes), 0);
}

static void a_little_room_is_filled_from_many_records_and_one_of_many_bytes(void **state)
{
    (void)state;
    static char sent[40000], got[sizeof sent];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 31 + i / 257);
    shake_hands_as_server();
    for (size_t at = 0, n = 1; at < sizeof sent; at += n, n = n * 5 % 16001 + 1) {
        n = n < sizeof sent - at ? n : sizeof sent - at;
        peer_write(sent + at, n);
    }
    peer_say();
    turn();
    size_t all = 0;
    for (size_t room = 1; all < sizeof got; room = room * 7 % 1009 + 1) {
        size_t most = room < sizeof got - all ? room : sizeof got - all;
        assert_true(stream.readable);
        ssize_t n = hear(got + all, most);
        assert_true(n > 0);
        all += (size_t)n;
        turn();
    }
    assert_memory_equal(got, sent, sizeof sent);
    assert_int_equal(hear(got, 1), STREAM_AGAIN);
    assert_false(stream.readable);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(after_a_handshake_openssl_is_gone_and_nothing_is_held),
        TEST(every_suite_carries_text_both_ways),
        TEST(where_openssls_own_kdf_is_asked_for_openssl_goes_on),
        TEST(tls_1_2_stays_with_openssl),
        TEST(who_asks_for_short_records_gets_them),
        TEST(where_records_may_be_uncounted_openssl_goes_on),
        TEST(a_ticket_counts_as_a_record),
        TEST(a_request_may_come_with_the_end_of_the_handshake),
        TEST(a_part_of_a_request_may_come_with_the_end_of_the_handshake),
        TEST(much_may_come_with_the_end_of_the_handshake),
        TEST(padding_is_no_text),
        TEST(the_longest_record_is_taken_and_a_longer_one_is_not),
        TEST(what_is_no_message_is_refused),
        TEST(plain_records_are_refused_after_a_handshake),
        TEST(a_head_is_refused_before_its_record_comes),
        TEST(messages_that_come_to_nothing_are_borne_for_a_while),
        TEST(who_asks_for_another_key_again_and_again_is_borne),
        TEST(updates_of_keys_keep_nobody_waiting),
        TEST(a_stream_that_is_closed_while_it_rests_is_not_called),
        TEST(many_small_records_are_read_in_parts),
        TEST(who_has_ended_is_told_of_the_end_and_who_has_reset_is_not),
        TEST(a_reset_is_found_behind_half_a_record),
        TEST(half_a_record_makes_no_call_where_the_flag_is_false),
        TEST(a_reset_is_found_behind_half_a_handshake),
        TEST(a_reset_is_found_behind_a_whole_handshake),
        TEST(a_reset_is_found_behind_a_handshake_and_half_a_record),
        TEST(a_reset_is_found_behind_updates_and_half_a_record),
        TEST(nothing_follows_a_fatal_alert),
        TEST(text_behind_a_close_notify_is_not_heard),
        TEST(an_alert_of_the_peers_ends_it),
        TEST(text_that_came_before_a_failure_is_given_first),
        TEST(keys_are_updated_again_and_again),
        TEST(a_key_that_has_sealed_enough_is_followed_by_another),
        TEST(an_answer_to_a_key_update_waits_for_room_and_so_does_the_text),
        TEST(a_close_in_the_middle_of_a_record_says_no_more),
        TEST(a_peer_may_have_no_more_than_its_limit),
        TEST(a_record_behind_what_has_filled_the_room_keeps_the_stream_readable),
        TEST(an_end_is_said_once),
        TEST(a_little_room_is_filled_from_many_records_and_one_of_many_bytes),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
