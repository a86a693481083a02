/* Connects, shakes hands where there is TLS, and asks where there is something to ask. Invariant: the result
 * is told once, by `tell`, which runs after the event turn and frees; from `finish` on nothing else comes. */
#include "control/checkup.h"

#include "base/clock.h"
#include "base/mem.h"
#include "control/question.h"
#include "http/proxy_header.h"
#include "io/tls.h"

#include <errno.h>
#include <stdlib.h>

#define BODY_MAX 65536 /* bytes that are read so that an end, and no reset, meets the instance */
#define TLS_MAX 262144 /* bytes of records, the handshake's too: OpenSSL takes chains of up to 100 KiB */
#define LATE_MS 50     /* that long after its time a timeout is not the instance's fault alone */

enum state { CONNECTING, SHAKING, ASKING, OVER };

struct checkup {
    struct loop *loop;
    struct checkup_order order;
    enum state state;
    struct stream stream;
    struct deadline timeout;
    uint64_t ends_ms; /* monotonic */
    bool prolonged;
    char *path, *server_name;  /* server_name: NULL: none */
    struct tls_context *tls;   /* a reference; NULL: plain */
    struct question *question; /* NULL: nothing is asked */
    enum checkup_result result;
    char *why;
    struct loop_deferred telling;
};

/* ---- the end ---- */

static void tell(struct loop_deferred *deferred)
{
    struct checkup *checkup = mem_container(deferred, struct checkup, telling);
    if (checkup->order.done != NULL)
        checkup->order.done(checkup->order.arg, checkup->result, checkup->why != NULL ? checkup->why : "");
    question_free(checkup->question);
    tls_context_free(checkup->tls);
    free(checkup->server_name);
    free(checkup->path);
    free(checkup->why);
    free(checkup);
}

/* `why` is owned; NULL for a pass. */
static void finish(struct checkup *checkup, enum checkup_result result, char *why)
{
    stream_close(&checkup->stream, false);
    deadline_clear(&checkup->timeout);
    checkup->state = OVER;
    checkup->result = result;
    checkup->why = why;
    loop_defer(checkup->loop, &checkup->telling);
}

static bool is_our_own(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
           error == EADDRNOTAVAIL || error == EAGAIN;
}

static void broken(struct checkup *checkup, int error)
{
    const char *what = checkup->state == CONNECTING ? "does not accept a connection" : "broke the connection";
    const struct checkup_order *order = &checkup->order;
    char *why = behalf_why(order->behalf, (const struct sockaddr *)&order->address, error);
    finish(checkup, is_our_own(error) ? CHECKUP_UNDECIDED : CHECKUP_FAILED, mem_printf("%s: %s", what, why));
    free(why);
}

/* In the words of who complains about requests that could not be sent. */
static void broken_tls(struct checkup *checkup)
{
    struct err why;
    const char *what = "broke the connection";
    if (tls_is_unverified(&checkup->stream))
        what = "is not believed";
    else if (checkup->state == SHAKING)
        what = "cannot be spoken to by TLS";
    (void)tls_why(&checkup->stream, &why);
    finish(checkup, CHECKUP_FAILED, mem_printf("%s: %s", what, why.text));
}

/* A deadline counts from the beginning of the turn, which may have taken long. */
static void set_timeout(struct checkup *checkup, uint64_t ms)
{
    checkup->ends_ms = clock_mono_ms() + ms;
    deadline_set(&checkup->timeout, checkup->ends_ms - loop_ms(checkup->loop));
}

/* Where this process stood still (or the machine did), the instance had no chance, and has it now. */
static bool prolong(struct checkup *checkup)
{
    uint64_t now_ms = clock_mono_ms(), late_ms = now_ms - checkup->ends_ms;
    if (now_ms < checkup->ends_ms + LATE_MS || checkup->prolonged)
        return false;
    checkup->prolonged = true;
    set_timeout(checkup, late_ms < checkup->order.timeout_ms ? late_ms : checkup->order.timeout_ms);
    return true;
}

