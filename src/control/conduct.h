/* conduct: what the conductor's own files share, and nobody else includes.
 *
 * Everything that changes a service goes through its course: a queue of steps. The step in front makes its
 * record (or is refused), the record goes to the journal, and when it is on disk the registry takes it, the
 * command is answered, what follows is done, and the next step begins. */
#pragma once

#include "control/archive.h"
#include "control/conductor.h"
#include "control/credentials.h"
#include "control/drain.h"
#include "control/ejections.h"
#include "control/finishing.h"
#include "control/gate.h"
#include "control/health.h"
#include "control/journal.h"
#include "control/launching.h"
#include "control/past.h"
#include "control/pauses.h"
#include "control/pausing.h"
#include "control/probe.h"
#include "control/process.h"
#include "control/recent.h"
#include "control/schedule.h"
#include "control/slots.h"
#include "control/sockets.h"
#include "control/teardown.h"
#include "control/trail.h"
#include "control/watch.h"
#include "control/world.h"
#include "deploy/record.h"
#include "deploy/registry.h"

/* What the role's main has made; all of it stays its own. */
struct conductor_options {
    struct loop *loop;
    const char *config_path;
    struct event_log *events;
    struct registry *registry;
    struct journal *journal;
    struct archive *archive;
    struct counters *counters;
    int counters_fd;
    struct sockets *sockets;
    struct secrets *secrets;
    const struct credentials *credentials;
    struct finishing *finishing; /* proxies of earlier programs */
    unsigned generation;         /* of the counters: the proxy's */
    const struct behalf *proxy;  /* with whose rights instances are asked; filled by `configured` */
    int proxy_fd;                /* the conductor's from now on */
    int32_t proxy_pid;           /* 0: none runs */
    bool has_served;             /* one ran when this control began: it takes the place of another */
    int32_t keeper_pid;
    /* Could the role work with this config? Asked before anything is changed; what it prepares is used by the
     * next `configured`. False with "PATH:LINE: sentence". */
    bool (*acceptable)(void *arg, const struct config *config, struct err *err);
    /* What was acceptable is not taken up: what was prepared for it is let go. */
    void (*refused)(void *arg);
    /* Another config (which stays the conductor's) has been accepted; `text` is what it was read from. The
     * sockets have changed already. */
    void (*configured)(void *arg, const struct config *config, struct str text);
    /* No reload is under way, or due, any more: each was done or refused. */
    void (*reloaded)(void *arg);
    /* The first snapshot of this process is published. */
    void (*serving)(void *arg);
    /* The keeper is to be asked for an upgrade; conductor_upgrading or conductor_upgrade_refused follows. */
    void (*upgrade)(void *arg);
    void *arg;
};

struct adoption;
struct remains;
struct waiting;

struct conductor {
    struct conductor_options options;
    struct config *config; /* NULL before the first one is adopted */
    struct world *world;
    struct drain *drain;
    struct health *health;
    struct ejections *ejections;
    struct schedule *schedule;
    struct recent *recent;
    struct pauses *pauses;
    struct trail *trail;
    struct watch *watch;
    struct teardown *teardown;
    struct processes *processes;
    struct slots *pool_slots, *instance_slots;
    struct past past;
    char *good; /* the deployment to which another was compared last, and its gate without outputs; NULL: */
    json_t *good_gate;            /* none was yet */
    struct course *courses;       /* by service */
    LIST_HEAD(, course) changing; /* those whose last change is not published */
    unsigned numbered;            /* records with a number of the world that are on their way to the disk */
    struct adoption *adoption;    /* a config that is being taken up; NULL: none */
    bool reload_due;              /* a signal came meanwhile: the file may be another one by now */
    struct loop_deferred reloading;
    bool upgrading;         /* another control is about to take over */
    uint64_t last_instance; /* highest id given out */
    unsigned retiring;      /* records that retire instances and are on their way; one pool at a time, since
                               who holds an address depends on the one before */
    LIST_HEAD(, waiting) waiting; /* answers */
    struct deadline keys;         /* when to look whether another is due */
    struct deadline news;         /* when to tell the proxy what it does not know yet */
    outcome_fn upgrade_done;      /* who waits to hear of an upgrade; NULL: nobody */
    void *upgrade_arg;
    struct asker upgrade_asker;
    /* Whose instances the checks have told something new of since who is out was asked again: */
    const struct service *moved; /* NULL: nobody's */
    bool more_moved;             /* than that one's */
    bool serving;
    bool stopping;
};

