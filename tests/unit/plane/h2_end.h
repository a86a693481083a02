/* h2_end: the other end of an HTTP/2 connection, frame by frame, over a socket that blocks (as rig.h's do).
 * It holds to no rule that the test does not hold to. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stddef.h>
#include <stdint.h>

struct h2_end {
    int fd;
    void (*turn)(void *arg); /* what to do while nothing has come; NULL: wait */
    void *arg;
    size_t magic; /* bytes of the preface that are still to come */
    nghttp2_hd_inflater *inflater;
    /* The frame that was read last. */
    uint8_t type, flags;
    int32_t stream;
    size_t size;
    uint8_t payload[16384];
    uint32_t settings[NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL + 1]; /* the other side's, by id */
    char fields[32768]; /* of HEADERS, and CONTINUATION so far: a line "name: value" each */
};

/* Sends our settings, as the client behind the preface; `streams` as MAX_CONCURRENT_STREAMS. */
struct h2_end *h2_end_client(int fd);
/* A client that has sent its preface. */
struct h2_end *h2_end_of(int fd);
struct h2_end *h2_end_server(int fd, uint32_t streams);
/* Frees it and closes its socket. */
void h2_end_free(struct h2_end *end);

void h2_end_send(struct h2_end *end, uint8_t type, uint8_t flags, int32_t stream, const void *payload,
                 size_t size);
/* HEADERS with END_HEADERS and these flags; the fields are lines "name: value". */
void h2_end_say(struct h2_end *end, int32_t stream, uint8_t flags, const char *fields);
/* GOAWAY without an error. */
void h2_end_goaway(struct h2_end *end, int32_t last);

/* Reads the next frame that is none of those that every connection has: SETTINGS and their acknowledgement,
 * WINDOW_UPDATE. */
void h2_end_next(struct h2_end *end);
/* The same; it must have this type. */
void h2_end_read(struct h2_end *end, uint8_t type);
/* The field of the HEADERS that were read last. */
void h2_end_expect_field(const struct h2_end *end, const char *line);
/* The 32 bits in what was read last at this place: of a GOAWAY 0 is its last stream and 4 the code, of a
 * RST_STREAM 0 is the code. */
uint32_t h2_end_number(const struct h2_end *end, size_t at);
/* Reads to the end of the connection; before it come none but those frames that every connection has. */
void h2_end_expect_close(struct h2_end *end);
