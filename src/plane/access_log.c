/* Lines of the access log. Invariant: a line is written whole or not at all, and within it a byte that a
 * client sent can neither end the line nor its field: quotes, backslashes, controls and bytes above 0x7e are
 * escaped, in JSON as the code point of the same number. */
#include "plane/access_log.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/sixteen.h"
#include "http/trace.h"

#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#define FLUSH_MS 1000
#define NS_PER_SECOND 1000000000ULL
#define LINE_FIXED 1024 /* bytes of a line besides its texts */
#define ESCAPED_MAX 6   /* bytes that one may become */
#define COMBINED_TIME_SIZE sizeof "[22/Nov/2026:10:00:00 +0000]"

struct access_log {
    struct loop *loop;
    void (*hand_on)(void *arg, struct access_log_batch *batch);
    void *arg;
    struct access_log_batch *batch; /* NULL: nothing is waiting */
    struct deadline due;
    uint64_t turn;   /* whose time the texts below tell: it has ended when so many have; 0: none's */
    uint64_t second; /* the same time's */
    char json_time[CLOCK_TEXT_SIZE];
    char combined_time[COMBINED_TIME_SIZE];
};

/* ---- batches ---- */

/* A full one that was given back: the next lines are written to memory that is still in the processor's
 * caches and need not be had from the kernel. Any thread's; atomic. */
static struct access_log_batch *spare;

static bool is_small(const struct access_log_batch *batch)
{
    return batch->size <= ACCESS_LOG_BATCH / 2;
}

struct access_log_batch *access_log_batch_new(void)
{
    struct access_log_batch *batch = __atomic_exchange_n(&spare, NULL, __ATOMIC_ACQUIRE);
    if (batch == NULL)
        batch = malloc(sizeof *batch);
    if (batch != NULL)
        batch->size = 0;
    return batch;
}

struct access_log_batch *access_log_batch_fit(struct access_log_batch *batch)
{
    if (!is_small(batch))
        return batch;
    struct access_log_batch *less = realloc(batch, offsetof(struct access_log_batch, bytes) + batch->size);
    return less != NULL ? less : batch;
}

void access_log_batch_free(struct access_log_batch *batch)
{
    if (!is_small(batch))
        batch = __atomic_exchange_n(&spare, batch, __ATOMIC_ACQ_REL);
    free(batch);
}

/* ---- when they are handed on ---- */

static void came_due(struct deadline *deadline)
{
    access_log_flush(mem_container(deadline, struct access_log, due));
}

struct access_log *access_log_new(struct loop *loop,
                                  void (*hand_on)(void *arg, struct access_log_batch *batch), void *arg)
{
    struct access_log *log = mem_zero(1, sizeof *log);
    log->loop = loop;
    log->hand_on = hand_on;
    log->arg = arg;
    deadline_init(&log->due, loop, came_due);
    return log;
}

void access_log_flush(struct access_log *log)
{
    struct access_log_batch *batch = log->batch;
    if (batch == NULL)
        return;
    log->batch = NULL;
    deadline_clear(&log->due);
    log->hand_on(log->arg, batch);
}

void access_log_free(struct access_log *log)
{
    access_log_flush(log);
    free(log);
}

/* What is written to; there is always room (see line_bound). */
struct line {
    char *p;
};

static void put(struct line *line, const char *bytes, size_t n)
{
    memcpy(line->p, bytes, n);
    line->p += n;
}

#define PUT(line, literal) put(line, literal, sizeof(literal) - 1)

static void put_number(struct line *line, uint64_t number)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (n > 0)
        *line->p++ = digits[--n];
}

/* Seconds with six decimals. */
static void put_seconds(struct line *line, uint64_t ns)
{
    uint64_t us = ns / 1000 % 1000000;
    put_number(line, ns / NS_PER_SECOND);
    *line->p++ = '.';
    for (int place = 5; place >= 0; place--, us /= 10)
        line->p[place] = (char)('0' + us % 10);
    line->p += 6;
}

static void put_hex(struct line *line, unsigned char c)
{
    *line->p++ = "0123456789abcdef"[c >> 4];
    *line->p++ = "0123456789abcdef"[c & 15];
}