struct step;
TAILQ_HEAD(steps, step);

/* What follows from a result. */
struct verdict {
    enum deployment_event event;
    char *why;
    enum deployment_event
        not_kept;      /* in its place where the result cannot be written, with the sentence why */
    const char *aside; /* which is behind that; NULL: nothing */
};

/* What runs for a service. */
struct course {
    struct conductor *conductor;
    char *service;
    struct steps steps; /* waiting */
    struct step *current;
    bool turning;
    /* For the running deployment: */
    struct launching *launching;
    struct pausing *pausing;
    struct probe *probe;
    struct gate *gate;
    struct deadline shadow, hold, warm;
    uint64_t warm_after;    /* version of the last world in which the pool was not to be warmed */
    uint64_t warm_until_ms; /* monotonic: then the swap goes on without */
    bool
        ails; /* when it was to be confirmed an instance was down by its checks, as in a pool that was held */
    struct verdict verdict; /* while its result is being written; why NULL: none is */
    /* Of deployments before it that were given up, while what they run is not gone: */
    LIST_HEAD(, remains) remains;
    LIST_HEAD(, launching) launchings;
    LIST_HEAD(, pausing) pausings;
    unsigned archiving; /* which writing of a result counts; an older one was overtaken */
    /* The last change of who has the clients, until it is published: */
    char *changed; /* its deployment; NULL: none */
    char *live;    /* the pool that is live since; NULL: none has become it */
    char *leaves;  /* the pool that drains since; NULL: none */
    uint64_t change_version, change_decided_ns, change_written_ns;
    LIST_ENTRY(course) of_changing;
    UT_hash_handle hh;
};

struct step {
    struct course *course;
    /* Makes the record, or refuses with step_refuse, when it is this step's turn. NULL: the record is made,
     * and the step is dropped if it is not allowed any more, or was found of a state that is over. */
    bool (*prepare)(struct step *step);
    /* What prepare keeps beside the record (NULL: nothing): `used` tells if the record was taken. */
    void (*release)(struct step *step, bool used);
    void *data;
    struct record record;
    /* Of an event without prepare: the deployment's state, and how many shares it had had, when it was found.
     */
    enum deployment_state found_in;
    size_t found_share;
    uint64_t decided_ns; /* monotonic */
    outcome_fn done;     /* NULL: nobody waits */
    void *arg;
    struct asker asker;
    unsigned status; /* of a refusal */
    struct err err;
    struct deadline retry;
    TAILQ_ENTRY(step) entry;
};

/* ---- steps.c ---- */

struct course *course_of(struct conductor *conductor, const char *service);
struct course *course_find(struct conductor *conductor, const char *service);
struct step *step_new(struct course *course, enum record_type type, const char *pool);
/* A step that answers. `asker` may be NULL. */
struct step *step_command(struct course *course, enum record_type type, const struct asker *asker,
                          outcome_fn done, void *arg);
/* Queues it; the course owns it from now on. */
void step_submit(struct step *step);
/* Ends one that was refused and is in no queue. */
void step_reject(struct step *step);
/* Sets what it is refused with. Returns false. */
bool step_refuse(struct step *step, unsigned status, const char *format, ...) PRINTF_LIKE(3, 4);
/* For a prepare that then returns false: others go before it, and it has its turn again after so long. */
void step_put_off(struct step *step, unsigned ms);
/* Something happened to a deployment in the state that it is in, and its share as a canary: what is recorded
 * only after these is dropped. `why` (may be NULL) is copied and made valid UTF-8. */
void step_event(struct course *course, const char *pool, enum deployment_event event, const char *why);
void record_set_why(struct record *record, const char *why);
/* Answers a command that has no step. */
void answer(outcome_fn done, void *arg, unsigned status, json_t *body);
void refuse(outcome_fn done, void *arg, unsigned status, const char *format, ...) PRINTF_LIKE(4, 5);

/* ---- waiting.c ---- */

/* Answers 200 when the proxy has published this version (or a later one), or after a second. */
void answer_when_published(struct conductor *conductor, uint64_t version, outcome_fn done, void *arg,
                           json_t *body);
/* It has. */
void answer_published(struct conductor *conductor, uint64_t version);

/* ---- effects.c ---- */

