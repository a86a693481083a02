/* From blocks to texts. Invariant: every name that is written is a token in small letters, every value is of
 * bytes that a value may have, and no field of the block says how the message is framed but Content-Length,
 * which is written once. */
#include "http/h2_text.h"

#include "http/field.h"
#include "http/head.h"
#include "http/out.h"
#include "http/span.h"

static size_t finish(struct out *text, const char *out)
{
    out_put(text, STR("\r\n"));
    return text->full ? 0 : (size_t)(text->at - out);
}

/* ---- what holds for every field ---- */

/* Looks beyond the text, up to `end`, where bytes of the block are: sixteen at a time. */
static bool is_name(struct str name, const char *end)
{
    return name.n > 0 && span_small(name.p, end) >= name.p + name.n;
}

static bool is_value(struct str value, const char *end)
{
    if (value.n == 0)
        return true;
    return !is_blank(value.p[0]) && !is_blank(value.p[value.n - 1]) &&
           span_value(value.p, end) >= value.p + value.n;
}

/* RFC 9113 section 8.2.2. */
static bool is_of_connections(enum http_field_id id, struct str value)
{
    switch (id) {
    case HTTP_FIELD_CONNECTION:
    case HTTP_FIELD_KEEP_ALIVE:
    case HTTP_FIELD_PROXY_CONNECTION:
    case HTTP_FIELD_TRANSFER_ENCODING:
    case HTTP_FIELD_UPGRADE:
        return true;
    case HTTP_FIELD_TE:
        return !str_equal_nocase(value, STR("trailers"));
    default:
        return false;
    }
}

/* ---- pseudo-header fields (RFC 9113 section 8.3) ---- */

enum pseudo { METHOD, SCHEME, AUTHORITY, PATH, PROTOCOL, STATUS, PSEUDOS };

#define BIT(pseudo) (1U << (pseudo))

static const struct str pseudo_names[PSEUDOS] = {
    [METHOD] = {":method", 7}, [SCHEME] = {":scheme", 7},     [AUTHORITY] = {":authority", 10},
    [PATH] = {":path", 5},     [PROTOCOL] = {":protocol", 9}, [STATUS] = {":status", 7},
};

/* A block's pseudo-header fields, and what its other fields say of the message. */
struct block_head {
    struct str pseudo[PSEUDOS];
    unsigned present;  /* set of pseudos */
    size_t fields;     /* where the other fields begin in the block */
    struct str host;   /* Host, once */
    struct str length; /* Content-Length, once */
    uint64_t bytes;    /* what it says */
    uint64_t seen;     /* the set of ids among the fields */
    bool has_cookies;
};

/* The one of this name, which begins with ':'; PSEUDOS: there is none. */
static enum pseudo pseudo_of(struct str name)
{
    enum pseudo pseudo;
    switch (name.n > 2 ? name.p[2] : 0) { /* all are different there */
    case 'e':
        pseudo = METHOD;
        break;
    case 'c':
        pseudo = SCHEME;
        break;
    case 'u':
        pseudo = AUTHORITY;
        break;
    case 'a':
        pseudo = PATH;
        break;
    case 'r':
        pseudo = PROTOCOL;
        break;
    case 't':
        pseudo = STATUS;
        break;
    default:
        return PSEUDOS;
    }
    return str_equal(name, pseudo_names[pseudo]) ? pseudo : PSEUDOS;
}

static bool take_pseudo(struct block_head *head, struct str name, struct str value, const char *end)
{
    enum pseudo pseudo = pseudo_of(name);
    if (pseudo == PSEUDOS || (head->present & BIT(pseudo)) != 0)
        return false;
    head->present |= BIT(pseudo);
    head->pseudo[pseudo] = value;
    return value.n > 0 && span_uri(value.p, end) >= value.p + value.n;
}

static bool take_field(struct block_head *head, struct str name, struct str value, const char *end)
{
    if (!is_name(name, end) || !is_value(value, end))
        return false;
    enum http_field_id id = field_id(name);
    const uint64_t once = HTTP_FIELD_BIT(HTTP_FIELD_HOST) | HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH);
    if (is_of_connections(id, value) || (head->seen & once & HTTP_FIELD_BIT(id)) != 0)
        return false;
    head->seen |= HTTP_FIELD_BIT(id);
    if (id == HTTP_FIELD_HOST)
        head->host = value;
    if (id == HTTP_FIELD_CONTENT_LENGTH)
        head->length = value;
    head->has_cookies |= id == HTTP_FIELD_COOKIE;
    return true;
}

