#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CHUNKED_OK "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static int start(void **state)
{
    *state = rig_start(1);
    return 0;
}

static int stop(void **state)
{
    return rig_stop(*state);
}

/* One client's request through one kept connection to the one instance. */
struct talk {
    int client, instance;
};

static struct talk begin(struct rig *rig, const char *request)
{
    struct talk talk = {.client = rig_client(rig)};
    rig_say(talk.client, request);
    talk.instance = rig_accept(rig, 0);
    return talk;
}

static void end(struct talk *talk)
{
    close(talk->client);
    close(talk->instance);
}

static void one_instance(struct rig *rig)
{
    rig_world(rig)->instances = 1;
    rig_publish(rig);
}

static void a_request_reaches_an_instance_and_its_answer_the_client(void **state)
{
    struct rig *rig = *state;
    struct talk talk = begin(rig, GET);
    const char *head = rig_head(talk.instance);
    assert_memory_equal(head, "GET / HTTP/1.1\r\n", 16);
    assert_string_equal(rig_field(head, "Host"), "app.test");
    assert_string_equal(rig_field(head, "X-Forwarded-For"), "127.0.0.1");
    char port[8];
    snprintf(port, sizeof port, "%u", rig_port(rig));
    assert_string_equal(rig_field(head, "X-Forwarded-Port"), port);
    char *id = strdup(rig_field(head, "X-Request-Id"));
    assert_int_equal(strlen(id), 32);
    assert_int_equal(counters_pool_in_flight(rig_counters(rig), 1), 1);
    assert_int_equal(counters_instance_in_flight(rig_counters(rig), 1), 1);
    assert_int_equal(counters_pool_choosing(rig_counters(rig), 1), 0);
    rig_say(talk.instance, OK);
    head = rig_head(talk.client);
    assert_memory_equal(head, "HTTP/1.1 200 OK\r\n", 17);
    assert_string_equal(rig_field(head, "X-Request-Id"), id);
    assert_null(rig_field(head, "Connection"));
    assert_string_equal(rig_bytes(talk.client, 2), "ok");
    rig_until(counters_pool_in_flight(rig_counters(rig), 1) == 0);
    struct counters_pool sum;
    counters_pool_sum(rig_counters(rig), 1, &sum);
    uint64_t ended[COUNTERS_GROUPS];
    counters_groups_ended(rig_counters(rig), ended);
    assert_int_equal(ended[0], sum.requests); /* group of pool 1 */
    assert_int_equal(sum.requests, 1);
    assert_int_equal(sum.codes[200 - COUNTERS_CODE_MIN], 1);
    free(id);
    end(&talk);
}

static void both_connections_are_kept_for_the_next_request(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, GET);
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            rig_say(talk.client, GET);
        rig_head(talk.instance);
        rig_say(talk.instance, OK);
        rig_head(talk.client);
        rig_bytes(talk.client, 2);
    }
    assert_false(rig_is_called(rig, 0));
    end(&talk);
}

static void pipelined_requests_are_answered_in_order_and_before_a_half_close(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
                                  "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(talk.client, SHUT_WR);
    for (char i = '1'; i <= '3'; i++) {
        assert_int_equal(rig_head(talk.instance)[5], i);
        char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n?";
        answer[sizeof answer - 2] = i;
        rig_say(talk.instance, answer);
    }
    for (char i = '1'; i <= '3'; i++) {
        rig_head(talk.client);
        assert_int_equal(rig_bytes(talk.client, 1)[0], i);
    }
    assert_string_equal(rig_rest(talk.client, NULL), "");
    end(&talk);
}

static void an_answer_does_not_wait_for_that_of_the_request_behind_it(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, GET GET);
    for (int i = 0; i < 2; i++) {
        rig_head(talk.instance);
        rig_say(talk.instance, OK);
        rig_head(talk.client);
        assert_string_equal(rig_bytes(talk.client, 2), "ok");
    }
    end(&talk);
}

static void nor_does_one_that_comes_in_parts(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, GET GET);
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    rig_head(talk.client);
    assert_string_equal(rig_bytes(talk.client, 2), "ab");
    rig_say(talk.instance, "cd");
    assert_string_equal(rig_bytes(talk.client, 2), "cd");
    rig_head(talk.instance);
    rig_say(talk.instance, OK);
    rig_head(talk.client);
    end(&talk);
}

