/* h2_session: what the parts of an HTTP/2 connection ask of each other. Frames that come are read by h2_read,
 * their header blocks by h2_heads, SETTINGS by h2_settings; what is said to the peer is written by h2_write;
 * streams are opened, found and closed here (h2.c), and limits kept. */
#pragma once

#include "plane/h2_stream.h"

#define H2_CONNECTION_WINDOW (1 << 20) /* bytes that a peer may send over all streams */

/* ---- h2.c ---- */

const struct snapshot_http2 *h2_limits(const struct h2 *h2);

/* The peer does too much of this; the word goes with a GOAWAY, and nothing more is heard. */
void h2_calm(struct h2 *h2, enum counters_flood flood);
/* Counts one of it, which may be too much from a client. An instance is nobody's enemy, and a connection to
 * it is that of many clients' requests. */
void h2_spend(struct h2 *h2, enum counters_flood flood);
/* A stream of a client is refused, which counts only when it happens too often. */
void h2_spend_refused(struct h2 *h2);
/* A stream that is over was ended by the peer. It may not have known, once for each that we cut; else it
 * counts as one of this. */
void h2_take_late_end(struct h2 *h2, enum counters_flood flood);
/* Is nothing that the peer says heard any more? */
bool h2_is_deaf(const struct h2 *h2);

/* The open stream of this number, or NULL. */
struct h2_stream *h2_find(struct h2 *h2, uint32_t id);
/* Was a stream of this number never opened? */
bool h2_is_idle(const struct h2 *h2, uint32_t id);
void h2_open(struct h2_stream *s, uint32_t id);
/* The peer and we have nothing more to say on it, or one of both has reset it with this code. */
void h2_close(struct h2_stream *s, enum h2_code code);
/* Resets the stream. */
void h2_reset(struct h2_stream *s, enum h2_code code);
/* The same, for what has come on it and was not taken (h2_stream_take_head and so on). */
void h2_refuse(struct h2_stream *s);
/* The same as h2_reset for one of this number that is not open; it is for what the peer did. */
void h2_reset_id(struct h2 *h2, uint32_t id, enum h2_code code);

/* ---- h2_read.c ---- */

/* Takes the bytes of the inlet, as far as they can be understood. */
void h2_read(struct h2 *h2);

/* ---- h2_heads.c: header blocks ---- */

/* A frame of a header block has begun to come, and is not whole. */
void h2_heads_await(struct h2 *h2, const struct h2_frame *frame);
void h2_heads_take(struct h2 *h2, const struct h2_frame *frame, struct str payload);
void h2_heads_continue(struct h2 *h2, const struct h2_frame *frame, struct str payload);
/* Drops what is kept of one. */
void h2_heads_drop(struct h2 *h2);

/* ---- h2_settings.c ---- */

/* Ours, and the window of the connection. */
void h2_settings_say(struct h2 *h2);
void h2_settings_take(struct h2 *h2, const struct h2_frame *frame, struct str payload);

/* ---- h2_write.c; without memory the connection ends ---- */

void h2_write_magic(struct h2 *h2);
void h2_write_frame(struct h2 *h2, struct h2_frame frame, const char *payload);
/* A frame whose payload is one number. */
void h2_write_number(struct h2 *h2, enum h2_type type, uint32_t stream, uint32_t number);
void h2_write_goaway(struct h2 *h2, uint32_t last, enum h2_code code, struct str word);
/* The peer has said something that is to be acknowledged. */
void h2_write_ack(struct h2 *h2, enum h2_type type, struct str payload);
/* A header block. */
void h2_write_head(struct h2_stream *s, const struct h2_list *list, bool ends);
/* Data of the streams in turn, until there are enough to send at once or none is left that may be sent. */
void h2_write_data(struct h2 *h2);
/* The stream has data for the wire, or its end. */
void h2_write_soon(struct h2_stream *s);
/* Writes the last data of a stream that has none waiting. False: it has to wait for its turn, or its window.
 */
bool h2_write_last(struct h2_stream *s, struct str data);
