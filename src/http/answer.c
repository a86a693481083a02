/* answer: upswap's own responses. Every part has a bounded length, so that a whole answer always fits. */
#include "http/answer.h"

#include "http/grpc.h"
#include "http/head.h"
#include "http/reason.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define REASON_MAX 64
#define REQUEST_ID_MAX 128
#define NUMBER_MAX 24

const struct str http_continue = {"HTTP/1.1 100 Continue\r\n\r\n", 25};

/* A reason that is in no list still gets its page: the phrase of the status explains it. */
static const char *sentence(const struct http_answer *answer)
{
    const struct http_reason *reason = http_reason_find(answer->reason);
    return reason != NULL ? reason->sentence : http_status_phrase(answer->status);
}

static struct str number(uint64_t value, char text[NUMBER_MAX])
{
    return (struct str){text, (size_t)snprintf(text, NUMBER_MAX, "%" PRIu64, value)};
}

/* The pages of a service that has none of its own. */
static struct str built_in(bool json)
{
    return json ? STR("{\"status\":%{status},\"reason\":\"%{reason}\",\"detail\":\"%{detail}\"}\n")
                : STR("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<title>%{status} %{phrase}</title></head>\n<body><h1>%{status} %{phrase}</h1>\n"
                      "<p>%{detail}</p>\n<p><small>%{reason}</small></p></body></html>\n");
}

/* How the byte stands in a page; empty: as it is. */
static struct str escaped(char byte, bool json)
{
    if ((uint8_t)byte < ' ' || byte == 0x7f)
        return STR(" ");
    switch (byte) {
    case '"':
        return json ? STR("\\\"") : STR("&#34;");
    case '\\':
        return json ? STR("\\\\") : STR("");
    case '&':
        return json ? STR("") : STR("&amp;");
    case '<':
        return json ? STR("") : STR("&lt;");
    case '>':
        return json ? STR("") : STR("&gt;");
    case '\'':
        return json ? STR("") : STR("&#39;");
    default:
        return STR("");
    }
}

static bool has_detail(const struct http_answer *answer)
{
    return answer->detail.n > 0 && answer->detail.n <= HTTP_DETAIL_MAX;
}

static struct str detail(const struct http_answer *answer, char room[HTTP_DETAIL_ROOM])
{
    struct out out = {.at = room, .end = room + HTTP_DETAIL_ROOM};
    if (!has_detail(answer))
        return str_of(sentence(answer));
    for (size_t i = 0; i < answer->detail.n; i++) {
        struct str other = escaped(answer->detail.p[i], answer->json);
        out_put(&out, other.n > 0 ? other : (struct str){answer->detail.p + i, 1});
    }
    return (struct str){room, (size_t)(out.at - room)};
}

/* A trusted proxy's id may hold what would be markup in a page; such a one is not shown there. */
static struct str shown(struct str id)
{
    for (size_t i = 0; i < id.n; i++) {
        if (!is_class(id.p[i], CLASS_TOKEN) || id.p[i] == '&' || id.p[i] == '\'')
            return STR("");
    }
    return id;
}

/* An answer in the making: a field that a rule drops is not written. */
struct making {
    struct out out;
    struct http_rules rules;
};

static void line(struct making *to, struct str name, struct str value)
{
    if (value.n > 0 && !http_rules_drop(&to->rules, name))
        out_line(&to->out, name, value);
}

/* How a call of gRPC went is never told by the status. */
static void put_status(struct making *to, const struct http_answer *answer)
{
    char text[NUMBER_MAX];
    out_put(&to->out, STR("HTTP/1.1 "));
    out_put(&to->out, answer->grpc ? STR("200") : number(answer->status, text));
    out_put(&to->out, STR(" "));
    out_put(&to->out, answer->grpc ? STR("OK") : str_of(http_status_phrase(answer->status)));
    out_put(&to->out, STR("\r\n"));
}

static void put_grpc(struct making *to, const struct http_answer *answer)
{
    char text[NUMBER_MAX], room[GRPC_MESSAGE_ROOM(HTTP_DETAIL_MAX)];
    struct str message = has_detail(answer) ? answer->detail : str_of(sentence(answer));
    line(to, STR("Content-Type"), STR("application/grpc"));
    line(to, STR("grpc-status"), number(grpc_status_of(answer->status, answer->reason), text));
    line(to, STR("grpc-message"), grpc_message(message, room));
}

/* Every part was checked when the request was read: a byte that could end the line, or a host that is another
 * one to a browser, has been refused there. */