/* Looks at every field of the block. False: one is malformed. */
static bool read_block(const struct h2_block *block, struct block_head *head)
{
    struct str name, value;
    size_t at = 0, next = 0;
    const char *end = block->bytes + block->size;
    *head = (struct block_head){.present = 0};
    while (h2_block_next(block, &next, &name, &value)) {
        if (name.n == 0 || name.p[0] != ':')
            break;
        if (!take_pseudo(head, name, value, end))
            return false;
        at = next;
    }
    head->fields = at;
    while (h2_block_next(block, &at, &name, &value)) {
        if (!take_field(head, name, value, end))
            return false;
    }
    return head->length.p == NULL || str_to_u64(head->length, &head->bytes);
}

static bool has_exactly(const struct block_head *head, unsigned pseudos, unsigned optional)
{
    return (head->present & ~optional) == pseudos;
}

/* ---- requests ---- */

/* The authority may come as either; where both come they must say the same (RFC 9113 section 8.3.1). */
static bool is_host_right(struct block_head *head)
{
    bool named = (head->present & BIT(AUTHORITY)) != 0, host = head->host.p != NULL;
    if (named && host)
        return str_equal_nocase(head->pseudo[AUTHORITY], head->host);
    if (host && !named)
        head->pseudo[AUTHORITY] = head->host;
    return true;
}

static bool is_path_right(const struct block_head *head)
{
    struct str path = head->pseudo[PATH];
    return path.p[0] == '/' || (str_equal(path, STR("*")) && str_equal(head->pseudo[METHOD], STR("OPTIONS")));
}

static bool is_scheme_right(const struct block_head *head)
{
    struct str scheme = head->pseudo[SCHEME];
    return str_equal_nocase(scheme, STR("http")) || str_equal_nocase(scheme, STR("https"));
}

static bool is_request_right(struct block_head *head)
{
    const unsigned all = BIT(METHOD) | BIT(SCHEME) | BIT(PATH);
    bool connect = (head->present & BIT(METHOD)) != 0 && str_equal(head->pseudo[METHOD], STR("CONNECT"));
    if ((head->present & BIT(METHOD)) == 0 || !is_all_class(head->pseudo[METHOD], CLASS_TOKEN) ||
        !is_host_right(head))
        return false;
    if (connect && (head->present & BIT(PROTOCOL)) == 0)
        return has_exactly(head, BIT(METHOD) | BIT(AUTHORITY), 0);
    if (!connect && (head->present & BIT(PROTOCOL)) != 0)
        return false;
    if (connect && !has_exactly(head, all | BIT(AUTHORITY) | BIT(PROTOCOL), 0))
        return false;
    return has_exactly(head, all, BIT(AUTHORITY) | BIT(PROTOCOL)) && is_scheme_right(head) &&
           is_path_right(head);
}

static void put_start_line(struct out *text, const struct block_head *head, bool tunnel)
{
    bool connect = str_equal(head->pseudo[METHOD], STR("CONNECT"));
    out_put(text, tunnel ? STR("GET") : head->pseudo[METHOD]);
    out_put(text, STR(" "));
    out_put(text, connect && !tunnel ? head->pseudo[AUTHORITY] : head->pseudo[PATH]);
    out_put(text, STR(" HTTP/1.1\r\n"));
    if (head->pseudo[AUTHORITY].p != NULL)
        out_line(text, STR("host"), head->pseudo[AUTHORITY]);
}

/* One line for what may come as many (RFC 9113 section 8.2.3). */
static void put_cookies(struct out *text, const struct h2_block *block, size_t at)
{
    struct str name, value, between = STR("cookie: ");
    while (h2_block_next(block, &at, &name, &value)) {
        if (!str_equal(name, STR("cookie")))
            continue;
        out_put(text, between);
        out_put(text, value);
        between = STR("; ");
    }
    out_put(text, STR("\r\n"));
}

static bool is_of_tunnels(struct str name)
{
    return str_equal(name, STR("sec-websocket-key")) || str_equal(name, STR("sec-websocket-accept")) ||
           str_equal(name, STR("content-length"));
}

static bool is_put_elsewhere(struct str name)
{
    return str_equal(name, STR("host")) || str_equal(name, STR("cookie"));
}

/* The block's fields but those that the text says by itself. */
static void put_fields(struct out *text, const struct h2_block *block, const struct block_head *head,
                       const struct h2_text *how)
{
    struct str name, value;
    size_t at = head->fields;
    bool chunked = how->framing == HTTP_BODY_CHUNKED;
    while (h2_block_next(block, &at, &name, &value)) {
        if (!is_put_elsewhere(name) && !(how->tunnel && is_of_tunnels(name)) &&
            !(chunked && str_equal(name, STR("content-length"))))
            out_line(text, name, value);
    }
    if (head->has_cookies)
        put_cookies(text, block, head->fields);
}

static enum http_framing framing_of(const struct block_head *head, bool ended)
{
    bool has_trailers = !ended && (head->seen & HTTP_FIELD_BIT(HTTP_FIELD_TRAILER)) != 0;
    if (head->length.p != NULL && !has_trailers)
        return HTTP_BODY_LENGTH;
    return ended ? HTTP_BODY_NONE : HTTP_BODY_CHUNKED;
}

