/* WebSocket frames: cut anywhere the tracker comes to the same place, which is where a plain reading of the
 * whole (RFC 6455 section 5.2) comes to. Bit 0 of the first byte: frames are masked; bit 1: an extension has
 * the reserved bits. */
#include "fuzz.h"

#include "http/websocket.h"

enum place { BETWEEN, INSIDE, CLOSED, LOST };

static enum place place_of(const struct websocket *websocket)
{
    if (websocket->lost)
        return LOST;
    if (websocket->closed)
        return CLOSED;
    return websocket_is_between(websocket) ? BETWEEN : INSIDE;
}

/* ---- a plain reading ---- */

/* What a frame's first two bytes say. */
static bool may_begin(const uint8_t *head, bool masked, bool extended, bool in_message)
{
    bool last = head[0] & 0x80;
    unsigned opcode = head[0] & 0x0f, length = head[1] & 0x7f;
    if ((head[0] & 0x70) && !extended)
        return false;
    if (opcode >= 8 ? opcode > 10 : opcode > 2)
        return false;
    if (opcode < 8 && (opcode == 0) != in_message)
        return false;
    if (opcode >= 8 && !last)
        return false;
    return (head[1] >> 7) == masked && (opcode < 8 || length <= 125);
}

static uint64_t number(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;
    while (count-- > 0)
        value = value << 8 | *bytes++;
    return value;
}

/* Is what is wrong with the first byte alone wrong already? It is asked with a second byte that suits it. */
static bool first_may_be(uint8_t first, bool masked, bool extended, bool in_message)
{
    const uint8_t head[2] = {first, (uint8_t)(masked << 7)};
    return may_begin(head, masked, extended, in_message);
}

/* Takes the frame at the front, of `left` bytes. Returns its length, or 0 with where that leaves us. */
static uint64_t frame_at(const uint8_t *at, size_t left, bool masked, bool extended, bool *in_message,
                         enum place *place)
{
    *place = LOST;
    if (!first_may_be(at[0], masked, extended, *in_message))
        return 0;
    *place = INSIDE;
    if (left < 2)
        return 0;
    *place = LOST;
    if (!may_begin(at, masked, extended, *in_message))
        return 0;
    unsigned length = at[1] & 0x7f, more = length == 126 ? 2 : length == 127 ? 8 : 0;
    *place = INSIDE;
    if (left < 2 + more)
        return 0;
    uint64_t payload = more == 0 ? length : number(at + 2, more);
    *place = payload > INT64_MAX ? LOST : INSIDE;
    uint64_t whole = 2 + more + (masked ? 4 : 0) + payload;
    if (payload > INT64_MAX || left < whole)
        return 0;
    if ((at[0] & 0x0f) < 8)
        *in_message = !(at[0] & 0x80);
    *place = (at[0] & 0x0f) == 8 ? CLOSED : BETWEEN;
    return whole;
}

static enum place read_plainly(const uint8_t *bytes, size_t count, bool masked, bool extended, size_t *frames)
{
    enum place place = BETWEEN;
    bool in_message = false;
    size_t at = 0;
    while (at < count && place == BETWEEN) {
        uint64_t n = frame_at(bytes + at, count - at, masked, extended, &in_message, &place);
        if (n == 0)
            break;
        at += n;
        ++*frames;
    }
    return place;
}

/* ---- ours ---- */

static enum place follow(const uint8_t *bytes, size_t count, bool masked, bool extended, size_t most)
{
    struct fuzz_dice dice = fuzz_dice(bytes, count);
    struct websocket websocket;
    websocket_start(&websocket, masked, extended);
    for (size_t at = 0, n; at < count; at += n) {
        n = most == 0 ? count : 1 + fuzz_below(&dice, most);
        n = n < count - at ? n : count - at;
        websocket_follow(&websocket, (const char *)bytes + at, n);
    }
    return place_of(&websocket);
}

/* A frame at a time. */
static size_t count_frames(const uint8_t *bytes, size_t count, bool masked, bool extended)
{
    struct websocket websocket;
    size_t frames = 0;
    websocket_start(&websocket, masked, extended);
    for (size_t at = 0; at < count && !websocket.closed;) {
        at += websocket_frame(&websocket, (const char *)bytes + at, count - at);
        fuzz_check(at <= count);
        frames += websocket_is_between(&websocket) || websocket.closed;
    }
    return frames;
}

/* What upswap says at the end is a Close to whoever follows. */
static void check_close(bool masked, struct fuzz_reader *reader)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    char out[WEBSOCKET_CLOSE_MAX];
    size_t size = websocket_close(out, WEBSOCKET_SERVICE_RESTART, fuzz_take(reader, 48), masked ? key : NULL);
    fuzz_check(size <= sizeof out);
    fuzz_check(follow((const uint8_t *)out, size, masked, false, 1) == CLOSED);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct fuzz_reader reader = {bytes, count};
    uint8_t flags = fuzz_byte(&reader);
    bool masked = flags & 1, extended = flags & 2;
    size_t frames = 0;
    enum place place = read_plainly(reader.at, reader.left, masked, extended, &frames);
    fuzz_check(follow(reader.at, reader.left, masked, extended, 0) == place);
    fuzz_check(follow(reader.at, reader.left, masked, extended, 1) == place);
    fuzz_check(follow(reader.at, reader.left, masked, extended, 7) == place);
    fuzz_check(count_frames(reader.at, reader.left, masked, extended) == frames);
    check_close(masked, &reader);
    return 0;
}
