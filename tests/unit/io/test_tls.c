#include "tls_peer.h"

static void peer_close(void)
{
    close(peer_fd);
    peer_fd = -1;
    turn();
}

static void a_handshake_ends_and_both_sides_agree(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec parts[2] = {{(char[]){"head "}, 5}, {(char[]){"body"}, 4}};
    shake_hands_as_server();
    assert_string_equal(tls_version(&stream), "TLSv1.3");
    assert_string_equal(tls_cipher(&stream), "TLS_AES_128_GCM_SHA256");
    assert_false(tls_is_resumed(&stream));
    peer_write("hello", 5);
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_false(stream.readable);
    assert_int_equal(stream_send(&stream, parts, 2), 9);
    peer_hear();
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 9); /* one record */
    assert_memory_equal(bytes, "head body", 9);
}

static void bytes_may_come_one_at_a_time(void **state)
{
    (void)state;
    char bytes[64];
    piece = 1;
    shake_hands_as_server();
    peer_write("hello", 5);
    size_t got = 0;
    while (peer_say()) {
        assert_int_equal(got, 0); /* no part of a record is given */
        got += drain(bytes, sizeof bytes);
    }
    assert_int_equal(got, 5);
}

static void records_may_be_split_anywhere(void **state)
{
    (void)state;
    static char sent[100000], got[sizeof sent];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 7 + i / 251);
    shake_hands_as_server();
    for (size_t size = 0; size < sizeof sent;) {
        size_t n = size % 977 + 1 < sizeof sent - size ? size % 977 + 1 : sizeof sent - size;
        peer_write(sent + size, n);
        size += n;
    }
    size_t all = 0;
    for (piece = 1; peer_say(); piece = piece * 3 % 8191 + 1)
        all += drain(got + all, sizeof got - all);
    assert_int_equal(all, sizeof sent);
    assert_memory_equal(got, sent, sizeof sent);
}

static void what_has_no_room_keeps_the_stream_readable(void **state)
{
    (void)state;
    char bytes[8];
    shake_hands_as_server();
    peer_write("0123456789", 10);
    peer_say();
    turn();
    assert_int_equal(stream_recv(&stream, bytes, 4), 4);
    assert_true(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, 4), 4);
    assert_true(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, 8), 2);
    assert_memory_equal(bytes, "89", 2);
    assert_false(stream.readable);
}

static void a_false_flag_makes_no_call_to_the_kernel(void **state)
{
    (void)state;
    char bytes[8];
    shake_hands_as_server();
    peer_write("one", 3);
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 3);
    peer_write("two", 3);
    peer_say(); /* is there, but no turn has told of it */
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_AGAIN);
    turn();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 3);
}

static void only_a_close_notify_is_an_end(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    peer_write("last words", 10);
    SSL_shutdown(peer);
    peer_say();
    peer_close();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 10);
    assert_true(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 0);
    assert_false(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 0);
    assert_int_equal(stream.error, 0);
}

static void a_connection_that_is_cut_has_no_end(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    peer_write("half a mess", 11);
    peer_say();
    peer_close();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 11);
    assert_true(stream_may_give(&stream));
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
    assert_int_equal(stream.error, ECONNRESET);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
    assert_false(stream.readable);
}

static void a_cut_inside_a_record_is_found(void **state)
{
    (void)state;
    char bytes[64];
    shake_hands_as_server();
    peer_write("never whole", 11);
    piece = 20;
    peer_say();
    peer_close();
    ssize_t n;
    do
        n = stream_recv(&stream, bytes, sizeof bytes);
    while (n == STREAM_AGAIN && stream.readable);
    assert_int_equal(n, STREAM_FAILED);
    assert_int_equal(stream.error, ECONNRESET);
}

static void a_record_that_was_changed_on_the_way_fails(void **state)
{
    (void)state;
    char bytes[256], text[64];
    struct err err;
    shake_hands_as_server();
    peer_write("hello", 5);
    int n = BIO_read(SSL_get_wbio(peer), bytes, sizeof bytes);
    bytes[n - 1] ^= 1;
    assert_int_equal(write(peer_fd, bytes, (size_t)n), n);
    turn();
    assert_int_equal(stream_recv(&stream, text, sizeof text), STREAM_FAILED);
    assert_int_equal(stream.error, EPROTO);
    assert_false(tls_why(&stream, &err));
    assert_string_equal(err.text, "decryption failed or bad record mac");
}

