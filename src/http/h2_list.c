/* From heads to lists. Invariant: what goes in has passed the parser of HTTP/1.1, so its names are tokens and
 * its values hold no control bytes. */
#include "http/h2_list.h"

static nghttp2_nv *add(struct h2_list *list, struct str name, struct str value)
{
    nghttp2_nv *pair = &list->at[list->count++];
    *pair = (nghttp2_nv){
        .name = (uint8_t *)name.p,
        .namelen = name.n,
        .value = (uint8_t *)value.p,
        .valuelen = value.n,
    };
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

static void add_fields(struct h2_list *list, const struct http_fields *fields, uint64_t never, bool tunnel)
{
    const uint64_t once = HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID) | HTTP_FIELD_BIT(HTTP_FIELD_TRACEPARENT);
    char *names = list->names;
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct http_field *field = &fields->at[i];
        if ((never & HTTP_FIELD_BIT(field->id)) || (tunnel && is_of_handshake(field->name)))
            continue;
        nghttp2_nv *pair = add(list, small(&names, field->name), field->value);
        /* Does not come twice: it would only drive others out of the peer's table. */
        if (once & HTTP_FIELD_BIT(field->id))
            pair->flags = NGHTTP2_NV_FLAG_NO_INDEX;
    }
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
    add_fields(list, &request->fields, NEVER | host | te, tunnel);
}

void h2_list_response(struct h2_list *list, const struct http_response *response)
{
    bool tunnel = response->status == 101;
    unsigned status = tunnel ? 200 : response->status;
    list->count = 0;
    list->status[0] = (char)('0' + status / 100);
    list->status[1] = (char)('0' + status / 10 % 10);
    list->status[2] = (char)('0' + status % 10);
    add(list, STR(":status"), (struct str){list->status, sizeof list->status});
    add_fields(list, &response->fields, NEVER | HTTP_FIELD_BIT(HTTP_FIELD_TE), tunnel);
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