static bool stands_for_itself(unsigned char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

typedef uint8_t eight __attribute__((vector_size(8)));

/* Copies sixteen bytes. True: they all stand for themselves. */
static bool copy_sixteen(char *to, const char *from)
{
    sixteen bytes = sixteen_at(from);
    memcpy(to, &bytes, sizeof bytes);
    sixteen others =
        (sixteen)((bytes - ' ') > '~' - ' ') | (sixteen)(bytes == '"') | (sixteen)(bytes == '\\');
    return !sixteen_any(others);
}

/* The same of eight. */
static bool copy_eight(char *to, const char *from)
{
    eight bytes;
    memcpy(&bytes, from, sizeof bytes);
    memcpy(to, &bytes, sizeof bytes);
    eight others = (eight)((bytes - ' ') > '~' - ' ') | (eight)(bytes == '"') | (eight)(bytes == '\\');
    uint64_t any;
    memcpy(&any, &others, sizeof any);
    return any == 0;
}

/* Writes a text as it is, its last bytes perhaps twice. False: something in it does not stand for
 * itself, and the line is as it was. */
static bool put_plain(struct line *line, struct str text)
{
    bool plain = true;
    if (text.n >= sizeof(sixteen)) {
        size_t last = text.n - sizeof(sixteen);
        for (size_t i = 0; i < last; i += sizeof(sixteen))
            plain &= copy_sixteen(line->p + i, text.p + i);
        plain &= copy_sixteen(line->p + last, text.p + last);
    } else if (text.n >= sizeof(eight)) {
        size_t last = text.n - sizeof(eight);
        plain = copy_eight(line->p, text.p);
        plain &= copy_eight(line->p + last, text.p + last);
    } else {
        for (size_t i = 0; i < text.n; i++) {
            plain &= stands_for_itself((unsigned char)text.p[i]);
            line->p[i] = text.p[i];
        }
    }
    line->p += plain ? text.n : 0;
    return plain;
}

/* The inside of a quoted text; `prefix` goes before the hex digits of what cannot stand there. */
static void put_escaped(struct line *line, struct str text, const char *prefix, size_t prefix_length)
{
    if (put_plain(line, text))
        return;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '"' || c == '\\') {
            *line->p++ = '\\';
            *line->p++ = (char)c;
        } else if (stands_for_itself(c)) {
            *line->p++ = (char)c;
        } else {
            put(line, prefix, prefix_length);
            put_hex(line, c);
        }
    }
}

static void put_json(struct line *line, struct str text)
{
    *line->p++ = '"';
    put_escaped(line, text, "\\u00", 4);
    *line->p++ = '"';
}

static void put_json_or_null(struct line *line, struct str text)
{
    if (text.n == 0)
        PUT(line, "null");
    else
        put_json(line, text);
}

/* A text of upswap's own, without anything to escape. */
static void put_own(struct line *line, struct str text)
{
    *line->p++ = '"';
    put(line, text.p, text.n);
    *line->p++ = '"';
}

/* Apache writes a dash for what is not there. */
static void put_quoted(struct line *line, struct str text)
{
    *line->p++ = '"';
    if (text.n == 0)
        *line->p++ = '-';
    put_escaped(line, text, "\\x", 2);
    *line->p++ = '"';
}

/* The clock is read once a turn. Both texts are made once a second; of the JSON one only the milliseconds
 * change in between. */
static void refresh_time(struct access_log *log)
{
    uint64_t turn = loop_turns(log->loop) + 1;
    if (turn == log->turn)
        return;
    log->turn = turn;
    uint64_t wall_ns = clock_wall_ns();
    if (wall_ns / NS_PER_SECOND != log->second) {
        log->second = wall_ns / NS_PER_SECOND;
        clock_text(wall_ns, log->json_time);
        struct tm tm;
        gmtime_r(&(time_t){(time_t)log->second}, &tm);
        strftime(log->combined_time, sizeof log->combined_time, "[%d/%b/%Y:%H:%M:%S +0000]", &tm);
    }
    unsigned ms = (unsigned)(wall_ns % NS_PER_SECOND / 1000000);
    char *digits = log->json_time + CLOCK_TEXT_SIZE - sizeof "123Z";
    digits[0] = (char)('0' + ms / 100);
    digits[1] = (char)('0' + ms / 10 % 10);
    digits[2] = (char)('0' + ms % 10);
}

/* What is no request has no version. */
static struct str version(const struct access_log_entry *entry)
{
    if (entry->method.n == 0)
        return (struct str){NULL, 0};
    if (entry->http2)
        return STR("HTTP/2.0");
    return entry->minor == 0 ? STR("HTTP/1.0") : STR("HTTP/1.1");
}

