/* h2_list: from the head of an HTTP/1.1 message to the field list of an HTTP/2 one: pseudo-header fields
 * first, names in small letters, nothing that is between two connections only (RFC 9113 section 8.2.2). */
#pragma once

#include "http/http.h"
#include "http/request.h"
#include "http/response.h"

#include <nghttp2/nghttp2.h>

#define H2_LIST_MAX (HTTP_FIELDS_MAX + 5)

/* A list; valid as long as the head that it was made of, and the names. */
struct h2_list {
    size_t count;
    char status[3];
    char *names; /* the caller's: room for all names of the head in small letters */
    nghttp2_nv at[H2_LIST_MAX];
};

/* The list of a request, Host as :authority. `tunnel`: as an extended CONNECT for "websocket" (RFC 8441) in
 * place of its Upgrade. */
void h2_list_request(struct h2_list *list, const struct http_request *request, struct str scheme,
                     bool tunnel);

/* The list of a response; a 101 becomes the 200 that accepts an extended CONNECT. */
void h2_list_response(struct h2_list *list, const struct http_response *response);

/* The fields of a trailer section, those that are `listed` left out. */
void h2_list_trailers(struct h2_list *list, const struct http_fields *fields);
