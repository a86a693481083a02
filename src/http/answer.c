/* answer: upswap's own responses. Every part has a bounded length, so that a whole answer always fits. */
#include "http/answer.h"

#include "http/head.h"
#include "http/reason.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#define BODY_MAX 640
#define REASON_MAX 64
#define REQUEST_ID_MAX 128

const struct str http_continue = {"HTTP/1.1 100 Continue\r\n\r\n", 25};

/* A reason that is in no list still gets its page: the phrase of the status explains it. */
static const char *sentence(const struct http_answer *answer)
{
    const struct http_reason *reason = http_reason_find(answer->reason);
    return reason != NULL ? reason->sentence : http_status_phrase(answer->status);
}

static size_t write_body(const struct http_answer *answer, char out[BODY_MAX])
{
    const char *phrase = http_status_phrase(answer->status);
    int n = answer->json ? snprintf(out, BODY_MAX, "{\"status\":%u,\"reason\":\"%.*s\",\"detail\":\"%s\"}\n",
                                    answer->status, REASON_MAX, answer->reason, sentence(answer))
                         : snprintf(out, BODY_MAX,
                                    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                                    "<title>%u %s</title></head>\n<body><h1>%u %s</h1>\n<p>%s</p>\n"
                                    "<p><small>%.*s</small></p></body></html>\n",
                                    answer->status, phrase, answer->status, phrase, sentence(answer),
                                    REASON_MAX, answer->reason);
    assert(n > 0 && n < BODY_MAX);
    return (size_t)n;
}

static const char *connection(const struct http_answer *answer)
{
    if (!answer->keep_alive)
        return "Connection: close\r\n";
    return answer->client_minor == 0 ? "Connection: keep-alive\r\n" : "";
}

size_t http_answer_write(const struct http_answer *answer, char out[HTTP_ANSWER_MAX])
{
    char body[BODY_MAX], retry[40] = "";
    size_t body_size = write_body(answer, body);
    struct str id = answer->request_id.n <= REQUEST_ID_MAX ? answer->request_id : STR("");
    if (answer->retry_after > 0)
        snprintf(retry, sizeof retry, "Retry-After: %u\r\n", answer->retry_after);
    int n = snprintf(
        out, HTTP_ANSWER_MAX,
        "HTTP/1.1 %u %s\r\nDate: %.*s\r\nX-Upswap: %.*s\r\n%s%.*s%s%s%s"
        "Cache-Control: no-store\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
        answer->status, http_status_phrase(answer->status), STR_ARG(answer->date), REASON_MAX, answer->reason,
        id.n > 0 ? "X-Request-Id: " : "", STR_ARG(id), id.n > 0 ? "\r\n" : "", connection(answer), retry,
        answer->json ? "application/json" : "text/html; charset=utf-8", body_size, answer->head ? "" : body);
    assert(n > 0 && n < HTTP_ANSWER_MAX);
    return (size_t)n;
}

/* A weight (RFC 9110 section 12.4.2) in thousandths; a malformed one counts as 0. */
static unsigned weight(struct str text)
{
    unsigned sum = 0, digits = 0;
    if (text.n == 0 || text.p[0] > '1' || text.p[0] < '0' || (text.n > 1 && text.p[1] != '.') || text.n > 5)
        return 0;
    for (size_t i = 0; i < text.n; i++) {
        if (i == 1)
            continue;
        if (!is_class(text.p[i], CLASS_DIGIT))
            return 0;
        sum = sum * 10 + (unsigned)(text.p[i] - '0');
        digits++;
    }
    for (; digits < 4; digits++)
        sum *= 10;
    return sum <= 1000 ? sum : 0;
}

/* Splits a media range from its weight; other parameters play no part. */
static struct str range_of(struct str element, unsigned *q)
{
    struct str parameter, range = element;
    *q = 1000;
    str_split(&element, ';', &range);
    while (str_split(&element, ';', &parameter)) {
        struct str name;
        str_split(&parameter, '=', &name);
        if (parameter.p != NULL && str_equal_nocase(str_trim(name), STR("q")))
            *q = weight(str_trim(parameter));
    }
    return str_trim(range);
}

/* How much the field wants type/sub: the weight of the most specific range that matches, then how specific it
 * is, so that one that is named beats one that "any" stands for. 0: not at all. */
static unsigned preference(struct str accept, const struct str ranges[3])
{
    unsigned best = 0, best_rank = 0;
    struct str element;
    while (head_element(&accept, &element)) {
        unsigned q;
        struct str range = range_of(element, &q);
        for (unsigned rank = 3; rank > best_rank; rank--) {
            if (!str_equal_nocase(range, ranges[3 - rank]))
                continue;
            best_rank = rank;
            best = q > 0 ? q * 4 + rank : 0;
        }
    }
    return best;
}

bool http_accept_prefers_json(struct str accept)
{
    static const struct str json[3] = {{"application/json", 16}, {"application/*", 13}, {"*/*", 3}};
    static const struct str html[3] = {{"text/html", 9}, {"text/*", 6}, {"*/*", 3}};
    return accept.n > 0 && preference(accept, json) > preference(accept, html);
}

void http_date_write(uint64_t seconds, char out[HTTP_DATE_SIZE])
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const uint64_t last = 253402300799; /* of the year 9999: four digits are all there is room for */
    time_t when = (time_t)(seconds < last ? seconds : last);
    struct tm tm;
    gmtime_r(&when, &tm);
    snprintf(out, HTTP_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday],
             (unsigned)tm.tm_mday, months[tm.tm_mon], (unsigned)tm.tm_year + 1900, (unsigned)tm.tm_hour,
             (unsigned)tm.tm_min, (unsigned)tm.tm_sec);
}
