/* field: two tables. The ids are found through one slot made of the length and three letters: no two names
 * share a slot, or this file would not compile without a warning. The rules are looked up rarely, so they are
 * lists.
 */
#include "http/field.h"

#define FIELD_SLOTS 128
#define SLOT(length, first, last_two) (((length)*9U + (first) + (last_two)*11U) % FIELD_SLOTS)
/* The letters, the last two of them as a sum, are spelled again, since a letter of a string is no constant in
 * C. */
#define ROW(name, first, last_two, field) \
    [SLOT(sizeof(name) - 1, first, last_two)] = {name, sizeof(name) - 1, field}

static const struct {
    const char *name; /* in small letters */
    uint8_t length;
    uint8_t id;
} slots[FIELD_SLOTS] = {
    ROW("accept", 'a', 'p' + 't', HTTP_FIELD_ACCEPT),
    ROW("client-cert", 'c', 'r' + 't', HTTP_FIELD_CLIENT_CERT),
    ROW("client-cert-chain", 'c', 'i' + 'n', HTTP_FIELD_CLIENT_CERT_CHAIN),
    ROW("connection", 'c', 'o' + 'n', HTTP_FIELD_CONNECTION),
    ROW("content-length", 'c', 't' + 'h', HTTP_FIELD_CONTENT_LENGTH),
    ROW("content-type", 'c', 'p' + 'e', HTTP_FIELD_CONTENT_TYPE),
    ROW("cookie", 'c', 'i' + 'e', HTTP_FIELD_COOKIE),
    ROW("date", 'd', 't' + 'e', HTTP_FIELD_DATE),
    ROW("expect", 'e', 'c' + 't', HTTP_FIELD_EXPECT),
    ROW("forwarded", 'f', 'e' + 'd', HTTP_FIELD_FORWARDED),
    ROW("host", 'h', 's' + 't', HTTP_FIELD_HOST),
    ROW("http2-settings", 'h', 'g' + 's', HTTP_FIELD_HTTP2_SETTINGS),
    ROW("keep-alive", 'k', 'v' + 'e', HTTP_FIELD_KEEP_ALIVE),
    ROW("proxy-authenticate", 'p', 't' + 'e', HTTP_FIELD_PROXY_AUTHENTICATE),
    ROW("proxy-authentication-info", 'p', 'f' + 'o', HTTP_FIELD_PROXY_AUTHENTICATION_INFO),
    ROW("proxy-authorization", 'p', 'o' + 'n', HTTP_FIELD_PROXY_AUTHORIZATION),
    ROW("proxy-connection", 'p', 'o' + 'n', HTTP_FIELD_PROXY_CONNECTION),
    ROW("referer", 'r', 'e' + 'r', HTTP_FIELD_REFERER),
    ROW("te", 't', 't' + 'e', HTTP_FIELD_TE),
    ROW("traceparent", 't', 'n' + 't', HTTP_FIELD_TRACEPARENT),
    ROW("tracestate", 't', 't' + 'e', HTTP_FIELD_TRACESTATE),
    ROW("trailer", 't', 'e' + 'r', HTTP_FIELD_TRAILER),
    ROW("transfer-encoding", 't', 'n' + 'g', HTTP_FIELD_TRANSFER_ENCODING),
    ROW("upgrade", 'u', 'd' + 'e', HTTP_FIELD_UPGRADE),
    ROW("user-agent", 'u', 'n' + 't', HTTP_FIELD_USER_AGENT),
    ROW("via", 'v', 'i' + 'a', HTTP_FIELD_VIA),
    ROW("x-client-fingerprint", 'x', 'n' + 't', HTTP_FIELD_X_CLIENT_FINGERPRINT),
    ROW("x-client-subject", 'x', 'c' + 't', HTTP_FIELD_X_CLIENT_SUBJECT),
    ROW("x-client-verify", 'x', 'f' + 'y', HTTP_FIELD_X_CLIENT_VERIFY),
    ROW("x-forwarded-for", 'x', 'o' + 'r', HTTP_FIELD_X_FORWARDED_FOR),
    ROW("x-forwarded-host", 'x', 's' + 't', HTTP_FIELD_X_FORWARDED_HOST),
    ROW("x-forwarded-port", 'x', 'r' + 't', HTTP_FIELD_X_FORWARDED_PORT),
    ROW("x-forwarded-proto", 'x', 't' + 'o', HTTP_FIELD_X_FORWARDED_PROTO),
    ROW("x-request-id", 'x', 'i' + 'd', HTTP_FIELD_X_REQUEST_ID),
    ROW("x-upswap", 'x', 'a' + 'p', HTTP_FIELD_X_UPSWAP),
    ROW("x-upswap-shadow", 'x', 'o' + 'w', HTTP_FIELD_X_UPSWAP_SHADOW),
};