static void timed_out(struct deadline *deadline)
{
    struct checkup *checkup = mem_container(deadline, struct checkup, timeout);
    if (prolong(checkup))
        return;
    double seconds = (double)checkup->order.timeout_ms / 1000;
    char *why;
    if (checkup->state == CONNECTING)
        why = mem_printf("did not accept a connection within %g s", seconds);
    else if (checkup->state == SHAKING)
        why = mem_printf("did not come to the end of the TLS handshake within %g s", seconds);
    else
        why = mem_printf("did not answer GET %s within %g s", checkup->path, seconds);
    finish(checkup, CHECKUP_FAILED, why);
}

/* ---- what is asked ---- */

/* False: it waits. What cannot be sent leaves its reason, or an answer that came before, to be read. */
static bool send_text(struct checkup *checkup)
{
    struct str text;
    while ((text = question_text(checkup->question)).n > 0) {
        struct iovec part = {(char *)text.p, text.n};
        ssize_t sent = checkup->stream.writable ? stream_send(&checkup->stream, &part, 1) : STREAM_AGAIN;
        if (sent == STREAM_AGAIN)
            return false;
        question_sent(checkup->question, sent == STREAM_FAILED ? text.n : (size_t)sent);
    }
    return true;
}

/* Takes what is there of the body off the socket: unread bytes would make the close a reset. */
static void drop_body(struct checkup *checkup)
{
    char scratch[4096];
    size_t dropped = 0;
    ssize_t n;
    while (dropped < BODY_MAX && stream_may_give(&checkup->stream) &&
           (n = stream_recv(&checkup->stream, scratch, sizeof scratch)) > 0)
        dropped += (size_t)n;
}

static void judge(struct checkup *checkup)
{
    uint16_t status = question_status(checkup->question);
    bool passed = status >= 200 && status < 400;
    (void)send_text(checkup);
    drop_body(checkup);
    finish(checkup, passed ? CHECKUP_PASSED : CHECKUP_FAILED,
           passed ? NULL : mem_printf("answered GET %s with %u", checkup->path, status));
}

static void hear(struct checkup *checkup, const char *bytes, size_t count)
{
    switch (question_hear(checkup->question, bytes, count)) {
    case QUESTION_OPEN:
        break;
    case QUESTION_ANSWERED:
        judge(checkup);
        break;
    case QUESTION_FAILED:
        finish(checkup, CHECKUP_FAILED,
               mem_printf("gave no valid answer to GET %s: %s", checkup->path,
                          question_fault(checkup->question)));
        break;
    }
}

/* Bounded by what a question hears. */
static void talk(struct checkup *checkup)
{
    char bytes[4096];
    ssize_t n = 0;
    do {
        (void)send_text(checkup);
        if (!stream_may_give(&checkup->stream))
            return;
        n = stream_recv(&checkup->stream, bytes, sizeof bytes);
        if (n > 0)
            hear(checkup, bytes, (size_t)n);
    } while (n > 0 && checkup->state != OVER);
    if (n == 0)
        finish(checkup, CHECKUP_FAILED,
               mem_printf("closed the connection before it had answered GET %s", checkup->path));
    else if (n == STREAM_FAILED && tls_is_on(&checkup->stream))
        broken_tls(checkup);
    else if (n == STREAM_FAILED)
        broken(checkup, checkup->stream.error);
}

/* ---- its steps ---- */

/* Linux connects a socket to itself when its own port, picked from the ephemeral range, is the one that it
 * asks for: nobody listens there. */
static bool is_itself(int fd)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_length = sizeof own, peer_length = sizeof peer;
    return getsockname(fd, (struct sockaddr *)&own, &own_length) == 0 && own.ss_family != AF_UNIX &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0 && own_length == peer_length &&
           memcmp(&own, &peer, own_length) == 0;
}

/* It has all the room of a new connection, so it goes whole or not at all. That it does not go at all is for
 * the next step to find. */
