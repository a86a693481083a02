/* forward: writes heads. A field passes only if the set of the direction says so; lines that pass are copied
 * in runs, as they came, and what upswap sets is written behind them. */
#include "http/forward.h"

#include "http/cookie.h"
#include "http/field.h"
#include "http/head.h"
#include "http/rules.h"

#include <inttypes.h>

#define REQUEST_ID_MAX 128

/* Apps behind CGI-like interfaces read X_Forwarded_For as X-Forwarded-For, Content_Length as Content-Length.
 */
static bool is_alias(struct str name)
{
    char dashed[32];
    if (name.n > sizeof dashed || memchr(name.p, '_', name.n) == NULL)
        return false;
    for (size_t i = 0; i < name.n; i++)
        dashed[i] = name.p[i] == '_' ? '-' : name.p[i];
    return field_id((struct str){dashed, name.n}) != HTTP_FIELD_OTHER;
}

static bool may_pass(const struct http_field *field, bool aliases, const struct http_rules *rules)
{
    if (rules != NULL && http_rules_drop(rules, field->name))
        return false;
    return aliases || field->usual || field->id != HTTP_FIELD_OTHER || !is_alias(field->name);
}

static void put_run(struct out *out, const char *from, const char *to)
{
    if (from != to)
        out_put(out, (struct str){from, (size_t)(to - from)});
}

/* Copies the lines whose ids are in `pass` and that no rule drops; NULL: there are no rules. Those that stand
 * one behind the other are copied as one run. */
static void keep_lines(struct out *out, const struct http_fields *fields, uint64_t pass, bool aliases,
                       const struct http_rules *rules)
{
    const char *from = NULL, *to = NULL;
    const struct http_field *end = fields->at + fields->count;
    for (const struct http_field *field = fields->at; field < end; field++) {
        if (field->listed || !(pass & HTTP_FIELD_BIT(field->id)) || !may_pass(field, aliases, rules))
            continue;
        if (!field->usual || field->name.p != to) {
            put_run(out, from, to);
            from = to = field->name.p;
        }
        if (field->usual)
            to = field->value.p + field->value.n + 2;
        else
            out_line(out, field->name, field->value);
    }
    put_run(out, from, to);
}

/* Begins a line with all values of that id; one more must follow. */
static void put_values(struct out *out, struct str name, const struct http_fields *fields,
                       enum http_field_id id)
{
    out_put(out, name);
    out_put(out, STR(": "));
    const struct http_field *field = http_fields_find(fields, id);
    for (; field != NULL; field = http_fields_next(fields, field)) {
        if (field->value.n == 0)
            continue;
        out_put(out, field->value);
        out_put(out, STR(", "));
    }
}

/* All values of that id and `last`, as one list in one line: many apps read one line only. */
static void put_list(struct out *out, struct str name, const struct http_fields *fields,
                     enum http_field_id id, struct str last)
{
    if (!(fields->present & HTTP_FIELD_BIT(id))) {
        out_line(out, name, last);
        return;
    }
    put_values(out, name, fields, id);
    out_put(out, last);
    out_put(out, STR("\r\n"));
}

/* Empty options are left out; none at all: no line. */
static void put_connection(struct out *out, struct str first, struct str second)
{
    if (first.n == 0 && second.n == 0)
        return;
    out_put(out, STR("Connection: "));
    out_put(out, first);
    if (first.n > 0 && second.n > 0)
        out_put(out, STR(", "));
    out_put(out, second);
    out_put(out, STR("\r\n"));
}

static struct str when(bool condition, struct str text)
{
    return condition ? text : STR("");
}

static uint64_t bit_when(bool condition, enum http_field_id id)
{
    return condition ? HTTP_FIELD_BIT(id) : 0;
}

/* RFC 9110 section 7.6.1, and the Proxy-* fields, which are between a client and a proxy that it has chosen.
 */
#define NEVER                                                                                               \
    (HTTP_FIELD_BIT(HTTP_FIELD_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH) |                    \
     HTTP_FIELD_BIT(HTTP_FIELD_HTTP2_SETTINGS) | HTTP_FIELD_BIT(HTTP_FIELD_KEEP_ALIVE) |                    \
     HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHENTICATE) | HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHENTICATION_INFO) | \
     HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHORIZATION) | HTTP_FIELD_BIT(HTTP_FIELD_PROXY_CONNECTION) |         \
     HTTP_FIELD_BIT(HTTP_FIELD_TE) | HTTP_FIELD_BIT(HTTP_FIELD_TRAILER) |                                   \
     HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING) | HTTP_FIELD_BIT(HTTP_FIELD_UPGRADE) |                    \
     HTTP_FIELD_BIT(HTTP_FIELD_X_UPSWAP) | HTTP_FIELD_BIT(HTTP_FIELD_X_UPSWAP_SHADOW))