static void an_answer_is_not_lost_with_the_half_request_behind_it(void **state)
{
    struct rig *rig = *state;
    struct talk talk = begin(rig, GET "GET /half");
    shutdown(talk.client, SHUT_WR);
    rig_head(talk.instance);
    rig_say(talk.instance, OK);
    rig_head(talk.client);
    assert_string_equal(rig_rest(talk.client, NULL), "ok");
    end(&talk);
}

static void an_early_answer_is_not_lost_with_a_body_that_is_not_read(void **state)
{
    struct rig *rig = *state;
    struct talk talk = begin(rig, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "5\r\nhello\r\n0\r\nX-Trailer: y");
    rig_head(talk.instance);
    assert_string_equal(rig_bytes(talk.instance, 10), "5\r\nhello\r\n");
    rig_say(talk.instance, CHUNKED_OK "2\r\nno\r\n0\r\n\r\n");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_rest(talk.client, NULL), "2\r\nno\r\n0\r\n\r\n");
    end(&talk);
}

/* So many that the inlet is full, and nothing more is read. */
static void pipeline(struct rig *rig, int client, int count)
{
    char *text = malloc((size_t)count * sizeof GET);
    for (int i = 0; i < count; i++)
        memcpy(text + (size_t)i * (sizeof GET - 1), GET, sizeof GET);
    rig_say(client, text);
    free(text);
    (void)rig;
}

static void a_reset_behind_many_requests_ends_what_is_under_way(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = {.client = rig_client(rig)};
    pipeline(rig, talk.client, 900);
    talk.instance = rig_accept(rig, 0);
    rig_head(talk.instance);
    rig_reset(talk.client);
    rig_say(talk.instance, OK);
    while (*rig_rest(talk.instance, NULL) != '\0')
        ;
    rig_until(counters_pool_in_flight(rig_counters(rig), 1) == 0);
    close(talk.instance);
}

static uint64_t turns(struct rig *rig)
{
    return counters_read(&counters_worker(rig_counters(rig), 0)->turns);
}

/* A request; false: none comes any more. */
static bool hears(int instance)
{
    char bytes[4096];
    return recv(instance, bytes, sizeof bytes, 0) > 0;
}

static void an_instance_is_not_blamed_for_a_client_that_does_not_read(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.first_byte_ms = 2000;
    one_instance(rig);
    static char answer[7100];
    int head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: 7000\r\n\r\n");
    memset(answer + head, 'x', 7000);
    struct talk talk = {.client = rig_client(rig)};
    setsockopt(talk.client, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
    pipeline(rig, talk.client, 900);
    talk.instance = rig_accept(rig, 0);
    setsockopt(talk.instance, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 4},
               sizeof(struct timeval));
    while (hears(talk.instance)) {
        uint64_t before = turns(rig);
        (void)!send(talk.instance, answer, (size_t)head + 7000, MSG_NOSIGNAL);
        rig_until(turns(rig) >= before + 2 || counters_pool_in_flight(rig_counters(rig), 1) == 0);
    }
    const struct counters_pool *pool = counters_pool(rig_counters(rig), 0, 1);
    assert_int_equal(pool->errors[COUNTERS_FIRST_BYTE_TIMEOUT], 0);
    assert_int_equal(pool->codes[504 - COUNTERS_CODE_MIN], 0);
    rig_reset(talk.client);
    close(talk.instance);
}

static void a_refusal_comes_behind_the_answer_before_it(void **state)
{
    struct rig *rig = *state;
    struct talk talk = begin(rig, GET "no request at all\r\n\r\n");
    rig_head(talk.instance);
    rig_say(talk.instance, OK);
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(talk.client, 2), "ok");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 400 ", 13);
    end(&talk);
}