/* What follows from a record that the registry has taken. */
void effects_follow(struct step *step, const struct transition *row);
/* The change of who has the clients that waits to be published is told of, or overtaken. */
void course_forget_change(struct course *course);
/* Deployments whose swap is published and whose old pool is gone are done. */
void effects_finish(struct conductor *conductor);
/* How many of the pool's teardowns failed, in words; NULL: none. To be freed. */
char *failed_teardowns(const struct pool *pool);
/* After a start, when the first config is adopted: what was under way goes on. */
void effects_resume(struct conductor *conductor);

/* ---- course.c: what is done for a running deployment ---- */

void course_launch(struct course *course, const struct pool *pool);
void course_await(struct course *course, const struct pool *pool);
void course_pause(struct course *course, const struct pool *pool);
void course_test(struct course *course, const struct pool *pool);
/* Tells of the end of an uptest of its gate. */
void course_cell_finished(struct course *course, const char *pool, const struct gate_cell *cell);
/* Writes what was found for the running deployment, then tells of the verdict, unless course_stop comes
 * before. The result is the archive's from now on, and `why` the course's. */
void course_keep(struct course *course, const char *pool, enum archive_kind kind, json_t *result,
                 const struct verdict *verdict);
/* Writes what was found for whoever looks at the deployment later; nothing waits for it. */
void course_publish(struct course *course, const char *pool, enum archive_kind kind, json_t *result);
void course_hold(struct course *course, const struct pool *pool);
/* For all that are held: hold_timeout may be another one by now. */
void course_hold_on(struct conductor *conductor);
void course_confirm(struct course *course, const struct pool *pool);
void course_step(struct course *course, const struct pool *pool);
void course_watch(struct course *course, const struct pool *pool);
/* What the watch of a pool has found: see watch_options.found; arg is the conductor. */
void course_found(void *arg, const struct pool *pool, enum watch_finding finding, const char *why);
/* As course->hold's. */
void course_hold_is_over(struct deadline *deadline);
/* As course->warm's. */
void course_look_at_warmth(struct deadline *deadline);

/* ---- shadow.c: copies of live requests for it ---- */

void course_shadow(struct course *course, const struct pool *pool);
/* As course->shadow's: what was seen is judged. */
void course_shadow_is_over(struct deadline *deadline);
/* "shadow" of a deployment: what has been seen so far, or was. */
json_t *course_shadow_view(struct conductor *conductor, const struct pool *pool);
/* What still runs for the deployment is stopped, told of, and written, while the course goes on without it.
 */
void course_give_up(struct course *course, const struct pool *pool, const char *why);
/* Ends whatever of these is under way. */
void course_stop(struct course *course);

/* ---- remains.c: the gates of deployments that were given up ---- */

/* Stops the gate, which is not over, and frees it when all is gone, told of and written. */
void remains_take(struct course *course, const char *pool, struct gate *gate, const char *words);
/* The deployment's, while it ends. NULL: there is none. */
const struct gate *remains_gate(const struct course *course, const char *pool);

/* ---- stage.c ---- */

/* May this instance (address and resolved are looked at) be staged, or is one at its address being torn down?
 * False with a sentence; or the step is put off, since that will be over soon: then *till_ms, 0 at first,
 * says until when that is done. */
bool stage_may_take(struct step *step, const struct instance *asked, uint64_t *till_ms,
                    struct err *err) MUST_CHECK;

/* ---- modes.c ---- */

/* The mode of a service has changed. */
void modes_follow(struct step *step);
/* As pauses_options.over. */
void modes_over(void *conductor, const struct service *service);
/* Pauses the service for its deployment, which is told by pausing_begun. */
void modes_pause(struct course *course, const struct pool *pool);
/* The deployment needs its pause no more, if there still is one. */
void modes_release(struct course *course, const struct pool *pool);
/* After a start: the pauses of deployments that need them no more. */
void modes_resume(struct conductor *conductor);

/* ---- quiet.c ---- */

enum quiet_end { QUIET_REACHED, QUIET_NOT_YET, QUIET_OVER /* the pause is, before the service was quiet */ };
typedef void quiet_fn(void *arg, enum quiet_end how, const struct pauses_rest *rest);
/* Waits until the service, which is paused or in maintenance in the world of that version, has no request in
 * flight, for so long at most. */
struct quiet *quiet_await(struct conductor *conductor, const struct service *service, uint64_t version,
                          uint64_t wait_ms, quiet_fn *done, void *arg);
