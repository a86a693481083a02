/* forward: the heads that upswap sends on: hop-by-hop fields removed, its own fields added (RFC 9110
 * section 7.6).
 *
 * Host is passed as it came (of an absolute form: its authority, RFC 9112 section 3.2.2). Upswap's fields are
 * written after the client's, and a client cannot remove them through Connection. What a client sends under
 * such a name, or under one with '_' for '-' (which CGI-like apps cannot tell apart), does not pass; nor do
 * Proxy-*, which are between a client and a proxy of its own choice. */
#pragma once

#include "http/http.h"
#include "http/request.h"
#include "http/response.h"
#include "http/rules.h"

/* What upswap knows of the client and adds for the app. */
struct http_forward {
    struct str client; /* the peer's address, for X-Forwarded-For */
    struct str proto;  /* "http" or "https" */
    struct str port;   /* the listener's port as text */
    /* X-Client-Verify: "SUCCESS" or "NONE", where clients are asked for certificates; else empty. The subject
     * and fingerprint of one that was verified. */
    struct str client_verify, client_subject, client_fingerprint;
    struct str request_id; /* a new one, used unless a trusted peer sent one */
    struct str trace;      /* traceparent of a trace that begins here; empty: none does */
    bool traced;           /* the client's traceparent and tracestate are passed; else they are not */
    bool http2;            /* the request came over HTTP/2: for Via */
    bool trusted;   /* the peer is a trusted proxy: its X-Forwarded-*, Forwarded and X-Request-Id are kept */
    uint32_t strip; /* bytes of the path to take off (a matched prefix): all of it, or up to a '/' */
    enum http_framing framing;             /* how the body goes out: as it came */
    bool keep_alive;                       /* ask the upstream to keep the connection */
    bool forwarded;                        /* RFC 7239 Forwarded is written, behind a trusted peer's */
    struct str hidden[3];                  /* names of cookies that are upswap's own: the app sees them not */
    struct str rules;                      /* for requests, as of rules.h; empty: none */
    const struct http_variable *variables; /* of the rules; NULL: none */
};

/* Writes the request head for an instance (always HTTP/1.1) into `room` bytes at out. Returns its length, or
 * 0 if it does not fit (at most the parsed head's length + HTTP_FORWARD_EXTRA + the lengths of the strings in
 * `how`, three times the authority for X-Forwarded-Host and Forwarded, and http_rules_room). Expect:
 * 100-continue (from HTTP/1.1) and Upgrade (with Connection: upgrade) are passed on; TE only as "trailers".
 * Via gets "1.1 upswap" (or 1.0, or 2.0) appended. Where the request has no authority (HTTP/1.0), Host is
 * empty: RFC 9112 section 3.2. */
size_t http_forward_request(const struct http_request *request, const struct http_forward *how, char *out,
                            size_t room);

/* The X-Request-Id that the app gets: the one of a trusted peer, if there is exactly one, of 1 to 128 visible
 * ASCII bytes, else how->request_id. */
struct str http_forward_request_id(const struct http_request *request, const struct http_forward *how);

/* Did the client use https, as far as upswap or a trusted peer can tell? Of a list the first counts; what
 * comes twice is not believed. */
bool http_forward_is_https(const struct http_request *request, const struct http_forward *how);

/* What the client side needs of a response. */
struct http_return {
    uint8_t client_minor;      /* HTTP/1.minor of the request */
    bool keep_alive;           /* the connection stays open after this response */
    enum http_framing framing; /* how the body goes out: LENGTH, CHUNKED, CLOSE or NONE */
    struct str date; /* an HTTP date (RFC 9110 section 5.6.7), added when the upstream sent no Date; final
                        answers only */
    struct str request_id; /* X-Request-Id for the client; empty: none */
    uint32_t hsts_s; /* Strict-Transport-Security's max-age, added to a final answer that has none; 0: none */
    struct str lines; /* whole field lines that upswap adds, each with its CRLF */
    struct str rules; /* for responses, as of rules.h; empty: none */
    const struct http_variable *variables;
};

/* Writes the response head for the client into `room` bytes at out. Returns its length, or 0 if it does not
 * fit (at most the parsed head's length + HTTP_FORWARD_EXTRA + how->lines + http_rules_room). 101 keeps
 * Upgrade and gets Connection: upgrade. An upstream's X-Upswap is dropped: only upswap speaks there. */
size_t http_forward_response(const struct http_response *response, const struct http_return *how, char *out,
                             size_t room);

/* Writes the fields that may pass on, and that no rule drops, as field lines (for a trailer section; without
 * the empty line). 0: no room or none. */
size_t http_forward_trailers(const struct http_fields *fields, struct str rules, bool request, char *out,
                             size_t room);

#define HTTP_FORWARD_EXTRA 640 /* bytes a head may grow by, besides the strings of struct http_forward */
