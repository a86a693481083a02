/* oracle: one message read by llhttp, behind names that do not collide with ours. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ORACLE_ROOM = 2048 }; /* bytes of a message, at most */

/* What llhttp found. */
struct oracle {
    bool headers_complete, message_complete, chunked, has_length, keep_alive, upgrade;
    uint64_t length;
    const char *method; /* of a request */
    unsigned status;    /* of a response */
    char target[ORACLE_ROOM];
    size_t target_size;
    char lines[2 * ORACLE_ROOM]; /* "name:value\n" of every field */
    size_t lines_size;
    char body[ORACLE_ROOM];
    size_t body_size;
};

/* Reads a message in llhttp's strict mode. Returns the name of its error, or NULL where it takes every byte.
 */
const char *oracle_read(struct oracle *oracle, bool response, const char *bytes, size_t count);
