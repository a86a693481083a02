#include "cli/feed.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/fields.h"

#include <inttypes.h>
#include <stdlib.h>

#define PATIENCE_MS 15000 /* for a control process that starts again */
#define PAUSE_MS 200

struct feed {
    struct client *client;
    struct feed_options options;
    feed_fn *event;
    void *arg;
    struct client_stream *stream;
    uint64_t last;    /* number of the last event seen */
    uint64_t lost_ms; /* when it broke (monotonic); 0: it stands */
};

static void take_line(void *arg, struct str line)
{
    struct feed *feed = arg;
    json_t *event = json_loadb(line.p, line.n, 0, NULL);
    if (event == NULL)
        return;
    int64_t seq = field_number(event, "seq", 0);
    feed->lost_ms = 0;
    if (seq > 0)
        feed->last = (uint64_t)seq; /* lower than before where numbers have begun anew */
    feed->event(feed->arg, line, event);
    json_decref(event);
}

static void open_stream(struct feed *feed)
{
    const struct feed_options *options = &feed->options;
    char *query = mem_printf("/v1/events?since=%" PRIu64 "%s%s", feed->last,
                             options->follow ? "&follow=1" : "", options->service != NULL ? "&service=" : "");
    char *path = client_path(query, options->service != NULL ? options->service : "", "");
    feed->stream = client_stream_open(feed->client, path, take_line, feed);
    free(query);
    free(path);
}

struct feed *feed_open(struct client *client, const struct feed_options *options, feed_fn *event, void *arg)
{
    struct feed *feed = mem_zero(1, sizeof *feed);
    *feed = (struct feed){
        .client = client, .options = *options, .event = event, .arg = arg, .last = options->since};
    open_stream(feed);
    return feed;
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    client_stream_close(feed->stream);
    free(feed);
}

/* Has it been gone for longer than a control process, or a daemon of which nothing is known, is given? */
static bool is_lost(const struct feed *feed)
{
    uint64_t patience = feed->options.patient ? PATIENCE_MS : CLIENT_COMING_UP_MS;
    return feed->lost_ms != 0 && clock_mono_ms() - feed->lost_ms > patience;
}

/* Opens it again, unless that has been tried for too long. */
static enum feed_state recover(struct feed *feed)
{
    if (is_lost(feed))
        return FEED_LOST;
    if (feed->lost_ms == 0)
        feed->lost_ms = clock_mono_ms();
    if (!client_wait(feed->client, PAUSE_MS))
        return FEED_INTERRUPTED;
    client_stream_close(feed->stream);
    open_stream(feed);
    return FEED_OPEN;
}

enum feed_state feed_turn(struct feed *feed, uint64_t ms, struct err *err)
{
    enum client_turn turn = client_stream_turn(feed->stream, ms, err);
    if (client_stream_stands(feed->stream) && feed->options.follow) {
        feed->lost_ms = 0;
        feed->options.patient = true;
    }
    switch (turn) {
    case STREAM_OPEN:
        if (!feed->options.patient || !is_lost(feed))
            return FEED_OPEN;
        err_set(err, "the daemon does not answer");
        return FEED_LOST;
    case STREAM_REFUSED:
        return FEED_REFUSED;
    case STREAM_INTERRUPTED:
        return FEED_INTERRUPTED;
    case STREAM_ENDED:
        if (!feed->options.follow)
            return FEED_ENDED;
        err_set(err, "the daemon ended the stream of events");
        return recover(feed);
    case STREAM_BROKEN:
        break;
    }
    return recover(feed);
}
