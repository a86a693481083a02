/* h2_frame: what the frames of HTTP/2 are made of (RFC 9113 sections 4, 6, 7). Numbers are in network order.
 */
#pragma once

#include "base/str.h"

#include <arpa/inet.h>
#include <stdint.h>

/* What a client begins with (section 3.4). */
#define H2_MAGIC "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_MAGIC_SIZE (sizeof H2_MAGIC - 1)

#define H2_HEAD_SIZE 9           /* bytes of a frame before its payload */
#define H2_PAYLOAD_MAX 16384     /* SETTINGS_MAX_FRAME_SIZE of both sides, until they say other */
#define H2_WINDOW 65535          /* SETTINGS_INITIAL_WINDOW_SIZE likewise, and the connection's window */
#define H2_WINDOW_MAX 0x7fffffff /* no window may be larger (section 6.9.1) */
#define H2_STREAM_MAX 0x7fffffff

enum h2_type {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION
};

enum h2_flags {
    H2_ACK = 0x1,        /* SETTINGS, PING */
    H2_END_STREAM = 0x1, /* DATA, HEADERS */
    H2_END_HEADERS = 0x4,
    H2_PADDED = 0x8,
    H2_WITH_PRIORITY = 0x20
};

/* Section 7. */
enum h2_code {
    H2_NO_ERROR,
    H2_PROTOCOL_ERROR,
    H2_INTERNAL_ERROR,
    H2_FLOW_CONTROL_ERROR,
    H2_SETTINGS_TIMEOUT,
    H2_STREAM_CLOSED,
    H2_FRAME_SIZE_ERROR,
    H2_REFUSED_STREAM,
    H2_CANCEL,
    H2_COMPRESSION_ERROR,
    H2_CONNECT_ERROR,
    H2_ENHANCE_YOUR_CALM
};

enum h2_setting {
    H2_SETTING_TABLE_SIZE = 1,
    H2_SETTING_PUSH,
    H2_SETTING_STREAMS,
    H2_SETTING_WINDOW,
    H2_SETTING_PAYLOAD_MAX,
    H2_SETTING_LIST_MAX,
    H2_SETTING_CONNECT = 8 /* RFC 8441 section 3 */
};
#define H2_SETTING_SIZE 6 /* bytes of one in a frame */

/* The first bytes of a frame. */
struct h2_frame {
    uint32_t size; /* bytes of its payload */
    uint8_t type;  /* enum h2_type, or one that is not known and passed over */
    uint8_t flags;
    uint32_t stream;
};

static inline uint32_t h2_get_u32(const char *from)
{
    uint32_t number;
    memcpy(&number, from, sizeof number);
    return ntohl(number);
}

static inline char *h2_put_u32(char *to, uint32_t number)
{
    number = htonl(number);
    memcpy(to, &number, sizeof number);
    return to + sizeof number;
}

static inline struct h2_frame h2_get_frame(const char *from)
{
    uint32_t start = h2_get_u32(from);
    return (struct h2_frame){
        .size = start >> 8,
        .type = (uint8_t)start,
        .flags = (uint8_t)from[4],
        .stream = h2_get_u32(from + 5) & H2_STREAM_MAX,
    };
}

/* Returns where the payload goes. */
static inline char *h2_put_frame(char *to, struct h2_frame frame)
{
    to = h2_put_u32(to, frame.size << 8 | frame.type);
    *to++ = (char)frame.flags;
    return h2_put_u32(to, frame.stream);
}

static inline char *h2_put_setting(char *to, enum h2_setting setting, uint32_t value)
{
    *to++ = 0;
    *to++ = (char)setting;
    return h2_put_u32(to, value);
}