static bool hides(const struct http_forward *how)
{
    return how->hidden[0].n > 0 || how->hidden[1].n > 0 || how->hidden[2].n > 0;
}

static uint64_t request_set(const struct http_request *request, const struct http_forward *how)
{
    const uint64_t ours =
        HTTP_FIELD_BIT(HTTP_FIELD_CLIENT_CERT) | HTTP_FIELD_BIT(HTTP_FIELD_CLIENT_CERT_CHAIN) |
        HTTP_FIELD_BIT(HTTP_FIELD_HOST) | HTTP_FIELD_BIT(HTTP_FIELD_VIA) |
        HTTP_FIELD_BIT(HTTP_FIELD_X_CLIENT_FINGERPRINT) | HTTP_FIELD_BIT(HTTP_FIELD_X_CLIENT_SUBJECT) |
        HTTP_FIELD_BIT(HTTP_FIELD_X_CLIENT_VERIFY) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_FOR) |
        HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_HOST) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PORT) |
        HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PROTO) | HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID) |
        HTTP_FIELD_BIT(HTTP_FIELD_FORWARDED);
    const uint64_t traces = HTTP_FIELD_BIT(HTTP_FIELD_TRACEPARENT) | HTTP_FIELD_BIT(HTTP_FIELD_TRACESTATE);
    return ~(NEVER | ours | traces | bit_when(hides(how), HTTP_FIELD_COOKIE) |
             bit_when(request->expect_void, HTTP_FIELD_EXPECT)) |
           bit_when(how->framing == HTTP_BODY_LENGTH, HTTP_FIELD_CONTENT_LENGTH) |
           bit_when(how->framing == HTTP_BODY_CHUNKED, HTTP_FIELD_TRAILER) |
           bit_when(request->upgrade, HTTP_FIELD_UPGRADE) | (how->traced ? traces : 0) |
           bit_when(how->trusted && !how->forwarded, HTTP_FIELD_FORWARDED) |
           bit_when(how->trusted, HTTP_FIELD_X_FORWARDED_HOST) |
           bit_when(how->trusted, HTTP_FIELD_X_FORWARDED_PORT) |
           bit_when(how->trusted, HTTP_FIELD_X_FORWARDED_PROTO);
}

/* Do they stand in the input one behind the other, as they are to go? */
static bool is_start_line(struct str method, struct str path, struct str query)
{
    return path.n > 0 && path.p == method.p + method.n + 1 && query.p == path.p + path.n;
}

static void put_start_line(struct out *out, const struct http_request *request, uint32_t strip)
{
    struct str method = request->method_text, path = request->path, query = request->query;
    path.p += strip < path.n ? strip : path.n;
    path.n -= strip < path.n ? strip : path.n;
    if (is_start_line(method, path, query)) {
        out_put(out, (struct str){method.p, method.n + 1 + path.n + query.n});
    } else {
        out_put(out, method);
        out_put(out, STR(" "));
        out_put(out, path.n > 0 ? path : STR("/"));
        out_put(out, query);
    }
    out_put(out, STR(" HTTP/1.1\r\n"));
}

static void put_host(struct out *out, const struct http_request *request, const struct http_rules *rules,
                     const struct http_variable *variables)
{
    struct str set = rules != NULL ? http_rules_host(rules) : STR("");
    if (set.n == 0 || template_size(set, variables) == 0) {
        out_line(out, STR("Host"), request->authority);
        return;
    }
    out_put(out, STR("Host: "));
    template_put(out, set, variables);
    out_put(out, STR("\r\n"));
}

/* NULL where there are none. */
static const struct http_rules *read_rules(struct http_rules *room, struct str text, bool request)
{
    if (text.n == 0)
        return NULL;
    http_rules_read(room, text, request);
    return room;
}

/* Writes a field that a trusted peer may have set: kept with the other lines if it did. */
static void put_unless_kept(struct out *out, const struct http_request *request,
                            const struct http_forward *how, enum http_field_id id, struct str name,
                            struct str value)
{
    bool kept = how->trusted && (request->fields.present & HTTP_FIELD_BIT(id));
    if (!kept && value.n > 0)
        out_line(out, name, value);
}

struct str http_forward_request_id(const struct http_request *request, const struct http_forward *how)
{
    const struct http_fields *fields = &request->fields;
    const uint64_t bit = HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID);
    if (!how->trusted || !(fields->present & bit) || (fields->repeated & bit))
        return how->request_id;
    struct str sent = http_fields_find(fields, HTTP_FIELD_X_REQUEST_ID)->value;
    return sent.n <= REQUEST_ID_MAX && is_all_class(sent, CLASS_URI) ? sent : how->request_id;
}

