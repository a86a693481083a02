#include "plane/relay.h"

#include "unit.h"

#include <fcntl.h>
#include <linux/tcp.h> /* has what glibc's has not: packets */
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Buffers and tools; without a sink everything waits in the outlet, where the test reads it. */
struct shop {
    struct buffers *buffers;
    struct http_limits limits;
    struct http_fields fields;
    char trailers[1024 + RELAY_END_MAX];
    struct relay_tools tools;
    struct outlet out;
};

static int set_up(void **state)
{
    struct shop *shop = calloc(1, sizeof *shop);
    shop->buffers = buffers_new();
    shop->limits = (struct http_limits){.head = 1024, .fields = 10};
    shop->tools = (struct relay_tools){.buffers = shop->buffers,
                                       .limits = &shop->limits,
                                       .fields = &shop->fields,
                                       .trailers = shop->trailers};
    *state = shop;
    return 0;
}

static int tear_down(void **state)
{
    struct shop *shop = *state;
    outlet_clear(&shop->out, shop->buffers);
    buffers_free(shop->buffers);
    free(shop);
    return 0;
}

/* Runs the bytes through, in pieces of at most `piece`. Returns what came out, in *result how it ended. */
static struct str run(struct shop *shop, struct relay *relay, struct str bytes, size_t piece,
                      enum relay_result *result)
{
    struct inlet in = {0};
    *result = RELAY_GOES_ON;
    while (bytes.n > 0 && *result != RELAY_BAD && !relay->done) {
        size_t n = bytes.n < piece ? bytes.n : piece;
        char *joined = malloc(in.n + n);
        if (in.n > 0)
            memcpy(joined, in.p, in.n);
        memcpy(joined + in.n, bytes.p, n);
        bytes.p += n;
        bytes.n -= n;
        struct inlet all = {.p = joined, .n = in.n + n};
        *result = relay_step(relay, &all, &shop->out, NULL, &shop->tools, (struct str){NULL, 0});
        inlet_clear(&in, shop->buffers);
        in = all;
        assert_true(inlet_settle(&in, shop->buffers));
        free(joined);
    }
    inlet_clear(&in, shop->buffers);
    if (shop->out.buffer == NULL)
        return (struct str){"", 0};
    return (struct str){shop->out.buffer->bytes, shop->out.end};
}

/* Whether what follows of a body that comes and goes so goes by a conduit; `most` of these there are. */
static bool is_spliced(struct shop *shop, enum http_framing in, enum http_framing out, uint64_t length,
                       unsigned most, const struct stream_ops *sink)
{
    struct relay relay;
    struct stream from = {.ops = &stream_plain}, to = {.ops = sink};
    shop->tools.conduits = conduits_new(most);
    relay_start(&relay, in, length, out);
    bool is = relay_may_splice(&relay, &from, &to, &shop->tools);
    relay_drop(&relay, &shop->tools);
    conduits_free(shop->tools.conduits);
    return is;
}

static void only_long_bodies_of_known_length_between_plain_streams_are_spliced(void **state)
{
    static const struct stream_ops other;
    const uint64_t length = 1000000;
    assert_true(is_spliced(*state, HTTP_BODY_LENGTH, HTTP_BODY_LENGTH, length, 1, &stream_plain));
    assert_false(is_spliced(*state, HTTP_BODY_LENGTH, HTTP_BODY_LENGTH, 1000, 1, &stream_plain));
    assert_false(is_spliced(*state, HTTP_BODY_CHUNKED, HTTP_BODY_CHUNKED, 0, 1, &stream_plain));
    assert_false(is_spliced(*state, HTTP_BODY_CLOSE, HTTP_BODY_CHUNKED, 0, 1, &stream_plain));
    assert_false(is_spliced(*state, HTTP_BODY_LENGTH, HTTP_BODY_LENGTH, length, 0, &stream_plain));
    assert_false(is_spliced(*state, HTTP_BODY_LENGTH, HTTP_BODY_LENGTH, length, 1, &other));
}

static void chunks_become_payload_for_a_side_that_knows_no_chunks(void **state)
{
    struct relay relay;
    enum relay_result result;
    relay_start(&relay, HTTP_BODY_CHUNKED, 0, HTTP_BODY_CLOSE);
    struct str out =
        run(*state, &relay, STR("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n"), SIZE_MAX, &result);
    assert_str_equal(out, "abcde");
    assert_true(relay.done);
    assert_int_equal(relay.bytes, 5);
}

