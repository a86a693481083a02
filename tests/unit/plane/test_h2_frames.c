/* What a client may say over HTTP/2 and what not, frame by frame (RFC 9113). */
#include "h2_rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define H2_POST ":method: POST\n:scheme: http\n:authority: app.test\n:path: /\n"
#define WINDOW 65535

static int stop(void **state)
{
    return rig_stop(*state);
}

static void put_u32(uint8_t *to, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(number >> (24 - 8 * i));
}

static void send_number(struct h2_end *client, uint8_t type, int32_t stream, uint32_t number)
{
    uint8_t payload[4];
    put_u32(payload, number);
    h2_end_send(client, type, 0, stream, payload, sizeof payload);
}

static void set(struct h2_end *client, uint8_t setting, uint32_t value)
{
    uint8_t payload[6] = {0, setting};
    put_u32(payload + 2, value);
    h2_end_send(client, NGHTTP2_SETTINGS, 0, 0, payload, sizeof payload);
}

/* Everything that was sent before has been read. */
static void settle(struct h2_end *client)
{
    h2_end_send(client, NGHTTP2_PING, 0, 0, "settled?", 8);
    h2_end_read(client, NGHTTP2_PING);
    assert_memory_equal(client->payload, "settled?", 8);
}

static void expect_goaway(struct h2_end *client, uint32_t code)
{
    h2_end_read(client, NGHTTP2_GOAWAY);
    assert_int_equal(h2_end_number(client, 4), code);
    h2_end_expect_close(client);
    h2_end_free(client);
}

static void expect_reset(struct h2_end *client, int32_t stream, uint32_t code)
{
    h2_end_read(client, NGHTTP2_RST_STREAM);
    assert_int_equal(client->stream, stream);
    assert_int_equal(h2_end_number(client, 0), code);
}

/* ---- what ends the connection ---- */