static void a_body_streams_while_it_is_sent(void **state)
{
    struct talk talk = begin(*state, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    assert_string_equal(rig_field(rig_head(talk.instance), "Content-Length"), "6");
    assert_string_equal(rig_bytes(talk.instance, 3), "abc");
    rig_say(talk.client, "def");
    assert_string_equal(rig_bytes(talk.instance, 3), "def");
    rig_say(talk.instance, OK);
    rig_head(talk.client);
    assert_string_equal(rig_bytes(talk.client, 2), "ok");
    end(&talk);
}

static void chunks_are_framed_anew_and_trailers_passed_on(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "1;x=y\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 3\r\nHost: evil\r\n\r\n" GET);
    assert_string_equal(rig_field(rig_head(talk.instance), "Transfer-Encoding"), "chunked");
    assert_string_equal(rig_bytes(talk.instance, 8), "3\r\nabc\r\n");
    assert_string_equal(rig_head(talk.instance), "0\r\nX-Sum: 3\r\n\r\n");
    rig_say(talk.instance, CHUNKED_OK "1\r\nd\r\n1\r\ne\r\n0\r\nX-Sum: 2\r\n\r\n");
    assert_string_equal(rig_field(rig_head(talk.client), "Transfer-Encoding"), "chunked");
    assert_string_equal(rig_bytes(talk.client, 7), "2\r\nde\r\n");
    assert_string_equal(rig_head(talk.client), "0\r\nX-Sum: 2\r\n\r\n");
    assert_memory_equal(rig_head(talk.instance), "GET ", 4);
    rig_say(talk.instance, OK);
    rig_head(talk.client);
    end(&talk);
}

static void a_body_ended_by_close_becomes_chunks_and_the_client_stays(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, GET);
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 200 OK\r\n\r\nrest");
    close(talk.instance);
    assert_string_equal(rig_field(rig_head(talk.client), "Transfer-Encoding"), "chunked");
    assert_string_equal(rig_bytes(talk.client, 14), "4\r\nrest\r\n0\r\n\r\n");
    rig_say(talk.client, GET);
    talk.instance = rig_accept(rig, 0);
    end(&talk);
}

static void an_http_1_0_client_gets_chunks_as_a_body_ended_by_close(void **state)
{
    struct talk talk = begin(*state, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 103 Early Hints\r\n\r\n" CHUNKED_OK "2\r\nok\r\n0\r\n\r\n");
    const char *head = rig_head(talk.client);
    assert_null(rig_field(head, "Transfer-Encoding"));
    assert_string_equal(rig_field(head, "Connection"), "close");
    bool reset;
    assert_string_equal(rig_rest(talk.client, &reset), "ok");
    assert_false(reset);
    end(&talk);
}

static void an_answer_cut_by_its_instance_does_not_look_whole(void **state)
{
    static const struct {
        const char *request, *answer, *end;
        bool resets;
    } cases[] = {
        {GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "half", false},
        {GET, CHUNKED_OK "4\r\nhalf\r\n", "4\r\nhalf\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", CHUNKED_OK "4\r\nhalf\r\n", "half", true},
    };
    struct rig *rig = *state;
    one_instance(rig);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct talk talk = begin(rig, cases[i].request);
        rig_head(talk.instance);
        rig_say(talk.instance, cases[i].answer);
        rig_head(talk.client);
        assert_string_equal(rig_bytes(talk.client, strlen(cases[i].end)), cases[i].end);
        close(talk.instance);
        bool reset;
        assert_string_equal(rig_rest(talk.client, &reset), "");
        assert_int_equal(reset, cases[i].resets);
        close(talk.client);
    }
}

static void a_faulty_body_that_comes_with_its_head_is_answered_with_502(void **state)
{
    struct talk talk = begin(*state, GET);
    rig_head(talk.instance);
    rig_say(talk.instance, CHUNKED_OK "x\r\n");
    const char *head = rig_head(talk.client);
    assert_memory_equal(head, "HTTP/1.1 502 ", 13);
    assert_string_equal(rig_field(head, "X-Upswap"), "bad-chunk");
    end(&talk);
}

static void answers_without_body_leave_the_connection_in_step(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET GET);
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_string_equal(rig_field(rig_head(talk.client), "Content-Length"), "5");
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 204 ", 13);
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 304 ", 13);
    end(&talk);
}

