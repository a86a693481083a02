/* cookie: the pairs of a Cookie field (RFC 6265 section 5.4), as they came.
 *
 * Browsers send what servers have set, and servers set much that the grammar forbids; so a pair is whatever
 * stands between semicolons, and a value keeps its quotes and its bytes. */
#pragma once

#include "http/http.h"

struct http_cookie {
    struct str name;  /* without white space around it; empty where the pair has no '=' */
    struct str value; /* behind the first '=', without white space around it */
    struct str pair;  /* both, without white space around it */
};

/* Takes the next pair off *rest, which begins as a field's value. False when there are no more. */
bool http_cookie_next(struct str *rest, struct http_cookie *cookie);

/* A walk over the cookies of one name (its case matters) in all Cookie lines. */
struct http_cookies {
    const struct http_fields *fields;
    struct str name;
    const struct http_field *line; /* the next one; NULL: there are no more */
    struct str rest;
};
struct http_cookies http_cookies_named(const struct http_fields *fields, struct str name);
/* The next one's value. False when there are no more. */
bool http_cookies_next(struct http_cookies *walk, struct str *value);

/* The value of the first cookie of this name. False: there is none. */
bool http_cookie_find(const struct http_fields *fields, struct str name, struct str *value);

/* May this be a cookie's name (a token, RFC 6265 section 4.1.1)? */
bool http_cookie_is_name(struct str name);