/* Stream 1 is open; 3 and 2 are not. */
static const struct wrong {
    const char *what;
    uint8_t type, flags;
    int32_t stream;
    const char *payload;
    size_t size;
    uint32_t code;
} wrongs[] = {
    {"data on no stream", 0, 0, 0, "x", 1, NGHTTP2_PROTOCOL_ERROR},
    {"data on an idle stream", 0, 0, 3, "x", 1, NGHTTP2_PROTOCOL_ERROR},
    {"data on a stream of ours", 0, 0, 2, "x", 1, NGHTTP2_PROTOCOL_ERROR},
    {"more padding than data", 0, NGHTTP2_FLAG_PADDED, 1, "\4xxx", 4, NGHTTP2_PROTOCOL_ERROR},
    {"padding of no length", 0, NGHTTP2_FLAG_PADDED, 1, "", 0, NGHTTP2_FRAME_SIZE_ERROR},
    {"a head on no stream", 1, 4, 0, "\x82", 1, NGHTTP2_PROTOCOL_ERROR},
    {"a head on a stream of ours", 1, 4, 2, "\x82", 1, NGHTTP2_PROTOCOL_ERROR},
    {"more padding than head", 1, 4 | NGHTTP2_FLAG_PADDED, 3, "\2\x82", 2, NGHTTP2_PROTOCOL_ERROR},
    {"a head without its priority", 1, 4 | NGHTTP2_FLAG_PRIORITY, 3, "\0\0\0\0", 4, NGHTTP2_PROTOCOL_ERROR},
    {"a head that cannot be decoded", 1, 4, 3, "\x80", 1, NGHTTP2_COMPRESSION_ERROR},
    {"a head that is cut", 1, 4, 3, "\0\5:", 3, NGHTTP2_COMPRESSION_ERROR},
    {"a priority on no stream", 2, 0, 0, "\0\0\0\0\0", 5, NGHTTP2_PROTOCOL_ERROR},
    {"a short priority", 2, 0, 1, "\0\0\0\0", 4, NGHTTP2_FRAME_SIZE_ERROR},
    {"a reset of no stream", 3, 0, 0, "\0\0\0\0", 4, NGHTTP2_PROTOCOL_ERROR},
    {"a reset of an idle stream", 3, 0, 3, "\0\0\0\0", 4, NGHTTP2_PROTOCOL_ERROR},
    {"a long reset", 3, 0, 1, "\0\0\0\0\0", 5, NGHTTP2_FRAME_SIZE_ERROR},
    {"settings on a stream", 4, 0, 1, "", 0, NGHTTP2_PROTOCOL_ERROR},
    {"half a setting", 4, 0, 0, "\0\4\0", 3, NGHTTP2_FRAME_SIZE_ERROR},
    {"an acknowledgement with settings", 4, 1, 0, "\0\4\0\0\0\1", 6, NGHTTP2_FRAME_SIZE_ERROR},
    {"push that is neither on nor off", 4, 0, 0, "\0\2\0\0\0\2", 6, NGHTTP2_PROTOCOL_ERROR},
    {"a window that is too large", 4, 0, 0, "\0\4\x80\0\0\0", 6, NGHTTP2_FLOW_CONTROL_ERROR},
    {"frames that are too small", 4, 0, 0, "\0\5\0\0\x3f\xff", 6, NGHTTP2_PROTOCOL_ERROR},
    {"frames that are too large", 4, 0, 0, "\0\5\1\0\0\0", 6, NGHTTP2_PROTOCOL_ERROR},
    {"CONNECT that is neither on nor off", 4, 0, 0, "\0\x8\0\0\0\2", 6, NGHTTP2_PROTOCOL_ERROR},
    {"a push", 5, 4, 1, "\0\0\0\2\x82", 5, NGHTTP2_PROTOCOL_ERROR},
    {"a ping on a stream", 6, 0, 1, "12345678", 8, NGHTTP2_PROTOCOL_ERROR},
    {"a short ping", 6, 0, 0, "1234567", 7, NGHTTP2_FRAME_SIZE_ERROR},
    {"a goodbye on a stream", 7, 0, 1, "\0\0\0\0\0\0\0\0", 8, NGHTTP2_PROTOCOL_ERROR},
    {"a short goodbye", 7, 0, 0, "\0\0\0\0\0\0\0", 7, NGHTTP2_FRAME_SIZE_ERROR},
    {"a window that is not opened", 8, 0, 0, "\0\0\0\0", 4, NGHTTP2_PROTOCOL_ERROR},
    {"a window that is opened too far", 8, 0, 0, "\x7f\xff\xff\xff", 4, NGHTTP2_FLOW_CONTROL_ERROR},
    {"the window of an idle stream", 8, 0, 3, "\0\0\0\1", 4, NGHTTP2_PROTOCOL_ERROR},
    {"a short window", 8, 0, 0, "\0\0\1", 3, NGHTTP2_FRAME_SIZE_ERROR},
    {"what continues nothing", 9, 4, 1, "\x82", 1, NGHTTP2_PROTOCOL_ERROR},
    {"what continues no stream", 9, 4, 0, "\x82", 1, NGHTTP2_PROTOCOL_ERROR},
};

static void what_is_wrong_with_a_connection_ends_it_with_its_code(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        const struct wrong *wrong = &wrongs[i];
        print_message("  %s\n", wrong->what);
        struct h2_end *client = h2_end_client(rig_client(rig));
        int instance = h2_rig_begin(rig, client, 1, 0, H2_POST);
        h2_end_send(client, wrong->type, wrong->flags, wrong->stream, wrong->payload, wrong->size);
        expect_goaway(client, wrong->code);
        rig_rest(instance, NULL);
        close(instance);
    }
}

