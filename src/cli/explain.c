/* One row a case: a sentence that says what is and why, and one that says what would change it. Words in
 * braces stand for facts, which are gathered first; a fact that is not known is an empty text. Of the two
 * cases that hold, what clients get and what the deployment does, the first that has a remedy gives it. */
#include "cli/explain.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/fields.h"

#include <stdlib.h>
#include <string.h>

struct row {
    const char *why, *mend; /* NULL: none */
};

/* What clients get. */
enum traffic {
    TRAFFIC_NO_PROXY,
    TRAFFIC_MAINTENANCE,
    TRAFFIC_PAUSED,
    TRAFFIC_PAUSED_FOR,
    TRAFFIC_EMPTY,
    TRAFFIC_NONE_IN_ROTATION,
    TRAFFIC_NONE_UP,
    TRAFFIC_DRAINED,
    TRAFFIC_EJECTED,
    TRAFFIC_DOWN,
    TRAFFIC_FAILING,
    TRAFFIC_SERVED,
};

static const struct row traffic_rows[] = {
    [TRAFFIC_NO_PROXY] = {"No proxy runs, so the clients of {service} wait for an answer.",
                          "It is being started, again and again; the daemon's log says what prevents that."},
    [TRAFFIC_MAINTENANCE] = {"{service} answers every request with 503 since {since}, because {by} put it "
                             "into maintenance{message}.",
                             "It is served again after \"upswap maintenance {service} off\"; nothing else "
                             "ends this, no restart either."},
    [TRAFFIC_PAUSED] =
        {"Requests of {service} wait since {since}, because {by} paused it; {waiting} wait now.",
         "They are let go at {until}, or at once by \"upswap resume {service}\"."},
    [TRAFFIC_PAUSED_FOR] = {"Requests of {service} wait since {since}, because {paused_for} runs a command, "
                            "its uptests and its swap in a pause; {waiting} wait now.",
                            "They are let go when {paused_for} is live or has failed, at the latest at "
                            "{until}; \"upswap abort {service}\" gives it up."},
    [TRAFFIC_EMPTY] = {"{service} has no live pool, so its requests are answered with 503 (no-live-pool).",
                       NULL},
    [TRAFFIC_NONE_IN_ROTATION] = {"Every instance of {live} was taken out of rotation by hand, so the "
                                  "requests of {service} are answered with 503 (no-instance).",
                                  "\"upswap enable {service} {instance}\" takes it back."},
    [TRAFFIC_NONE_UP] = {"No instance of {live} is up, so {service} tries all of them as if they were: "
                         "{instance} is {instance_state}{because}.",
                         "It is up again when its checks pass; \"upswap {live_again}\" brings others."},
    [TRAFFIC_DRAINED] = {"{service} is served by {live}{release} with {up} of {count} instances: {instance} "
                         "was taken out of rotation by hand.",
                         "\"upswap enable {service} {instance}\" takes it back."},
    [TRAFFIC_EJECTED] = {"{service} is served by {live}{release} with {up} of {count} instances: {instance} "
                         "is ejected{because}.",
                         "It gets requests again by itself, when its time is over or its uptests pass; "
                         "\"upswap {live_again}\" brings others."},
    [TRAFFIC_DOWN] = {"{service} is served by {live}{release} with {up} of {count} instances: {instance} is "
                      "down{because}.",
                      "It gets requests again when its checks pass; \"upswap {live_again}\" brings others."},
    [TRAFFIC_FAILING] = {"{service} is served by {live}{release}, {all_up}, but {instance} fails the uptests "
                         "that are run on a schedule.",
                         "\"upswap uptest {service} {instance}\" runs them now and shows what they say; "
                         "\"upswap {live_again}\" brings others."},
    [TRAFFIC_SERVED] = {"{service} is served by {live}{release}, {all_up}.", NULL},
};

/* What the running deployment does, or how the last one ended. */
enum course {
    COURSE_LAUNCHING,
    COURSE_STAGED,
    COURSE_PAUSING,
    COURSE_TESTING,
    COURSE_SHADOWING,
    COURSE_CONFIRMING,
    COURSE_HELD,
    COURSE_CANARY,
    COURSE_DOUBTED,
    COURSE_WATCHING,
    COURSE_WATCHING_FIRST,
    COURSE_DRAINING,
    COURSE_OTHER,
    COURSE_DONE,
    COURSE_REJECTED,
    COURSE_ABORTED,
    COURSE_ROLLED_BACK,
    COURSE_NONE,
    COURSE_NEVER,
};