static void chunks_that_come_together_leave_as_one_with_the_end_and_the_trailers(void **state)
{
    struct relay relay;
    enum relay_result result;
    relay_start(&relay, HTTP_BODY_CHUNKED, 0, HTTP_BODY_CHUNKED);
    struct str out =
        run(*state, &relay, STR("3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\nTransfer-Encoding: x\r\n\r\n"),
            SIZE_MAX, &result);
    assert_str_equal(out, "5\r\nabcde\r\n0\r\nX-T: 1\r\n\r\n");
}

static void however_a_body_is_cut_into_reads_its_payload_is_the_same(void **state)
{
    struct shop *shop = *state;
    for (size_t piece = 1; piece < 40; piece++) {
        struct relay relay;
        enum relay_result result;
        relay_start(&relay, HTTP_BODY_CHUNKED, 0, HTTP_BODY_CLOSE);
        struct str out =
            run(shop, &relay, STR("3\r\nabc\r\n0000a\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"), piece, &result);
        assert_str_equal(out, "abc0123456789");
        assert_true(relay.done);
        outlet_clear(&shop->out, shop->buffers);
    }
}

static void a_broken_chunk_stops_the_relay_and_sends_nothing_of_its_batch(void **state)
{
    struct relay relay;
    enum relay_result result;
    relay_start(&relay, HTTP_BODY_CHUNKED, 0, HTTP_BODY_CHUNKED);
    struct str out = run(*state, &relay, STR("3\r\nabc\r\nx\r\n"), SIZE_MAX, &result);
    assert_int_equal(result, RELAY_BAD);
    assert_string_equal(relay.fault.reason, "bad-chunk");
    assert_int_equal(out.n, 0);
    assert_false(relay.done);
}

static void a_length_is_exact_and_what_follows_is_left(void **state)
{
    struct shop *shop = *state;
    struct relay relay;
    char bytes[] = "abcdef";
    struct inlet in = {.p = bytes, .n = 6};
    relay_start(&relay, HTTP_BODY_LENGTH, 4, HTTP_BODY_LENGTH);
    struct str prefix = STR("head:");
    assert_int_equal(relay_step(&relay, &in, &shop->out, NULL, &shop->tools, prefix), RELAY_WAITING);
    assert_true(relay.done);
    assert_int_equal(in.n, 2);
    assert_memory_equal(shop->out.buffer->bytes, "head:abcd", 9);
    assert_int_equal(outlet_waiting(&shop->out), 9);
}

static void only_a_body_that_close_ends_may_end_with_the_connection(void **state)
{
    struct shop *shop = *state;
    struct relay relay;
    enum relay_result result;
    relay_start(&relay, HTTP_BODY_CLOSE, 0, HTTP_BODY_CHUNKED);
    run(shop, &relay, STR("abc"), SIZE_MAX, &result);
    assert_true(relay_end(&relay, &shop->out, NULL, &shop->tools, &result));
    assert_str_equal(((struct str){shop->out.buffer->bytes, shop->out.end}), "3\r\nabc\r\n0\r\n\r\n");
    relay_start(&relay, HTTP_BODY_LENGTH, 4, HTTP_BODY_LENGTH);
    assert_false(relay_end(&relay, &shop->out, NULL, &shop->tools, &result));
    relay_start(&relay, HTTP_BODY_CHUNKED, 0, HTTP_BODY_CHUNKED);
    assert_false(relay_end(&relay, &shop->out, NULL, &shop->tools, &result));
}

static void many_small_chunks_need_no_more_than_a_batch_at_once(void **state)
{
    struct shop *shop = *state;
    char bytes[6 * 200];
    for (size_t i = 0; i < 200; i++)
        memcpy(bytes + 6 * i, "1\r\nx\r\n", 6);
    struct inlet in = {.p = bytes, .n = sizeof bytes};
    struct relay relay;
    relay_start(&relay, HTTP_BODY_CHUNKED, 0, HTTP_BODY_CLOSE);
    while (in.n > 0)
        assert_int_equal(relay_step(&relay, &in, &shop->out, NULL, &shop->tools, (struct str){NULL, 0}),
                         RELAY_WAITING);
    assert_int_equal(relay.bytes, 200);
    assert_int_equal(outlet_waiting(&shop->out), 200);
}