static void a_frame_that_is_too_large_ends_the_connection(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    settle(client);
    static const uint8_t head[9] = {0, 0x40, 1, 0xfa}; /* of 16,385 bytes, and of no known type */
    assert_int_equal(send(client->fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    expect_goaway(client, NGHTTP2_FRAME_SIZE_ERROR);
}

static void settings_come_first(void **state)
{
    struct rig *rig = *state;
    for (unsigned i = 0; i < 2; i++) {
        struct h2_end *client = h2_end_of(rig_client(rig));
        assert_int_equal(send(client->fd, NGHTTP2_CLIENT_MAGIC, 24, MSG_NOSIGNAL), 24);
        if (i == 0)
            h2_end_send(client, NGHTTP2_PING, 0, 0, "12345678", 8);
        else
            h2_end_send(client, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
        expect_goaway(client, NGHTTP2_PROTOCOL_ERROR);
    }
}

static void a_window_that_is_too_large_is_refused_before_there_are_streams(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    set(client, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x80000000);
    expect_goaway(client, NGHTTP2_FLOW_CONTROL_ERROR);
}

/* Both are read before the first is answered, by upswap itself. */
static void a_head_that_is_due_is_not_divided_by_a_frame_size_of_nothing(void **state)
{
    struct rig *rig = *state;
    static const char frames[] = "\0\0\x8\1\5\0\0\0\1\x82\x86\x84\1\3"
                                 "a:b"                             /* a request for a wrong host */
                                 "\0\0\6\4\0\0\0\0\0\0\5\0\0\0\0"; /* SETTINGS_MAX_FRAME_SIZE 0 */
    struct h2_end *client = h2_end_client(rig_client(rig));
    settle(client);
    assert_int_equal(send(client->fd, frames, sizeof frames - 1, MSG_NOSIGNAL), sizeof frames - 1);
    expect_goaway(client, NGHTTP2_PROTOCOL_ERROR);
}

static void nothing_comes_between_the_parts_of_a_head(void **state)
{
    struct rig *rig = *state;
    static const struct {
        uint8_t type;
        int32_t stream;
    } others[] = {{NGHTTP2_PING, 0}, {NGHTTP2_HEADERS, 1}, {NGHTTP2_CONTINUATION, 3}, {0xfa, 0}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct h2_end *client = h2_end_client(rig_client(rig));
        settle(client);
        h2_end_send(client, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, "\x82", 1);
        h2_end_send(client, others[i].type, 0, others[i].stream, "\x82\x82\x82\x82\x82\x82\x82\x82", 8);
        expect_goaway(client, NGHTTP2_PROTOCOL_ERROR);
    }
}

static void a_second_head_behind_the_end_of_a_request_ends_the_connection(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_ask(rig, client, 1);
    h2_end_say(client, 1, NGHTTP2_FLAG_END_STREAM, "a: b\n");
    expect_goaway(client, NGHTTP2_STREAM_CLOSED);
    close(instance);
}

static void who_has_agreed_to_the_limit_of_streams_may_not_go_beyond(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.http2.streams = 1;
    rig_publish(rig);
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_ask(rig, client, 1);
    settle(client); /* on the way to which h2_end acknowledges the settings */
    h2_end_say(client, 3, NGHTTP2_FLAG_END_STREAM, H2_GET);
    expect_goaway(client, NGHTTP2_PROTOCOL_ERROR);
    close(instance);
}

/* ---- what ends a stream ---- */

static void data_behind_the_end_of_a_request_ends_its_stream(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    int first = h2_rig_ask(rig, client, 1), second = h2_rig_ask(rig, client, 3);
    h2_end_send(client, NGHTTP2_DATA, 0, 1, "x", 1);
    expect_reset(client, 1, NGHTTP2_STREAM_CLOSED);
    rig_rest(first, NULL);
    rig_say(second, OK);
    h2_rig_expect_answer(client, 3);
    h2_end_free(client);
    close(first);
    close(second);
}

static void a_window_of_a_stream_is_opened_by_something_and_not_too_far(void **state)
{
    struct rig *rig = *state;
    static const struct {
        uint32_t more, code;
    } cases[] = {{0, NGHTTP2_PROTOCOL_ERROR}, {0x7fffffff, NGHTTP2_FLOW_CONTROL_ERROR}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct h2_end *client = h2_end_client(rig_client(rig));
        int instance = h2_rig_ask(rig, client, 1);
        send_number(client, NGHTTP2_WINDOW_UPDATE, 1, cases[i].more);
        expect_reset(client, 1, cases[i].code);
        settle(client);
        h2_end_free(client);
        close(instance);
    }
}

static void trailers_end_their_stream_and_are_no_second_head(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_begin(rig, client, 1, 0, H2_POST);
    h2_end_say(client, 1, 0, "a: b\n");
    expect_reset(client, 1, NGHTTP2_PROTOCOL_ERROR);
    settle(client);
    h2_end_free(client);
    close(instance);
}

static void a_body_is_as_long_as_it_was_said_to_be(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_begin(rig, client, 1, 0, H2_POST "content-length: 3\n");
    h2_end_send(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "xx", 2);
    expect_reset(client, 1, NGHTTP2_PROTOCOL_ERROR);
    close(instance);
    instance = h2_rig_begin(rig, client, 3, 0, H2_POST "content-length: 3\n");
    h2_end_send(client, NGHTTP2_DATA, 0, 3, "xx", 2);
    h2_end_send(client, NGHTTP2_DATA, 0, 3, "xx", 2); /* known before its end */
    expect_reset(client, 3, NGHTTP2_PROTOCOL_ERROR);
    assert_true(strlen(rig_rest(instance, NULL)) <= 2);
    close(instance);
    instance = h2_rig_begin(rig, client, 5, 0, H2_POST "content-length: 3\n");
    h2_end_say(client, 5, NGHTTP2_FLAG_END_STREAM, "a: b\n"); /* trailers, too early */
    expect_reset(client, 5, NGHTTP2_PROTOCOL_ERROR);
    close(instance);
    h2_end_say(client, 7, NGHTTP2_FLAG_END_STREAM, H2_POST "content-length: 3\n");
    expect_reset(client, 7, NGHTTP2_PROTOCOL_ERROR);
    assert_false(rig_is_called(rig, 0));
    instance =
        h2_rig_begin(rig, client, 9, 0, H2_POST "content-length: 3\ntrailer: a\n"); /* so it is chunked */
    h2_end_send(client, NGHTTP2_DATA, 0, 9, "xx", 2);
    h2_end_say(client, 9, NGHTTP2_FLAG_END_STREAM, "a: b\n");
    expect_reset(client, 9, NGHTTP2_PROTOCOL_ERROR);
    close(instance);
    instance = h2_rig_begin(rig, client, 11, 0, H2_POST "content-length: 3\n");
    h2_end_send(client, NGHTTP2_DATA, 0, 11, "xx", 2);
    h2_end_send(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 11, "x", 1);
    assert_string_equal(rig_bytes(instance, 3), "xxx");
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 11);
    h2_end_free(client);
    close(instance);
}

static void who_sends_more_than_a_streams_window_has_it_reset(void **state)
{
    struct rig *rig = *state;
    static const char bytes[16000];
    int choke = rig_choke(rig, 0); /* so nobody takes any of it */
    struct h2_end *client = h2_end_client(rig_client(rig));
    settle(client);
    h2_end_say(client, 1, 0, H2_POST);
    for (unsigned i = 0; i < 20; i++)
        h2_end_send(client, NGHTTP2_DATA, 0, 1, bytes, sizeof bytes);
    h2_end_next(client);
    while (client->type != NGHTTP2_RST_STREAM)
        h2_end_next(client);
    assert_int_equal(h2_end_number(client, 0), NGHTTP2_FLOW_CONTROL_ERROR);
    settle(client);
    h2_end_free(client);
    close(choke);
}

/* ---- what changes nothing ---- */

static void what_is_not_known_is_passed_over(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    h2_end_send(client, 0xfa, 0xff, 77, "anything", 8);
    set(client, 0xf0, 12345);
    h2_end_send(client, NGHTTP2_PRIORITY, 0, 9, "\0\0\0\1\1", 5);
    h2_end_send(client, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "unasked!", 8);
    int instance = h2_rig_ask(rig, client, 1);
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 1);
    h2_end_free(client);
    close(instance);
}

static void what_comes_on_a_stream_that_is_over_is_passed_over(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_begin(rig, client, 3, 0, H2_POST);
    send_number(client, NGHTTP2_RST_STREAM, 3, NGHTTP2_CANCEL);
    rig_rest(instance, NULL);
    close(instance);
    h2_end_send(client, NGHTTP2_DATA, 0, 3, "late", 4);
    h2_end_say(client, 3, NGHTTP2_FLAG_END_STREAM, "late: yes\n");
    send_number(client, NGHTTP2_WINDOW_UPDATE, 3, 1);
    send_number(client, NGHTTP2_RST_STREAM, 3, NGHTTP2_CANCEL);
    h2_end_say(client, 1, NGHTTP2_FLAG_END_STREAM, H2_GET); /* it was skipped, so it is over as well */
    instance = h2_rig_ask(rig, client, 5);
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 5);
    h2_end_free(client);
    close(instance);
}