static const char stage_again[] =
    "\"upswap {again}\" tries again; \"upswap show {deployment}\" has the whole story.";

static const struct row course_rows[] = {
    [COURSE_LAUNCHING] =
        {"launch.command starts {deployment}{staged_release}, which {asker} asked for at {created}.",
         "Its instances are tested when it has ended well, else it is rejected; \"upswap abort {service}\" "
         "gives it up."},
    [COURSE_PAUSING] =
        {"The command of {deployment}{staged_release}, staged by {asker} at {created}, runs as soon as no "
         "request of {service} is in flight.",
         "If it ends well the uptests follow, else it is rejected; \"upswap abort {service}\" gives it up."},
    [COURSE_SHADOWING] =
        {"{deployment}{staged_release}, staged by {asker} at {created}, has passed its uptests and is sent "
         "copies of live requests.",
         "If it answers them as {live} does it {then}, else it is rejected; \"upswap abort {service}\" gives "
         "it up."},
    [COURSE_CONFIRMING] =
        {"{deployment}{staged_release}, staged by {asker} at {created}, has passed its gate, and each "
         "instance is to accept one more connection.",
         "Then it {next}; if one does not it is rejected."},
    [COURSE_STAGED] =
        {"{deployment}{staged_release} was staged by {asker} at {created} and waits until all its "
         "instances accept connections{waits_for}.",
         "Then it is tested; after ready_timeout it is rejected, and \"upswap abort {service}\" "
         "gives it up."},
    [COURSE_TESTING] =
        {"{deployment}{staged_release}, staged by {asker} at {created}, goes through its gate.",
         "If every uptest passes on every instance it {then}, else it is rejected; \"upswap "
         "abort {service}\" gives it up."},
    [COURSE_HELD] =
        {"{deployment}{staged_release}, staged by {asker} at {created}, has passed its gate and is "
         "held, as was asked for{ailing}.",
         "\"upswap promote {service}\" {lets_go}, \"upswap abort {service}\" gives it up; it is aborted when "
         "hold_timeout is over."},
    [COURSE_CANARY] =
        {"{deployment}{staged_release} is a canary with {share}% of the new sessions{left}.",
         "If that share does well it gets the next, else none; \"upswap promote {service}\" goes "
         "on at once, \"upswap rollback {service}\" takes it back."},
    [COURSE_DOUBTED] = {"{deployment}{staged_release} waits for a person{reason}.",
                        NULL}, /* it names the two ways */
    [COURSE_WATCHING] =
        {"{deployment}{staged_release} is live and watched{left}; {replaces} stays armed.",
         "If it does worse, {replaces} is live again, else {replaces} drains; \"upswap rollback "
         "{service}\" or \"upswap promote {service}\" does so at once."},
    [COURSE_WATCHING_FIRST] = {"{deployment}{staged_release} is live and watched{left}; there was no pool "
                               "before it to swap back to.",
                               "\"upswap promote {service}\" ends the watch."},
    [COURSE_DRAINING] =
        {"{deployment}{staged_release} is live{drains}.",
         "It is done when nothing is in flight on the pool before it, at the latest at the drain "
         "deadlines, and that is torn down."},
    [COURSE_OTHER] = {"{deployment}{staged_release} is {state}.", NULL},
    [COURSE_DONE] = {"{asker} staged {deployment} at {created}; it was done at {ended}.",
                     "\"upswap {bring}\" brings the next release live."},
    [COURSE_REJECTED] =
        {"The last deployment, {deployment}{staged_release}, was rejected at {ended}{reason}.", stage_again},
    [COURSE_ABORTED] = {"The last deployment, {deployment}{staged_release}, was aborted at {ended}{reason}.",
                        stage_again},
    [COURSE_ROLLED_BACK] = {"The last deployment, {deployment}{staged_release}, was rolled back at "
                            "{ended}{reason}.",
                            stage_again},
    [COURSE_NONE] = {"Nothing was deployed yet: its pool is the one of the configuration.",
                     "\"upswap {bring}\" brings the next release live."},
    [COURSE_NEVER] = {"Nothing was ever staged for it.", "\"upswap {bring}\" brings its first pool live."},
};

