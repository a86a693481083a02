#include "cli/feed.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/fields.h"

#include <inttypes.h>
#include <stdlib.h>

#define PATIENCE_MS 15000 /* for a control process that starts again */
#define PAUSE_MS 200
#define LOOK_MS 500 /* between two looks, where it cannot be followed */

struct feed {
    struct client *client;
    struct feed_options options;
    feed_fn *event;
    void *arg;
    struct client_stream *stream; /* NULL: between two looks */
    uint64_t last;                /* number of the last event seen */
    uint64_t lost_ms;             /* when it broke (monotonic); 0: it stands */
    bool looks;                   /* too many follow: what has happened is asked for now and then instead */
    uint64_t next_look_ms;
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
                             options->follow && !feed->looks ? "&follow=1" : "",
                             options->service != NULL ? "&service=" : "");
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

/* The stream has told all that there was; another is opened after a pause. */
static enum feed_state end_look(struct feed *feed)
{
    client_stream_close(feed->stream);
    feed->stream = NULL;
    feed->next_look_ms = clock_mono_ms() + LOOK_MS;
    return FEED_OPEN;
}

static enum feed_state await_look(struct feed *feed, uint64_t ms)
{
    uint64_t now = clock_mono_ms(), left = feed->next_look_ms > now ? feed->next_look_ms - now : 0;
    if (!client_wait(feed->client, ms < left ? ms : left))
        return FEED_INTERRUPTED;
    if (ms >= left)
        open_stream(feed);
    return FEED_OPEN;
}

/* Whoever asked for nothing but the events is told instead that there is no place. */
static enum feed_state begin_looks(struct feed *feed)
{
    if (!feed->options.follow || !feed->options.patient)
        return FEED_REFUSED;
    feed->looks = true;
    feed->lost_ms = 0;
    return end_look(feed);
}

enum feed_state feed_turn(struct feed *feed, uint64_t ms, struct err *err)
{
    if (feed->stream == NULL)
        return await_look(feed, ms);
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
    case STREAM_BUSY:
        return begin_looks(feed);
    case STREAM_INTERRUPTED:
        return FEED_INTERRUPTED;
    case STREAM_ENDED:
        if (!feed->options.follow)
            return FEED_ENDED;
        if (feed->looks)
            return end_look(feed);
        err_set(err, "the daemon ended the stream of events");
        return recover(feed);
    case STREAM_BROKEN:
        break;
    }
    return recover(feed);
}
