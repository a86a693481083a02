#include "cli/render.h"
#include "cli/report.h"

#include "base/mem.h"
#include "cli/fields.h"

#include <stdlib.h>
#include <string.h>

static const char *plural(json_int_t count)
{
    return count == 1 ? "" : "s";
}

/* Of a live pool: clients miss it, or will if more of its kind go. */
static bool is_amiss(const json_t *instance)
{
    return !field_is(instance, "state", "up") || field_is(instance, "uptests", "failed");
}

/* Does the deployment go on only when a person says so? */
static bool waits_for_person(const json_t *deployment)
{
    bool judged = field_is(deployment, "state", "watching") || field_is(deployment, "state", "canary");
    return field_is(deployment, "state", "held") ||
           (judged && field_text(deployment, "reason", "")[0] != '\0');
}

/* Somebody should look at it: it is not served, or with less than it has, or waits for a person. */
static bool needs_attention(const json_t *service)
{
    size_t i, j;
    const json_t *pool, *instance;
    json_array_foreach (json_object_get(service, "pools"), i, pool) {
        json_array_foreach (json_object_get(pool, "instances"), j, instance) {
            if (field_is(pool, "state", "live") && is_amiss(instance))
                return true;
        }
    }
    return !field_is(service, "state", "serving") || waits_for_person(json_object_get(service, "deployment"));
}

/* In front of what needs attention; without colour it is all that tells. */
static const char *mark(bool needed)
{
    return needed ? "! " : "  ";
}

#define INSTANCE_REST 44 /* columns of its line that are not its name */
#define NAME_LEAST 16

/* Where the terminal has not room for all of it the end is shown, which tells a path from others. To be
 * freed. */
static char *instance_name(const struct terminal *terminal, const json_t *instance)
{
    const char *address = field_text(instance, "address", "?");
    long long weight = field_number(instance, "weight", 1);
    char option[32] = "";
    if (weight != 1)
        snprintf(option, sizeof option, ",weight=%lld", weight);
    size_t rest = INSTANCE_REST + strlen(option), n = strlen(address);
    size_t room = terminal->width > rest + NAME_LEAST ? terminal->width - rest : NAME_LEAST;
    bool is_long = terminal->width != 0 && n > room;
    return mem_printf("%s%s%s", is_long ? "..." : "", is_long ? address + n - room + 3 : address, option);
}

static void render_instance(struct terminal *terminal, const json_t *instance, bool is_live)
{
    long long in_flight = field_number(instance, "in_flight", 0), pid = field_number(instance, "pid", 0);
    const char *state = field_text(instance, "state", "?");
    char more[32] = "", *name = instance_name(terminal, instance);
    bool fails = field_is(instance, "uptests", "failed");
    if (fails) /* in the place of the pid: both are too wide */
        snprintf(more, sizeof more, "  fails uptests");
    else if (pid > 0)
        snprintf(more, sizeof more, "  pid %lld", pid);
    terminal_line(terminal, strcmp(state, "up") == 0 && !fails ? TONE_PLAIN : TONE_BAD,
                  "  %s%-27s %-9.9s %5lld in flight%s", mark(is_live && is_amiss(instance)), name, state,
                  in_flight, more);
    free(name);
}

static void render_pool(struct terminal *terminal, const json_t *pool)
{
    size_t i;
    const json_t *instance;
    bool live = field_is(pool, "state", "live");
    terminal_line(terminal, live ? TONE_GOOD : TONE_PLAIN, "  %-16.24s %-8.8s %.40s",
                  field_text(pool, "deployment", "?"), field_text(pool, "state", "?"),
                  field_text(pool, "release", ""));
    terminal_line(terminal, TONE_PLAIN, "    %lld in flight, %lld requests, %lld errors",
                  (long long)field_number(pool, "in_flight", 0), (long long)field_number(pool, "requests", 0),
                  (long long)field_number(pool, "errors", 0));
    json_array_foreach (json_object_get(pool, "instances"), i, instance)
        render_instance(terminal, instance, live);
}

/* And since when, by whom and why, where it is not served. */
static void render_state(struct terminal *terminal, const json_t *service)
{
    const json_t *mode = json_object_get(service, "mode");
    const char *message = field_text(mode, "message", "");
    char since[FIELD_TIME_SIZE];
    bool served = field_is(service, "state", "serving");
    terminal_line(terminal, served ? TONE_PLAIN : TONE_BAD, "%s: %s%s", field_text(service, "service", "?"),
                  field_text(service, "state", "?"), served ? "" : " !");
    if (!json_is_object(mode))
        return;
    if (json_is_integer(json_object_get(mode, "waiting")))
        terminal_line(terminal, TONE_PLAIN, "  until %s, %lld requests wait",
                      field_time(mode, "until", since), (long long)field_number(mode, "waiting", 0));
    terminal_line(terminal, TONE_PLAIN, "  since %s, by %.32s%s%s", field_time(mode, "since", since),
                  field_text(json_object_get(mode, "asked_by"), "user", "?"), message[0] != '\0' ? ": " : "",
                  message);
}