/* ---- facts ---- */

static void set(json_t *facts, const char *name, const char *text)
{
    json_object_set_new(facts, name, json_string(text));
}

static void set_printf(json_t *facts, const char *name, char *text)
{
    set(facts, name, text);
    free(text);
}

static void set_time(json_t *facts, const char *name, const json_t *object, const char *key)
{
    char time[FIELD_TIME_SIZE];
    set_printf(facts, name, mem_printf("%s UTC", field_time(object, key, time)));
}

/* The first line of a text that may be absent, without its full stop, behind `before`. */
static void set_behind(json_t *facts, const char *name, const char *before, const char *text)
{
    struct str line = str_trim(str_of(text)), first;
    (void)!str_split(&line, '\n', &first);
    while (first.n > 0 && strchr(".\r ", first.p[first.n - 1]) != NULL)
        first.n--;
    set_printf(facts, name, mem_printf("%s%.*s", first.n > 0 ? before : "", STR_ARG(first)));
}

static void set_number(json_t *facts, const char *name, int64_t number)
{
    set_printf(facts, name, mem_printf("%lld", (long long)number));
}

static void set_release(json_t *facts, const char *name, const char *release)
{
    set_printf(facts, name, release[0] == '\0' ? mem_dup("") : mem_printf(" (release %s)", release));
}

static void set_asker(json_t *facts, const char *name, const json_t *asked)
{
    const char *user = field_text(json_object_get(asked, "asked_by"), "user", "");
    set(facts, name, user[0] != '\0' ? user : "somebody");
}

static const json_t *pool_by(const json_t *service, const char *key, const char *value)
{
    size_t i;
    const json_t *pool;
    json_array_foreach (json_object_get(service, "pools"), i, pool) {
        if (field_is(pool, key, value))
            return pool;
    }
    return NULL;
}

static size_t count_state(const json_t *pool, const char *state)
{
    size_t i, count = 0;
    const json_t *instance;
    json_array_foreach (json_object_get(pool, "instances"), i, instance)
        count += field_is(instance, "state", state);
    return count;
}

/* The first that fails its scheduled uptests, or NULL. */
static const json_t *failing_instance(const json_t *pool)
{
    size_t i;
    const json_t *instance;
    json_array_foreach (json_object_get(pool, "instances"), i, instance) {
        if (field_is(instance, "uptests", "failed"))
            return instance;
    }
    return NULL;
}

/* The command that brings a release; "": any. Only where the daemon starts it, its addresses are not asked
 * for. */
static void set_bring(json_t *facts, const char *name, const json_t *service, const char *release)
{
    const char *of = field_text(service, "service", "?");
    set_printf(facts, name,
               field_true(service, "launches")
                   ? mem_printf("deploy %s %s", of, release[0] == '\0' ? "RELEASE" : release)
                   : mem_printf("stage %s HOST:PORT...", of));
}

/* ---- what clients get ---- */

/* The first in the state that weighs most. */
static const json_t *worst_instance(const json_t *pool)
{
    static const char *const states[] = {"down", "ejected", "drained"};
    size_t i;
    const json_t *instance;
    for (size_t state = 0; state < sizeof states / sizeof *states; state++) {
        json_array_foreach (json_object_get(pool, "instances"), i, instance) {
            if (field_is(instance, "state", states[state]))
                return instance;
        }
    }
    return failing_instance(pool);
}

static enum traffic traffic_of_pool(const json_t *pool)
{
    size_t count = json_array_size(json_object_get(pool, "instances")), up = count_state(pool, "up");
    size_t down = count_state(pool, "down"), drained = count_state(pool, "drained");
    if (up == count)
        return failing_instance(pool) != NULL ? TRAFFIC_FAILING : TRAFFIC_SERVED;
    if (drained == count)
        return TRAFFIC_NONE_IN_ROTATION;
    if (down == count - drained)
        return TRAFFIC_NONE_UP;
    if (down > 0)
        return TRAFFIC_DOWN;
    return count_state(pool, "ejected") > 0 ? TRAFFIC_EJECTED : TRAFFIC_DRAINED;
}

