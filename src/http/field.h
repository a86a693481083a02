/* field: the names of fields that some rule of this room looks at, and what holds for each. */
#pragma once

#include "http/http.h"

/* The id of a field name (any case, token bytes only). */
enum http_field_id field_id(struct str name);

/* Gives each of the fields its id, and sets all that is known of the ids together. */
void field_index(struct http_fields *fields);

/* Is this field for all recipients, so that a Connection option of its name must not remove it? RFC 9110
 * section 7.6.1 forbids to list such fields; without this, a client could take off what framing, routing, the
 * login or upswap's own word to the app depends on. */
bool field_is_for_all(struct str name);

/* Must this field not be taken from a trailer section (RFC 9110 section 6.5.1)? */
bool field_is_for_heads(struct str name);
