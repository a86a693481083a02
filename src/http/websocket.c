/* websocket: a state for each part of a frame's head, and a count for all the rest. Invariant: what it has
 * seen is never looked at again, so any split of the bytes gives the same. */
#include "http/websocket.h"

#include "http/head.h"

#include <assert.h>

#define KEY_SIZE 4
#define CONTROL_MAX 125
#define REASON_MAX 48

enum state {
    FIRST,  /* FIN, reserved bits, opcode: between frames */
    SECOND, /* mask bit, length */
    LENGTH, /* of the extended length */
    REST    /* masking key and payload */
};

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

#define KNOWN (1U << CONTINUATION | 1U << TEXT | 1U << BINARY | 1U << CLOSE | 1U << PING | 1U << PONG)

static bool is_control(uint8_t opcode)
{
    return opcode >= CLOSE;
}

void websocket_start(struct websocket *websocket, bool masked, bool extended)
{
    *websocket = (struct websocket){.state = FIRST, .masked = masked, .extended = extended};
}

static bool take_first(struct websocket *websocket, uint8_t byte)
{
    bool last = (byte & 0x80) != 0;
    uint8_t opcode = byte & 0x0f;
    if ((byte & 0x70) != 0 && !websocket->extended)
        return false;
    if (!(KNOWN & 1U << opcode))
        return false;
    websocket->opcode = opcode;
    websocket->state = SECOND;
    if (is_control(opcode))
        return last;
    bool continues = opcode == CONTINUATION;
    if (continues != websocket->in_message)
        return false;
    websocket->in_message = !last;
    return true;
}

static void end_frame(struct websocket *websocket)
{
    websocket->state = FIRST;
    websocket->closed = websocket->opcode == CLOSE;
}

static void begin_rest(struct websocket *websocket)
{
    websocket->left += websocket->masked ? KEY_SIZE : 0;
    websocket->state = REST;
    if (websocket->left == 0)
        end_frame(websocket);
}

static bool take_second(struct websocket *websocket, uint8_t byte)
{
    uint8_t length = byte & 0x7f;
    if (((byte & 0x80) != 0) != websocket->masked || (is_control(websocket->opcode) && length > CONTROL_MAX))
        return false;
    if (length <= CONTROL_MAX) {
        websocket->left = length;
        begin_rest(websocket);
    } else {
        websocket->left = 0;
        websocket->length_due = length == 126 ? 2 : 8;
        websocket->state = LENGTH;
    }
    return true;
}

static bool take_length(struct websocket *websocket, uint8_t byte)
{
    websocket->left = websocket->left << 8 | byte;
    if (--websocket->length_due > 0)
        return true;
    if (websocket->left > INT64_MAX)
        return false;
    begin_rest(websocket);
    return true;
}

/* One byte of a frame's head. */
static bool take(struct websocket *websocket, uint8_t byte)
{
    switch ((enum state)websocket->state) {
    case FIRST:
        return take_first(websocket, byte);
    case SECOND:
        return take_second(websocket, byte);
    case LENGTH:
        return take_length(websocket, byte);
    case REST:
        break;
    }
    return false;
}

static size_t skip(struct websocket *websocket, size_t count)
{
    size_t n = websocket->left < count ? (size_t)websocket->left : count;
    websocket->left -= n;
    if (websocket->left == 0)
        end_frame(websocket);
    return n;
}

size_t websocket_frame(struct websocket *websocket, const char *bytes, size_t count)
{
    size_t at = 0;
    if (websocket->closed || websocket->lost)
        return count;
    while (at < count) {
        if (websocket->state == REST) {
            at += skip(websocket, count - at);
        } else if (!take(websocket, (uint8_t)bytes[at++])) {
            websocket->lost = true;
            return count;
        }
        if (websocket->state == FIRST)
            break;
    }
    return at;
}

void websocket_follow(struct websocket *websocket, const char *bytes, size_t count)
{
    for (size_t at = 0; at < count;)
        at += websocket_frame(websocket, bytes + at, count - at);
}

bool websocket_is_between(const struct websocket *websocket)
{
    return websocket->state == FIRST && !websocket->closed && !websocket->lost;
}

size_t websocket_close(char out[WEBSOCKET_CLOSE_MAX], uint16_t code, struct str reason, const uint8_t *key)
{
    assert(reason.n <= REASON_MAX);
    size_t n = 0, size = sizeof code + reason.n;
    out[n++] = (char)(0x80 | CLOSE);
    out[n++] = (char)((key != NULL ? 0x80 : 0) | size);
    if (key != NULL) {
        memcpy(out + n, key, KEY_SIZE);
        n += KEY_SIZE;
    }
    char *payload = out + n;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xff);
    memcpy(payload + sizeof code, reason.p, reason.n);
    for (size_t i = 0; key != NULL && i < size; i++)
        payload[i] = (char)((uint8_t)payload[i] ^ key[i % KEY_SIZE]);
    return n + size;
}

bool websocket_is_asked(const struct http_fields *fields)
{
    return head_any_lists(fields, HTTP_FIELD_UPGRADE, STR("websocket"));
}

bool websocket_is_agreed(const struct http_fields *fields)
{
    const struct http_field *field = http_fields_find(fields, HTTP_FIELD_UPGRADE);
    return field != NULL && !(fields->repeated & HTTP_FIELD_BIT(HTTP_FIELD_UPGRADE)) &&
           str_equal_nocase(field->value, STR("websocket"));
}

bool websocket_has_extensions(const struct http_fields *fields)
{
    const struct http_field *field = http_fields_named(fields, STR("sec-websocket-extensions"));
    return field != NULL && field->value.n > 0;
}
