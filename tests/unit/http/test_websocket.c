#include "http/websocket.h"

#include "unit.h"

#include "http/request.h"
#include "http/response.h"

#include <stdio.h>
#include <stdlib.h>

/* Frames that are built, one behind the other; `ends` are where each ends. */
static struct {
    char bytes[400000];
    size_t n;
    size_t ends[64];
    size_t count;
} stream;

static void begin(void)
{
    stream.n = stream.count = 0;
}

static void put(uint8_t byte)
{
    stream.bytes[stream.n++] = (char)byte;
}

/* `digits`: bytes of the extended length, 0: the shortest that there is. */
static void put_length(bool masked, uint64_t length, unsigned digits)
{
    if (digits == 0)
        digits = length <= 125 ? 1 : length <= 0xffff ? 2 : 8;
    uint8_t first = digits == 1 ? (uint8_t)length : digits == 2 ? 126 : 127;
    put((uint8_t)((masked ? 0x80 : 0) | first));
    for (unsigned i = digits; digits > 1 && i-- > 0;)
        put((uint8_t)(length >> (8 * i)));
}

static void frame(uint8_t first, bool masked, size_t length)
{
    put(first);
    put_length(masked, length, 0);
    for (size_t i = 0; i < length + (masked ? 4 : 0); i++)
        put((uint8_t)(0x81 + i));
    stream.ends[stream.count++] = stream.n;
}

/* A conversation with everything that RFC 6455 knows, up to but without its Close. */
static void talk(bool masked, bool extended)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, 100000};
    uint8_t compressed = extended ? 0x40 : 0;
    begin();
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        frame((uint8_t)(0x80 | compressed | (i % 2 ? 1 : 2)), masked, lengths[i]);
    frame((uint8_t)(0x01 | compressed), masked, 10);
    frame(0x89, masked, 4);
    frame(0x00, masked, 0);
    frame(0x8a, masked, 125);
    frame(0x80, masked, 300);
    frame(0x89, masked, 0);
}

/* Gives the bytes in pieces of random sizes up to `most`, frame by frame, and checks each frame's end. */
static void follow(struct websocket *websocket, size_t most)
{
    size_t at = 0, frames = 0;
    while (at < stream.n) {
        size_t piece = 1 + (size_t)rand() % most, end = at + piece < stream.n ? at + piece : stream.n;
        while (at < end) {
            size_t used = websocket_frame(websocket, stream.bytes + at, end - at);
            assert_in_range(used, 1, end - at);
            at += used;
            assert_false(websocket->lost);
            bool at_end = frames < stream.count && at == stream.ends[frames];
            assert_true(websocket_is_between(websocket) == at_end);
            assert_true(at_end || at == end);
            frames += at_end;
        }
    }
    assert_int_equal(frames, stream.count);
}

static void frames_end_where_they_do_however_the_bytes_are_split(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 7, 1000, 65536, sizeof stream.bytes};
    for (unsigned kind = 0; kind < 4; kind++) {
        talk(kind & 1, kind & 2);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct websocket websocket;
            websocket_start(&websocket, kind & 1, kind & 2);
            assert_true(websocket_is_between(&websocket));
            follow(&websocket, sizes[i]);
        }
    }
}

static void following_all_at_once_leads_to_the_same_state_as_in_pieces(void **state)
{
    (void)state;
    talk(true, false);
    for (size_t n = 1; n < 2000; n++) {
        struct websocket whole, pieces;
        websocket_start(&whole, true, false);
        websocket_start(&pieces, true, false);
        size_t from = stream.n - n;
        websocket_follow(&whole, stream.bytes, from);
        for (size_t i = 0; i < from; i += 997)
            websocket_follow(&pieces, stream.bytes + i, from - i < 997 ? from - i : 997);
        assert_memory_equal(&whole, &pieces, sizeof whole);
    }
}

/* Is the direction lost exactly with the last of these bytes? */
static void assert_lost(bool masked, bool extended, const char *bytes, size_t count)
{
    struct websocket websocket;
    websocket_start(&websocket, masked, extended);
    websocket_follow(&websocket, bytes, count - 1);
    assert_false(websocket.lost);
    websocket_follow(&websocket, bytes + count - 1, 1);
    assert_true(websocket.lost);
    assert_false(websocket_is_between(&websocket));
    assert_int_equal(websocket_frame(&websocket, "\x81\x00", 2), 2);
    assert_true(websocket.lost);
}

#define LOST(masked, extended, text) assert_lost(masked, extended, text, sizeof(text) - 1)