static void padding_and_priority_are_taken_off(void **state)
{
    struct rig *rig = *state;
    static const char block[] = "\x83\x86\x84\1\1h"; /* POST, http, "/", :authority: h */
    struct h2_end *client = h2_end_client(rig_client(rig));
    uint8_t head[64] = {3, 0, 0, 0, 0, 99};
    memcpy(head + 6, block, sizeof block - 1);
    h2_end_send(client, NGHTTP2_HEADERS,
                NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY, 1, head,
                6 + sizeof block - 1 + 3);
    int instance = rig_accept(rig, 0);
    assert_string_equal(rig_field(rig_head(instance), "Host"), "h");
    h2_end_send(client, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_END_STREAM, 1, "\5body\0\0\0\0\0",
                10);
    assert_string_equal(rig_bytes(instance, 14), "4\r\nbody\r\n0\r\n\r\n");
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 1);
    h2_end_free(client);
    close(instance);
}

/* A head, and a body, in as many pieces as there are bytes, each sent by itself. */
static void frames_may_come_byte_by_byte(void **state)
{
    struct rig *rig = *state;
    static const char frames[] = "\0\0\2\1\0\0\0\0\1\x83\x86" /* HEADERS */
                                 "\0\0\1\x9\0\0\0\0\1\x84"    /* CONTINUATION */
                                 "\0\0\7\x9\4\0\0\0\1\1\1h\xf\xd\1"
                                 "4"                           /* the last one */
                                 "\0\0\6\0\x8\0\0\0\1\1body\0" /* DATA, padded */
                                 "\0\0\1\0\x9\0\0\0\1\0";      /* and its end */
    struct h2_end *client = h2_end_client(rig_client(rig));
    for (size_t i = 0; i < sizeof frames - 1; i++) {
        uint64_t turns = counters_worker(rig_counters(rig), 0)->turns;
        assert_int_equal(send(client->fd, frames + i, 1, MSG_NOSIGNAL), 1);
        rig_until(counters_worker(rig_counters(rig), 0)->turns > turns);
    }
    int instance = rig_accept(rig, 0);
    assert_string_equal(rig_field(rig_head(instance), "Host"), "h");
    assert_string_equal(rig_bytes(instance, 4), "body");
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 1);
    h2_end_free(client);
    close(instance);
}

