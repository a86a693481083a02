/* What in a request's head binds it to an instance. Invariant: nothing that a client sends is an error here;
 * what does not bind is as if it were not there. */
#include "plane/exchange.h"

#include "base/siphash.h"
#include "http/cookie.h"

/* The value that is to be hashed. Empty: there is none. */
static struct str hashed_value(const struct exchange *x, const struct http_request *request)
{
    struct str name = snapshot_service_hash_name(x->view->snapshot, x->service), value = {NULL, 0};
    const struct http_field *field;
    switch (x->wish.how) {
    case SNAPSHOT_HASH_CLIENT:
        return (struct str){(const char *)x->peer->address, sizeof x->peer->address};
    case SNAPSHOT_HASH_HEADER:
        field = http_fields_named(&request->fields, name);
        return field == NULL ? value : field->value;
    case SNAPSHOT_HASH_COOKIE:
        (void)http_cookie_find(&request->fields, name, &value);
        return value;
    default:
        return value;
    }
}

/* Where all the rest would go to one instance, those without a value take turns. */
static void take_key(struct exchange *x, const struct http_request *request)
{
    struct str value = hashed_value(x, request);
    const struct snapshot_secrets *secrets = &snapshot_settings(x->view->snapshot)->secrets;
    if (value.n > 0)
        x->wish.key = siphash(secrets->hash, value.p, value.n);
    else
        x->wish.how = SNAPSHOT_ROUND_ROBIN;
}

void sticky_read(struct exchange *x, const struct http_request *request)
{
    if (x->wish.how >= SNAPSHOT_HASH_CLIENT)
        take_key(x, request);
}
