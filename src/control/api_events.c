/* Events, one JSON object a line or as server-sent events. A reader takes from the log as much as its client
 * has room for and comes back for more when that has left, so nobody's slowness costs memory; a follower's
 * place in the log is all that is kept. */
#include "control/api.h"

#include "base/mem.h"

#include <stdlib.h>

/* Half of all connections: however many follow, others are answered. */
#define FOLLOWERS_MAX 128

struct reader {
    struct api *api;
    struct admin_request *request;
    char *service; /* NULL: of all */
    uint64_t seen; /* and what was not for it */
    bool follows;
    bool full; /* waits for room */
    struct event_subscription subscription;
};

static void reader_free(struct reader *reader)
{
    if (reader->follows) {
        event_log_unsubscribe(&reader->subscription);
        reader->api->followers--;
    }
    free(reader->service);
    free(reader);
}

static bool send_event(void *arg, uint64_t seq, struct str line)
{
    struct reader *reader = arg;
    struct buf text = BUF_EMPTY;
    if (reader->request->wants_events)
        buf_printf(&text, "id: %llu\ndata: %.*s\n\n", (unsigned long long)seq, STR_ARG(line));
    else
        buf_printf(&text, "%.*s\n", STR_ARG(line));
    reader->full = !admin_stream_send(reader->request, buf_str(&text));
    buf_free(&text);
    return !reader->full;
}

/* Sends what there is room for; ends the answer when all is sent and nobody waits for more. */
static void send_events(struct reader *reader)
{
    reader->full = false;
    reader->seen = event_log_read(reader->api->events, reader->seen, reader->service, send_event, reader);
    if (reader->full || reader->follows)
        return;
    struct admin_request *request = reader->request;
    reader_free(reader);
    admin_stream_end(request);
}

static void on_added(struct event_subscription *subscription, uint64_t seq, const char *service,
                     struct str line)
{
    (void)seq;
    (void)service;
    (void)line;
    struct reader *reader = mem_container(subscription, struct reader, subscription);
    if (!reader->full)
        send_events(reader);
}

static void on_drained(void *arg)
{
    struct reader *reader = arg;
    if (reader->full)
        send_events(reader);
}

static void on_gone(void *arg)
{
    reader_free(arg);
}

static void read_events(struct api *api, struct admin_request *request, const char *service, uint64_t since,
                        bool follows)
{
    struct reader *reader = mem_zero(1, sizeof *reader);
    if (since > event_log_last(api->events))
        since = 0; /* seen in a log that is gone: numbers have begun anew, and it has seen none of these */
    *reader = (struct reader){.api = api,
                              .request = request,
                              .service = mem_dup(service),
                              .seen = since,
                              .follows = follows && request->method != HTTP_HEAD,
                              .subscription.added = on_added};
    request->arg = reader;
    request->gone = on_gone;
    request->ends_with_input = reader->follows;
    request->drained = on_drained;
    if (reader->follows) {
        event_log_subscribe(api->events, &reader->subscription);
        api->followers++;
    }
    admin_stream_begin(request, request->wants_events ? "text/event-stream" : "application/jsonl");
    send_events(reader);
}

static bool knows_service(struct api *api, const char *service, struct err *err)
{
    if (config_service(conductor_config(api->conductor), str_of(service)) != NULL)
        return true;
    conductor_no_service(api->conductor, service, err);
    return false;
}

void api_events(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    enum { SINCE, FOLLOW, SERVICE, COUNT };
    struct api_parameter parameters[COUNT] = {{"since", NULL}, {"follow", NULL}, {"service", NULL}};
    uint64_t since = 0, follow = 0, last;
    struct err err;
    if (!api_read_query(request, parameters, COUNT))
        return;
    const char *service = parameters[SERVICE].value;
    if (request->wants_events && request->last_event != NULL &&
        str_to_u64(str_of(request->last_event), &last))
        since = last; /* a browser that connects again; it asks for the same address */
    else if (!api_read_number(request, &parameters[SINCE], 0, UINT64_MAX, &since))
        goto done;
    if (!api_read_number(request, &parameters[FOLLOW], 0, 1, &follow))
        goto done;
    if (service != NULL && !knows_service(api, service, &err))
        admin_problem(request, 404, "%s", err.text);
    else if (follow == 1 && api->followers >= FOLLOWERS_MAX)
        admin_problem(request, 503, "%d clients follow the events already; end one of them", FOLLOWERS_MAX);
    else
        read_events(api, request, service, since, follow == 1);
done:
    api_free_query(parameters, COUNT);
}