/* ---- windows ---- */

static void answer_with(int instance, size_t size)
{
    char head[64];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
    rig_say(instance, head);
    char *body = malloc(size);
    memset(body, 'x', size);
    for (size_t at = 0; at < size;) {
        ssize_t n = send(instance, body + at, size - at, MSG_NOSIGNAL);
        assert_true(n > 0);
        at += (size_t)n;
    }
    free(body);
}

/* Reads DATA of the stream until `size` bytes have come. */
static void expect_data(struct h2_end *client, int32_t stream, size_t size)
{
    size_t come = 0;
    while (come < size) {
        h2_end_read(client, NGHTTP2_DATA);
        assert_int_equal(client->stream, stream);
        assert_true(client->size > 0 && client->size <= 16384);
        come += client->size;
    }
    assert_int_equal(come, size);
}

static void a_stream_gets_as_much_as_its_window_takes(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    set(client, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10);
    int instance = h2_rig_ask(rig, client, 1);
    answer_with(instance, 100);
    h2_end_read(client, NGHTTP2_HEADERS);
    expect_data(client, 1, 10);
    settle(client); /* and no byte more */
    send_number(client, NGHTTP2_WINDOW_UPDATE, 1, 5);
    expect_data(client, 1, 5);
    settle(client);
    set(client, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0); /* it is 10 bytes below nothing now */
    settle(client);
    send_number(client, NGHTTP2_WINDOW_UPDATE, 1, 10);
    settle(client);
    set(client, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 20);
    expect_data(client, 1, 20);
    send_number(client, NGHTTP2_WINDOW_UPDATE, 1, 1000);
    expect_data(client, 1, 65);
    assert_true((client->flags & NGHTTP2_FLAG_END_STREAM) != 0);
    h2_end_free(client);
    close(instance);
}