/* Among token bytes, setting bit 0x20 maps to a letter, digit or '-' nothing but that byte in either case. */
static bool matches_8(const char *name, const char *lower)
{
    uint64_t a, b;
    memcpy(&a, name, sizeof a);
    memcpy(&b, lower, sizeof b);
    return (a | 0x2020202020202020) == b;
}

static bool matches(const char *name, const char *lower, size_t length)
{
    size_t i = 0;
    if (length >= 8) { /* the last eight may overlap those before */
        for (; i + 8 < length; i += 8) {
            if (!matches_8(name + i, lower + i))
                return false;
        }
        return matches_8(name + length - 8, lower + length - 8);
    }
    for (; i < length; i++) {
        if ((name[i] | 0x20) != lower[i])
            return false;
    }
    return true;
}

static inline enum http_field_id id_of(struct str name)
{
    if (name.n < 2)
        return HTTP_FIELD_OTHER;
    const uint8_t *p = (const uint8_t *)name.p, *end = p + name.n;
    unsigned slot = SLOT((unsigned)name.n, p[0] | 0x20U, (end[-2] | 0x20U) + (end[-1] | 0x20U));
    if (slots[slot].length != name.n || !matches(name.p, slots[slot].name, name.n))
        return HTTP_FIELD_OTHER;
    return slots[slot].id;
}

enum http_field_id field_id(struct str name)
{
    return id_of(name);
}

void field_index(struct http_fields *fields)
{
    uint64_t present = 0, repeated = 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        enum http_field_id id = id_of(fields->at[i].name);
        uint64_t bit = HTTP_FIELD_BIT(id);
        fields->at[i].id = id;
        if (present & bit)
            repeated |= bit;
        else
            fields->first[id] = (uint16_t)i;
        present |= bit;
    }
    fields->present = present;
    fields->repeated = repeated;
}

/* A name that ends with '-' stands for all that begin with it. */
static bool is_listed(const char *const *names, struct str name)
{
    for (; *names != NULL; names++) {
        struct str row = str_of(*names);
        bool prefix = row.p[row.n - 1] == '-' && name.n > row.n;
        if (str_equal_nocase(row, prefix ? (struct str){name.p, row.n} : name))
            return true;
    }
    return false;
}

bool field_is_for_all(struct str name)
{
    static const char *const names[] = {
        "accept",
        "accept-",
        "access-control-",
        "age",
        "allow",
        "alt-svc",
        "authorization",
        "cache-control",
        "connection",
        "content-",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "host",
        "if-",
        "last-",
        "link",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "referer",
        "retry-after",
        "sec-",
        "server",
        "set-cookie",
        "strict-transport-security",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "user-agent",
        "vary",
        "via",
        "www-authenticate",
        "x-client-",
        "x-forwarded-",
        "x-frame-options",
        "x-real-ip",
        "x-request-id",
        "x-upswap",
        "x-upswap-shadow",
        NULL,
    };
    return is_listed(names, name);
}

bool field_is_for_heads(struct str name)
{
    static const char *const names[] = {
        "age",
        "authentication-info",
        "authorization",
        "cache-control",
        "client-cert",
        "client-cert-",
        "connection",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-security-policy",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "http2-settings",
        "if-",
        "keep-alive",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "proxy-",
        "range",
        "referer",
        "retry-after",
        "sec-",
        "set-cookie",
        "strict-transport-security",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-client-",
        "x-forwarded-",
        "x-real-ip",
        "x-request-id",
        "x-upswap",
        "x-upswap-shadow",
        NULL,
    };
    return is_listed(names, name);
}