static void our_end_is_a_close_notify_and_what_is_cut_has_none(void **state)
{
    (void)state;
    char bytes[8];
    shake_hands_as_server();
    stream_shut(&stream);
    peer_hear();
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 0);
    assert_int_equal(SSL_get_shutdown(peer), SSL_RECEIVED_SHUTDOWN);
    peer_write("still heard", 8); /* a half-close */
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 8);
}

static void a_reset_sends_no_close_notify(void **state)
{
    (void)state;
    char bytes[8];
    shake_hands_as_server();
    stream_close(&stream, true);
    peer_hear();
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), -1);
    assert_int_equal(SSL_get_shutdown(peer), 0);
}

static void a_full_socket_takes_a_big_answer_piece_by_piece(void **state)
{
    (void)state;
    static char sent[3000000], got[65536];
    size_t offered = 0, all = 0;
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 13 + i / 509);
    shake_hands_as_server();
    unsigned waits = 0;
    while (all < sizeof sent) {
        while (offered < sizeof sent && stream.writable) {
            /* Moved, and in other parts than before, as an outlet may offer it. */
            size_t left = sizeof sent - offered, first = left < 1000 ? left : 1000;
            struct iovec parts[2] = {{sent + offered, first}, {sent + offered + first, left - first}};
            ssize_t n = stream_send(&stream, parts, 2);
            assert_int_not_equal(n, STREAM_FAILED);
            offered += n > 0 ? (size_t)n : 0;
            waits += !stream.writable;
        }
        peer_hear();
        int n;
        while ((n = SSL_read(peer, got, sizeof got)) > 0) {
            assert_memory_equal(got, sent + all, (size_t)n);
            all += (size_t)n;
        }
        turn();
    }
    assert_true(waits > 1);
}

static void a_peer_that_is_gone_is_no_signal(void **state)
{
    (void)state;
    char byte;
    struct iovec part = {&byte, 1};
    byte = 'x';
    shake_hands_as_server();
    close(peer_fd);
    peer_fd = -1;
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_FAILED);
    assert_int_equal(stream.error, EPIPE);
    assert_true(stream.readable);
    assert_int_equal(stream_recv(&stream, &byte, 1), STREAM_FAILED);
}

static void what_is_no_tls_fails_with_a_reason(void **state)
{
    (void)state;
    char bytes[64];
    struct err err;
    assert_true(tls_accept(&stream, loop, server));
    assert_int_equal(write(peer_fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), 27);
    turn();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
    assert_int_equal(stream.error, EPROTO);
    assert_false(tls_is_up(&stream));
    assert_false(tls_why(&stream, &err));
    assert_string_equal(err.text, "http request");
}

static void a_peer_that_never_finishes_keeps_the_stream_waiting(void **state)
{
    (void)state;
    char bytes[64];
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_do_handshake(peer);
    piece = 100;
    peer_say();
    turn();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_AGAIN);
    assert_false(stream.readable);
    assert_false(tls_is_up(&stream));
    turn();
    assert_false(stream.readable);
    peer_close();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
}

static void tls_1_1_is_refused_and_1_2_is_not(void **state)
{
    (void)state;
    char none[16];
    struct err err;
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_set_security_level(peer, 0);
    SSL_set_min_proto_version(peer, TLS1_VERSION);
    SSL_set_max_proto_version(peer, TLS1_1_VERSION);
    SSL_set_cipher_list(peer, "ALL:@SECLEVEL=0");
    assert_int_equal(accept_from(peer, none, sizeof none), STREAM_FAILED);
    tls_why(&stream, &err);
    assert_string_equal(err.text, "unsupported protocol");
}

static void tls_1_2_renegotiation_is_refused(void **state)
{
    (void)state;
    char bytes[64];
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_set_max_proto_version(peer, TLS1_2_VERSION);
    assert_int_equal(accept_from(peer, bytes, sizeof bytes), STREAM_AGAIN);
    assert_string_equal(tls_version(&stream), "TLSv1.2");
    assert_int_equal(SSL_renegotiate(peer), 1);
    accept_from(peer, bytes, sizeof bytes);
    int done = SSL_do_handshake(peer);
    assert_int_equal(done, -1);
    assert_int_not_equal(SSL_get_error(peer, done), SSL_ERROR_WANT_READ); /* it was told no */
}

static void a_key_update_is_answered(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"answer"}, 6};
    shake_hands_as_server();
    assert_int_equal(SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED), 1);
    peer_write("hello", 5);
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 5);
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    peer_hear();
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 6);
}

