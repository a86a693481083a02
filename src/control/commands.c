/* commands: promote, abort, drain, enable, reload and upgrade. Each is refused with what to do instead when
 * the state does not allow it. */
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/version.h"
#include "control/conduct.h"
#include "control/config_text.h"
#include "io/file.h"

#include <stdlib.h>

#define UNSURE_LOOK_MS 20 /* until it is asked again whether the first checks have told */
#define HOW_MAX 400       /* bytes of a command that is shown */

struct step *conductor_command(struct conductor *conductor, const char *service, enum record_type type,
                               const struct asker *asker, outcome_fn done, void *arg)
{
    struct err err;
    if (conductor_settings(conductor, service) != NULL)
        return step_command(course_of(conductor, service), type, asker, done, arg);
    conductor_no_service(conductor, service, &err);
    refuse(done, arg, 404, "%s", err.text);
    return NULL;
}

/* ---- promote, abort and roll back ---- */

static struct deployment *running(const struct step *step)
{
    const struct course *course = step->course;
    const struct service *service = registry_service(course->conductor->options.registry, course->service);
    return service == NULL ? NULL : service->running;
}

/* What a step that carries out a decision keeps of it. */
struct meant {
    char *deployment;
    char *from;
    uint32_t share;
};

/* As `from` is written: "held", "canary:5". */
static const char *state_words(char words[64], const char *state, uint32_t share)
{
    if (share > 0)
        snprintf(words, 64, "\"%s:%.6g\"", state, (double)share * 100 / CANARY_WHOLE);
    else
        snprintf(words, 64, "\"%s\"", state);
    return words;
}

/* A decision that was carried out already, and whose answer was lost, is not to be another when it comes
 * again.
 */
static bool is_in_meant_state(struct step *step, const struct meant *meant)
{
    const struct deployment *deployment = running(step);
    char found[64], wanted[64];
    if (meant->from == NULL || deployment == NULL)
        return true;
    uint32_t share = meant->share == 0 ? 0 : deployment_share(deployment);
    const char *state = deployment_state_shown(deployment->state);
    if (strcmp(state, meant->from) == 0 && share == meant->share)
        return true;
    return step_refuse(step, 409, "deployment %s is %s, and not %s as was meant; nothing was changed",
                       deployment->pool->name, state_words(found, state, deployment_share(deployment)),
                       state_words(wanted, meant->from, meant->share));
}

/* What was meant may have ended since it was looked at, and another may have been staged. */
static bool is_meant_one(struct step *step, const char *meant)
{
    const char *service = step->course->service;
    const struct deployment *deployment = running(step);
    if (meant == NULL || (deployment != NULL && strcmp(deployment->pool->name, meant) == 0))
        return true;
    if (deployment == NULL)
        return step_refuse(step, 409,
                           "no deployment of service \"%s\" runs, and so not \"%.64s\"; nothing was changed, "
                           "and `upswap history %s` tells how those before ended",
                           service, meant, service);
    return step_refuse(step, 409,
                       "the deployment of service \"%s\" that runs is not \"%.64s\" but %s, which is %s; "
                       "nothing was changed, and `upswap history %s` tells how those before ended",
                       service, meant, deployment->pool->name, deployment_state_shown(deployment->state),
                       service);
}

static bool is_meant(struct step *step)
{
    const struct meant *meant = step->data;
    return is_meant_one(step, meant->deployment) && is_in_meant_state(step, meant);
}

static bool prepare_event(struct step *step, struct deployment *deployment)
{
    struct err err;
    free(step->record.pool);
    step->record.pool = mem_dup(deployment->pool->name);
    step->record.asker = step->asker;
    if (registry_allows(step->course->conductor->options.registry, &step->record, &err))
        return true;
    return step_refuse(step, 409, "%s", err.text);
}