/* ---- a body that parts ---- */

#define ONE "\0\0\0\0\3one"
#define PARTING "0\r\ngrpc-status: 14\r\n"

/* What comes out of a parting body behind the beginning of a message, given that these chunks follow. */
static struct str part(struct shop *shop, struct relay *relay, struct relay_rests *rests, struct str chunks,
                       size_t piece)
{
    enum relay_result result;
    *rests = (struct relay_rests){.units = RELAY_MESSAGES};
    relay_start(relay, HTTP_BODY_CHUNKED, 0, HTTP_BODY_CHUNKED);
    relay->rests = rests;
    run(shop, relay, (struct str){"2\r\n\0\0\r\n", 7}, SIZE_MAX, &result);
    assert_int_equal(relay_part(relay, &shop->out, NULL, &shop->tools), RELAY_GOES_ON);
    outlet_clear(&shop->out, shop->buffers);
    return run(shop, relay, chunks, piece, &result);
}

static void expect_begins(struct str text, const char *with, size_t n)
{
    assert_true(text.n >= n);
    assert_memory_equal(text.p, with, n);
}

static void trailers_behind_messages_that_are_cut_off_do_not_count(void **state)
{
    struct shop *shop = *state;
    struct relay relay;
    struct relay_rests rests;
    static const char chunks[] = "16\r\n\0\0\3one" ONE ONE "\r\n0\r\ngrpc-status: 0\r\n\r\n";
    static const char cut[] = "6\r\n\0\0\3one\r\n" PARTING;
    struct str out = part(shop, &relay, &rests, (struct str){chunks, sizeof chunks - 1}, SIZE_MAX);
    expect_begins(out, cut, sizeof cut - 1);
    assert_true(relay.done && relay.left);
}

static void a_parting_body_that_its_source_ends_is_whole(void **state)
{
    struct shop *shop = *state;
    struct relay relay;
    struct relay_rests rests;
    static const char chunks[] = "6\r\n\0\0\3one\r\n0\r\ngrpc-status: 0\r\n\r\n";
    struct str out = part(shop, &relay, &rests, (struct str){chunks, sizeof chunks - 1}, SIZE_MAX);
    assert_int_equal(out.n, sizeof chunks - 1);
    expect_begins(out, chunks, out.n);
    assert_true(relay.done && !relay.left);
    outlet_clear(&shop->out, shop->buffers);
    out = part(shop, &relay, &rests, (struct str){chunks, 11}, SIZE_MAX); /* its trailers may still come */
    assert_int_equal(out.n, 11);
    assert_false(relay.done);
}

static void a_parting_body_whose_next_message_begins_ends_before_it(void **state)
{
    struct shop *shop = *state;
    struct relay relay;
    struct relay_rests rests;
    static const char chunks[] = "6\r\n\0\0\3one\r\n1\r\n\0\r\n";
    static const char cut[] = "6\r\n\0\0\3one\r\n" PARTING;
    struct str out = part(shop, &relay, &rests, (struct str){chunks, sizeof chunks - 1}, 11);
    expect_begins(out, cut, sizeof cut - 1);
    assert_true(relay.done && relay.left);
}

/* ---- outlets and inlets over a real socket ---- */

static void nothing(struct stream *stream)
{
    (void)stream;
}

static void what_the_kernel_does_not_take_waits_and_is_sent_in_order(void **state)
{
    enum { SIZE = 1 << 20 };
    struct shop *shop = *state;
    struct loop *loop = loop_new();
    struct stream stream;
    int fds[2];
    char *bytes = malloc(SIZE), *got = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i / 7 + i / 1000);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(stream_open(&stream, loop, fds[0], nothing));
    stream.writable = true;
    struct iovec parts[2] = {{bytes, 1000}, {bytes + 1000, SIZE - 1000}};
    assert_int_equal(outlet_send(&shop->out, shop->buffers, &stream, parts, 2), OUTLET_WAITING);
    assert_in_range(outlet_waiting(&shop->out), 1, SIZE - 1);
    size_t sum = 0;
    while (sum < SIZE) {
        ssize_t n = recv(fds[1], got + sum, SIZE - sum, 0);
        assert_true(n > 0);
        sum += (size_t)n;
        stream.writable = true;
        outlet_flush(&shop->out, shop->buffers, &stream);
    }
    assert_memory_equal(got, bytes, SIZE);
    assert_null(shop->out.buffer);
    stream_close(&stream, false);
    close(fds[1]);
    loop_free(loop);
    free(bytes);
    free(got);
}

