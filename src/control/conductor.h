/* conductor: carries deployments out: the only caller of deploy/. It asks the table, writes the journal, and
 * when the record is on disk, acts: probes, gates, publishes, drains, tears down.
 *
 * Commands answer through a callback, at once when refused and otherwise when what they did is durable. */
#pragma once

#include "base/err.h"
#include "config/config.h"
#include "control/event_log.h"
#include "control/schedule.h" /* struct schedule_tally */
#include "deploy/registry.h"  /* struct asker */
#include "io/loop.h"
#include "link/channel.h"
#include "link/counters.h"

#include <jansson.h>

struct conductor;
struct past;

/* What a command ends with. `status` is the HTTP status. Below 400: `body` is the answer; else `detail` is
 * the sentence. */
struct outcome {
    unsigned status;
    json_t *body;       /* borrowed during the callback */
    const char *detail; /* valid during the callback */
};
typedef void (*outcome_fn)(void *arg, const struct outcome *outcome);

struct stage_instance {
    const char *address; /* HOST:PORT */
    int64_t pid;         /* 0: none */
    uint32_t weight;     /* from 1 */
};

struct pause_request {
    uint64_t max_ms;  /* then it ends by itself */
    uint64_t wait_ms; /* for the service to be quiet */
};

/* What somebody decides about the deployment that runs. */
struct decision {
    const char *deployment; /* refused with 409 where it is another, or none; NULL: whichever runs */
    const char *from;       /* as `deployment`, where its state is another; NULL: whichever it is */
    uint32_t from_share;    /* and its share as a canary; 0: whichever */
    const char *reason;     /* valid UTF-8; "": none is given; beyond REASON_MAX it ends with "..." */
};
#define REASON_MAX 4096 /* bytes */

struct stage_request {
    const struct stage_instance *instances;
    size_t instance_count;
    const char *release; /* "" where none is given */
    bool launch;         /* launch.command tells the instances; none is given here */
    bool hold;
    bool allow_untested;
    bool has_watch; /* else as configured */
    uint64_t watch_ms;
    struct canary canary;
    const char *const *pause_with; /* argv of what runs in a pause that lasts until the swap */
    size_t pause_with_count;       /* 0: nothing does */
    uint64_t pause_ms; /* that it lasts at most */ /* count 0: none */
};

/* `done` may be called before these return. Unknown services are a 404 that names the nearest. */
void conductor_stage(struct conductor *conductor, const char *service, const struct stage_request *request,
                     const struct asker *asker, outcome_fn done, void *arg);
void conductor_promote(struct conductor *conductor, const char *service, const struct decision *decision,
                       const struct asker *asker, outcome_fn done, void *arg);
void conductor_abort(struct conductor *conductor, const char *service, const struct decision *decision,
                     const struct asker *asker, outcome_fn done, void *arg);
/* Takes a pool back that has clients: the armed one is live again, or a canary's share is none. */
void conductor_rollback(struct conductor *conductor, const char *service, const struct decision *decision,
                        const struct asker *asker, outcome_fn done, void *arg);
/* Takes a live instance out of rotation (drain true) or back in. The last one in rotation is refused with
 * 409. */
void conductor_rotate(struct conductor *conductor, const char *service, const char *instance, bool drain,
                      const struct asker *asker, outcome_fn done, void *arg);
/* Answers the service's requests with 503 from now on, and with that message (NULL: none), or no more. */
void conductor_maintenance(struct conductor *conductor, const char *service, bool on, const char *message,
                           const struct asker *asker, outcome_fn done, void *arg);
/* Lets new requests wait; answers when what was in flight has ended, or tells what has not. */
void conductor_pause(struct conductor *conductor, const char *service, const struct pause_request *request,
                     const struct asker *asker, outcome_fn done, void *arg);
void conductor_resume(struct conductor *conductor, const char *service, const struct asker *asker,
                      outcome_fn done, void *arg);
/* `done` NULL: by a signal; it is then carried out when what is under way has ended. */
void conductor_reload(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg);
/* Answered when the new program has said that it can take over, and before it does: 202 with the versions,
 * and the number of the event after which daemon.upgraded or daemon.upgrade_refused tells the end. */
void conductor_upgrade(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg);

/* Requests of the service that wait, since it is paused. */
uint64_t conductor_waiting(struct conductor *conductor, const struct service *service);

/* JSON shapes of CONTRACT.md; new references. NULL: no such service or deployment. */
/* The whole without its services. */
json_t *conductor_status(struct conductor *conductor);
/* Without the instances of its pools. */
json_t *conductor_service(struct conductor *conductor, const char *service);
/* So many instances of this pool, at most, from one on; an empty array where there are none (any more). */
json_t *conductor_instances(struct conductor *conductor, const char *pool, size_t from, size_t limit,
                            bool figures);
/* Adds to such a service what only those need who take differences: of each pool `answers_5xx` and
 * `durations`; `figures` of instances are `requests` and `errors`. */
void conductor_add_figures(struct conductor *conductor, json_t *service);
/* What every service that has had requests in the last 15 minutes has answered in the slice that ended last.
 */
json_t *conductor_traffic(struct conductor *conductor);
/* What this one has answered in the last seconds, slice by slice, and when its clients moved to another pool.
 */
json_t *conductor_service_traffic(struct conductor *conductor, const char *service, uint64_t seconds);
#define TRAFFIC_SECONDS_MAX 900
json_t *conductor_history(struct conductor *conductor, const char *service, size_t limit);
json_t *conductor_deployment(struct conductor *conductor, const char *deployment);

/* For errors and completion: "no service \"wbe\"; did you mean \"web\"?" */
void conductor_no_service(struct conductor *conductor, const char *service, struct err *err);
void conductor_no_deployment(struct conductor *conductor, const char *deployment, struct err *err);

/* What the uptest command and the metrics need. */
const struct config *conductor_config(struct conductor *conductor);
struct counters *conductor_counters(struct conductor *conductor);
/* Pools that are gone. */
const struct past *conductor_past(struct conductor *conductor);
uint64_t conductor_snapshot_version(struct conductor *conductor);
/* Live instances of a service as HOST:PORT (array to be freed, texts not) and its live release; false: no
 * such service. */
bool conductor_live_instances(struct conductor *conductor, const char *service, const char ***instances,
                              size_t *count, const char **release);

/* What becomes of the instance, as users are told: up, down, ejected, drained or torn_down. */
const char *conductor_instance_state(struct conductor *conductor, const struct pool *pool,
                                     const struct instance *instance);

/* Suites that were run on a schedule: see schedule.h. */
struct schedule_tally conductor_scheduled(struct conductor *conductor, const char *service);

/* For the metrics: everything there is, and the address of each listener by its id in the counters (NULL
 * where there is none). */
const struct registry *conductor_registry(struct conductor *conductor);
void conductor_listeners(struct conductor *conductor, const char *addresses[COUNTERS_LISTENERS]);
/* When the first certificate of this listener expires, in seconds since 1970; 0: it has none. */
int64_t conductor_certificates_end(struct conductor *conductor, unsigned listener);
/* As journal_failures. */
uint64_t conductor_journal_failures(struct conductor *conductor);