static void write_json(struct access_log *log, struct line *line, const struct access_log_entry *entry)
{
    PUT(line, "{\"time\":\"");
    put(line, log->json_time, CLOCK_TEXT_SIZE - 1);
    PUT(line, "\",\"client\":");
    put_own(line, entry->client);
    PUT(line, ",\"method\":");
    put_json_or_null(line, entry->method);
    PUT(line, ",\"host\":");
    put_json_or_null(line, entry->host);
    PUT(line, ",\"target\":");
    put_json_or_null(line, entry->target);
    PUT(line, ",\"protocol\":");
    if (entry->method.n == 0)
        PUT(line, "null");
    else
        put_own(line, version(entry));
    PUT(line, ",\"status\":");
    put_number(line, entry->status);
    PUT(line, ",\"bytes_in\":");
    put_number(line, entry->bytes_in);
    PUT(line, ",\"bytes_out\":");
    put_number(line, entry->bytes_out);
    PUT(line, ",\"duration\":");
    put_seconds(line, entry->duration_ns);
    PUT(line, ",\"instance\":");
    put_json_or_null(line, entry->instance);
    PUT(line, ",\"service\":");
    put_json_or_null(line, entry->service);
    PUT(line, ",\"pool\":");
    put_json_or_null(line, entry->pool);
    PUT(line, ",\"request_id\":");
    put_json_or_null(line, entry->request_id);
    PUT(line, ",\"trace_id\":");
    put_json_or_null(line, entry->trace_id);
    PUT(line, ",\"user_agent\":");
    put_json_or_null(line, entry->user_agent);
    PUT(line, ",\"referer\":");
    put_json_or_null(line, entry->referer);
    if (entry->tls_version != NULL) {
        PUT(line, ",\"tls\":");
        put_json(line, str_of(entry->tls_version));
        PUT(line, ",\"cipher\":");
        put_json(line, str_of(entry->tls_cipher));
    }
    PUT(line, ",\"reason\":");
    put_json_or_null(line, entry->reason);
    PUT(line, ",\"retries\":");
    put_number(line, entry->retries);
    PUT(line, "}\n");
}

/* %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" */
static void write_combined(struct access_log *log, struct line *line, const struct access_log_entry *entry)
{
    put(line, entry->client.p, entry->client.n);
    PUT(line, " - - ");
    put(line, log->combined_time, COMBINED_TIME_SIZE - 1);
    PUT(line, " \"");
    if (entry->method.n == 0) {
        *line->p++ = '-';
    } else {
        put_escaped(line, entry->method, "\\x", 2);
        *line->p++ = ' ';
        put_escaped(line, entry->target, "\\x", 2);
        *line->p++ = ' ';
        put(line, version(entry).p, version(entry).n);
    }
    PUT(line, "\" ");
    put_number(line, entry->status);
    *line->p++ = ' ';
    if (entry->body_out == 0)
        *line->p++ = '-';
    else
        put_number(line, entry->body_out);
    *line->p++ = ' ';
    put_quoted(line, entry->referer);
    *line->p++ = ' ';
    put_quoted(line, entry->user_agent);
    *line->p++ = '\n';
}

static struct str cut(struct str text, size_t most)
{
    return (struct str){text.p, text.n < most ? text.n : most};
}

/* Most bytes that the line of an entry can take. */
static size_t line_bound(const struct access_log_entry *entry)
{
    size_t texts = entry->client.n + entry->host.n + entry->method.n + entry->target.n + entry->user_agent.n +
                   entry->referer.n + entry->request_id.n + entry->trace_id.n + entry->instance.n +
                   entry->service.n + entry->pool.n + entry->reason.n;
    return LINE_FIXED + ESCAPED_MAX * texts;
}

/* A batch with so much room. NULL: no memory; the line is not written. */
static struct access_log_batch *batch_for(struct access_log *log, size_t room)
{
    if (log->batch != NULL && ACCESS_LOG_BATCH - log->batch->size < room)
        access_log_flush(log);
    if (log->batch == NULL) {
        log->batch = access_log_batch_new();
        if (log->batch == NULL)
            return NULL;
        deadline_set(&log->due, FLUSH_MS);
    }
    return log->batch;
}

void access_log_write(struct access_log *log, enum snapshot_access_log format, struct access_log_entry *entry)
{
    entry->target = cut(entry->target, ACCESS_LOG_TARGET_MAX);
    entry->method = cut(entry->method, ACCESS_LOG_TEXT_MAX);
    entry->host = cut(entry->host, ACCESS_LOG_TEXT_MAX);
    entry->user_agent = cut(entry->user_agent, ACCESS_LOG_TEXT_MAX);
    entry->referer = cut(entry->referer, ACCESS_LOG_TEXT_MAX);
    entry->request_id = cut(entry->request_id, ACCESS_LOG_TEXT_MAX);
    entry->trace_id = cut(entry->trace_id, HTTP_TRACE_ID_SIZE);
    struct access_log_batch *batch = batch_for(log, line_bound(entry));
    if (batch == NULL)
        return;
    refresh_time(log);
    struct line line = {batch->bytes + batch->size};
    if (format == SNAPSHOT_LOG_JSON)
        write_json(log, &line, entry);
    else
        write_combined(log, &line, entry);
    batch->size = (size_t)(line.p - batch->bytes);
}
