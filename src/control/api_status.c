/* What is: the whole, a service, the numbers, and whether upswap serves at all. */
#include "control/admin_pieces.h"
#include "control/api.h"

#include "base/mem.h"

#include <stdlib.h>

static bool takes_no_query(struct admin_request *request)
{
    return api_read_query(request, NULL, 0);
}

/* ---- all services, in pieces ---- */

/* A piece: so many services at most, or a little more than so many bytes. */
#define PIECE_SERVICES 64
#define PIECE_BYTES ((size_t)64 * 1024)

/* One writing of an object whose last key is the list of all services. Each is as it is when its turn comes;
 * one that goes meanwhile is left out. */
struct listing {
    struct conductor *conductor;
    bool figures;
    json_t *head; /* the keys before; NULL: it is written */
    char **names;
    size_t count, next;
    bool first; /* none has been written */
};

static void listing_free(void *arg)
{
    struct listing *listing = arg;
    json_decref(listing->head);
    for (size_t i = 0; i < listing->count; i++)
        free(listing->names[i]);
    free(listing->names);
    free(listing);
}

/* The object without its end. */
static void write_head(struct listing *listing, struct buf *out)
{
    json_object_set_new(listing->head, "services", json_array());
    admin_write_json(out, listing->head);
    out->n -= strlen("]}");
    json_decref(listing->head);
    listing->head = NULL;
}

static void write_service(struct listing *listing, const char *name, struct buf *out)
{
    json_t *service = conductor_service(listing->conductor, name);
    if (service == NULL)
        return;
    if (listing->figures)
        conductor_add_figures(listing->conductor, service);
    buf_add(out, ",", listing->first ? 0 : 1);
    admin_write_json(out, service);
    json_decref(service);
    listing->first = false;
}

static bool listing_step(void *arg, struct buf *out)
{
    struct listing *listing = arg;
    size_t before = out->n, end = listing->next + PIECE_SERVICES;
    if (listing->head != NULL)
        write_head(listing, out);
    while (listing->next < listing->count && listing->next < end && out->n - before < PIECE_BYTES)
        write_service(listing, listing->names[listing->next++], out);
    if (listing->next < listing->count)
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

/* ---- the rest ---- */

void api_service(struct api *api, struct admin_request *request, const char *name)
{
    if (takes_no_query(request))
        api_found(api, request, conductor_service(api->conductor, name), name, conductor_no_service);
}

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