static void what_is_no_frame_is_not_followed(void **state)
{
    (void)state;
    LOST(true, false, "\x81\x05");  /* a client that does not mask */
    LOST(false, false, "\x81\x85"); /* a server that does */
    LOST(false, false, "\x83");     /* reserved opcodes */
    LOST(false, false, "\x8b");
    LOST(false, true, "\x8f");
    LOST(false, false, "\xc1"); /* reserved bits */
    LOST(false, false, "\xa1");
    LOST(false, false, "\x91");
    LOST(false, false, "\x08"); /* a fragmented Close, Ping */
    LOST(false, false, "\x09");
    LOST(false, false, "\x88\x7e"); /* long ones */
    LOST(true, false, "\x89\xff");
    LOST(false, false, "\x80"); /* a continuation of nothing */
    LOST(false, false, "\x81\x00\x00");
    LOST(false, false, "\x01\x00\x81"); /* a message in a message */
    LOST(false, false, "\x01\x00\x89\x00\x02");
    LOST(false, false, "\x82\x7f\x80\0\0\0\0\0\0\0"); /* 2^63 bytes */
    LOST(false, false, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
}

static void the_longest_frame_is_followed(void **state)
{
    (void)state;
    struct websocket websocket;
    websocket_start(&websocket, true, false);
    websocket_follow(&websocket, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
    assert_false(websocket.lost);
    assert_false(websocket_is_between(&websocket));
    assert_true(websocket.left == (uint64_t)INT64_MAX + 4);
}

static void a_length_in_more_bytes_than_it_needs_is_followed(void **state)
{
    (void)state;
    struct websocket websocket;
    websocket_start(&websocket, false, false);
    websocket_follow(&websocket, "\x82\x7e\x00\x01x", 5);
    assert_true(websocket_is_between(&websocket));
    websocket_follow(&websocket, "\x82\x7f\0\0\0\0\0\0\0\x00", 10);
    assert_true(websocket_is_between(&websocket));
}

static void nothing_counts_behind_a_close(void **state)
{
    (void)state;
    struct websocket websocket;
    websocket_start(&websocket, false, false);
    websocket_follow(&websocket, "\x01\x01x\x88\x02\x03", 6);
    assert_false(websocket.closed);
    websocket_follow(&websocket, "\xe8", 1);
    assert_true(websocket.closed);
    assert_false(websocket_is_between(&websocket));
    assert_int_equal(websocket_frame(&websocket, "\xff\xff\xff", 3), 3);
    assert_false(websocket.lost);
    websocket_start(&websocket, true, false);
    websocket_follow(&websocket, "\x88\x80key!", 6);
    assert_true(websocket.closed);
}

static void a_close_is_a_frame_that_can_be_read(void **state)
{
    (void)state;
    static const uint8_t key[] = {0x11, 0x22, 0x33, 0x44};
    char out[WEBSOCKET_CLOSE_MAX];
    assert_int_equal(websocket_close(out, WEBSOCKET_SERVICE_RESTART, STR("bye"), NULL), 7);
    assert_memory_equal(out,
                        "\x88\x05\x03\xf4"
                        "bye",
                        7);
    assert_int_equal(websocket_close(out, WEBSOCKET_GOING_AWAY, STR("away"), key), 12);
    assert_memory_equal(out, "\x88\x86\x11\x22\x33\x44", 6);
    const char plain[] = "\x03\xe9"
                         "away";
    for (size_t i = 0; i < 6; i++)
        assert_int_equal((uint8_t)out[6 + i], (uint8_t)plain[i] ^ key[i % 4]);
    struct websocket websocket;
    websocket_start(&websocket, true, false);
    websocket_follow(&websocket, out, 12);
    assert_true(websocket.closed);
}

#define HEAD "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"

static bool asks(const char *lines)
{
    static struct http_request request;
    const struct http_limits limits = {.head = 1000, .fields = 20};
    struct http_fault fault;
    char head[1000];
    size_t seen = 0;
    snprintf(head, sizeof head, HEAD "%s\r\n", lines);
    assert_int_equal(http_request_parse(&request, head, strlen(head), &seen, &limits, &fault), HTTP_DONE);
    return websocket_is_asked(&request.fields);
}

static struct http_response *agreement(const char *lines)
{
    static struct http_response response;
    static char head[1000];
    const struct http_limits limits = {.head = 1000, .fields = 20};
    struct http_fault fault;
    size_t seen = 0;
    snprintf(head, sizeof head, "HTTP/1.1 101 OK\r\nConnection: upgrade\r\n%s\r\n", lines);
    assert_int_equal(http_response_parse(&response, HTTP_GET, head, strlen(head), &seen, &limits, &fault),
                     HTTP_DONE);
    return &response;
}

static void both_sides_must_have_named_it(void **state)
{
    (void)state;
    assert_true(asks("Upgrade: websocket\r\n"));
    assert_true(asks("Upgrade: WebSocket\r\n"));
    assert_true(asks("Upgrade: x, websocket\r\n"));
    assert_true(asks("Upgrade: x\r\nUpgrade: websocket\r\n"));
    assert_false(asks("Upgrade: websockets\r\n"));
    assert_false(asks("Sec-WebSocket-Key: x\r\n"));
    assert_true(websocket_is_agreed(&agreement("upgrade: WEBSOCKET\r\n")->fields));
    assert_false(websocket_is_agreed(&agreement("Upgrade: x\r\n")->fields));
    assert_false(websocket_is_agreed(&agreement("Upgrade: websocket, x\r\n")->fields));
    assert_false(websocket_is_agreed(&agreement("Upgrade: websocket\r\nUpgrade: x\r\n")->fields));
    assert_false(websocket_is_agreed(&agreement("")->fields));
    assert_false(websocket_has_extensions(&agreement("Upgrade: websocket\r\n")->fields));
    assert_false(websocket_has_extensions(&agreement("Sec-WebSocket-Extensions: \r\n")->fields));
    assert_true(websocket_has_extensions(&agreement("sec-websocket-extensions: x; y\r\n")->fields));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_end_where_they_do_however_the_bytes_are_split),
        cmocka_unit_test(following_all_at_once_leads_to_the_same_state_as_in_pieces),
        cmocka_unit_test(what_is_no_frame_is_not_followed),
        cmocka_unit_test(the_longest_frame_is_followed),
        cmocka_unit_test(a_length_in_more_bytes_than_it_needs_is_followed),
        cmocka_unit_test(nothing_counts_behind_a_close),
        cmocka_unit_test(a_close_is_a_frame_that_can_be_read),
        cmocka_unit_test(both_sides_must_have_named_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
