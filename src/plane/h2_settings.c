/* SETTINGS of both sides (RFC 9113 section 6.5). Invariant: what we ask for holds from the acknowledgement
 * on, what the peer asks for from its coming on. */
#include "plane/h2_session.h"
#include "plane/worker.h"

void h2_settings_say(struct h2 *h2)
{
    const struct snapshot_http2 *limits = h2_limits(h2);
    char payload[4 * H2_SETTING_SIZE], *at = payload;
    h2->said = limits->window;
    h2->most = h2->server ? limits->streams : 0;
    at = h2_put_setting(at, H2_SETTING_WINDOW, limits->window);
    at = h2_put_setting(at, H2_SETTING_LIST_MAX, h2->worker->settings->head_max);
    at = h2_put_setting(at, H2_SETTING_STREAMS, h2->most);
    h2_put_setting(at, h2->server ? H2_SETTING_CONNECT : H2_SETTING_PUSH, h2->server);
    if (!h2->server)
        h2_write_magic(h2);
    h2_write_frame(h2, (struct h2_frame){sizeof payload, H2_SETTINGS, 0, 0}, payload);
    h2_write_number(h2, H2_WINDOW_UPDATE, 0, H2_CONNECTION_WINDOW - H2_WINDOW);
}

/* Every stream has the difference (section 6.9.2). */
static void take_agreement(struct h2 *h2)
{
    struct h2_stream *s;
    int64_t more = (int64_t)h2->said - h2->window;
    if (h2->agreed)
        return;
    h2->agreed = true;
    h2->window = h2->said;
    TAILQ_FOREACH (s, &h2->streams, link) {
        s->window += more;
        h2_stream_open_window(s, 0); /* what has been read may be enough now, and nothing else need come */
    }
}

static enum h2_code set_window(struct h2 *h2, uint32_t window)
{
    struct h2_stream *s;
    int64_t more = (int64_t)window - h2->peer.window;
    if (window > H2_WINDOW_MAX)
        return H2_FLOW_CONTROL_ERROR;
    h2->peer.window = window;
    TAILQ_FOREACH (s, &h2->streams, link) {
        if (!s->open)
            continue;
        s->room += more;
        if (s->room > H2_WINDOW_MAX)
            return H2_FLOW_CONTROL_ERROR;
        if (more > 0)
            h2_write_soon(s);
    }
    return H2_NO_ERROR;
}

/* What is not known is passed over. */
static enum h2_code set(struct h2 *h2, unsigned setting, uint32_t value)
{
    switch (setting) {
    case H2_SETTING_TABLE_SIZE:
        hpack_encoder_resize(&h2->encoder, value);
        return H2_NO_ERROR;
    case H2_SETTING_PUSH:
        return value > 1 || (value == 1 && !h2->server) ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    case H2_SETTING_STREAMS:
        h2->peer.streams = value;
        return H2_NO_ERROR;
    case H2_SETTING_WINDOW:
        return set_window(h2, value);
    case H2_SETTING_PAYLOAD_MAX:
        if (value < H2_PAYLOAD_MAX || value > 0xffffff)
            return H2_PROTOCOL_ERROR;
        h2->peer.payload_max = value; /* never what is not allowed: heads are divided by it */
        return H2_NO_ERROR;
    case H2_SETTING_CONNECT:
        h2->peer.connects = value == 1;
        return value > 1 ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    default:
        return H2_NO_ERROR;
    }
}

static enum h2_code take_all(struct h2 *h2, struct str payload)
{
    enum h2_code code = H2_NO_ERROR;
    for (size_t at = 0; at < payload.n && code == H2_NO_ERROR; at += H2_SETTING_SIZE) {
        const char *p = payload.p + at;
        code = set(h2, (unsigned)((uint8_t)p[0] << 8 | (uint8_t)p[1]), h2_get_u32(p + 2));
    }
    return code;
}

void h2_settings_take(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    bool agreement = (frame->flags & H2_ACK) != 0;
    if (!agreement || h2->agreed)
        h2_spend(h2, COUNTERS_SETTINGS);
    if (frame->stream != 0 || payload.n % H2_SETTING_SIZE != 0 || (agreement && payload.n > 0)) {
        h2_finish(h2, frame->stream != 0 ? H2_PROTOCOL_ERROR : H2_FRAME_SIZE_ERROR);
        return;
    }
    if (agreement) {
        take_agreement(h2);
        return;
    }
    enum h2_code code = take_all(h2, payload);
    if (code != H2_NO_ERROR) {
        h2_finish(h2, code);
        return;
    }
    h2->settled = true;
    h2_write_ack(h2, H2_SETTINGS, STR(""));
}
