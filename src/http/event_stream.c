/* event_stream: states from a table, one for each byte that begins or ends a line. Invariant: the states up
 * to WHOLE_LAST are those in which no event is begun. */
#include "http/event_stream.h"

enum state {
    START,   /* of a line, nothing begun; also of the stream */
    BARE,    /* the same behind a CR, where the last line ended with a bare CR too: no LF is to be expected */
    HALF,    /* the same behind a CR that may be half of a CRLF */
    COMMENT, /* in a line that is no part of an event */
    FIELD,   /* in a line of an event */
    LINE,    /* at the start of a further line of an event */
    LINE_CR, /* the same behind a CR that may be half of a CRLF */
    STATES
};

#define RESTS_LAST BARE
#define WHOLE_LAST HALF

enum kind { OTHER, COLON, CR, LF, KINDS };

static const uint8_t next_state[STATES][KINDS] = {
    [START] = {[OTHER] = FIELD, [COLON] = COMMENT, [CR] = HALF, [LF] = START},
    [BARE] = {[OTHER] = FIELD, [COLON] = COMMENT, [CR] = BARE, [LF] = START},
    [HALF] = {[OTHER] = FIELD, [COLON] = COMMENT, [CR] = BARE, [LF] = START},
    [COMMENT] = {[OTHER] = COMMENT, [COLON] = COMMENT, [CR] = HALF, [LF] = START},
    [FIELD] = {[OTHER] = FIELD, [COLON] = FIELD, [CR] = LINE_CR, [LF] = LINE},
    [LINE] = {[OTHER] = FIELD, [COLON] = FIELD, [CR] = HALF, [LF] = START},
    [LINE_CR] = {[OTHER] = FIELD, [COLON] = FIELD, [CR] = BARE, [LF] = LINE},
};

static enum kind kind_of(char byte)
{
    switch (byte) {
    case ':':
        return COLON;
    case '\r':
        return CR;
    case '\n':
        return LF;
    default:
        return OTHER;
    }
}

/* In the middle of a line nothing else matters; this is where nearly all bytes are. */
static size_t line_end(const char *bytes, size_t at, size_t count)
{
    while (at < count && bytes[at] != '\r' && bytes[at] != '\n')
        at++;
    return at;
}

static size_t look(struct event_stream *stream, const char *bytes, size_t count, bool until_rest)
{
    uint8_t state = stream->state;
    size_t at = 0;
    while (at < count) {
        if (state == FIELD || state == COMMENT)
            at = line_end(bytes, at, count);
        if (at == count)
            break;
        state = next_state[state][kind_of(bytes[at++])];
        if (until_rest && state <= RESTS_LAST)
            break;
    }
    stream->state = state;
    return at;
}

void event_stream_follow(struct event_stream *stream, const char *bytes, size_t count)
{
    look(stream, bytes, count, false);
}

size_t event_stream_until_rest(struct event_stream *stream, const char *bytes, size_t count)
{
    return look(stream, bytes, count, true);
}

bool event_stream_rests(const struct event_stream *stream)
{
    return stream->state <= RESTS_LAST;
}

bool event_stream_is_whole(const struct event_stream *stream)
{
    return stream->state <= WHOLE_LAST;
}
