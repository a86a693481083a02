/* The table of routes, and what becomes of a request that has none. */
#include "control/api.h"

#include "base/mem.h"

#include <stdlib.h>

struct route {
    enum http_method method;
    const char *path; /* {} stands for one segment */
    api_handler *handle;
};

static const struct route routes[] = {
    {HTTP_GET, "/v1/status", api_status},
    {HTTP_GET, "/v1/services", api_services},
    {HTTP_GET, "/v1/services/{}", api_service},
    {HTTP_GET, "/v1/services/{}/deployments", api_history},
    {HTTP_GET, "/v1/services/{}/traffic", api_service_traffic},
    {HTTP_POST, "/v1/services/{}/deployments", api_stage},
    {HTTP_POST, "/v1/services/{}/promote", api_promote},
    {HTTP_POST, "/v1/services/{}/abort", api_abort},
    {HTTP_POST, "/v1/services/{}/rollback", api_rollback},
    {HTTP_POST, "/v1/services/{}/drain", api_drain},
    {HTTP_POST, "/v1/services/{}/enable", api_enable},
    {HTTP_POST, "/v1/services/{}/maintenance", api_maintenance},
    {HTTP_POST, "/v1/services/{}/pause", api_pause},
    {HTTP_POST, "/v1/services/{}/resume", api_resume},
    {HTTP_POST, "/v1/services/{}/uptest", api_uptest},
    {HTTP_GET, "/v1/deployments/{}", api_deployment},
    {HTTP_GET, "/v1/traffic", api_traffic},
    {HTTP_GET, "/v1/events", api_events},
    {HTTP_POST, "/v1/reload", api_reload},
    {HTTP_POST, "/v1/upgrade", api_upgrade},
    {HTTP_GET, "/metrics", api_metrics},
    {HTTP_GET, "/healthz", api_health},
    {HTTP_GET, "/", api_dashboard},
    {HTTP_GET, "/dashboard/{}", api_dashboard},
};

#define ROUTES (sizeof routes / sizeof *routes)

/* Does the path match? *name gets what stands for the {}. */
static bool matches(const struct route *route, struct str path, struct str *name)
{
    struct str wanted = str_of(route->path), part, given;
    *name = STR("");
    while (str_split(&wanted, '/', &part)) {
        if (!str_split(&path, '/', &given))
            return false;
        if (str_equal(part, STR("{}")) && given.n > 0)
            *name = given;
        else if (!str_equal(part, given))
            return false;
    }
    return path.p == NULL;
}

/* The route's path with the segment of `path` in the place of the {}. */
static char *concrete(const struct route *route, struct str path)
{
    struct str rest = str_of(route->path), part, given;
    struct buf text = BUF_EMPTY;
    while (str_split(&rest, '/', &part)) {
        if (!str_split(&path, '/', &given) || (given.n == 0 && part.n > 0))
            given = STR("NAME");
        bool hole = str_equal(part, STR("{}"));
        buf_add_str(&text, hole ? given : part);
        if (rest.p != NULL)
            buf_add(&text, "/", 1);
    }
    return text.p;
}

static void refuse_path(struct admin_request *request)
{
    struct str path = str_of(request->path);
    const char *nearest = NULL;
    char *known[ROUTES];
    for (size_t i = 0; i < ROUTES; i++)
        known[i] = concrete(&routes[i], path);
    if (path.n < 256) /* what is longer is near to nothing, and costly to compare */
        nearest = str_nearest(path, (const char *const *)known, ROUTES);
    if (nearest != NULL)
        admin_problem(request, 404, "there is no path \"%s\"; did you mean \"%s\"?", request->path, nearest);
    else
        admin_problem(request, 404, "there is no path \"%.200s\"; GET /v1/status tells what there is",
                      request->path);
    for (size_t i = 0; i < ROUTES; i++)
        free(known[i]);
}

/* The path is known, the method is not its own. */
static void refuse_method(struct admin_request *request, bool get, bool post)
{
    const char *allow = get && post ? "Allow: GET, HEAD, POST" : get ? "Allow: GET, HEAD" : "Allow: POST";
    char *sentence = mem_printf("\"%s\" does not take this method; %s", request->path, allow);
    admin_problem_with(request, 405, allow, sentence);
    free(sentence);
}

/* The name is copied, since the request that holds it may be gone before the handler returns. */
static void call(struct api *api, const struct route *route, struct admin_request *request, struct str name)
{
    char *text = str_dup(name);
    if (route->method == HTTP_GET && request->body.n > 0)
        admin_problem(request, 400, "a GET takes no body; leave it out, or send a POST");
    else if (route->method == HTTP_POST && request->query[0] != '\0')
        admin_problem(request, 400, "a POST takes no query; say it in the body");
    else
        route->handle(api, request, text);
    free(text);
}

void api_dispatch(struct api *api, struct admin_request *request)
{
    enum http_method method = request->method == HTTP_HEAD ? HTTP_GET : request->method;
    struct str name;
    bool get = false, post = false;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!matches(&routes[i], str_of(request->path), &name))
            continue;
        if (routes[i].method == method) {
            call(api, &routes[i], request, name);
            return;
        }
        get |= routes[i].method == HTTP_GET;
        post |= routes[i].method == HTTP_POST;
    }
    if (get || post)
        refuse_method(request, get, post);
    else
        refuse_path(request);
}

void api_outcome(void *arg, const struct outcome *outcome)
{
    struct admin_request *request = arg;
    if (outcome->status < 400)
        admin_answer_json(request, outcome->status, outcome->body);
    else
        admin_problem(request, outcome->status, "%s", outcome->detail);
}

void api_found(struct api *api, struct admin_request *request, json_t *found, const char *name,
               void (*absent)(struct conductor *conductor, const char *name, struct err *err))
{
    struct err err;
    if (found != NULL) {
        admin_answer_json(request, 200, found);
        json_decref(found);
        return;
    }
    absent(api->conductor, name, &err);
    admin_problem(request, 404, "%s", err.text);
}
