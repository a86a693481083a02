/* grpc: messages by their lengths. */
#include "http/grpc.h"

#include <string.h>

#define PREFIX 5 /* bytes before a message */

bool grpc_is_type(struct str content_type)
{
    struct str name = STR("application/grpc");
    if (content_type.n < name.n || !str_equal_nocase((struct str){content_type.p, name.n}, name))
        return false;
    char next = content_type.n == name.n ? ';' : content_type.p[name.n];
    return next == ';' || next == '+' || next == ' ' || next == '\t';
}

static size_t look(struct grpc_messages *messages, const char *bytes, size_t count, bool until_rest)
{
    size_t at = 0;
    while (at < count) {
        if (messages->prefix < PREFIX) {
            uint8_t byte = (uint8_t)bytes[at++];
            messages->left = messages->prefix++ == 0 ? 0 : messages->left << 8 | byte;
        } else {
            size_t n = count - at < messages->left ? count - at : messages->left;
            messages->left -= (uint32_t)n;
            at += n;
        }
        if (messages->prefix < PREFIX || messages->left > 0)
            continue;
        messages->prefix = 0;
        if (until_rest)
            break;
    }
    return at;
}

void grpc_messages_follow(struct grpc_messages *messages, const char *bytes, size_t count)
{
    look(messages, bytes, count, false);
}

size_t grpc_messages_until_rest(struct grpc_messages *messages, const char *bytes, size_t count)
{
    return look(messages, bytes, count, true);
}

bool grpc_messages_rest(const struct grpc_messages *messages)
{
    return messages->prefix == 0;
}

enum { DEADLINE_EXCEEDED = 4, RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12, INTERNAL, UNAVAILABLE };

/* As doc/x-upswap.md lists them: what clients make of such a status themselves (http-grpc-status-mapping.md
 * of the project), but for 504, which tells of a time that is over, and where they know no more than UNKNOWN.
 */
unsigned grpc_status_of(unsigned status, const char *reason)
{
    switch (status) {
    case 404:
        return UNIMPLEMENTED;
    case 413:
    case 414:
    case 431:
        return RESOURCE_EXHAUSTED;
    case 408:
        return DEADLINE_EXCEEDED;
    case 504: /* nothing was asked of an instance that could not be connected to */
        return strcmp(reason, "connect-timeout") == 0 ? UNAVAILABLE : DEADLINE_EXCEEDED;
    case 429:
    case 502:
    case 503:
        return UNAVAILABLE;
    default:
        return INTERNAL;
    }
}

static bool is_plain(struct str text, size_t i)
{
    char byte = text.p[i];
    bool inside = i > 0 && i + 1 < text.n; /* a value has no blanks at its ends */
    return (byte > ' ' && byte <= '~' && byte != '%') || (byte == ' ' && inside);
}

struct str grpc_message(struct str text, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    char *to = out;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t byte = (uint8_t)text.p[i];
        if (is_plain(text, i)) {
            *to++ = text.p[i];
            continue;
        }
        *to++ = '%';
        *to++ = digits[byte >> 4];
        *to++ = digits[byte & 15];
    }
    return (struct str){out, (size_t)(to - out)};
}

#define PARTING           \
    "grpc-status: 14\r\n" \
    "grpc-message: The server of this stream is going; call again, and another one serves.\r\n"

const struct str grpc_parting = {PARTING, sizeof PARTING - 1};
