/* h2_list: from the head of an HTTP/1.1 message to the field list of an HTTP/2 one: pseudo-header fields
 * first, names in small letters, nothing that is between two connections only (RFC 9113 section 8.2.2). */
#pragma once

#include "http/hpack.h"
#include "http/http.h"
#include "http/request.h"

#define H2_LIST_MAX (HTTP_FIELDS_MAX + 64) /* with what upswap adds */

struct h2_pair {
    struct str name, value;
    enum hpack_how how;
};

/* A list; valid as long as the head that it was made of, and the names. */
struct h2_list {
    size_t count;
    char status[3];
    char *names; /* the caller's: room for all names of the head in small letters */
    struct h2_pair at[H2_LIST_MAX];
};

/* The list of a request, Host as :authority. `tunnel`: as an extended CONNECT for "websocket" (RFC 8441) in
 * place of its Upgrade. */
void h2_list_request(struct h2_list *list, const struct http_request *request, struct str scheme,
                     bool tunnel);

/* What the head of a response says besides its fields. */
struct h2_answer {
    uint16_t status;
    enum http_framing framing; /* HTTP_BODY_CLOSE behind a 101 */
    uint64_t length;           /* bytes of the body, with HTTP_BODY_LENGTH */
};

/* The list of the response whose head is at the front of the bytes; `head`: it answers a HEAD. A 101 becomes
 * the 200 that accepts an extended CONNECT. The head is one that upswap has written: every line is "Name:
 * value" and what it holds has been judged, so it is not judged again but split. Returns its length; 0: it is
 * not whole, or there are too many fields. */
size_t h2_list_response(struct h2_list *list, struct h2_answer *answer, bool head, const char *bytes,
                        size_t count);

/* The fields of a trailer section, those that are `listed` left out. */
void h2_list_trailers(struct h2_list *list, const struct http_fields *fields);