/* A full socket at the moment when the handshake or a key update must answer. */
static void a_recv_that_waits_to_write_goes_on_when_it_can(void **state)
{
    (void)state;
    char bytes[64];
    static char junk[4096];
    shake_hands_as_server();
    turn();
    /* Full for the stream, by another's hand. */
    while (send(stream.fd, junk, sizeof junk, MSG_DONTWAIT) > 0)
        ;
    while (send(stream.fd, junk, 1, MSG_DONTWAIT) > 0)
        ;
    assert_int_equal(SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED), 1);
    peer_write("hello", 5);
    peer_say();
    turn();
    ssize_t n = stream_recv(&stream, bytes, sizeof bytes);
    if (n == STREAM_AGAIN) {
        calls = 0;
        assert_false(stream.readable);
        assert_true(stream.recv_awaits_write);
        while (read(peer_fd, junk, sizeof junk) > 0)
            ;
        turn();
        assert_true(calls > 0);
        assert_true(stream.readable);
        n = stream_recv(&stream, bytes, sizeof bytes);
    }
    assert_int_equal(n, 5);
}

static void alpn_names_what_both_speak(void **state)
{
    (void)state;
    char none[16];
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_set_alpn_protos(peer, (const unsigned char *)"\x08http/1.1\x02h2", 12);
    accept_from(peer, none, sizeof none);
    assert_str_equal(tls_alpn(&stream), "h2");
}

/* RFC 7301 section 3.2: who has been led here for another protocol is told so. */
static void who_offers_nothing_that_is_spoken_is_refused(void **state)
{
    (void)state;
    char none[16];
    assert_true(tls_accept(&stream, loop, server));
    peer_begin(TLS_client_method(), false);
    SSL_set_alpn_protos(peer,
                        (const unsigned char *)"\x03"
                                               "ftp",
                        4);
    assert_int_equal(accept_from(peer, none, sizeof none), STREAM_FAILED);
    peer_hear();
    assert_int_equal(SSL_do_handshake(peer), -1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    ERR_clear_error();
}

/* ---- as a client ---- */

/* Until the handshake has ended, one way or the other. */
static int connect_to_peer(const char *name)
{
    int result = STREAM_AGAIN;
    assert_true(tls_connect(&stream, client, name));
    peer_begin(TLS_server_method(), true);
    for (unsigned rounds = 0; rounds < 20000 && result == STREAM_AGAIN; rounds++) {
        result = tls_handshake(&stream);
        if (result == STREAM_AGAIN)
            assert_true(!stream.readable || !stream.writable);
        peer_hear();
        SSL_do_handshake(peer);
        peer_say();
        turn();
    }
    return result;
}

static void a_client_verifies_the_name(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"request"}, 7};
    assert_int_equal(connect_to_peer("example.com"), 0);
    assert_int_equal(stream_send(&stream, &part, 1), 7);
    peer_hear();
    assert_int_equal(SSL_read(peer, bytes, sizeof bytes), 7);
    assert_string_equal(SSL_get_servername(peer, TLSEXT_NAMETYPE_host_name), "example.com");
    while (peer_say()) /* tickets */
        ;
    assert_int_equal(drain(bytes, sizeof bytes), 0);
    assert_false(stream.readable);
    peer_write("answer", 6);
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 6);
}

static void a_client_takes_bytes_one_at_a_time(void **state)
{
    (void)state;
    piece = 1;
    assert_int_equal(connect_to_peer("127.0.0.1"), 0);
    assert_null(SSL_get_servername(peer, TLSEXT_NAMETYPE_host_name)); /* RFC 6066: no address is a name */
}

static void a_client_refuses_another_name(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(connect_to_peer("example.org"), STREAM_FAILED);
    tls_why(&stream, &err);
    assert_string_equal(err.text, "certificate verify failed: hostname mismatch");
}

static void a_client_refuses_whom_it_does_not_know(void **state)
{
    (void)state;
    struct err err;
    struct issued other = issue("DNS:example.com", true);
    tls_context_free(client);
    client = tls_client_new(
        &(struct tls_client_options){.verify = true, .authorities = str_of(other.certificate)}, &err);
    assert_int_equal(connect_to_peer("example.com"), STREAM_FAILED);
    tls_why(&stream, &err);
    assert_true(strstr(err.text, "certificate verify failed: self-signed certificate") != NULL);
    issued_free(&other);
}