static void put_location(struct out *out, const struct http_location *location)
{
    out_put(out, STR("Location: "));
    out_put(out, location->https ? STR("https://") : STR("http://"));
    out_put(out, location->host);
    out_put(out, location->port.n > 0 ? STR(":") : STR(""));
    out_put(out, location->port);
    out_put(out, location->path);
    out_put(out, location->query);
    out_put(out, STR("\r\n"));
}

static struct str connection(const struct http_answer *answer)
{
    if (!answer->keep_alive)
        return STR("close");
    return answer->client_minor == 0 ? STR("keep-alive") : STR("");
}

static void put_head(struct making *to, const struct http_answer *answer, struct str id, size_t body)
{
    char text[NUMBER_MAX];
    put_status(to, answer);
    line(to, STR("Date"), answer->date);
    line(to, STR("X-Upswap"), (struct str){answer->reason, strnlen(answer->reason, REASON_MAX)});
    line(to, STR("X-Request-Id"), id);
    line(to, STR("Connection"), connection(answer));
    if (answer->retry_after > 0)
        line(to, STR("Retry-After"), number(answer->retry_after, text));
    if (answer->location != NULL)
        put_location(&to->out, answer->location);
    if (answer->hsts_s > 0 && !http_rules_drop(&to->rules, OUT_HSTS))
        out_hsts(&to->out, answer->hsts_s);
    line(to, STR("Cache-Control"), STR("no-store"));
    if (answer->grpc)
        put_grpc(to, answer);
    else
        line(to, STR("Content-Type"),
             answer->json ? STR("application/json") : STR("text/html; charset=utf-8"));
    line(to, STR("Content-Length"), number(body, text));
    http_rules_put(&to->rules, &to->out, answer->variables);
    out_put(&to->out, STR("\r\n"));
}

size_t http_answer_write(const struct http_answer *answer, char *out, size_t room)
{
    char status[NUMBER_MAX], sentence_room[HTTP_DETAIL_ROOM];
    struct str reason = {answer->reason, strnlen(answer->reason, REASON_MAX)};
    struct str id = answer->request_id.n <= REQUEST_ID_MAX ? answer->request_id : STR("");
    const struct http_variable in_page[] = {
        {STR("status"), number(answer->status, status)},
        {STR("phrase"), str_of(http_status_phrase(answer->status))},
        {STR("reason"), reason},
        {STR("detail"), detail(answer, sentence_room)},
        {STR("request_id"), shown(id)},
        {STR(""), STR("")},
    };
    struct str page = answer->page.n == 0 ? built_in(answer->json) : answer->page;
    if (answer->grpc)
        page = STR("");
    struct making to = {.out = {.at = out, .end = out + room}};
    http_rules_read(&to.rules, answer->rules, false);
    put_head(&to, answer, id, template_size(page, in_page));
    if (!answer->head)
        template_put(&to.out, page, in_page);
    return to.out.full ? 0 : (size_t)(to.out.at - out);
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

/* How much a field wants a type: the weight of the most specific range that matches, then how specific it is,
 * so that one that is named beats one that "any" stands for. 0: not at all. */
struct preference {
    struct str ranges[3]; /* the type itself, its kind, any */
    unsigned rank, much;
};

static void weigh(struct preference *type, struct str range, unsigned q)
{
    for (unsigned rank = 3; rank > type->rank; rank--) {
        if (!str_equal_nocase(range, type->ranges[3 - rank]))
            continue;
        type->rank = rank;
        type->much = q > 0 ? q * 4 + rank : 0;
    }
}

bool http_accept_prefers_json(struct str accept)
{
    if (accept.n == 0 || str_equal(accept, STR("*/*")))
        return false;
    struct preference json = {.ranges = {{"application/json", 16}, {"application/*", 13}, {"*/*", 3}}};
    struct preference html = {.ranges = {{"text/html", 9}, {"text/*", 6}, {"*/*", 3}}};
    struct str element;
    while (head_element(&accept, &element)) {
        unsigned q;
        struct str range = range_of(element, &q);
        weigh(&json, range, q);
        weigh(&html, range, q);
    }
    return json.much > html.much;
}

/* What stands behind this beginning of a line; empty: there is none. */
static struct str value_of(struct str head, struct str name)
{
    struct str line;
    while (str_split(&head, '\n', &line)) {
        if (line.n >= name.n && str_equal_nocase((struct str){line.p, name.n}, name))
            return str_trim((struct str){line.p + name.n, line.n - name.n});
    }
    return STR("");
}

bool http_head_prefers_json(struct str head)
{
    return http_accept_prefers_json(value_of(head, STR("Accept:")));
}

bool http_head_is_grpc(struct str head)
{
    return grpc_is_type(value_of(head, STR("Content-Type:")));
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