/* Of a list. Proxies that stand one behind the other write "https, http": the first is what the client used,
 * and so is it read by apps, which get the list as it came. */
static struct str first_of(struct str list)
{
    struct str first = list;
    str_split(&list, ',', &first);
    return str_trim(first);
}

bool http_forward_is_https(const struct http_request *request, const struct http_forward *how)
{
    const struct http_fields *fields = &request->fields;
    const uint64_t bit = HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PROTO);
    struct str proto = how->proto;
    if (how->trusted && (fields->present & bit) && !(fields->repeated & bit))
        proto = first_of(http_fields_find(fields, HTTP_FIELD_X_FORWARDED_PROTO)->value);
    return str_equal_nocase(proto, STR("https"));
}

/* One element of RFC 7239. Addresses and ports of IPv6 need quotes, and so may a host. */
static void put_forwarded(struct out *out, const struct http_request *request, const struct http_forward *how)
{
    static const struct http_fields none = {.count = 0};
    bool v6 = memchr(how->client.p, ':', how->client.n) != NULL;
    put_values(out, STR("Forwarded"), how->trusted ? &request->fields : &none, HTTP_FIELD_FORWARDED);
    out_put(out, v6 ? STR("for=\"[") : STR("for="));
    out_put(out, how->client);
    out_put(out, when(v6, STR("]\"")));
    if (request->authority.n > 0) {
        out_put(out, STR(";host=\""));
        out_put(out, request->authority);
        out_put(out, STR("\""));
    }
    out_put(out, STR(";proto="));
    out_put(out, how->proto);
    out_put(out, STR(";by=_upswap\r\n"));
}

/* What a client says of itself under these names never passes, whoever it is. */
static void put_client(struct out *out, const struct http_forward *how)
{
    if (how->client_verify.n == 0)
        return;
    out_line(out, STR("X-Client-Verify"), how->client_verify);
    if (how->client_subject.n > 0)
        out_line(out, STR("X-Client-Subject"), how->client_subject);
    if (how->client_fingerprint.n > 0)
        out_line(out, STR("X-Client-Fingerprint"), how->client_fingerprint);
}

static bool is_hidden(const struct http_forward *how, struct str cookie)
{
    for (size_t i = 0; i < sizeof how->hidden / sizeof *how->hidden; i++) {
        if (cookie.n > 0 && str_equal(cookie, how->hidden[i]))
            return true;
    }
    return false;
}

/* The Cookie lines without what is hidden. */
static void put_cookies(struct out *out, const struct http_fields *fields, const struct http_forward *how)
{
    const struct http_field *field = http_fields_find(fields, HTTP_FIELD_COOKIE);
    for (; field != NULL; field = http_fields_next(fields, field)) {
        struct str rest = field->value, between = STR("Cookie: ");
        struct http_cookie cookie;
        while (http_cookie_next(&rest, &cookie)) {
            if (is_hidden(how, cookie.name))
                continue;
            out_put(out, between);
            out_put(out, cookie.pair);
            between = STR("; ");
        }
        if (between.n == 2)
            out_put(out, STR("\r\n"));
    }
}

/* What a rule says about it counts more. */
static void put_trace(struct out *out, const struct http_forward *how, const struct http_rules *rules)
{
    struct str name = STR("traceparent");
    if (how->trace.n > 0 && (rules == NULL || !http_rules_drop(rules, name)))
        out_line(out, name, how->trace);
}

static void put_own_fields(struct out *out, const struct http_request *request,
                           const struct http_forward *how)
{
    static const struct http_fields none = {.count = 0};
    if (hides(how))
        put_cookies(out, &request->fields, how);
    put_list(out, STR("X-Forwarded-For"), how->trusted ? &request->fields : &none, HTTP_FIELD_X_FORWARDED_FOR,
             how->client);
    put_unless_kept(out, request, how, HTTP_FIELD_X_FORWARDED_PROTO, STR("X-Forwarded-Proto"), how->proto);
    put_unless_kept(out, request, how, HTTP_FIELD_X_FORWARDED_HOST, STR("X-Forwarded-Host"),
                    request->authority);
    put_unless_kept(out, request, how, HTTP_FIELD_X_FORWARDED_PORT, STR("X-Forwarded-Port"), how->port);
    if (how->forwarded)
        put_forwarded(out, request, how);
    struct str id = http_forward_request_id(request, how);
    if (id.n > 0)
        out_line(out, STR("X-Request-Id"), id);
    put_client(out, how);
    struct str via = request->minor == 0 ? STR("1.0 upswap") : STR("1.1 upswap");
    put_list(out, STR("Via"), &request->fields, HTTP_FIELD_VIA, how->http2 ? STR("2.0 upswap") : via);
}

