/* Uptests by hand: runs a service's suite against instances and answers with Velociraptor's array. Changes
 * nothing; a client that goes away ends its run. */
#include "control/api.h"

#include "base/address.h"
#include "base/mem.h"
#include "control/gate.h"

#include <stdlib.h>

#define RUNS_MAX 4

struct run {
    struct api *api;
    struct admin_request *request;
    struct gate *gate;
};

/* What is to be run. The texts belong to the body, the config and the conductor. */
struct wish {
    const struct config_service *service;
    const char **instances; /* owned */
    size_t count;
    const char *release;
};

static void run_free(struct run *run)
{
    gate_free(run->gate);
    run->api->uptest_runs--;
    free(run);
}

static json_t *result_of(const struct gate_cell *cell)
{
    struct address address;
    struct err err;
    bool ok = address_parse_instance(str_of(cell->instance), &address, &err);
    json_t *exit = cell->exit_status < 0 ? json_null() : json_integer(cell->exit_status);
    json_t *signal = cell->signal == 0 ? json_null() : json_integer(cell->signal);
    return json_pack("{s:s, s:b, s:s%, s:s, s:i, s:f, s:o, s:o, s:b}", "Name", cell->uptest, "Passed",
                     cell->state == GATE_PASSED, "Output", cell->output, cell->output_size, "Host",
                     ok ? address.host : cell->instance, "Port", ok ? (int)address.port : 0, "Seconds",
                     (double)cell->ns / 1e9, "Exit", exit, "Signal", signal, "TimedOut", cell->timed_out);
}

static void run_done(void *arg, bool passed, const char *reason)
{
    struct run *run = arg;
    struct admin_request *request = run->request;
    size_t count = gate_cell_count(run->gate);
    bool ran = count > 0 && gate_cell_at(run->gate, 0)->state != GATE_WAITING;
    if (!passed && !ran) {
        admin_problem(request, 422, "%s", reason);
    } else {
        json_t *results = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(results, result_of(gate_cell_at(run->gate, i)));
        admin_answer_json(request, 200, results);
        json_decref(results);
    }
    run_free(run);
}

static void cell_changed(void *arg, const struct gate_cell *cell)
{
    (void)arg;
    (void)cell;
}

static void run_gone(void *arg)
{
    run_free(arg);
}

static void start(struct api *api, struct admin_request *request, const struct wish *wish)
{
    static const struct gate_callbacks callbacks = {cell_changed, cell_changed, run_done};
    struct gate_plan plan = {.uptests = &wish->service->uptests,
                             .service = wish->service->name,
                             .release = wish->release,
                             .deployment = "",
                             .vhost = gate_vhost(wish->service),
                             .instances = wish->instances,
                             .instance_count = wish->count};
    struct run *run = mem_zero(1, sizeof *run);
    *run = (struct run){.api = api, .request = request};
    request->gone = run_gone;
    request->ends_with_input = true;
    request->arg = run;
    api->uptest_runs++;
    run->gate = gate_start(api->loop, &plan, true, &callbacks, run);
}

/* ---- what was asked for ---- */

/* Returns the status to refuse with, or 0. */
static unsigned read_instances(json_t *list, struct wish *wish, struct err *err)
{
    struct stage_instance instance;
    struct address ignored;
    free(wish->instances);
    wish->count = json_array_size(list);
    wish->instances = mem_zero(wish->count, sizeof *wish->instances);
    for (size_t i = 0; i < wish->count; i++) {
        if (!api_read_instance(json_array_get(list, i), &instance, err))
            return 400;
        wish->instances[i] = instance.address;
        if (!address_parse_instance(str_of(wish->instances[i]), &ignored, err))
            return 422;
    }
    return 0;
}

static unsigned read_wish(struct api *api, const char *service, json_t *instances, json_t *release,
                          struct wish *wish, struct err *err)
{
    unsigned status = 0;
    size_t ignored;
    wish->service = config_service(conductor_config(api->conductor), str_of(service));
    if (wish->service == NULL ||
        !conductor_live_instances(api->conductor, service, &wish->instances, &wish->count, &wish->release)) {
        conductor_no_service(api->conductor, service, err);
        return 404;
    }
    if (instances != NULL)
        status = read_instances(instances, wish, err);
    if (status != 0)
        return status;
    if (release != NULL)
        wish->release = json_string_value(release);
    if (wish->release[0] != '\0' && !config_release_is_valid(str_of(wish->release))) {
        err_set(err, "the release \"%.200s\" is no name: letters, digits, \".\", \"_\" and \"-\" are taken",
                wish->release);
        return 422;
    }
    if (wish->count == 0) {
        err_set(err, "there are no instances to test: name some in \"instances\"");
        return 422;
    }
    if (!gate_check_suite(&wish->service->uptests, wish->release, &ignored, err))
        return 422;
    if (api->uptest_runs >= RUNS_MAX) {
        err_set(err, "%d runs of uptests are under way by hand; try again when one has ended", RUNS_MAX);
        return 409;
    }
    return 0;
}

void api_uptest(struct api *api, struct admin_request *request, const char *service)
{
    static const struct api_key keys[] = {{"instances", API_LIST, false}, {"release", API_TEXT, false}};
    json_t *object, *values[2];
    struct wish wish = {.release = ""};
    struct err err;
    if (!api_read_body(request, keys, 2, &object, values))
        return;
    unsigned status = read_wish(api, service, values[0], values[1], &wish, &err);
    if (status == 0)
        start(api, request, &wish);
    else
        admin_problem(request, status, "%s", err.text);
    free(wish.instances);
    json_decref(object);
}
