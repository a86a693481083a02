/* From heads to lists. Invariant: what goes in has passed the parser of HTTP/1.1, or is upswap's own, so its
 * names are tokens and its values hold no control bytes. */
#include "http/h2_list.h"

#include "http/field.h"
#include "http/head.h"

static struct h2_pair *add(struct h2_list *list, struct str name, struct str value)
{
    struct h2_pair *pair = &list->at[list->count++];
    *pair = (struct h2_pair){name, value, HPACK_INDEX};
    return pair;
}

/* Of eight bytes that are all ASCII, the capitals in small letters. */
static void small_8(char *to, const char *from)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t x;
    memcpy(&x, from, sizeof x);
    uint64_t from_a = x + ones * (0x80 - 'A'), behind_z = x + ones * (0x80 - 'Z' - 1);
    x |= (from_a & ~behind_z & ones * 0x80) >> 2;
    memcpy(to, &x, sizeof x);
}

/* Token bytes: nothing but letters changes. */
static struct str small(char **to, struct str name)
{
    struct str made = {*to, name.n};
    size_t i = 0;
    for (; i + 8 <= name.n; i += 8)
        small_8(*to + i, name.p + i);
    if (i < name.n && name.n > 8) /* the last eight overlap those before */
        small_8(*to + name.n - 8, name.p + name.n - 8);
    else
        for (; i < name.n; i++)
            (*to)[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i]);
    *to += name.n;
    return made;
}

#define NEVER                                                                              \
    (HTTP_FIELD_BIT(HTTP_FIELD_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_HTTP2_SETTINGS) |   \
     HTTP_FIELD_BIT(HTTP_FIELD_KEEP_ALIVE) | HTTP_FIELD_BIT(HTTP_FIELD_PROXY_CONNECTION) | \
     HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING) | HTTP_FIELD_BIT(HTTP_FIELD_UPGRADE))

static bool is_of_handshake(struct str name)
{
    return str_equal_nocase(name, STR("sec-websocket-key")) ||
           str_equal_nocase(name, STR("sec-websocket-accept"));
}

/* Unless its id is in `never`. */
static void add_field(struct h2_list *list, char **names, const struct http_field *field, uint64_t never,
                      bool tunnel)
{
    const uint64_t once = HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID) | HTTP_FIELD_BIT(HTTP_FIELD_TRACEPARENT);
    if ((never & HTTP_FIELD_BIT(field->id)) || (tunnel && is_of_handshake(field->name)))
        return;
    struct h2_pair *pair = add(list, small(names, field->name), field->value);
    /* Does not come twice: it would only drive others out of the peer's table. */
    if (once & HTTP_FIELD_BIT(field->id))
        pair->how = HPACK_ONCE;
}

void h2_list_request(struct h2_list *list, const struct http_request *request, struct str scheme, bool tunnel)
{
    const uint64_t host = HTTP_FIELD_BIT(HTTP_FIELD_HOST);
    const uint64_t te = request->te_trailers ? 0 : HTTP_FIELD_BIT(HTTP_FIELD_TE);
    list->count = 0;
    add(list, STR(":method"), tunnel ? STR("CONNECT") : request->method_text);
    add(list, STR(":scheme"), scheme);
    if (request->authority.n > 0)
        add(list, STR(":authority"), request->authority);
    add(list, STR(":path"), request->target);
    if (tunnel)
        add(list, STR(":protocol"), STR("websocket"));
    char *names = list->names;
    for (uint32_t i = 0; i < request->fields.count; i++)
        add_field(list, &names, &request->fields.at[i], NEVER | host | te, tunnel);
}

/* ---- responses ---- */

#define STATUS_AT 9 /* in a head */
#define START_MIN (sizeof "HTTP/1.1 200 \r\n" - 1)

/* Takes the line at *at, which moves behind it. False: it is not whole. */
static bool take_line(const char **at, const char *end, struct http_field *field)
{
    const char *colon = memchr(*at, ':', (size_t)(end - *at));
    const char *stop = colon == NULL ? NULL : memchr(colon, '\r', (size_t)(end - colon));
    if (stop == NULL || stop < colon + 2 || end - stop < 2)
        return false;
    field->name = (struct str){*at, (size_t)(colon - *at)};
    field->value = (struct str){colon + 2, (size_t)(stop - colon - 2)};
    /* A rule's variable may be empty at an end, where there is no white space (RFC 9113 section 8.2.1). */
    if (is_blank(colon[2]) || is_blank(stop[-1]))
        field->value = str_trim(field->value);
    field->id = field_id(field->name);
    *at = stop + 2;
    return true;
}

/* Takes the lines up to the empty one, and notes what they say of the body. Returns where it ends; NULL: it
 * is not there. */
static const char *take_fields(struct h2_list *list, struct h2_answer *answer, const char *at,
                               const char *end)
{
    bool tunnel = answer->status == 101;
    char *names = list->names;
    struct http_field field;
    while (at < end && *at != '\r') {
        if (list->count == H2_LIST_MAX || !take_line(&at, end, &field))
            return NULL;
        if (field.id == HTTP_FIELD_TRANSFER_ENCODING)
            answer->framing = HTTP_BODY_CHUNKED;
        if (field.id == HTTP_FIELD_CONTENT_LENGTH && str_to_u64(field.value, &answer->length))
            answer->framing = HTTP_BODY_LENGTH;
        add_field(list, &names, &field, NEVER | HTTP_FIELD_BIT(HTTP_FIELD_TE), tunnel);
    }
    return end - at < 2 ? NULL : at + 2;
}

size_t h2_list_response(struct h2_list *list, struct h2_answer *answer, bool head, const char *bytes,
                        size_t count)
{
    const char *end = bytes + count, *line = memchr(bytes, '\r', count);
    if (line == NULL || count < START_MIN)
        return 0;
    const char *digits = bytes + STATUS_AT;
    unsigned status =
        100U * (unsigned)(digits[0] - '0') + 10U * (unsigned)(digits[1] - '0') + (unsigned)(digits[2] - '0');
    *answer = (struct h2_answer){.status = (uint16_t)status, .framing = HTTP_BODY_CLOSE};
    memcpy(list->status, status == 101 ? "200" : digits, sizeof list->status);
    list->count = 0;
    add(list, STR(":status"), (struct str){list->status, sizeof list->status});
    const char *stop = take_fields(list, answer, line + 2, end);
    if (status == 101)
        answer->framing = HTTP_BODY_CLOSE;
    else if (status < 200 || status == 204 || status == 304 || head)
        answer->framing = HTTP_BODY_NONE;
    return stop == NULL ? 0 : (size_t)(stop - bytes);
}

void h2_list_trailers(struct h2_list *list, const struct http_fields *fields)
{
    char *names = list->names;
    list->count = 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        if (!fields->at[i].listed && !(NEVER & HTTP_FIELD_BIT(fields->at[i].id)))
            add(list, small(&names, fields->at[i].name), fields->at[i].value);
    }
}
