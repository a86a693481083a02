/* HTTP/1.1, and what both protocols have in common. Invariant: no more than QUESTION_ANSWER_MAX bytes are
 * looked at, whatever they are. */
#include "control/question.h"

#include "base/buf.h"
#include "base/mem.h"
#include "control/question_h2.h"
#include "http/response.h"

#include <stdio.h>
#include <stdlib.h>

struct question {
    struct question_h2 *h2; /* NULL: HTTP/1.1 */
    struct buf out, in;     /* what is still to be sent; what came of a head of HTTP/1.1 */
    size_t heard;           /* bytes, of all that came */
    size_t seen;            /* bytes of a partial head; the parser's */
    struct question_verdict verdict;
};

static void write_request(struct buf *out, const struct question_order *order)
{
    buf_printf(out,
               "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: " QUESTION_AGENT
               "\r\nAccept: */*\r\nX-Forwarded-Proto: %s\r\nConnection: close\r\n\r\n",
               order->path, order->host, order->https ? "https" : "http");
}

struct question *question_new(const struct question_order *order)
{
    struct question *question = mem_zero(1, sizeof *question);
    if (!order->h2) {
        write_request(&question->out, order);
        return question;
    }
    question->h2 = question_h2_new(order);
    if (question->h2 != NULL && question_h2_gather(question->h2, &question->out))
        return question;
    question_free(question);
    return NULL;
}

void question_free(struct question *question)
{
    if (question == NULL)
        return;
    question_h2_free(question->h2);
    buf_free(&question->out);
    buf_free(&question->in);
    free(question);
}

struct str question_text(const struct question *question)
{
    return buf_str(&question->out);
}

void question_sent(struct question *question, size_t count)
{
    buf_drop(&question->out, count);
}

/* A 1xx is followed by more. */
static void hear_h1(struct question *question, const char *bytes, size_t count)
{
    static const struct http_limits limits = {.head = QUESTION_HEAD_MAX, .fields = HTTP_FIELDS_MAX};
    struct http_response response;
    struct http_fault fault;
    enum http_result result = HTTP_MORE;
    buf_add(&question->in, bytes, count);
    while (question->in.n > 0) {
        result = http_response_parse(&response, HTTP_GET, question->in.p, question->in.n, &question->seen,
                                     &limits, &fault);
        if (result != HTTP_DONE || response.status >= 200 || response.status == 101)
            break;
        buf_drop(&question->in, response.length);
        question->seen = 0;
        result = HTTP_MORE;
    }
    if (result == HTTP_DONE)
        question->verdict.status = response.status;
    else if (result == HTTP_BAD)
        question_blame(&question->verdict, "%s", fault.reason);
}

enum question_state question_hear(struct question *question, const char *bytes, size_t count)
{
    struct question_verdict *verdict = &question->verdict;
    if (count > QUESTION_ANSWER_MAX - question->heard)
        count = QUESTION_ANSWER_MAX - question->heard;
    question->heard += count;
    if (question->h2 == NULL)
        hear_h1(question, bytes, count);
    else
        question_h2_hear(question->h2, bytes, count, &question->out, verdict);
    if (verdict->status == 0 && question->heard == QUESTION_ANSWER_MAX)
        question_blame(verdict, "no head in %d bytes", QUESTION_ANSWER_MAX);
    if (verdict->status != 0)
        return QUESTION_ANSWERED;
    return verdict->fault[0] != '\0' ? QUESTION_FAILED : QUESTION_OPEN;
}

uint16_t question_status(const struct question *question)
{
    return question->verdict.status;
}

const char *question_fault(const struct question *question)
{
    return question->verdict.fault;
}

void question_blame(struct question_verdict *verdict, const char *format, ...)
{
    va_list arguments;
    if (verdict->fault[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(verdict->fault, sizeof verdict->fault, format, arguments);
    va_end(arguments);
}
