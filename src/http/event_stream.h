/* event_stream: follows server-sent events as they pass by, to know where one is whole (WHATWG HTML, section
 * 9.2.6: lines end with CRLF, LF or CR, and an empty line ends an event).
 *
 * Comments stand for themselves: a line that begins with ':' is no part of an event unless one has begun. */
#pragma once

#include "http/http.h"

/* Where a stream stands. The inside is the tracker's own; all zero is the beginning. */
struct event_stream {
    uint8_t state;
};

/* Looks at all the next bytes. */
void event_stream_follow(struct event_stream *stream, const char *bytes, size_t count);

/* Looks at the next bytes up to the first place among them where the stream may well end: where it rests.
 * Returns how many they are; all `count` of them where there is none, or only behind the last. */
size_t event_stream_until_rest(struct event_stream *stream, const char *bytes, size_t count);

/* Is nothing begun, and no LF awaited behind a CR? A good place for an end: not even a client that knows only
 * one kind of line ends misses something. */
bool event_stream_rests(const struct event_stream *stream);

/* Is no event begun? The least that is needed for an end. */
bool event_stream_is_whole(const struct event_stream *stream);
