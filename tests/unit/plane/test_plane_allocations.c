/* What a request costs in calls of malloc, wherever they come from: this program's own stand in front of the
 * C library's for everything that is linked into it. */
#include "unit.h"

#include <stdio.h>

#ifdef __SANITIZE_ADDRESS__ /* its malloc stands there already */

int main(void)
{
    puts("1..0 # SKIP the sanitizer has the malloc");
    return 0;
}

#else

#include "h2_end.h"
#include "rig.h"

#include "base/clock.h"

#include <openssl/evp.h>

#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WARM_UP 100 /* rounds: until the tables of field compression are full */
#define ROUNDS 50
#define TRIES 5   /* more may be under way at a time than in the warm-up, once, and stores grow for it */
#define STREAMS 8 /* at a time */
#define GET "GET / HTTP/1.1\r\nHost: app.test\r\nUser-Agent: test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
#define H2_GET ":method: GET\n:scheme: http\n:authority: app.test\n:path: /\nuser-agent: test\n"
#define H2_OK ":status: 200\ncontent-length: 2\ncontent-type: text/plain\n"

/* ---- the count ---- */

static _Thread_local bool is_test; /* this thread's calls do not count */
static uint64_t calls;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

#define EXPORTED __attribute__((visibility("default"))) /* libraries find it, too */

static void count(void)
{
    if (!is_test)
        __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
}

EXPORTED void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

EXPORTED void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

EXPORTED void *realloc(void *old, size_t size)
{
    count();
    return __libc_realloc(old, size);
}

static uint64_t count_so_far(void)
{
    return __atomic_load_n(&calls, __ATOMIC_RELAXED);
}

/* ---- both ends ---- */

/* One of each pair is in use. */
struct talk {
    struct rig *rig;
    int client, instance;
    struct h2_end *h2_client, *h2_instance;
    int32_t stream; /* the client's next */
};

static void ask(struct talk *talk)
{
    if (talk->h2_client == NULL)
        rig_say(talk->client, GET);
    else
        h2_end_say(talk->h2_client, talk->stream, NGHTTP2_FLAG_END_STREAM, H2_GET);
    talk->stream += 2;
}

static void answer(struct talk *talk)
{
    if (talk->h2_instance == NULL) {
        rig_head(talk->instance);
        rig_say(talk->instance, OK);
        return;
    }
    h2_end_read(talk->h2_instance, NGHTTP2_HEADERS);
    int32_t stream = talk->h2_instance->stream;
    h2_end_say(talk->h2_instance, stream, 0, H2_OK);
    h2_end_send(talk->h2_instance, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, "ok", 2);
}

static void take_answer(struct talk *talk)
{
    if (talk->h2_client == NULL) {
        rig_head(talk->client);
        rig_bytes(talk->client, 2);
        return;
    }
    do
        h2_end_next(talk->h2_client);
    while ((talk->h2_client->flags & NGHTTP2_FLAG_END_STREAM) == 0);
}

/* Rounds of so many requests at a time. */
static void run(struct talk *talk, unsigned rounds, unsigned at_once)
{
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < at_once; i++)
            ask(talk);
        for (unsigned i = 0; i < at_once; i++)
            answer(talk);
        for (unsigned i = 0; i < at_once; i++)
            take_answer(talk);
    }
}

static void begin(struct talk *talk, bool h2_client, bool h2_instance)
{
    is_test = true;
    struct rig *rig = rig_start(1);
    rig_world(rig)->instances = 1;
    rig_world(rig)->rules.h2 = h2_instance;
    rig_publish(rig);
    *talk = (struct talk){.rig = rig, .client = rig_client(rig), .stream = 1};
    if (h2_client)
        talk->h2_client = h2_end_client(talk->client);
    ask(talk);
    talk->instance = rig_accept(rig, 0);
    if (h2_instance)
        talk->h2_instance = h2_end_server(talk->instance, 100);
    answer(talk);
    take_answer(talk);
}

static void end(struct talk *talk)
{
    if (talk->h2_client != NULL)
        h2_end_free(talk->h2_client);
    else
        close(talk->client);
    if (talk->h2_instance != NULL)
        h2_end_free(talk->h2_instance);
    else
        close(talk->instance);
    rig_stop(talk->rig);
}

static void expect_no_calls(bool h2_client, bool h2_instance, unsigned at_once)
{
    struct talk talk;
    begin(&talk, h2_client, h2_instance);
    run(&talk, WARM_UP, at_once);
    uint64_t allocated = 1;
    for (unsigned i = 0; i < TRIES && allocated > 0; i++) {
        uint64_t before = count_so_far();
        run(&talk, ROUNDS, at_once);
        allocated = count_so_far() - before;
    }
    end(&talk);
    assert_int_equal(allocated, 0);
}

static void the_calls_of_libraries_count(void **state)
{
    (void)state;
    uint64_t before = count_so_far();
    is_test = false;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    is_test = true;
    EVP_MD_CTX_free(context);
    assert_int_equal(count_so_far() - before, 1);
}

static void a_request_over_kept_connections_of_http_1_1_allocates_nothing(void **state)
{
    (void)state;
    expect_no_calls(false, false, 1);
}

static void a_stream_of_a_client_allocates_nothing(void **state)
{
    (void)state;
    expect_no_calls(true, false, 1);
}

static void a_stream_to_an_instance_allocates_nothing(void **state)
{
    (void)state;
    expect_no_calls(false, true, 1);
}

static void streams_on_both_sides_allocate_nothing(void **state)
{
    (void)state;
    expect_no_calls(true, true, STREAMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_calls_of_libraries_count),
        cmocka_unit_test(a_request_over_kept_connections_of_http_1_1_allocates_nothing),
        cmocka_unit_test(a_stream_of_a_client_allocates_nothing),
        cmocka_unit_test(a_stream_to_an_instance_allocates_nothing),
        cmocka_unit_test(streams_on_both_sides_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