static void send_header(const struct checkup *checkup)
{
    char header[PROXY_HEADER_ROOM];
    if (checkup->order.proxy_protocol == 0)
        return;
    size_t n = proxy_header_write(checkup->order.proxy_protocol, NULL, header);
    (void)!send(checkup->stream.fd, header, n, MSG_NOSIGNAL);
}

/* As far as it is checked without a question, all is well. */
static void begin_asking(struct checkup *checkup)
{
    if (checkup->question == NULL) {
        finish(checkup, CHECKUP_PASSED, NULL);
        return;
    }
    checkup->state = ASKING;
    talk(checkup);
}

/* HTTP/2 is spoken only with who has agreed to it (RFC 9113 section 3.3). */
static void shake_hands(struct checkup *checkup)
{
    switch (tls_handshake(&checkup->stream)) {
    case STREAM_AGAIN:
        break;
    case STREAM_FAILED:
        broken_tls(checkup);
        break;
    default:
        if (!checkup->order.h2 || str_equal(tls_alpn(&checkup->stream), STR("h2")))
            begin_asking(checkup);
        else
            finish(checkup, CHECKUP_FAILED,
                   mem_dup("does not offer HTTP/2 (by ALPN), and upstream is \"h2\""));
    }
}

static void connected(struct checkup *checkup)
{
    int error = stream_connected(&checkup->stream);
    if (error == 0 && !checkup->stream.writable)
        return;
    if (error == 0 && is_itself(checkup->stream.fd))
        error = ECONNREFUSED;
    if (error != 0) {
        broken(checkup, error);
        return;
    }
    send_header(checkup);
    if (checkup->tls == NULL) {
        begin_asking(checkup);
    } else if (!tls_connect(&checkup->stream, checkup->tls, checkup->server_name)) {
        broken(checkup, ENOMEM);
    } else {
        tls_limit(&checkup->stream, TLS_MAX);
        checkup->state = SHAKING;
        shake_hands(checkup);
    }
}

static void ready(struct stream *stream)
{
    struct checkup *checkup = mem_container(stream, struct checkup, stream);
    if (checkup->state == CONNECTING)
        connected(checkup);
    else if (checkup->state == SHAKING)
        shake_hands(checkup);
    else if (checkup->state == ASKING)
        talk(checkup);
}

/* ---- the outside ---- */

/* Returns 0 while it connects, else errno. */
static int begin(struct checkup *checkup)
{
    const struct checkup_order *order = &checkup->order;
    struct question_order question = {.path = order->path,
                                      .host = order->host,
                                      .h2 = order->h2,
                                      .tls = order->tls != NULL,
                                      .https = order->https};
    if (order->path[0] != '\0' && (checkup->question = question_new(&question)) == NULL)
        return ENOMEM;
    int fd = stream_connect_for(order->behalf, (const struct sockaddr *)&order->address, order->length);
    if (fd < 0)
        return errno;
    return stream_open(&checkup->stream, checkup->loop, fd, ready) ? 0 : ENOMEM;
}

struct checkup *checkup_start(struct loop *loop, const struct checkup_order *order)
{
    struct checkup *checkup = mem_zero(1, sizeof *checkup);
    checkup->loop = loop;
    checkup->order = *order;
    checkup->stream = (struct stream){.ops = &stream_plain, .fd = -1};
    checkup->path = mem_dup(order->path);
    checkup->server_name = order->server_name.n > 0 ? str_dup(order->server_name) : NULL;
    checkup->tls = order->tls == NULL ? NULL : tls_context_ref(order->tls);
    checkup->telling.run = tell;
    deadline_init(&checkup->timeout, loop, timed_out);
    int error = begin(checkup);
    if (error != 0)
        broken(checkup, error);
    else
        set_timeout(checkup, order->timeout_ms);
    return checkup;
}

void checkup_cancel(struct checkup *checkup)
{
    checkup->order.done = NULL;
    if (checkup->state != OVER)
        finish(checkup, CHECKUP_UNDECIDED, NULL);
}