static bool prepare_promote(struct step *step)
{
    struct deployment *deployment = running(step);
    if (!is_meant(step))
        return false;
    if (deployment == NULL)
        return step_refuse(step, 409,
                           "service \"%s\" has no deployment to promote; stage one with --hold first",
                           step->course->service);
    if (pool_transition(deployment->pool, EVENT_PROMOTED) == NULL)
        return step_refuse(step, 409,
                           "deployment %s is %s, and only one that is held, a canary or watched can be "
                           "promoted; wait until it is",
                           deployment->pool->name, deployment_state_shown(deployment->state));
    return prepare_event(step, deployment);
}

static void add_to_why(struct record *record, const char *more)
{
    char *why = mem_printf("%s; %s", record->why, more);
    record_set_why(record, why);
    free(why);
}

static bool prepare_abort(struct step *step)
{
    struct deployment *deployment = running(step);
    if (!is_meant(step))
        return false;
    if (deployment == NULL)
        return step_refuse(step, 409,
                           "service \"%s\" has no deployment that could be aborted: none is staged, testing, "
                           "held or a canary",
                           step->course->service);
    if (deployment_state_is_watched(deployment->state))
        return step_refuse(
            step, 409, "deployment %s is live already, and watched; `upswap rollback %s` swaps back to %s",
            deployment->pool->name, step->course->service, deployment->replaces);
    if (pausing_has_begun(step->course->pausing) ||
        (deployment_pauses(deployment) && deployment->state != DEPLOYMENT_PAUSING))
        add_to_why(&step->record, "what the command of the pause has done stays done");
    return prepare_event(step, deployment);
}

/* Addresses of what the daemon had started are not those of what it would start. */
static bool launches(const struct conductor *conductor, const struct pool *pool)
{
    const struct config_service *settings = conductor_settings(conductor, pool->service->name);
    return settings != NULL && settings->launch.command.count > 0 && pool->release[0] != '\0';
}

static void add_staging(struct buf *text, const struct pool *old)
{
    buf_printf(text, "start them again, where they do not run, then `upswap stage %s", old->service->name);
    for (size_t i = 0; i < old->instance_count && text->n < HOW_MAX; i++)
        buf_printf(text, " %s", old->instances[i].address);
    if (old->release[0] != '\0')
        buf_printf(text, " --release %s", old->release);
    buf_printf(text, "` brings them back");
}

/* What became of what was live before the pool that is, with a command to bring it back. NULL: nothing is
 * known of it. */
static char *how_to_bring_back(const struct conductor *conductor, const struct pool *live)
{
    const char *name = live == NULL || live->deployment == NULL ? NULL : live->deployment->replaces;
    const struct pool *old = name == NULL ? NULL : registry_pool(conductor->options.registry, name);
    struct buf text = BUF_EMPTY;
    if (old == NULL)
        return NULL;
    char *failed = old->state == POOL_RETIRED ? failed_teardowns(old) : NULL;
    if (failed != NULL)
        buf_printf(&text, "%s; ", failed);
    else
        buf_printf(&text, "the instances of %s are %s; ", old->name,
                   old->state == POOL_RETIRED ? "torn down" : "going");
    if (launches(conductor, old))
        buf_printf(&text, "`upswap deploy %s %s` starts that release again", old->service->name,
                   old->release);
    else
        add_staging(&text, old);
    free(failed);
    return text.p;
}

static bool refuse_rollback(struct step *step, const struct service *service)
{
    const char *name = step->course->service;
    if (service != NULL && service->running != NULL)
        return step_refuse(
            step, 409, "deployment %s is %s: it has no clients yet; `upswap abort %s` gives it up",
            service->running->pool->name, deployment_state_shown(service->running->state), name);
    char *how = service == NULL ? NULL : how_to_bring_back(step->course->conductor, service->live);
    step_refuse(step, 409, "service \"%s\" has no armed pool to go back to%s%s", name,
                how == NULL ? "" : ": ", how == NULL ? "" : how);
    free(how);
    return false;
}

/* Whose clients go back there: of a watched pool to the armed one, of a canary to the live one. */
static const struct pool *pool_before(const struct service *service, const struct pool *pool)
{
    return service->live == pool ? service->armed : service->live;
}

