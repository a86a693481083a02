/* A request target and an authority: their parts are all of the text, each part read again is the same, and
 * whether a path climbs is what a plain walk over its segments says. The first line of the input is a target,
 * what follows it is an authority. */
#include "fuzz.h"

#include "http/head.h"
#include "http/target.h"

#include <stdlib.h>

/* ---- a plain walk ---- */

enum { SEGMENTS_MAX = 4096 };

/* The path with all escapes undone, once. */
static size_t unescape(struct str path, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < path.n; i++) {
        bool escape = path.p[i] == '%' && i + 2 < path.n && is_class(path.p[i + 1], CLASS_HEX) &&
                      is_class(path.p[i + 2], CLASS_HEX);
        out[n++] = escape ? (char)(head_hex(path.p[i + 1]) * 16 + head_hex(path.p[i + 2])) : path.p[i];
        i += escape ? 2 : 0;
    }
    return n;
}

/* A segment as an app may see it: without parameters. */
static struct str without_parameters(struct str segment)
{
    struct str name;
    str_split(&segment, ';', &name);
    return name;
}

/* Empty segments and "." stay where they are, ".." goes up, all else goes down. */
static bool climbs(struct str path)
{
    char *plain = malloc(path.n + 1);
    struct str rest = {plain, unescape(path, plain)}, segment;
    long depth = 0;
    bool above = false;
    for (size_t i = 0; i < rest.n; i++)
        plain[i] = plain[i] == '\\' ? '/' : plain[i];
    while (str_split(&rest, '/', &segment)) {
        struct str name = without_parameters(segment);
        if (str_equal(name, STR("..")))
            depth--;
        else if (name.n > 0 && !str_equal(name, STR(".")))
            depth++;
        above |= depth < 0;
    }
    free(plain);
    return above;
}

/* ---- targets ---- */

static void check_again(const struct http_request *request)
{
    struct http_request again = {.method = request->method};
    if (request->path.p[0] != '/')
        return;
    char *text = malloc(request->path.n + request->query.n);
    memcpy(text, request->path.p, request->path.n);
    if (request->query.n > 0)
        memcpy(text + request->path.n, request->query.p, request->query.n);
    fuzz_check(target_read(&again, (struct str){text, request->path.n + request->query.n}));
    fuzz_check(again.form == HTTP_TARGET_ORIGIN);
    fuzz_check(str_equal(again.path, request->path) && str_equal(again.query, request->query));
    free(text);
}

static void check_target(enum http_method method, struct str target)
{
    struct http_request request = {.method = method};
    if (!target_read(&request, target))
        return;
    size_t scheme = 0, path = request.path.n;
    switch (request.form) {
    case HTTP_TARGET_ORIGIN:
        fuzz_check(target.p[0] == '/');
        break;
    case HTTP_TARGET_ABSOLUTE:
        scheme = strlen("http://") + (target.p[4] != ':');
        fuzz_check(request.authority.p == target.p + scheme && request.host.n > 0);
        path = fuzz_lies_in(request.path, target.p, target.n) ? path : 0;
        break;
    case HTTP_TARGET_ASTERISK:
        fuzz_check(method == HTTP_OPTIONS && target.n == 1);
        break;
    case HTTP_TARGET_AUTHORITY:
        fuzz_check(false);
    }
    fuzz_check(scheme + request.authority.n + path + request.query.n == target.n);
    fuzz_check(request.query.n == 0 || request.query.p[0] == '?');
    fuzz_check(request.query.n == 0 || request.query.p + request.query.n == target.p + target.n);
    for (size_t i = 0; i < target.n; i++)
        fuzz_check(target.p[i] > ' ' && target.p[i] < 0x7f && target.p[i] != '#');
    fuzz_check(memchr(request.path.p, '?', request.path.n) == NULL);
    check_again(&request);
}

/* ---- authorities ---- */

static void check_authority(struct str text)
{
    struct str host, again;
    uint16_t port, port_again;
    if (!target_authority(text, &host, &port))
        return;
    size_t rest = text.n - host.n;
    fuzz_check(host.n > 0 && host.p == text.p);
    fuzz_check(rest == 0 || text.p[host.n] == ':');
    fuzz_check(rest <= 1 ? port == 0 : port > 0);
    fuzz_check(memchr(text.p, '@', text.n) == NULL && memchr(text.p, '/', text.n) == NULL);
    fuzz_check(target_authority(host, &again, &port_again));
    fuzz_check(str_equal(host, again) && port_again == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char *copy = fuzz_copy(bytes, count);
    struct str rest = {copy, count}, target = rest;
    if (count > 0 && memchr(copy, '\n', count) != NULL)
        str_split(&rest, '\n', &target);
    if (target.n > 0)
        fuzz_check(http_path_climbs(target) == climbs(target));
    if (is_all_class(target, CLASS_URI)) {
        check_target(HTTP_GET, target);
        check_target(HTTP_OPTIONS, target);
    }
    check_authority(rest);
    free(copy);
    return 0;
}