static enum traffic traffic_of(const json_t *service)
{
    const json_t *live = pool_by(service, "state", "live");
    if (json_is_false(json_object_get(service, "proxy_runs"))) /* a daemon of another version does not say */
        return TRAFFIC_NO_PROXY;
    if (field_is(service, "state", "maintenance"))
        return TRAFFIC_MAINTENANCE;
    if (field_is(service, "state", "paused"))
        return field_text(json_object_get(service, "mode"), "deployment", NULL) != NULL ? TRAFFIC_PAUSED_FOR
                                                                                        : TRAFFIC_PAUSED;
    return live == NULL ? TRAFFIC_EMPTY : traffic_of_pool(live);
}

static void add_mode(json_t *facts, const json_t *mode)
{
    set_time(facts, "since", mode, "since");
    set_time(facts, "until", mode, "until");
    set_asker(facts, "by", mode);
    set(facts, "paused_for", field_text(mode, "deployment", ""));
    set_number(facts, "waiting", field_number(mode, "waiting", 0));
    set_behind(facts, "message", ", with the message: ", field_text(mode, "message", ""));
}

static void add_live(json_t *facts, const json_t *pool, const json_t *reasons)
{
    const json_t *instance = worst_instance(pool);
    size_t count = json_array_size(json_object_get(pool, "instances"));
    const char *address = field_text(instance, "address", "");
    set(facts, "live", field_text(pool, "deployment", "?"));
    set_release(facts, "release", field_text(pool, "release", ""));
    set_number(facts, "count", (int64_t)count);
    set_number(facts, "up", (int64_t)count_state(pool, "up"));
    set_printf(facts, "all_up",
               count == 1 ? mem_dup("its one instance is up")
                          : mem_printf("all %zu instances are up", count));
    set(facts, "instance", address);
    set(facts, "instance_state", field_text(instance, "state", "?"));
    set_behind(facts, "because", ", because ", field_text(reasons, address, ""));
}

/* ---- what its deployment does ---- */

/* What users see as staged or as testing. COURSE_OTHER: a daemon of another version does not say. */
static enum course phase_course(const json_t *deployment)
{
    static const struct {
        const char *phase;
        enum course course;
    } phases[] = {
        {"launching", COURSE_LAUNCHING},
        {"pausing", COURSE_PAUSING},
        {"shadowing", COURSE_SHADOWING},
        {"confirming", COURSE_CONFIRMING},
    };
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        if (field_is(deployment, "phase", phases[i].phase))
            return phases[i].course;
    }
    return COURSE_OTHER;
}

static enum course running_course(const json_t *deployment)
{
    const char *reason = field_text(deployment, "reason", "");
    bool watching = field_is(deployment, "state", "watching");
    enum course by_phase = phase_course(deployment);
    if (by_phase != COURSE_OTHER)
        return by_phase;
    if (field_is(deployment, "state", "staged"))
        return COURSE_STAGED;
    if (field_is(deployment, "state", "testing"))
        return COURSE_TESTING;
    if (field_is(deployment, "state", "held"))
        return COURSE_HELD;
    if (field_is(deployment, "state", "draining"))
        return COURSE_DRAINING;
    if (!watching && !field_is(deployment, "state", "canary"))
        return COURSE_OTHER;
    if (reason[0] != '\0')
        return COURSE_DOUBTED;
    if (!watching)
        return COURSE_CANARY;
    return field_text(deployment, "replaces", NULL) != NULL ? COURSE_WATCHING : COURSE_WATCHING_FIRST;
}

/* Of one that is not running. */
static enum course ended_course(const json_t *deployment)
{
    static const struct {
        const char *state;
        enum course course;
    } ends[] = {
        {"done", COURSE_DONE},         {"rejected", COURSE_REJECTED},
        {"aborted", COURSE_ABORTED},   {"rolled_back", COURSE_ROLLED_BACK},
        {"draining", COURSE_DRAINING}, /* it is live; what it replaced drains */
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (field_is(deployment, "state", ends[i].state))
            return ends[i].course;
    }
    return COURSE_OTHER;
}

/* `ails`: an instance is down, so that it would not be swapped in. */
static void add_plan(json_t *facts, const json_t *deployment, bool ails)
{
    bool canary = json_array_size(json_object_get(json_object_get(deployment, "canary"), "shares")) > 0;
    const char *then = canary ? "becomes a canary" : "is swapped in";
    set(facts, "then", field_true(deployment, "hold") ? "is held before the swap" : then);
    set(facts, "next", then);
    set(facts, "lets_go", ails ? "would reject it now" : canary ? "makes it a canary" : "swaps it in");
    set_printf(facts, "share", mem_printf("%g", field_real(json_object_get(deployment, "canary"), "share")));
}