/* By hand it is done whatever the checks of the pool before it say, save that it is all down. */
static bool prepare_rollback(struct step *step)
{
    const struct conductor *conductor = step->course->conductor;
    const struct service *service = registry_service(conductor->options.registry, step->course->service);
    struct deployment *deployment = running(step);
    if (!is_meant(step))
        return false;
    if (deployment == NULL || pool_transition(deployment->pool, EVENT_ROLLED_BACK) == NULL)
        return refuse_rollback(step, service);
    const struct pool *before = pool_before(service, deployment->pool);
    if (before != NULL && health_is_unsure(conductor->health, before)) {
        step_put_off(step, UNSURE_LOOK_MS);
        return false;
    }
    if (before != NULL && health_is_hopeless(conductor->health, before))
        return step_refuse(
            step, 409,
            "no instance of %s passes its checks, so a rollback would make it worse; start them "
            "again first, or stage another pool after `upswap promote %s`",
            before->name, service->name);
    return prepare_event(step, deployment);
}

static void forget_meant(struct step *step, bool used)
{
    struct meant *meant = step->data;
    (void)used;
    free(meant->deployment);
    free(meant->from);
    free(meant);
}

/* Whoever rolls back in an emergency is not to write less first: the beginning is kept. */
static char *reason_kept(const char *reason)
{
    struct str whole = str_of(reason), head = utf8_head(whole, REASON_MAX);
    if (head.n == whole.n)
        return mem_dup(reason);
    head = utf8_head(whole, REASON_MAX - strlen("..."));
    return mem_printf("%.*s...", STR_ARG(head));
}

static void decide(struct step *step, enum deployment_event event, const struct decision *decision,
                   const char *otherwise)
{
    char *reason = reason_kept(decision->reason);
    step->record.event = event;
    struct meant *meant = mem_alloc(sizeof *meant);
    *meant = (struct meant){.deployment = mem_dup(decision->deployment),
                            .from = mem_dup(decision->from),
                            .share = decision->from_share};
    step->data = meant;
    step->release = forget_meant;
    record_set_why(&step->record, reason[0] != '\0' ? reason : otherwise);
    free(reason);
    step_submit(step);
}

void conductor_rollback(struct conductor *conductor, const char *service, const struct decision *decision,
                        const struct asker *asker, outcome_fn done, void *arg)
{
    struct step *step = conductor_command(conductor, service, RECORD_EVENT, asker, done, arg);
    if (step == NULL)
        return;
    step->prepare = prepare_rollback;
    decide(step, EVENT_ROLLED_BACK, decision, "rolled back by hand");
}

void conductor_promote(struct conductor *conductor, const char *service, const struct decision *decision,
                       const struct asker *asker, outcome_fn done, void *arg)
{
    struct step *step = conductor_command(conductor, service, RECORD_EVENT, asker, done, arg);
    if (step == NULL)
        return;
    step->prepare = prepare_promote;
    decide(step, EVENT_PROMOTED, decision, "promoted by hand");
}

void conductor_abort(struct conductor *conductor, const char *service, const struct decision *decision,
                     const struct asker *asker, outcome_fn done, void *arg)
{
    struct step *step = conductor_command(conductor, service, RECORD_EVENT, asker, done, arg);
    if (step == NULL)
        return;
    step->prepare = prepare_abort;
    decide(step, EVENT_ABORTED, decision, "aborted by hand");
}

/* ---- drain and enable ---- */

static bool prepare_rotate(struct step *step)
{
    struct conductor *conductor = step->course->conductor;
    const struct service *service = registry_service(conductor->options.registry, step->course->service);
    const struct pool *live = service == NULL ? NULL : service->live;
    const char *address = step->data;
    struct err err;
    const struct instance *instance = live == NULL ? NULL : pool_instance(live, address);
    if (instance == NULL)
        return step_refuse(step, 409, "service \"%s\" has no live instance %s; `upswap status %s` lists them",
                           step->course->service, address, step->course->service);
    free(step->record.pool);
    step->record.pool = mem_dup(live->name);
    step->record.asker = step->asker;
    record_add_instance(&step->record, (size_t)(instance - live->instances));
    if (!registry_allows(conductor->options.registry, &step->record, &err))
        return step_refuse(step, 409, "%s", err.text);
    return true;
}