/* From those that are held back in one piece, head and body, to those that are sent at once. */
static void answers_of_any_length_come_as_they_were_said(void **state)
{
    enum { MOST = 2500 };
    char answer[MOST + 200], body[MOST + 1];
    one_instance(*state);
    struct talk talk = begin(*state, GET);
    for (int i = 0; i < MOST; i++)
        body[i] = (char)('a' + i % 26);
    for (unsigned length = 0; length <= MOST; length += 5) {
        rig_head(talk.instance);
        snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n%.*s", length,
                 (int)length, body);
        rig_say(talk.instance, answer);
        assert_memory_equal(rig_head(talk.client), "HTTP/1.1 200 ", 13);
        assert_memory_equal(rig_bytes(talk.client, length), body, length);
        rig_say(talk.client, GET);
    }
    end(&talk);
}

static void interim_answers_are_relayed_but_no_100_that_was_not_asked_for(void **state)
{
    struct talk talk = begin(*state, GET);
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK);
    const char *head = rig_head(talk.client);
    assert_memory_equal(head, "HTTP/1.1 103 ", 13);
    assert_string_equal(rig_field(head, "Link"), "x");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 200 ", 13);
    end(&talk);
}

static void of_interim_answers_that_the_client_has_there_may_be_any_number(void **state)
{
    struct talk talk = begin(*state, GET);
    static const char interim[] = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    rig_head(talk.instance);
    for (size_t n = 0; n <= 32768; n += sizeof interim - 1) {
        rig_say(talk.instance, interim);
        assert_memory_equal(rig_head(talk.client), "HTTP/1.1 103 ", 13);
    }
    rig_say(talk.instance, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 200 ", 13);
    end(&talk);
}

static void a_client_that_expects_100_gets_the_instances(void **state)
{
    struct talk talk =
        begin(*state, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_string_equal(rig_field(rig_head(talk.instance), "Expect"), "100-continue");
    rig_say(talk.instance, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 100 ", 13);
    rig_say(talk.client, "hi");
    assert_string_equal(rig_bytes(talk.instance, 2), "hi");
    rig_say(talk.instance, OK);
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 200 ", 13);
    end(&talk);
}

/* So a drain takes no instance from under it. */
static void a_request_that_waits_for_room_counts_as_choosing(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.concurrency_per_instance = 1;
    rig_world(rig)->rules.queue_most = 1;
    rig_world(rig)->rules.queue_timeout_ms = RIG_SECONDS * 1000;
    one_instance(rig);
    struct talk first = begin(rig, GET);
    rig_head(first.instance);
    int second = rig_client(rig);
    rig_say(second, GET);
    rig_until(counters_pool_in_flight(rig_counters(rig), 1) == 2);
    assert_int_equal(counters_pool_choosing(rig_counters(rig), 1), 1);
    rig_say(first.instance, OK);
    assert_memory_equal(rig_head(first.client), "HTTP/1.1 200 ", 13);
    rig_until(counters_pool_choosing(rig_counters(rig), 1) == 0);
    assert_int_equal(counters_pool_in_flight(rig_counters(rig), 1), 1);
    close(second);
    end(&first);
}

static void an_answer_that_comes_before_the_body_is_seen_and_closes(void **state)
{
    struct rig *rig = *state;
    struct talk talk = begin(rig, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno");
    rig_until(counters_pool_in_flight(rig_counters(rig), 1) == 0);
    /* What still comes must not destroy the answer. */
    for (int i = 0; i < 100; i++)
        rig_say(talk.client, "more and more of a body that nobody wants any longer");
    assert_string_equal(rig_field(rig_head(talk.client), "Connection"), "close");
    bool reset;
    assert_string_equal(rig_rest(talk.client, &reset), "no");
    assert_false(reset);
    assert_string_equal(rig_rest(talk.instance, NULL), "abc");
    end(&talk);
}

static void a_half_closed_client_gets_its_answer_but_one_that_resets_ends_the_exchange(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, GET);
    rig_head(talk.instance);
    shutdown(talk.client, SHUT_WR);
    rig_say(talk.instance, OK);
    rig_head(talk.client);
    assert_string_equal(rig_rest(talk.client, NULL), "ok");
    close(talk.client);
    talk.client = rig_client(rig);
    rig_say(talk.client, GET);
    rig_head(talk.instance);
    rig_reset(talk.client);
    assert_string_equal(rig_rest(talk.instance, NULL), "");
    close(talk.instance);
    rig_until(counters_pool(rig_counters(rig), 0, 1)->codes[499 - COUNTERS_CODE_MIN] == 1);
}

#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"

static void an_upgrade_becomes_a_tunnel_with_two_ends(void **state)
{
    struct rig *rig = *state;
    struct talk talk = begin(rig, UPGRADE "early");
    rig_head(talk.instance);
    rig_say(talk.instance, SWITCH "welcome");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 101 ", 13);
    assert_string_equal(rig_bytes(talk.client, 7), "welcome");
    assert_string_equal(rig_bytes(talk.instance, 5), "early");
    rig_say(talk.client, "last");
    shutdown(talk.client, SHUT_WR);
    assert_string_equal(rig_rest(talk.instance, NULL), "last");
    assert_int_equal(counters_pool_in_flight(rig_counters(rig), 1), 1);
    rig_say(talk.instance, "late");
    close(talk.instance);
    assert_string_equal(rig_rest(talk.client, NULL), "late");
    close(talk.client);
    rig_until(counters_pool_in_flight(rig_counters(rig), 1) == 0);
}

static void a_101_that_nobody_asked_for_is_a_502(void **state)
{
    struct talk talk = begin(*state, GET);
    rig_head(talk.instance);
    rig_say(talk.instance, SWITCH);
    const char *head = rig_head(talk.client);
    assert_memory_equal(head, "HTTP/1.1 502 ", 13);
    assert_string_equal(rig_field(head, "X-Upswap"), "bad-response");
    assert_string_equal(rig_rest(talk.instance, NULL), "");
    end(&talk);
}

static void what_is_no_request_is_refused_and_the_connection_closed(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig);
    rig_say(client, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" GET);
    const char *head = rig_head(client);
    assert_memory_equal(head, "HTTP/1.1 400 ", 13);
    assert_string_equal(rig_field(head, "X-Upswap"), "space-before-colon");
    assert_string_equal(rig_field(head, "Connection"), "close");
    size_t size = (size_t)atoi(rig_field(head, "Content-Length"));
    assert_int_equal(strlen(rig_rest(client, NULL)), size);
    close(client);
    rig_until(counters_worker(rig_counters(rig), 0)->refused[counters_refused(400)] == 1);
}

static void a_request_that_no_service_takes_gets_404_and_the_connection_stays(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->path = "/app";
    rig_publish(rig);
    int client = rig_client(rig);
    rig_say(client, GET GET);
    for (int i = 0; i < 2; i++) {
        const char *head = rig_head(client);
        assert_memory_equal(head, "HTTP/1.1 404 ", 13);
        assert_string_equal(rig_field(head, "X-Upswap"), "no-route");
        rig_bytes(client, (size_t)atoi(rig_field(head, "Content-Length")));
    }
    close(client);
}

static void a_stripped_prefix_does_not_reach_the_instance(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->path = "/app";
    rig_world(rig)->rules.strip_path = 1;
    rig_publish(rig);
    struct talk talk = begin(rig, "GET /app/x?q HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_memory_equal(rig_head(talk.instance), "GET /x?q HTTP/1.1\r\n", 19);
    end(&talk);
}

static void options_asterisk_goes_to_the_service_of_the_root(void **state)
{
    struct talk talk = begin(*state, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_memory_equal(rig_head(talk.instance), "OPTIONS * HTTP/1.1\r\n", 20);
    end(&talk);
}

static void a_body_over_the_limit_is_refused_in_both_framings(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.body_max = 4;
    rig_publish(rig);
    int client = rig_client(rig);
    rig_say(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    assert_memory_equal(rig_head(client), "HTTP/1.1 413 ", 13);
    close(client);
    assert_false(rig_is_called(rig, 0));
    struct talk talk =
        begin(rig, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n");
    rig_head(talk.instance);
    assert_string_equal(rig_bytes(talk.instance, 9), "4\r\nabcd\r\n");
    rig_say(talk.client, "1\r\ne\r\n");
    assert_memory_equal(rig_head(talk.client), "HTTP/1.1 413 ", 13);
    assert_null(strstr(rig_rest(talk.instance, NULL), "0\r\n\r\n"));
    end(&talk);
}

/* Sends until the kernel takes no more. Returns how much it took. */
static size_t fill(int fd)
{
    static char block[65536];
    size_t sum = 0;
    ssize_t sent;
    struct timeval soon = {.tv_usec = 300000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
    while ((sent = send(fd, block, sizeof block, MSG_NOSIGNAL)) > 0)
        sum += (size_t)sent;
    return sum;
}

static void drain(int fd, size_t count)
{
    static char block[65536];
    while (count > 0) {
        ssize_t got = recv(fd, block, count < sizeof block ? count : sizeof block, 0);
        assert_true(got > 0);
        count -= (size_t)got;
    }
}

#define IN_SOCKETS (64U << 20) /* more than the kernel's buffers on the way hold */
#define IN_PLANE (4U << 20)    /* more than the plane may hold for one exchange */

/* Bytes of this process in memory. */
static size_t resident(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*u %lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void a_reader_that_stops_holds_back_the_sender_in_both_directions(void **state)
{
    struct rig *rig = *state;
    one_instance(rig);
    struct talk talk = begin(rig, GET);
    rig_head(talk.instance);
    rig_say(talk.instance, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    size_t before = resident(), down = fill(talk.instance);
    assert_true(down < IN_SOCKETS);
    assert_true(resident() < before + IN_PLANE);
    rig_head(talk.client);
    drain(talk.client, down);
    end(&talk);
    talk = begin(rig, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    rig_head(talk.instance);
    before = resident();
    size_t up = fill(talk.client);
    assert_true(up < IN_SOCKETS);
    assert_true(resident() < before + IN_PLANE);
    drain(talk.instance, up);
    end(&talk);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_request_reaches_an_instance_and_its_answer_the_client),
        TEST(both_connections_are_kept_for_the_next_request),
        TEST(pipelined_requests_are_answered_in_order_and_before_a_half_close),
        TEST(an_answer_does_not_wait_for_that_of_the_request_behind_it),
        TEST(nor_does_one_that_comes_in_parts),
        TEST(an_answer_is_not_lost_with_the_half_request_behind_it),
        TEST(a_refusal_comes_behind_the_answer_before_it),
        TEST(an_early_answer_is_not_lost_with_a_body_that_is_not_read),
        TEST(a_reset_behind_many_requests_ends_what_is_under_way),
        TEST(an_instance_is_not_blamed_for_a_client_that_does_not_read),
        TEST(a_body_streams_while_it_is_sent),
        TEST(chunks_are_framed_anew_and_trailers_passed_on),
        TEST(a_body_ended_by_close_becomes_chunks_and_the_client_stays),
        TEST(an_http_1_0_client_gets_chunks_as_a_body_ended_by_close),
        TEST(an_answer_cut_by_its_instance_does_not_look_whole),
        TEST(a_faulty_body_that_comes_with_its_head_is_answered_with_502),
        TEST(answers_without_body_leave_the_connection_in_step),
        TEST(answers_of_any_length_come_as_they_were_said),
        TEST(interim_answers_are_relayed_but_no_100_that_was_not_asked_for),
        TEST(of_interim_answers_that_the_client_has_there_may_be_any_number),
        TEST(a_client_that_expects_100_gets_the_instances),
        TEST(a_request_that_waits_for_room_counts_as_choosing),
        TEST(an_answer_that_comes_before_the_body_is_seen_and_closes),
        TEST(a_half_closed_client_gets_its_answer_but_one_that_resets_ends_the_exchange),
        TEST(an_upgrade_becomes_a_tunnel_with_two_ends),
        TEST(a_101_that_nobody_asked_for_is_a_502),
        TEST(what_is_no_request_is_refused_and_the_connection_closed),
        TEST(a_request_that_no_service_takes_gets_404_and_the_connection_stays),
        TEST(a_stripped_prefix_does_not_reach_the_instance),
        TEST(options_asterisk_goes_to_the_service_of_the_root),
        TEST(a_body_over_the_limit_is_refused_in_both_framings),
        TEST(a_reader_that_stops_holds_back_the_sender_in_both_directions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
