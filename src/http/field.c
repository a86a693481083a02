/* field: two tables. The ids are found through one slot made of the length and two letters: no two names
 * share a slot, or this file would not compile without a warning. The rules are looked up rarely, so they are
 * lists.
 */
#include "http/field.h"

#define FIELD_SLOTS 128
#define SLOT(length, first, last_but_one) (((length) + (first) + (last_but_one)*53U) % FIELD_SLOTS)
/* The two letters are spelled again, since a letter of a string is no constant in C. */
#define ROW(name, first, last_but_one, field) \
    [SLOT(sizeof(name) - 1, first, last_but_one)] = {name, sizeof(name) - 1, field}

static const struct {
    const char *name; /* in small letters */
    size_t length;
    enum http_field_id id;
} slots[FIELD_SLOTS] = {
    ROW("accept", 'a', 'p', HTTP_FIELD_ACCEPT),
    ROW("client-cert", 'c', 'r', HTTP_FIELD_CLIENT_CERT),
    ROW("client-cert-chain", 'c', 'i', HTTP_FIELD_CLIENT_CERT_CHAIN),
    ROW("connection", 'c', 'o', HTTP_FIELD_CONNECTION),
    ROW("content-length", 'c', 't', HTTP_FIELD_CONTENT_LENGTH),
    ROW("cookie", 'c', 'i', HTTP_FIELD_COOKIE),
    ROW("date", 'd', 't', HTTP_FIELD_DATE),
    ROW("expect", 'e', 'c', HTTP_FIELD_EXPECT),
    ROW("forwarded", 'f', 'e', HTTP_FIELD_FORWARDED),
    ROW("host", 'h', 's', HTTP_FIELD_HOST),
    ROW("http2-settings", 'h', 'g', HTTP_FIELD_HTTP2_SETTINGS),
    ROW("keep-alive", 'k', 'v', HTTP_FIELD_KEEP_ALIVE),
    ROW("proxy-authenticate", 'p', 't', HTTP_FIELD_PROXY_AUTHENTICATE),
    ROW("proxy-authentication-info", 'p', 'f', HTTP_FIELD_PROXY_AUTHENTICATION_INFO),
    ROW("proxy-authorization", 'p', 'o', HTTP_FIELD_PROXY_AUTHORIZATION),
    ROW("proxy-connection", 'p', 'o', HTTP_FIELD_PROXY_CONNECTION),
    ROW("referer", 'r', 'e', HTTP_FIELD_REFERER),
    ROW("te", 't', 't', HTTP_FIELD_TE),
    ROW("trailer", 't', 'e', HTTP_FIELD_TRAILER),
    ROW("transfer-encoding", 't', 'n', HTTP_FIELD_TRANSFER_ENCODING),
    ROW("upgrade", 'u', 'd', HTTP_FIELD_UPGRADE),
    ROW("user-agent", 'u', 'n', HTTP_FIELD_USER_AGENT),
    ROW("via", 'v', 'i', HTTP_FIELD_VIA),
    ROW("x-client-fingerprint", 'x', 'n', HTTP_FIELD_X_CLIENT_FINGERPRINT),
    ROW("x-client-subject", 'x', 'c', HTTP_FIELD_X_CLIENT_SUBJECT),
    ROW("x-client-verify", 'x', 'f', HTTP_FIELD_X_CLIENT_VERIFY),
    ROW("x-forwarded-for", 'x', 'o', HTTP_FIELD_X_FORWARDED_FOR),
    ROW("x-forwarded-host", 'x', 's', HTTP_FIELD_X_FORWARDED_HOST),
    ROW("x-forwarded-port", 'x', 'r', HTTP_FIELD_X_FORWARDED_PORT),
    ROW("x-forwarded-proto", 'x', 't', HTTP_FIELD_X_FORWARDED_PROTO),
    ROW("x-request-id", 'x', 'i', HTTP_FIELD_X_REQUEST_ID),
    ROW("x-upswap", 'x', 'a', HTTP_FIELD_X_UPSWAP),
};

/* Among token bytes, setting bit 0x20 maps to a letter, digit or '-' nothing but that byte in either case. */
static bool matches(const char *name, const char *lower, size_t length)
{
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t a, b;
        memcpy(&a, name + i, sizeof a);
        memcpy(&b, lower + i, sizeof b);
        if ((a | 0x2020202020202020) != b)
            return false;
    }
    for (; i < length; i++) {
        if ((name[i] | 0x20) != lower[i])
            return false;
    }
    return true;
}

enum http_field_id field_id(struct str name)
{
    if (name.n < 2)
        return HTTP_FIELD_OTHER;
    unsigned slot = SLOT((unsigned)name.n, (uint8_t)name.p[0] | 0x20U, (uint8_t)name.p[name.n - 2] | 0x20U);
    if (slots[slot].length != name.n || !matches(name.p, slots[slot].name, name.n))
        return HTTP_FIELD_OTHER;
    return slots[slot].id;
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
        NULL,
    };
    return is_listed(names, name);
}