static void a_client_that_verifies_nothing_needs_no_authorities(void **state)
{
    (void)state;
    struct err err;
    tls_context_free(client);
    client = tls_client_new(&(struct tls_client_options){.verify = false}, &err);
    assert_int_equal(connect_to_peer("example.org"), 0);
}

/* ---- contexts ---- */

static void refused(const char *certificate, const char *key, const char *sentence)
{
    struct err err;
    struct tls_pair pair = {.certificate = str_of(certificate), .key = str_of(key)};
    assert_null(tls_server_new(&(struct tls_server_options){.pairs = &pair, .count = 1}, &err));
    if (strstr(err.text, sentence) == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_bad_pair_is_refused_with_a_sentence(void **state)
{
    (void)state;
    struct issued other = issue("DNS:example.com", true);
    refused(good.certificate, other.key, "does not belong to the certificate");
    refused("", good.key, "holds no certificate in PEM form");
    refused(good.key, good.key, "holds no certificate in PEM form");
    refused(good.certificate, good.certificate, "holds no private key in PEM form");
    refused(good.certificate, "", "holds no private key in PEM form");
    refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", good.key,
            "number 1 cannot be read");
    char *broken =
        mem_printf("%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", good.certificate);
    refused(broken, good.key, "number 2 cannot be read");
    free(broken);
    issued_free(&other);
}

static void an_encrypted_key_is_refused_with_the_remedy(void **state)
{
    (void)state;
    BIO *bio = BIO_new_mem_buf(good.key, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    PEM_write_bio_PrivateKey(out, key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
    char *text = bio_text(out);
    refused(good.certificate, text, "the key is encrypted");
    BIO_free(bio);
    EVP_PKEY_free(key);
    free(text);
}

static void a_connection_outlives_its_context(void **state)
{
    (void)state;
    char bytes[8];
    shake_hands_as_server();
    tls_context_free(server);
    server = NULL;
    peer_write("hello", 5);
    peer_say();
    assert_int_equal(drain(bytes, sizeof bytes), 5);
}

/* Up to TLS 1.2, whose records are OpenSSL's. */
static int set_up_1_2(void **state)
{
    int failed = set_up(state);
    newest = TLS1_2_VERSION;
    return failed;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_1_2(name)                                    \
    {                                                     \
#name " (1.2)", name, set_up_1_2, tear_down, NULL \
    }
#define TEST_BOTH(name) TEST(name), TEST_1_2(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_handshake_ends_and_both_sides_agree),
        TEST_BOTH(bytes_may_come_one_at_a_time),
        TEST_BOTH(records_may_be_split_anywhere),
        TEST_BOTH(what_has_no_room_keeps_the_stream_readable),
        TEST_BOTH(a_false_flag_makes_no_call_to_the_kernel),
        TEST_BOTH(only_a_close_notify_is_an_end),
        TEST_BOTH(a_connection_that_is_cut_has_no_end),
        TEST_BOTH(a_cut_inside_a_record_is_found),
        TEST(a_record_that_was_changed_on_the_way_fails),
        TEST_BOTH(our_end_is_a_close_notify_and_what_is_cut_has_none),
        TEST_BOTH(a_reset_sends_no_close_notify),
        TEST_BOTH(a_full_socket_takes_a_big_answer_piece_by_piece),
        TEST_BOTH(a_peer_that_is_gone_is_no_signal),
        TEST(what_is_no_tls_fails_with_a_reason),
        TEST_BOTH(a_peer_that_never_finishes_keeps_the_stream_waiting),
        TEST(tls_1_1_is_refused_and_1_2_is_not),
        TEST(tls_1_2_renegotiation_is_refused),
        TEST(a_key_update_is_answered),
        TEST(a_recv_that_waits_to_write_goes_on_when_it_can),
        TEST_BOTH(alpn_names_what_both_speak),
        TEST(who_offers_nothing_that_is_spoken_is_refused),
        TEST(a_client_verifies_the_name),
        TEST(a_client_takes_bytes_one_at_a_time),
        TEST(a_client_refuses_another_name),
        TEST(a_client_refuses_whom_it_does_not_know),
        TEST(a_client_that_verifies_nothing_needs_no_authorities),
        TEST(a_bad_pair_is_refused_with_a_sentence),
        TEST(an_encrypted_key_is_refused_with_the_remedy),
        TEST_BOTH(a_connection_outlives_its_context),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
