/* grpc: what gRPC says beyond HTTP ("gRPC over HTTP2", doc/PROTOCOL-HTTP2.md of its project).
 *
 * A body is a row of messages: a byte that tells of compression, the length in four bytes, the message. How a
 * call went is told behind it, by grpc-status. */
#pragma once

#include "http/http.h"

/* Is a body of this Content-Type gRPC's: application/grpc, or application/grpc+ with any encoding? Not that
 * of grpc-web, which has its trailers in the body. */
bool grpc_is_type(struct str content_type);

/* Follows the messages as they pass by, to know where one is whole. The inside is its own; all zero is the
 * beginning. */
struct grpc_messages {
    uint32_t left;  /* bytes of the message, as far as they are known */
    uint8_t prefix; /* bytes of what stands before it that have passed */
};

/* As those of event_stream.h. */
void grpc_messages_follow(struct grpc_messages *messages, const char *bytes, size_t count);
size_t grpc_messages_until_rest(struct grpc_messages *messages, const char *bytes, size_t count);
bool grpc_messages_rest(const struct grpc_messages *messages);

/* The grpc-status for an answer of upswap's own that would have this status and this word. */
unsigned grpc_status_of(unsigned status, const char *reason);

#define GRPC_MESSAGE_ROOM(bytes) (3 * (bytes))
/* Writes a text as a grpc-message wants it, percent-encoded, into GRPC_MESSAGE_ROOM of its bytes. */
struct str grpc_message(struct str text, char *out);

/* The trailers of an answer that ends before its instance has ended it, without an empty line. */
extern const struct str grpc_parting;