/* What a held one has lost since its gate. */
static char *ailing(const json_t *pool, size_t down)
{
    size_t count = json_array_size(json_object_get(pool, "instances"));
    const char *address = field_text(worst_instance(pool), "address", "?");
    if (down == 0)
        return mem_dup("");
    if (count == 1)
        return mem_printf("; now its one instance, %s, is down", address);
    return mem_printf("; now %zu of its %zu instances %s down: %s", down, count, down == 1 ? "is" : "are",
                      address);
}

static void add_deployment(json_t *facts, const json_t *deployment, const json_t *service)
{
    const char *replaces = field_text(deployment, "replaces", "");
    double left = field_real(json_object_get(deployment, "watched"), "left");
    const json_t *old = pool_by(service, "deployment", replaces);
    const json_t *pool = pool_by(service, "deployment", field_text(deployment, "deployment", ""));
    size_t down = count_state(pool, "down");
    set(facts, "deployment", field_text(deployment, "deployment", "?"));
    set_release(facts, "staged_release", field_text(deployment, "release", ""));
    set(facts, "state", field_text(deployment, "state", "?"));
    set(facts, "replaces", replaces);
    set_asker(facts, "asker", deployment);
    set_time(facts, "created", deployment, "created");
    set_time(facts, "ended", deployment, "ended");
    set_behind(facts, "reason", ": ", field_text(deployment, "reason", ""));
    set_behind(facts, "waits_for", ": ", field_text(deployment, "waits_for", ""));
    set_printf(facts, "left", left > 0 ? mem_printf(" for another %.0f s", left) : mem_dup(""));
    set_printf(facts, "drains",
               old == NULL ? mem_dup("")
                           : mem_printf(", and %s drains with %lld in flight", replaces,
                                        (long long)field_number(old, "in_flight", 0)));
    set_printf(facts, "ailing", ailing(pool, down));
    add_plan(facts, deployment, down > 0);
}

/* ---- sentences ---- */

/* To be released. */
static json_t *fill(const char *sentence, const json_t *facts)
{
    struct buf out = BUF_EMPTY;
    struct str rest = str_of(sentence), part, name;
    while (str_split(&rest, '{', &part)) {
        buf_add_str(&out, part);
        if (rest.p == NULL || !str_split(&rest, '}', &name))
            break;
        char *key = str_dup(name);
        buf_add_str(&out, str_of(field_text(facts, key, "?")));
        free(key);
    }
    json_t *text = json_stringn(out.p, out.n);
    buf_free(&out);
    return text;
}

json_t *explain(const json_t *service, const json_t *deployments, const json_t *reasons)
{
    const json_t *deployment = json_object_get(service, "deployment");
    bool runs = json_is_object(deployment);
    enum course course = COURSE_NONE;
    if (!runs)
        deployment = json_array_get(deployments, 0);
    if (deployment == NULL)
        course = field_is(service, "state", "empty") ? COURSE_NEVER : COURSE_NONE;
    else
        course = runs ? running_course(deployment) : ended_course(deployment);
    json_t *facts = json_object(), *sentences = json_array();
    set(facts, "service", field_text(service, "service", "?"));
    set_bring(facts, "bring", service, "");
    set_bring(facts, "again", service, field_text(deployment, "release", ""));
    set_bring(facts, "live_again", service, field_text(pool_by(service, "state", "live"), "release", ""));
    add_mode(facts, json_object_get(service, "mode"));
    add_live(facts, pool_by(service, "state", "live"), reasons);
    add_deployment(facts, deployment, service);
    const struct row *traffic = &traffic_rows[traffic_of(service)], *row = &course_rows[course];
    const char *mend = traffic->mend != NULL ? traffic->mend : row->mend;
    json_array_append_new(sentences, fill(traffic->why, facts));
    json_array_append_new(sentences, fill(row->why, facts));
    if (mend != NULL)
        json_array_append_new(sentences, fill(mend, facts));
    json_decref(facts);
    return sentences;
}

bool explain_asks_for_reasons(const json_t *service)
{
    const json_t *live = pool_by(service, "state", "live");
    return count_state(live, "down") + count_state(live, "ejected") > 0;
}