static void a_holding_outlet_can_begin_again_until_it_holds_too_much(void **state)
{
    static char block[40000];
    struct shop *shop = *state;
    struct outlet *out = &shop->out;
    struct iovec part = {block, sizeof block};
    out->hold = true;
    assert_int_equal(outlet_send(out, shop->buffers, NULL, &part, 1), OUTLET_WAITING);
    out->sent = 30000;
    outlet_rewind(out);
    assert_int_equal(outlet_waiting(out), sizeof block);
    assert_int_equal(outlet_send(out, shop->buffers, NULL, &part, 1), OUTLET_WAITING);
    assert_false(out->hold);
    assert_int_equal(outlet_waiting(out), 2 * sizeof block);
}

/* ---- a long body behind what is held ---- */

/* A relay from one socket to another, and their far ends. */
struct way {
    struct loop *loop;
    struct stream source, sink;
    int giver, taker;
    struct relay relay;
};

static int open_end(struct loop *loop, struct stream *stream)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(stream_open(stream, loop, fds[0], nothing));
    stream->readable = stream->writable = true;
    return fds[1];
}

/* The outlet holds "head", which is sent, and the body is long. */
static void open_way(struct shop *shop, struct way *way)
{
    signal(SIGPIPE, SIG_IGN);
    way->loop = loop_new();
    way->giver = open_end(way->loop, &way->source);
    way->taker = open_end(way->loop, &way->sink);
    shop->tools.conduits = conduits_new(1);
    relay_start(&way->relay, HTTP_BODY_LENGTH, 1 << 20, HTTP_BODY_LENGTH);
    shop->out.hold = true;
    struct iovec head = {(char *)"head", 4};
    assert_int_equal(outlet_send(&shop->out, shop->buffers, &way->sink, &head, 1), OUTLET_EMPTY);
    assert_true(relay_may_splice(&way->relay, &way->source, &way->sink, &shop->tools));
}

static void close_way(struct shop *shop, struct way *way)
{
    relay_drop(&way->relay, &shop->tools);
    conduits_free(shop->tools.conduits);
    stream_close(&way->source, false);
    stream_close(&way->sink, false);
    close(way->giver);
    close(way->taker);
    loop_free(way->loop);
}

static void expect_taken(const struct way *way, const char *bytes, size_t count)
{
    char *got = malloc(count);
    assert_int_equal(recv(way->taker, got, count, MSG_WAITALL), count);
    assert_memory_equal(got, bytes, count);
    free(got);
}

static void what_is_spliced_behind_a_held_beginning_is_held_with_it_while_it_fits(void **state)
{
    struct shop *shop = *state;
    struct way way;
    enum relay_result result;
    open_way(shop, &way);
    assert_int_equal(write(way.giver, "body", 4), 4);
    assert_int_equal(relay_splice(&way.relay, &way.source, &shop->out, &way.sink, &shop->tools, &result), 4);
    assert_int_equal(result, RELAY_GOES_ON);
    assert_null(way.relay.conduit);
    expect_taken(&way, "headbody", 8);
    assert_true(shop->out.hold);
    outlet_rewind(&shop->out);
    assert_int_equal(relay_flush(&way.relay, &shop->out, &way.sink, &shop->tools), OUTLET_EMPTY);
    expect_taken(&way, "headbody", 8);
    close_way(shop, &way);
}

static void more_than_may_be_held_can_begin_again_until_some_of_it_has_gone(void **state)
{
    enum { MUCH = 100000 };
    struct shop *shop = *state;
    struct way way;
    enum relay_result result;
    char *bytes = malloc(MUCH);
    for (size_t i = 0; i < MUCH; i++)
        bytes[i] = (char)(i / 7);
    open_way(shop, &way);
    assert_int_equal(write(way.giver, bytes, MUCH), MUCH);
    close(way.taker);
    assert_int_equal(relay_splice(&way.relay, &way.source, &shop->out, &way.sink, &shop->tools, &result),
                     MUCH);
    assert_int_equal(result, RELAY_BROKEN);
    assert_true(shop->out.hold);
    stream_close(&way.sink, false);
    way.taker = open_end(way.loop, &way.sink);
    outlet_rewind(&shop->out);
    assert_int_equal(relay_waiting(&way.relay, &shop->out), 4 + MUCH);
    enum outlet_result flushed = relay_flush(&way.relay, &shop->out, &way.sink, &shop->tools);
    assert_true(flushed == OUTLET_EMPTY || flushed == OUTLET_WAITING);
    assert_false(shop->out.hold);
    expect_taken(&way, "head", 4);
    expect_taken(&way, bytes, MUCH - relay_waiting(&way.relay, &shop->out));
    free(bytes);
    close_way(shop, &way);
}