static void streams_that_share_a_window_take_turns(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    set(client, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20);
    int first = h2_rig_ask(rig, client, 1);
    answer_with(first, 100000);
    h2_end_read(client, NGHTTP2_HEADERS);
    expect_data(client, 1, WINDOW);
    int second = h2_rig_ask(rig, client, 3);
    answer_with(second, 100000);
    h2_end_read(client, NGHTTP2_HEADERS);
    assert_int_equal(client->stream, 3);
    settle(client);
    send_number(client, NGHTTP2_WINDOW_UPDATE, 0, 60000);
    unsigned frames[4] = {0};
    for (size_t come = 0; come < 60000; come += client->size) {
        h2_end_read(client, NGHTTP2_DATA);
        frames[client->stream]++;
    }
    assert_true(frames[1] >= 2 && frames[3] >= 2);
    h2_end_free(client);
    close(first);
    close(second);
}

static void a_smaller_window_holds_from_its_acknowledgement_on(void **state)
{
    struct rig *rig = *state;
    static const char bytes[2000];
    rig_world(rig)->settings.http2.window = 1000;
    rig_publish(rig);
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance =
        h2_rig_begin(rig, client, 1, 0, H2_POST); /* nothing of ours was read, so nothing was agreed to */
    h2_end_send(client, NGHTTP2_DATA, 0, 1, bytes, sizeof bytes);
    settle(client); /* now it is */
    h2_end_send(client, NGHTTP2_DATA, 0, 1, bytes, sizeof bytes);
    expect_reset(client, 1, NGHTTP2_FLOW_CONTROL_ERROR);
    h2_end_free(client);
    close(instance);
}

/* ---- heads that are large ---- */

static void an_answers_head_that_is_longer_than_a_frame_goes_in_several(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_ask(rig, client, 1);
    static char head[25000];
    size_t n = (size_t)sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
    for (unsigned i = 0; i < 5; i++) {
        n += (size_t)sprintf(head + n, "x-%u: ", i);
        memset(head + n, '~', 4500); /* in Huffman's code it is longer */
        n += 4500;
        n += (size_t)sprintf(head + n, "\r\n");
    }
    sprintf(head + n, "\r\n");
    rig_say(instance, head);
    h2_end_read(client, NGHTTP2_HEADERS);
    assert_int_equal(client->size, 16384);
    assert_int_equal(client->flags, NGHTTP2_FLAG_END_STREAM);
    h2_end_read(client, NGHTTP2_CONTINUATION);
    assert_int_equal(client->stream, 1);
    assert_int_equal(client->flags, NGHTTP2_FLAG_END_HEADERS);
    h2_end_expect_field(client, ":status: 200\n");
    assert_true(strlen(client->fields) > 22500);
    settle(client);
    h2_end_free(client);
    close(instance);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, h2_rig_start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_is_wrong_with_a_connection_ends_it_with_its_code),
        TEST(a_frame_that_is_too_large_ends_the_connection),
        TEST(settings_come_first),
        TEST(a_window_that_is_too_large_is_refused_before_there_are_streams),
        TEST(a_head_that_is_due_is_not_divided_by_a_frame_size_of_nothing),
        TEST(nothing_comes_between_the_parts_of_a_head),
        TEST(a_second_head_behind_the_end_of_a_request_ends_the_connection),
        TEST(who_has_agreed_to_the_limit_of_streams_may_not_go_beyond),
        TEST(data_behind_the_end_of_a_request_ends_its_stream),
        TEST(a_window_of_a_stream_is_opened_by_something_and_not_too_far),
        TEST(trailers_end_their_stream_and_are_no_second_head),
        TEST(a_body_is_as_long_as_it_was_said_to_be),
        TEST(who_sends_more_than_a_streams_window_has_it_reset),
        TEST(what_is_not_known_is_passed_over),
        TEST(what_comes_on_a_stream_that_is_over_is_passed_over),
        TEST(padding_and_priority_are_taken_off),
        TEST(frames_may_come_byte_by_byte),
        TEST(a_stream_gets_as_much_as_its_window_takes),
        TEST(streams_that_share_a_window_take_turns),
        TEST(a_smaller_window_holds_from_its_acknowledgement_on),
        TEST(an_answers_head_that_is_longer_than_a_frame_goes_in_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