static void render_limits(struct terminal *terminal, const json_t *watched)
{
    const json_t *errors = json_object_get(watched, "errors"), *slow = json_object_get(watched, "slow");
    if (field_number(watched, "requests_before", 0) == 0)
        return;
    terminal_line(terminal, TONE_PLAIN,
                  "    5xx %.1f%%, limit %.1f%%; %.0f ms or longer %.1f%%, limit %.1f%%",
                  field_real(errors, "share") * 100, field_real(errors, "limit") * 100,
                  field_real(watched, "slow_seconds") * 1000, field_real(slow, "share") * 100,
                  field_real(slow, "limit") * 100);
}

/* How a watch stands, or stood when it ended. */
static void render_watched(struct terminal *terminal, const json_t *watched)
{
    const json_t *uptest = json_object_get(watched, "uptest");
    double left = field_real(watched, "left");
    char rest[48] = "";
    if (!json_is_object(watched))
        return;
    if (left > 0)
        snprintf(rest, sizeof rest, ", %.0f s are left", left);
    terminal_line(terminal, field_text(watched, "failure", "")[0] != '\0' ? TONE_BAD : TONE_PLAIN,
                  "  watched for %.0f s%s: %lld requests", field_real(watched, "seconds"), rest,
                  (long long)field_number(watched, "requests", 0));
    render_limits(terminal, watched);
    if (json_is_object(uptest))
        terminal_block(terminal, "    ", field_text(uptest, "output", ""));
}

void render_service(struct terminal *terminal, const json_t *service)
{
    size_t i;
    const json_t *pool, *deployment = json_object_get(service, "deployment");
    render_state(terminal, service);
    json_array_foreach (json_object_get(service, "pools"), i, pool)
        render_pool(terminal, pool);
    if (json_is_object(deployment))
        terminal_line(terminal, waits_for_person(deployment) ? TONE_BAD : TONE_PLAIN,
                      "%sdeployment %.24s is %s%s", mark(waits_for_person(deployment)),
                      field_text(deployment, "deployment", "?"), field_text(deployment, "state", "?"),
                      waits_for_person(deployment) ? ", and waits for a person" : "");
    render_watched(terminal, json_object_get(deployment, "watched"));
}

/* Last, so that it stands above the next prompt. */
static void render_attention(struct terminal *terminal, const json_t *services)
{
    size_t i, count = 0;
    const json_t *service;
    json_array_foreach (services, i, service) {
        if (!needs_attention(service))
            continue;
        if (count++ == 0)
            terminal_line(terminal, TONE_BAD, "needs attention (\"upswap why SERVICE\" says more):");
        terminal_line(terminal, TONE_BAD, "! %s", field_text(service, "service", "?"));
    }
}

/* A daemon of an earlier version tells by the proxy's process alone. */
static bool lacks_proxy(const json_t *status)
{
    const json_t *runs = json_object_get(status, "proxy_runs");
    if (runs != NULL)
        return json_is_false(runs);
    return field_number(json_object_get(status, "pids"), "proxy", -1) == 0;
}

void render_status(struct terminal *terminal, const json_t *status)
{
    size_t i;
    const json_t *service, *services = json_object_get(status, "services");
    json_array_foreach (services, i, service)
        render_service(terminal, service);
    render_attention(terminal, services);
    if (json_array_size(services) == 0)
        terminal_line(terminal, TONE_PLAIN, "no services are configured");
    if (lacks_proxy(status))
        terminal_line(terminal, TONE_BAD,
                      "! no proxy runs, and clients wait: it is being started; the daemon's log says what "
                      "prevents that");
}

static enum tone tone_of(const json_t *deployment)
{
    const char *state = field_text(deployment, "state", "");
    if (strcmp(state, "done") == 0)
        return TONE_GOOD;
    bool bad =
        strcmp(state, "rejected") == 0 || strcmp(state, "aborted") == 0 || strcmp(state, "rolled_back") == 0;
    return bad ? TONE_BAD : TONE_PLAIN;
}

static const char *asker_of(const json_t *deployment)
{
    const char *user = field_text(json_object_get(deployment, "asked_by"), "user", "");
    return user[0] != '\0' ? user : "-";
}

void render_history(struct terminal *terminal, const json_t *history)
{
    size_t i;
    const json_t *deployment;
    char created[FIELD_TIME_SIZE];
    json_array_foreach (json_object_get(history, "deployments"), i, deployment) {
        terminal_line(terminal, tone_of(deployment), "%-16.24s %-11s %-12.16s %s  %.12s",
                      field_text(deployment, "deployment", "?"), field_text(deployment, "state", "?"),
                      field_text(deployment, "release", "-"), field_time(deployment, "created", created),
                      asker_of(deployment));
        terminal_block(terminal, "    ", field_text(deployment, "reason", ""));
    }
}

void render_results(struct terminal *terminal, const json_t *results)
{
    size_t i, passed = 0, count = json_array_size(results);
    const json_t *result;
    char verdict[REPORT_VERDICT_MAX];
    json_array_foreach (results, i, result) {
        bool good = field_true(result, "Passed");
        passed += good;
        terminal_line(terminal, good ? TONE_GOOD : TONE_BAD, "%s:%lld  %s  %s in %.2f s",
                      field_text(result, "Host", "?"), (long long)field_number(result, "Port", 0),
                      field_text(result, "Name", "?"), report_verdict_by_hand(result, verdict),
                      field_real(result, "Seconds"));
        if (!good)
            terminal_block(terminal, "    ", field_text(result, "Output", ""));
    }
    terminal_line(terminal, TONE_PLAIN, "%zu of %zu uptest%s passed", passed, count,
                  plural((json_int_t)count));
}
