/* Reads X-Forwarded-For from its end. Invariant: an address is believed only if each address behind it, and
 * the connection's own, is a trusted proxy's. */
#include "plane/origin.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <string.h>

/* Takes the last element of a list off *rest. False when there are no more. */
static bool last_element(struct str *rest, struct str *element)
{
    if (rest->p == NULL)
        return false;
    const char *comma = rest->n > 0 ? memrchr(rest->p, ',', rest->n) : NULL;
    const char *from = comma != NULL ? comma + 1 : rest->p;
    *element = str_trim((struct str){from, (size_t)(rest->p + rest->n - from)});
    *rest = comma != NULL ? (struct str){rest->p, (size_t)(comma - rest->p)} : (struct str){NULL, 0};
    return true;
}

/* Without brackets and port: some proxies write "1.2.3.4:5678" and "[::1]:5678". */
static struct str bare(struct str text)
{
    const char *colon = text.n > 0 ? memchr(text.p, ':', text.n) : NULL;
    if (text.n > 0 && text.p[0] == '[') {
        const char *end = memchr(text.p, ']', text.n);
        return end != NULL ? (struct str){text.p + 1, (size_t)(end - text.p - 1)} : text;
    }
    if (colon != NULL && memchr(colon + 1, ':', text.n - (size_t)(colon + 1 - text.p)) == NULL)
        return (struct str){text.p, (size_t)(colon - text.p)};
    return text;
}

static bool read_address(struct str element, uint8_t address[16])
{
    struct in_addr old;
    char text[INET6_ADDRSTRLEN];
    struct str host = bare(element);
    if (host.n == 0 || host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET6, text, address) == 1)
        return true;
    if (inet_pton(AF_INET, text, &old) != 1)
        return false;
    address_map((const uint8_t *)&old, address);
    return true;
}

/* Goes on through one line. False: here the chain of trust ends. */
static bool follow(const struct snapshot *snapshot, struct str rest, uint8_t found[16])
{
    struct str element;
    while (last_element(&rest, &element)) {
        uint8_t address[16];
        if (!read_address(element, address))
            return false;
        memcpy(found, address, sizeof address);
        if (!snapshot_trusts(snapshot, address))
            return false;
    }
    return true;
}

const struct peer *origin_of(const struct snapshot *snapshot, const struct http_request *request,
                             const struct peer *peer, struct peer *room)
{
    const struct http_fields *fields = &request->fields;
    if (!(fields->present & HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_FOR)) ||
        !snapshot_trusts(snapshot, peer->address))
        return peer;
    uint8_t found[16];
    memcpy(found, peer->address, sizeof found);
    for (uint32_t i = fields->count; i > 0; i--) {
        const struct http_field *field = &fields->at[i - 1];
        if (field->id == HTTP_FIELD_X_FORWARDED_FOR && !follow(snapshot, field->value, found))
            break;
    }
    *room = *peer;
    peer_set_address(room, found);
    return room;
}