/* `done` is not called any more. NULL is fine. */
void quiet_cancel(struct quiet *quiet);

/* ---- slotting.c ---- */

/* Ids and slots for a new pool. False: there is no slot left. */
bool slotting_give(struct conductor *conductor, struct pool *pool, struct err *err) MUST_CHECK;
/* The same for an instance that joins a pool. */
bool slotting_give_instance(struct conductor *conductor, struct instance *instance,
                            struct err *err) MUST_CHECK;
/* Takes them back from one that came to nothing (version 0) or is not in the world from `version` on. */
void slotting_take_back(struct conductor *conductor, const struct pool *pool, uint64_t version);
/* At the start: marks what the registry names. */
void slotting_restore(struct conductor *conductor);

/* ---- adopt.c ---- */

/* Has what is being taken up, if anything is, the number of its world already? */
bool adopt_is_numbered(const struct conductor *conductor);
/* Another control takes over: whoever waits for a reload hears that it is not done, where it can still be
 * given up. What a signal asked for goes on; if it does not come to its end here, the next control is told.
 */
void adopt_make_way(struct conductor *conductor, const char *version);
/* Takes up a config (owned; read from `text`): sockets, first pools, the world. `done` may be NULL. */
void adopt(struct conductor *conductor, struct config *config, struct str text, const struct asker *asker,
           outcome_fn done, void *arg);

/* ---- commands.c ---- */

/* A step for what was asked of a service; NULL: there is no such service, and that is answered. */
struct step *conductor_command(struct conductor *conductor, const char *service, enum record_type type,
                               const struct asker *asker, outcome_fn done, void *arg);

/* ---- access_log.c ---- */

/* Opens the config's access log to append. *fd is -1 where there is none. False with "PATH:LINE: sentence".
 */
bool access_log_open(const struct config *config, int *fd, struct err *err) MUST_CHECK;

/* ---- view.c ---- */

json_t *view_deployment(struct conductor *conductor, const struct pool *pool, bool whole);
json_t *view_service(struct conductor *conductor, const char *name);
/* Adds to an instance what conductor_add_figures adds to its pool. */
void view_add_figures(struct conductor *conductor, json_t *json, const struct instance *instance);
/* The cells of a gate and whether all passed. */
json_t *view_gate(const struct gate *gate, bool passed);
json_t *view_asker(const struct asker *asker);
/* A text of unknown origin as JSON; NULL: null. */
json_t *view_text(const char *text);
/* An event's members "reason" (NULL: left out) and "asked_by" (NULL, or nobody's: left out). */
json_t *view_cause(const char *reason, const struct asker *asker);
/* The same, and the share that the deployment has as a canary, in percent. */
json_t *view_move(const struct deployment *deployment, const char *reason, const struct asker *asker);

/* ---- conductor.c ---- */

struct conductor *conductor_new(const struct conductor_options *options);
/* Takes up the first config; `done` tells whether it could be. */
void conductor_begin(struct conductor *conductor, struct config *config, struct str text, outcome_fn done,
                     void *arg);
/* The keeper has started a proxy. */
void conductor_proxy_started(struct conductor *conductor, int32_t pid);
void conductor_proxy_ended(struct conductor *conductor, int32_t pid);
/* The keeper says that another program takes over now, or why none does (asked for here or by a signal). */
void conductor_upgrading(struct conductor *conductor, const char *version);
void conductor_upgrade_refused(struct conductor *conductor, const char *sentence);
/* Opens the access log again, since its file was moved away. */
void conductor_reopen(struct conductor *conductor);
/* What the proxy needs for TLS from now on; the descriptor stays the caller's. */
void conductor_keyring(struct conductor *conductor, int fd);
/* No deployment from now on; gates are stopped, and run again after the next start. */
void conductor_stop(struct conductor *conductor);
/* Sends the world as it is now: see world_publish. `service` alone has changed since the last one; NULL: any
 * may have. Its watchers hear of it first. */
void conductor_publish(struct conductor *conductor, const struct service *service, uint64_t version,
                       uint64_t decided_ns);
/* The same soon, of this service, for what no record numbers a world for. */
void conductor_tell(struct conductor *conductor, const struct service *service);
/* The settings of a service, or NULL. */
const struct config_service *conductor_settings(const struct conductor *conductor, const char *service);