static void frame(const struct block_head *head, struct h2_text *how, enum http_framing framing)
{
    how->framing = framing;
    how->measured = head->length.p != NULL && (framing == HTTP_BODY_LENGTH || framing == HTTP_BODY_CHUNKED);
    how->length = head->bytes;
}

/* Has the stream ended before the body that is announced (RFC 9113 section 8.1.1)? */
static bool is_short(const struct block_head *head, const struct h2_text *how)
{
    return how->ended && how->framing == HTTP_BODY_LENGTH && head->bytes > 0;
}

/* An extended CONNECT that cannot be a tunnel any more is none that anybody could answer. */
static bool begin_request(struct block_head *head, struct h2_text *how)
{
    how->head = str_equal(head->pseudo[METHOD], STR("HEAD"));
    how->tunnel = (head->present & BIT(PROTOCOL)) != 0 && how->websocket.n > 0 &&
                  str_equal_nocase(head->pseudo[PROTOCOL], STR("websocket"));
    frame(head, how, how->tunnel ? HTTP_BODY_CLOSE : framing_of(head, how->ended));
    return !how->ended || !(how->tunnel || is_short(head, how));
}

size_t h2_text_request(const struct h2_block *block, struct h2_text *how, char *out, size_t room)
{
    struct block_head head;
    struct out text = {.at = out, .end = out + room};
    if (!read_block(block, &head) || !is_request_right(&head) || !begin_request(&head, how))
        return 0;
    put_start_line(&text, &head, how->tunnel);
    put_fields(&text, block, &head, how);
    if (how->tunnel) {
        out_put(&text, STR("connection: upgrade\r\nupgrade: websocket\r\n"));
        out_line(&text, STR("sec-websocket-key"), how->websocket);
    }
    if (how->framing == HTTP_BODY_CHUNKED)
        out_put(&text, STR("transfer-encoding: chunked\r\n"));
    return finish(&text, out);
}

/* ---- responses ---- */

/* RFC 9113 section 8.6: there is no 101 here. */
static bool is_status_right(const struct block_head *head, uint16_t *status)
{
    uint64_t value;
    struct str text = head->pseudo[STATUS];
    if (!has_exactly(head, BIT(STATUS), 0) || text.n != 3 || !str_to_u64(text, &value) || value < 100 ||
        value > 599 || value == 101)
        return false;
    *status = (uint16_t)value;
    return true;
}

static void put_status_line(struct out *text, struct str status)
{
    out_put(text, STR("HTTP/1.1 "));
    out_put(text, status);
    out_put(text, STR(" \r\n"));
}

static enum http_framing response_framing(const struct block_head *head, const struct h2_text *how)
{
    if (how->tunnel)
        return HTTP_BODY_CLOSE;
    if (how->status < 200 || how->status == 204 || how->status == 304 || how->head)
        return HTTP_BODY_NONE;
    return head->length.p == NULL && how->ended ? HTTP_BODY_NONE : framing_of(head, how->ended);
}

static void put_framing(struct out *text, const struct block_head *head, const struct h2_text *how)
{
    bool may_have_body = how->status >= 200 && how->status != 204 && how->status != 304 && !how->head;
    if (how->framing == HTTP_BODY_CHUNKED)
        out_put(text, STR("transfer-encoding: chunked\r\n"));
    else if (may_have_body && how->framing == HTTP_BODY_NONE && head->length.p == NULL)
        out_put(text, STR("content-length: 0\r\n"));
}

size_t h2_text_response(const struct h2_block *block, struct h2_text *how, char *out, size_t room)
{
    struct block_head head;
    struct out text = {.at = out, .end = out + room};
    if (!read_block(block, &head) || !is_status_right(&head, &how->status) ||
        (how->status < 200 && how->ended))
        return 0;
    how->tunnel = how->websocket.n > 0 && how->status >= 200 && how->status < 300;
    frame(&head, how, response_framing(&head, how));
    if (is_short(&head, how))
        return 0;
    put_status_line(&text, how->tunnel ? STR("101") : head.pseudo[STATUS]);
    put_fields(&text, block, &head, how);
    if (how->tunnel) {
        out_put(&text, STR("connection: upgrade\r\nupgrade: websocket\r\n"));
        out_line(&text, STR("sec-websocket-accept"), how->websocket);
    } else {
        put_framing(&text, &head, how);
    }
    return finish(&text, out);
}

/* ---- trailers ---- */

size_t h2_text_trailers(const struct h2_block *block, char *out, size_t room)
{
    struct block_head head;
    struct str name, value;
    size_t at = 0;
    struct out text = {.at = out, .end = out + room};
    if (!read_block(block, &head) || head.present != 0)
        return 0;
    while (h2_block_next(block, &at, &name, &value))
        out_line(&text, name, value);
    return finish(&text, out);
}
