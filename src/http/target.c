/* target: the forms of a request target. What it accepts has one reading: no user information, no fragment,
 * no host that is neither a registered name nor an address. */
#include "http/target.h"

#include "http/head.h"

#include <arpa/inet.h>

static bool is_ipv6(struct str text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (text.n >= sizeof copy || memchr(text.p, '\0', text.n) != NULL)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* The end of the name that begins there, or where an escape in it is none. */
static const char *name_end(const char *at, const char *end)
{
    for (;;) {
        at = head_span(at, end, CLASS_HOST);
        if (end - at < 3 || *at != '%' || !is_class(at[1], CLASS_HEX) || !is_class(at[2], CLASS_HEX))
            return at;
        at += 3;
    }
}

/* NULL: there is none whole. */
static const char *literal_end(const char *at, const char *end)
{
    const char *stop = memchr(at, ']', (size_t)(end - at));
    return stop != NULL && is_ipv6((struct str){at + 1, (size_t)(stop - at) - 1}) ? stop + 1 : NULL;
}

/* An empty port is allowed by the grammar, and means none. */
static bool read_port(struct str text, uint16_t *port)
{
    uint64_t value = 0;
    if (text.n > 0 && (!str_to_u64(text, &value) || value == 0 || value > UINT16_MAX))
        return false;
    *port = (uint16_t)value;
    return true;
}

bool target_authority(struct str authority, struct str *host, uint16_t *port)
{
    const char *p = authority.p, *end = p + authority.n;
    const char *stop = authority.n > 0 && *p == '[' ? literal_end(p, end) : name_end(p, end);
    if (stop == NULL || stop == p)
        return false;
    *host = (struct str){p, (size_t)(stop - p)};
    *port = 0;
    if (stop == end)
        return true;
    return *stop == ':' && read_port((struct str){stop + 1, (size_t)(end - stop - 1)}, port);
}

/* One byte of a path as an app may read it: an escaped one is the byte that it stands for. */
static char path_byte(const char **at, const char *end)
{
    const char *p = *at;
    if (*p != '%' || end - p < 3 || !is_class(p[1], CLASS_HEX) || !is_class(p[2], CLASS_HEX)) {
        *at = p + 1;
        return *p;
    }
    *at = p + 3;
    return (char)(head_hex(p[1]) << 4 | head_hex(p[2]));
}

bool http_path_climbs(struct str path)
{
    const char *at = path.p, *end = path.p + path.n;
    unsigned depth = 0;
    while (at < end) {
        unsigned bytes = 0, dots = 0;
        bool name = true; /* not in the parameters behind it */
        for (char byte; at < end && (byte = path_byte(&at, end)) != '/' && byte != '\\';) {
            name = name && byte != ';';
            bytes += name;
            dots += name && byte == '.';
        }
        if (bytes == 2 && dots == 2 && depth-- == 0)
            return true;
        depth += bytes > 2 || bytes > dots;
    }
    return false;
}

/* Path and query of the origin form, and what may follow the authority of the absolute form. */
static bool read_path(struct http_request *request, struct str text)
{
    const char *end = text.p + text.n, *path_end = head_span(text.p, end, CLASS_PATH);
    request->path = (struct str){text.p, (size_t)(path_end - text.p)};
    request->query = (struct str){path_end, (size_t)(end - path_end)};
    if (path_end == end)
        return true;
    return *path_end == '?' && head_span(path_end + 1, end, CLASS_QUERY) == end;
}

/* OPTIONS on an absolute form without path and query is meant for the server: RFC 9112 section 3.2.4. */
static struct str missing_path(const struct http_request *request)
{
    return request->method == HTTP_OPTIONS && request->query.n == 0 ? STR("*") : STR("/");
}

static bool read_absolute(struct http_request *request, struct str target)
{
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct str scheme = schemes[i];
        if (target.n < scheme.n || !str_equal_nocase((struct str){target.p, scheme.n}, scheme))
            continue;
        const char *p = target.p + scheme.n, *end = target.p + target.n;
        while (p < end && *p != '/' && *p != '?')
            p++;
        request->form = HTTP_TARGET_ABSOLUTE;
        request->authority = (struct str){target.p + scheme.n, (size_t)(p - target.p) - scheme.n};
        if (!target_authority(request->authority, &request->host, &request->port) ||
            !read_path(request, (struct str){p, (size_t)(end - p)}))
            return false;
        if (request->path.n == 0)
            request->path = missing_path(request);
        return true;
    }
    return false;
}

bool target_read(struct http_request *request, struct str target)
{
    request->target = target;
    if (target.n > 0 && target.p[0] == '/') {
        request->form = HTTP_TARGET_ORIGIN;
        return read_path(request, target);
    }
    if (str_equal(target, STR("*"))) {
        request->form = HTTP_TARGET_ASTERISK;
        request->path = target;
        request->query = (struct str){target.p + 1, 0};
        return request->method == HTTP_OPTIONS;
    }
    return read_absolute(request, target);
}
