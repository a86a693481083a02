/* template: texts in which %{name} stands for a value that is known later. A name that is in no list stays as
 * it is. */
#pragma once

#include "http/out.h"

struct http_variable {
    struct str name; /* of the last one: empty */
    struct str value;
};

/* Takes the next piece off *rest: literal text, or the value of a variable. False when there are no more. */
bool template_next(struct str *rest, const struct http_variable *variables, struct str *piece);

void template_put(struct out *out, struct str text, const struct http_variable *variables);
/* Bytes that template_put writes. */
size_t template_size(struct str text, const struct http_variable *variables);
