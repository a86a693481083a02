/* What is: the whole, a service, the numbers, and whether upswap serves at all. */
#include "control/api.h"

static bool takes_no_query(struct admin_request *request)
{
    return api_read_query(request, NULL, 0);
}

void api_status(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    struct api_parameter parameter = {"figures", NULL};
    uint64_t figures = 0;
    if (!api_read_query(request, &parameter, 1))
        return;
    if (api_read_number(request, &parameter, 0, 1, &figures)) {
        json_t *status = conductor_status(api->conductor);
        if (figures == 1)
            conductor_add_figures(api->conductor, status);
        admin_answer_json(request, 200, status);
        json_decref(status);
    }
    api_free_query(&parameter, 1);
}

void api_services(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    if (!takes_no_query(request))
        return;
    json_t *status = conductor_status(api->conductor);
    json_t *body = json_pack("{s:O}", "services", json_object_get(status, "services"));
    admin_answer_json(request, 200, body);
    json_decref(body);
    json_decref(status);
}

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

void api_metrics(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    struct buf text = BUF_EMPTY;
    metrics_write(api->metrics, api->conductor, &text);
    admin_answer_text(request, "text/plain; version=0.0.4; charset=utf-8", buf_str(&text));
    buf_free(&text);
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