size_t http_forward_request(const struct http_request *request, const struct http_forward *how, char *out,
                            size_t room)
{
    struct out to = {.at = out, .end = out + room};
    struct http_rules space;
    const struct http_rules *rules = read_rules(&space, how->rules, true);
    put_start_line(&to, request, how->strip);
    put_host(&to, request, rules, how->variables);
    keep_lines(&to, &request->fields, request_set(request, how), false, rules);
    struct str first = request->upgrade ? STR("upgrade") : when(!how->keep_alive, STR("close"));
    put_connection(&to, first, when(request->te_trailers, STR("TE")));
    if (request->te_trailers)
        out_put(&to, STR("TE: trailers\r\n"));
    if (how->framing == HTTP_BODY_CHUNKED)
        out_put(&to, STR("Transfer-Encoding: chunked\r\n"));
    put_own_fields(&to, request, how);
    put_trace(&to, how, rules);
    if (rules != NULL)
        http_rules_put(rules, &to, how->variables);
    out_put(&to, STR("\r\n"));
    return to.full ? 0 : (size_t)(to.at - out);
}

/* 426 tells what to upgrade to, and is the only other answer that says so (RFC 9110 section 15.5.22). */
static bool keeps_upgrade(const struct http_response *response)
{
    return response->upgrade || response->status == 426;
}

static uint64_t response_set(const struct http_response *response, const struct http_return *how)
{
    bool told = response->has_content_length && response->status >= 200 && response->status != 204;
    bool length = how->framing == HTTP_BODY_LENGTH || (how->framing == HTTP_BODY_NONE && told);
    return (~NEVER & ~bit_when(how->request_id.n > 0, HTTP_FIELD_X_REQUEST_ID)) |
           bit_when(length, HTTP_FIELD_CONTENT_LENGTH) |
           bit_when(how->framing == HTTP_BODY_CHUNKED, HTTP_FIELD_TRAILER) |
           bit_when(keeps_upgrade(response), HTTP_FIELD_UPGRADE);
}

static void put_status_line(struct out *out, const struct http_response *response)
{
    unsigned status = response->status;
    char line[] = "HTTP/1.1 000 ";
    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    out_put(out, (struct str){line, sizeof line - 1});
    out_put(out, response->phrase);
    out_put(out, STR("\r\n"));
}

/* What the app or a rule says about it counts more. */
static void put_hsts(struct out *out, const struct http_fields *fields, const struct http_rules *rules,
                     uint32_t seconds)
{
    if (http_fields_named(fields, OUT_HSTS) == NULL && (rules == NULL || !http_rules_drop(rules, OUT_HSTS)))
        out_hsts(out, seconds);
}

size_t http_forward_response(const struct http_response *response, const struct http_return *how, char *out,
                             size_t room)
{
    struct out to = {.at = out, .end = out + room};
    const struct http_fields *fields = &response->fields;
    bool final = response->status >= 200;
    struct http_rules space;
    const struct http_rules *rules = read_rules(&space, how->rules, false);
    put_status_line(&to, response);
    keep_lines(&to, fields, response_set(response, how), true, rules);
    struct str first = when(final && !how->keep_alive, STR("close"));
    if (final && how->keep_alive && how->client_minor == 0)
        first = STR("keep-alive");
    put_connection(&to, first, when(keeps_upgrade(response), STR("upgrade")));
    if (how->framing == HTTP_BODY_CHUNKED)
        out_put(&to, STR("Transfer-Encoding: chunked\r\n"));
    if (final && !(fields->present & HTTP_FIELD_BIT(HTTP_FIELD_DATE)))
        out_line(&to, STR("Date"), how->date);
    if (final && how->hsts_s > 0)
        put_hsts(&to, fields, rules, how->hsts_s);
    if (how->request_id.n > 0)
        out_line(&to, STR("X-Request-Id"), how->request_id);
    out_put(&to, how->lines);
    if (rules != NULL)
        http_rules_put(rules, &to, how->variables);
    out_put(&to, STR("\r\n"));
    return to.full ? 0 : (size_t)(to.at - out);
}

size_t http_forward_trailers(const struct http_fields *fields, struct str rules, bool request, char *out,
                             size_t room)
{
    struct out to = {.at = out, .end = out + room};
    struct http_rules space;
    keep_lines(&to, fields, ~NEVER, false, read_rules(&space, rules, request));
    return to.full ? 0 : (size_t)(to.at - out);
}
