/* grpc: messages by their lengths. */
#include "http/grpc.h"

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

#define PARTING           \
    "grpc-status: 14\r\n" \
    "grpc-message: The server of this stream is going; call again, and another one serves.\r\n"

const struct str grpc_parting = {PARTING, sizeof PARTING - 1};
