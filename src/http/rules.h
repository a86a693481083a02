/* rules: what a service's header rules do to a head: fields that are removed, set (whatever the other side
 * has sent under that name) or added.
 *
 * They come as text, a line a rule: "-Name", "=Name: value", "+Name: value"; a removed name may end with '*',
 * which stands for any rest. A value may hold variables (template.h); one that comes out empty writes no
 * line. A rule can neither end a line nor touch what frames a message, what ends at each hop, or what upswap
 * itself tells: such lines of the text are not followed. */
#pragma once

#include "http/http.h"
#include "http/template.h"

#define HTTP_RULES_MAX 65        /* of one direction */
#define HTTP_RULES_TEXT_MAX 8320 /* bytes */

struct http_rule {
    char what; /* '-', '=' or '+' */
    bool prefix;
    struct str name, value;
};

struct http_rules {
    bool request;
    unsigned count;
    uint64_t lengths; /* a bit for each length, modulo 64, that a name may have to be dropped */
    struct http_rule at[HTTP_RULES_MAX];
};

/* Reads the text; the rules point into it. `request`: names count with '_' for '-' too, since apps behind
 * CGI-like interfaces cannot tell them apart, and Host may be set. */
void http_rules_read(struct http_rules *rules, struct str text, bool request);

/* Must a field of this name that came not go on? */
bool http_rules_drop(const struct http_rules *rules, struct str name);

/* The value that Host is set to, as a template, or an empty one. */
struct str http_rules_host(const struct http_rules *rules);

/* Writes the lines that are set and added, but for Host. */
void http_rules_put(const struct http_rules *rules, struct out *out, const struct http_variable *variables);

/* At least the bytes that the rules of the text may write. */
size_t http_rules_room(struct str text, const struct http_variable *variables);
