/* api: what the admin API can do: one table of routes, and what its handlers share. */
#pragma once

#include "control/admin_request.h"
#include "control/event_log.h"
#include "control/metrics.h"

struct api {
    struct loop *loop;
    struct conductor *conductor;
    struct event_log *events;
    struct metrics *metrics;
    size_t uptest_runs; /* by hand, under way */
    size_t followers;   /* of the events */
};

/* Finds the request's route and takes the request over. */
void api_dispatch(struct api *api, struct admin_request *request);

/* A handler takes the request over. `name` is what stands for the {} in the route's path ("" where there is
 * none), valid during the call. */
typedef void api_handler(struct api *api, struct admin_request *request, const char *name);

api_handler api_status, api_services, api_service, api_traffic, api_service_traffic, api_metrics, api_health;
api_handler api_stage, api_history, api_deployment, api_promote, api_abort, api_rollback;
api_handler api_drain, api_enable, api_reload, api_upgrade;
api_handler api_maintenance, api_pause, api_resume;
api_handler api_events, api_uptest, api_dashboard;

/* Answers with what a command of the conductor has come to; an outcome_fn, `request` is its arg. */
void api_outcome(void *request, const struct outcome *outcome);

/* Answers with what was found under this name, and releases it; with a 404 by `absent` where it is NULL. */
void api_found(struct api *api, struct admin_request *request, json_t *found, const char *name,
               void (*absent)(struct conductor *conductor, const char *name, struct err *err));

/* How long a pause lasts where nothing is said, and at most. */
#define PAUSE_USUAL_MS 30000
#define PAUSE_MOST_MS 3600000

/* ---- bodies ---- */

/* One key that a body may have. */
struct api_key {
    const char *name;
    enum { API_TEXT, API_BOOL, API_LIST } kind;
    bool required;
};

/* Reads the body as an object of these keys, each at most once; an empty body is an object without keys.
 * *object gets the object, to be released; values[i] the value of keys[i], borrowed, NULL where it is absent.
 * False: the request has been refused with 400. */
bool api_read_body(struct admin_request *request, const struct api_key *keys, size_t count, json_t **object,
                   json_t **values) MUST_CHECK;

/* What kind of value it is, for a sentence: "a text". */
const char *api_type_name(const json_t *value);

/* Reads an instance: "HOST:PORT", or {"address":"HOST:PORT","weight":N,"pid":N}, of which the address alone
 * must be there; it is borrowed from the item. */
bool api_read_instance(json_t *item, struct stage_instance *instance, struct err *err) MUST_CHECK;

/* ---- queries ---- */

/* One parameter that a query may have. */
struct api_parameter {
    const char *name;
    char *value; /* decoded; NULL: absent. To be freed by api_free_query */
};

/* Reads the query. False: the request has been refused with 400, and nothing is to be freed. */
bool api_read_query(struct admin_request *request, struct api_parameter *parameters, size_t count) MUST_CHECK;
void api_free_query(struct api_parameter *parameters, size_t count);
/* Reads a parameter as a number from `least` to `most`; absent: *value stays. False: refused with 400. */
bool api_read_number(struct admin_request *request, const struct api_parameter *parameter, uint64_t least,
                     uint64_t most, uint64_t *value) MUST_CHECK;