static void release_address(struct step *step, bool used)
{
    (void)used;
    free(step->data);
}

void conductor_rotate(struct conductor *conductor, const char *service, const char *instance, bool drain,
                      const struct asker *asker, outcome_fn done, void *arg)
{
    struct step *step = conductor_command(conductor, service, RECORD_ROTATED, asker, done, arg);
    if (step == NULL)
        return;
    step->record.out = drain;
    step->data = mem_dup(instance);
    step->release = release_address;
    step->prepare = prepare_rotate;
    step_submit(step);
}

/* ---- reload ---- */

static struct config *read_config(const char *path, struct buf *text, struct err *err)
{
    if (!file_read(path, CONFIG_TEXT_MAX, text, NULL, err))
        return NULL;
    return config_text_parse(buf_str(text), path, err);
}

/* Why not now; NULL: it may be. One that is due goes before what can be asked for again. */
static const char *reload_obstacle(const struct conductor *conductor, bool by_signal)
{
    if (conductor->stopping)
        return "the daemon is stopping; ask again when it is up";
    if (conductor->adoption != NULL || conductor->config == NULL || (conductor->reload_due && !by_signal))
        return "a reload is under way; try again when it is done";
    if (conductor->upgrading && !by_signal)
        return "an upgrade is under way; reload again when it is done";
    return NULL;
}

void conductor_reload(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg)
{
    struct buf text = BUF_EMPTY;
    struct err err;
    const char *why = reload_obstacle(conductor, done == NULL);
    if (done == NULL) /* nobody could be told to try again */
        conductor->reload_due = why != NULL;
    if (why != NULL) {
        refuse(done, arg, 409, "%s", why);
        return;
    }
    struct config *config = read_config(conductor->options.config_path, &text, &err);
    if (config != NULL) {
        adopt(conductor, config, buf_str(&text), asker, done, arg);
    } else {
        log_error("the config is not taken up: %s", err.text);
        event_log_add(conductor->options.events, "config.refused", NULL, NULL, view_cause(err.text, asker));
        refuse(done, arg, 422, "%s", err.text);
        conductor->options.reloaded(conductor->options.arg);
    }
    buf_free(&text);
}

/* ---- upgrade ---- */

void conductor_upgrade(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg)
{
    if (conductor->upgrade_done != NULL || conductor->upgrading || conductor->stopping) {
        refuse(done, arg, 409, "%s",
               conductor->stopping ? "the daemon is stopping; ask again when it is up"
                                   : "an upgrade is under way; wait for its end");
        return;
    }
    conductor->upgrade_done = done;
    conductor->upgrade_arg = arg;
    conductor->upgrade_asker = *asker;
    conductor->options.upgrade(conductor->options.arg);
}

/* Who asked, if somebody did. */
static outcome_fn take_upgrade_done(struct conductor *conductor)
{
    outcome_fn done = conductor->upgrade_done;
    conductor->upgrade_done = NULL;
    return done;
}

void conductor_upgrading(struct conductor *conductor, const char *version)
{
    outcome_fn done = take_upgrade_done(conductor);
    conductor->upgrading = true;
    adopt_make_way(conductor, version);
    if (done == NULL)
        return;
    log_info("upgrade to version %s, asked for by %s", version, conductor->upgrade_asker.user);
    answer(done, conductor->upgrade_arg, 202,
           json_pack("{s:s, s:s, s:I}", "from", version_text, "version", version, "since",
                     (json_int_t)event_log_last(conductor->options.events)));
}

void conductor_upgrade_refused(struct conductor *conductor, const char *sentence)
{
    outcome_fn done = take_upgrade_done(conductor);
    conductor->upgrading = false;
    event_log_add(conductor->options.events, "daemon.upgrade_refused", NULL, NULL,
                  view_cause(sentence, done == NULL ? NULL : &conductor->upgrade_asker));
    if (done != NULL)
        refuse(done, conductor->upgrade_arg, 409, "%s", sentence);
}
