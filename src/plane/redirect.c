/* Requests that belong elsewhere: to https, or to the one host by which a service wants to be known. The
 * answer is 308, which keeps method and body (RFC 9110 section 15.4.9); path and query go into it byte for
 * byte. */
#include "plane/exchange.h"

static bool is_at(struct str host, struct str canonical)
{
    struct str name;
    str_split(&canonical, ':', &name); /* the config takes no IPv6 literal here */
    return str_equal_nocase(host, name);
}

/* Where the port that the client used is not the one that we listen on, something in front maps ports, and
 * maps the usual one of https too. */
static struct str https_port(const struct exchange *x, const struct http_request *request)
{
    const struct peer *peer = &x->client->peer;
    const struct snapshot_settings *settings = snapshot_settings(x->view->snapshot);
    bool mapped = request->port == 0 && !str_equal(peer_port(peer), STR("80"));
    if (mapped || settings->https_port_length == 0)
        return STR("");
    return (struct str){settings->https_port, settings->https_port_length};
}

/* The port as the client wrote it. */
static struct str port_of(const struct http_request *request)
{
    size_t n = request->authority.n - request->host.n;
    if (request->port == 0 || n < 2)
        return STR("");
    return (struct str){request->authority.p + request->host.n + 1, n - 1};
}

/* By its listener, whatever the service, or by its service where the client does not speak TLS. */
static bool goes_to_https(const struct exchange *x)
{
    return x->client->peer.door.redirect ||
           (x->service != NULL && x->rules->redirect_https != 0 && !x->https);
}

static struct str canonical_host(const struct exchange *x)
{
    if (x->service == NULL || !snapshot_has_text(x->rules, SNAPSHOT_CANONICAL_HOST))
        return STR("");
    return snapshot_service_text(x->view->snapshot, x->service, SNAPSHOT_CANONICAL_HOST);
}

const struct end *redirect_of(struct exchange *x, const struct http_request *request)
{
    struct str canonical = canonical_host(x);
    bool to_https = goes_to_https(x), whole_server = request->form == HTTP_TARGET_ASTERISK;
    bool to_host =
        canonical.n > 0 && request->host.n > 0 && !whole_server && !is_at(request->host, canonical);
    if (!to_https && !to_host)
        return NULL;
    if (request->host.n == 0 && canonical.n == 0) /* of HTTP/1.0: there is nowhere to go */
        return &end_missing_host;
    struct http_location *location = &x->worker->location;
    *location = (struct http_location){.https = to_https || x->https,
                                       .host = request->host,
                                       .port = to_https ? https_port(x, request) : port_of(request),
                                       .path = whole_server ? STR("/") : request->path,
                                       .query = request->query};
    if (to_host || request->host.n == 0) {
        location->host = canonical;
        if (memchr(canonical.p, ':', canonical.n) != NULL)
            location->port = STR("");
    }
    x->location = location;
    return to_host ? &end_canonical_host : &end_redirect_https;
}