/* The sink becomes one end of a TCP connection, where packets can be told apart. */
static void use_tcp(struct way *way)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    stream_close(&way->sink, false);
    close(way->taker);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
    int fd = stream_connect((struct sockaddr *)&address, length);
    assert_true(fd >= 0);
    way->taker = accept(listening, NULL, NULL);
    assert_true(way->taker >= 0);
    close(listening);
    assert_true(stream_open(&way->sink, way->loop, fd, nothing));
    way->sink.writable = true;
}

static uint32_t packets_sent(const struct stream *stream)
{
    struct tcp_info info = {0};
    assert_int_equal(getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}), 0);
    return info.tcpi_data_segs_out;
}

static void what_waits_goes_in_one_packet_with_what_is_spliced_behind_it(void **state)
{
    struct shop *shop = *state;
    struct way way;
    enum relay_result result;
    static char bytes[30000];
    struct iovec part = {bytes, 1000};
    open_way(shop, &way);
    use_tcp(&way);
    outlet_clear(&shop->out, shop->buffers);
    assert_int_equal(outlet_send(&shop->out, shop->buffers, NULL, &part, 1), OUTLET_WAITING);
    assert_int_equal(write(way.giver, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(relay_splice(&way.relay, &way.source, &shop->out, &way.sink, &shop->tools, &result),
                     sizeof bytes);
    assert_int_equal(result, RELAY_GOES_ON);
    assert_int_equal(packets_sent(&way.sink), 1);
    assert_false(way.sink.more);
    close_way(shop, &way);
}

static void an_inlet_owns_a_buffer_only_for_what_is_left_over(void **state)
{
    struct shop *shop = *state;
    struct loop *loop = loop_new();
    struct stream stream;
    struct inlet in = {0};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_true(stream_open(&stream, loop, fds[0], nothing));
    assert_int_equal(send(fds[1], "abcdef", 6, 0), 6);
    assert_int_equal(inlet_fill(&in, &stream, shop->buffers, 4), 4);
    assert_null(in.buffer);
    assert_true(in.full);
    inlet_consume(&in, 4);
    assert_true(inlet_settle(&in, shop->buffers));
    assert_int_equal(shop->buffers->lent, 0);
    assert_int_equal(inlet_fill(&in, &stream, shop->buffers, 4), 2);
    assert_false(in.full);
    assert_true(inlet_settle(&in, shop->buffers));
    assert_int_equal(shop->buffers->lent, 1);
    assert_int_equal(send(fds[1], "ghij", 4, 0), 4);
    assert_int_equal(inlet_fill(&in, &stream, shop->buffers, 5), 3);
    assert_true(in.full);
    assert_memory_equal(in.p, "efghi", 5);
    assert_int_equal(inlet_fill(&in, &stream, shop->buffers, 5), INLET_FULL);
    inlet_consume(&in, 5);
    assert_true(inlet_settle(&in, shop->buffers));
    assert_int_equal(shop->buffers->lent, 0);
    stream_close(&stream, false);
    close(fds[1]);
    loop_free(loop);
}

static void buffers_come_back_from_their_list_and_large_ones_from_the_heap(void **state)
{
    struct shop *shop = *state;
    for (unsigned class = BUFFERS_FIRST; class < BUFFERS_CLASSES; class ++) {
        struct buffer *buffer = buffers_take(shop->buffers, buffers_sizes[class]);
        assert_int_equal(buffer->size, buffers_sizes[class]);
        buffers_give(shop->buffers, buffer);
        assert_ptr_equal(buffers_take(shop->buffers, buffers_sizes[class]), buffer);
        buffers_give(shop->buffers, buffer);
    }
    struct buffer *large = buffers_take(shop->buffers, 1 << 20);
    assert_int_equal(large->size, 1 << 20);
    uint64_t bytes = shop->buffers->bytes;
    buffers_give(shop->buffers, large);
    assert_int_equal(shop->buffers->lent, 0);
    assert_int_equal(shop->buffers->bytes, bytes - sizeof *large - (1 << 20));
}

/* Of each size from one byte on: is all of it there, and does it come back? */
static void blocks_have_room_for_what_was_asked_and_come_back_from_their_list(void **state)
{
    struct shop *shop = *state;
    for (size_t size = 0; size <= 4096; size++) {
        char *block = buffers_take_block(shop->buffers, size);
        assert_int_equal((uintptr_t)block % _Alignof(max_align_t), 0);
        memset(block, 'x', size);
        uint64_t bytes = shop->buffers->bytes;
        buffers_give_block(shop->buffers, block);
        if (size > buffers_sizes[BUFFERS_FIRST])
            assert_true(shop->buffers->bytes < bytes);
        else
            assert_ptr_equal(buffers_take_block(shop->buffers, size), block);
        if (size <= buffers_sizes[BUFFERS_FIRST])
            buffers_give_block(shop->buffers, block);
    }
    assert_int_equal(shop->buffers->lent, 0);
}

static void a_block_that_grows_keeps_its_bytes(void **state)
{
    struct shop *shop = *state;
    char *block = buffers_take_block(shop->buffers, 1);
    assert_ptr_equal(buffers_resize_block(shop->buffers, block, buffers_sizes[0]), block);
    memset(block, 'x', buffers_sizes[0]);
    char *larger = buffers_resize_block(shop->buffers, block, 100000);
    assert_ptr_not_equal(larger, block);
    for (size_t i = 0; i < buffers_sizes[0]; i++)
        assert_int_equal(larger[i], 'x');
    assert_ptr_equal(buffers_take_block(shop->buffers, 1), block);
    buffers_give_block(shop->buffers, block);
    buffers_give_block(shop->buffers, larger);
    assert_int_equal(shop->buffers->lent, 0);
}

static void what_a_crowd_leaves_behind_is_bounded(void **state)
{
    enum { CROWD = 20000 };
    struct shop *shop = *state;
    void **crowd = calloc(CROWD, sizeof *crowd);
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = buffers_take_block(shop->buffers, 1000);
    assert_true(shop->buffers->bytes >= CROWD * (uint64_t)1000);
    for (size_t i = 0; i < CROWD; i++)
        buffers_give_block(shop->buffers, crowd[i]);
    free(crowd);
    assert_true(shop->buffers->bytes <= 4 << 20);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(only_long_bodies_of_known_length_between_plain_streams_are_spliced),
        TEST(chunks_become_payload_for_a_side_that_knows_no_chunks),
        TEST(chunks_that_come_together_leave_as_one_with_the_end_and_the_trailers),
        TEST(however_a_body_is_cut_into_reads_its_payload_is_the_same),
        TEST(a_broken_chunk_stops_the_relay_and_sends_nothing_of_its_batch),
        TEST(a_length_is_exact_and_what_follows_is_left),
        TEST(only_a_body_that_close_ends_may_end_with_the_connection),
        TEST(many_small_chunks_need_no_more_than_a_batch_at_once),
        TEST(trailers_behind_messages_that_are_cut_off_do_not_count),
        TEST(a_parting_body_that_its_source_ends_is_whole),
        TEST(a_parting_body_whose_next_message_begins_ends_before_it),
        TEST(what_the_kernel_does_not_take_waits_and_is_sent_in_order),
        TEST(a_holding_outlet_can_begin_again_until_it_holds_too_much),
        TEST(what_is_spliced_behind_a_held_beginning_is_held_with_it_while_it_fits),
        TEST(more_than_may_be_held_can_begin_again_until_some_of_it_has_gone),
        TEST(what_waits_goes_in_one_packet_with_what_is_spliced_behind_it),
        TEST(an_inlet_owns_a_buffer_only_for_what_is_left_over),
        TEST(buffers_come_back_from_their_list_and_large_ones_from_the_heap),
        TEST(blocks_have_room_for_what_was_asked_and_come_back_from_their_list),
        TEST(a_block_that_grows_keeps_its_bytes),
        TEST(what_a_crowd_leaves_behind_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
