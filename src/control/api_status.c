/* What is: the whole, a service, the numbers, and whether upswap serves at all. */
#include "control/admin_pieces.h"
#include "control/api.h"
#include "control/service_pieces.h"

#include "base/mem.h"

#include <stdlib.h>

static bool takes_no_query(struct admin_request *request)
{
    return api_read_query(request, NULL, 0);
}

/* ---- all services, in pieces ---- */

/* A piece: so many services and instances at most, of which a service costs as much as so many, or a little
 * more than so many bytes. */
#define PIECE_INSTANCES 256
#define SERVICE_INSTANCES 4
#define PIECE_BYTES ((size_t)64 * 1024)

/* One writing of an object whose last key is the list of all services. Each is as it is when its turn comes;
 * one that goes meanwhile is left out. */
struct listing {
    struct conductor *conductor;
    bool figures;
    json_t *head; /* the keys before; NULL: it is written */
    char **names;
    size_t count, next;
    bool first;                    /* none has been written */
    bool in_service;               /* the one before `next` is being written: */
    struct service_pieces service; /* with this */
};

static void listing_free(void *arg)
{
    struct listing *listing = arg;
    json_decref(listing->head);
    if (listing->in_service)
        service_pieces_end(&listing->service);
    for (size_t i = 0; i < listing->count; i++)
        free(listing->names[i]);
    free(listing->names);
    free(listing);
}

static void write_head(struct listing *listing, struct buf *out)
{
    admin_pieces_open(out, listing->head, "services");
    json_decref(listing->head);
    listing->head = NULL;
}

static void begin_service(struct listing *listing, const char *name, struct buf *out)
{
    listing->in_service = service_pieces_begin(&listing->service, listing->conductor, name, listing->figures);
    if (!listing->in_service)
        return;
    buf_add(out, ",", listing->first ? 0 : 1);
    listing->first = false;
}

static bool listing_has_more(const struct listing *listing)
{
    return listing->in_service || listing->next < listing->count;
}

static bool listing_step(void *arg, struct buf *out)
{
    struct listing *listing = arg;
    size_t before = out->n, left = PIECE_INSTANCES;
    if (listing->head != NULL)
        write_head(listing, out);
    while (listing_has_more(listing) && left > 0 && out->n - before < PIECE_BYTES) {
        if (listing->in_service) {
            listing->in_service = service_pieces_step(&listing->service, &left, out);
        } else {
            begin_service(listing, listing->names[listing->next++], out);
            left -= left < SERVICE_INSTANCES ? left : SERVICE_INSTANCES;
        }
    }
    if (listing_has_more(listing))
        return true;
    buf_add_str(out, STR("]}\n"));
    return false;
}

/* `head` is taken over. */
static void answer_listing(struct api *api, struct admin_request *request, json_t *head, bool figures)
{
    static const struct admin_pieces pieces = {"application/json", listing_step, listing_free};
    const struct config *config = conductor_config(api->conductor);
    struct listing *listing = mem_zero(1, sizeof *listing);
    *listing = (struct listing){.conductor = api->conductor,
                                .figures = figures,
                                .head = head,
                                .names = mem_zero(config->service_count + 1, sizeof *listing->names),
                                .count = config->service_count,
                                .first = true};
    for (size_t i = 0; i < listing->count; i++)
        listing->names[i] = mem_dup(config->services[i].name);
    admin_answer_pieces(request, api->loop, &pieces, listing);
}

void api_status(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    struct api_parameter parameter = {"figures", NULL};
    uint64_t figures = 0;
    if (!api_read_query(request, &parameter, 1))
        return;
    if (api_read_number(request, &parameter, 0, 1, &figures))
        answer_listing(api, request, conductor_status(api->conductor), figures == 1);
    api_free_query(&parameter, 1);
}

void api_services(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    if (takes_no_query(request))
        answer_listing(api, request, json_object(), false);
}

/* ---- one service ---- */

static bool one_step(void *arg, struct buf *out)
{
    size_t left = PIECE_INSTANCES;
    bool more = true;
    while (more && left > 0)
        more = service_pieces_step(arg, &left, out);
    if (!more)
        buf_add_str(out, STR("\n"));
    return more;
}

static void one_free(void *arg)
{
    service_pieces_end(arg);
    free(arg);
}

void api_service(struct api *api, struct admin_request *request, const char *name)
{
    static const struct admin_pieces pieces = {"application/json", one_step, one_free};
    if (!takes_no_query(request))
        return;
    struct service_pieces *service = mem_zero(1, sizeof *service);
    if (service_pieces_begin(service, api->conductor, name, false)) {
        admin_answer_pieces(request, api->loop, &pieces, service);
    } else {
        free(service);
        api_found(api, request, NULL, name, conductor_no_service);
    }
}

/* ---- the rest ---- */

void api_traffic(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    if (!takes_no_query(request))
        return;
    json_t *traffic = conductor_traffic(api->conductor);
    admin_answer_json(request, 200, traffic);
    json_decref(traffic);
}

void api_service_traffic(struct api *api, struct admin_request *request, const char *name)
{
    struct api_parameter parameter = {"seconds", NULL};
    uint64_t seconds = TRAFFIC_SECONDS_MAX;
    if (!api_read_query(request, &parameter, 1))
        return;
    if (api_read_number(request, &parameter, 1, TRAFFIC_SECONDS_MAX, &seconds))
        api_found(api, request, conductor_service_traffic(api->conductor, name, seconds), name,
                  conductor_no_service);
    api_free_query(&parameter, 1);
}

void api_health(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    if (conductor_snapshot_version(api->conductor) > 0)
        admin_answer_text(request, "text/plain; charset=utf-8", STR("ok\n"));
    else
        admin_problem(request, 503,
                      "no snapshot has been published yet: upswap does not serve; ask again soon");
}
