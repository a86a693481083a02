#include "fake_conductor.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct config *parse(const char *text)
{
    struct err err;
    FILE *file = fmemopen((char *)text, strlen(text), "r");
    struct config *config = config_parse(file, "test.conf", &err);
    fclose(file);
    if (config == NULL) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return config;
}

void fake_conductor_configure(struct conductor *conductor, unsigned count)
{
    struct buf text = BUF_EMPTY;
    buf_printf(&text, "listeners = ({ address = \"127.0.0.1:0\"; });\nservices = (");
    for (unsigned i = 0; i < count; i++)
        buf_printf(&text, "%s{ name = \"s%u\"; hosts = [ \"s%u\" ]; instances = [ \"127.0.0.1:8001\" ]; }",
                   i == 0 ? "" : ",\n", i, i);
    buf_printf(&text, ");\n");
    config_free(conductor->config);
    conductor->config = parse(text.p);
    buf_free(&text);
}

struct conductor *fake_conductor_new(const char *text)
{
    struct err err;
    struct conductor *conductor = mem_zero(1, sizeof *conductor);
    conductor->config = parse(text);
    int fd = counters_create(2, &err);
    conductor->counters = counters_map(fd, &err);
    close(fd);
    conductor->registry = registry_new();
    conductor->version = 1;
    conductor->status = 200;
    return conductor;
}

void fake_conductor_free(struct conductor *conductor)
{
    counters_unmap(conductor->counters);
    registry_free(conductor->registry);
    past_clear(&conductor->past);
    config_free(conductor->config);
    free(conductor);
}

void fake_conductor_answer(struct conductor *conductor)
{
    json_t *body = json_pack("{s:s}", "asked", conductor->asked);
    struct outcome outcome = {.status = conductor->status, .body = body, .detail = "because"};
    conductor->done(conductor->arg, &outcome);
    json_decref(body);
}

static void ask(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg,
                const char *format, ...) PRINTF_LIKE(5, 6);

static void ask(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg,
                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(conductor->asked, sizeof conductor->asked, format, args);
    va_end(args);
    conductor->asker = *asker;
    conductor->done = done;
    conductor->arg = arg;
    if (!conductor->holds)
        fake_conductor_answer(conductor);
}

void conductor_stage(struct conductor *conductor, const char *service, const struct stage_request *request,
                     const struct asker *asker, outcome_fn done, void *arg)
{
    char instances[256] = "";
    for (size_t i = 0; i < request->instance_count; i++) {
        size_t n = strlen(instances);
        const struct stage_instance *instance = &request->instances[i];
        snprintf(instances + n, sizeof instances - n, " %s/%u/%d", instance->address, instance->weight,
                 (int)instance->pid);
    }
    char options[128] = "";
    if (request->has_watch)
        snprintf(options, sizeof options, " watch=%d canary=%u,%u/%d", (int)request->watch_ms,
                 request->canary.shares[0], request->canary.shares[1], (int)request->canary.step_ms);
    ask(conductor, asker, done, arg, "stage %s release=%s hold=%d untested=%d%s%s", service, request->release,
        request->hold, request->allow_untested, options, instances);
}

static void ask_decision(struct conductor *conductor, const char *verb, const char *service,
                         const struct decision *decision, const struct asker *asker, outcome_fn done,
                         void *arg)
{
    char from[64] = "";
    if (decision->from != NULL)
        snprintf(from, sizeof from, " from=%s/%u", decision->from, decision->from_share);
    ask(conductor, asker, done, arg, "%s %s deployment=%s%s reason=%s", verb, service,
        decision->deployment == NULL ? "-" : decision->deployment, from, decision->reason);
}

void conductor_promote(struct conductor *conductor, const char *service, const struct decision *decision,
                       const struct asker *asker, outcome_fn done, void *arg)
{
    ask_decision(conductor, "promote", service, decision, asker, done, arg);
}

void conductor_abort(struct conductor *conductor, const char *service, const struct decision *decision,
                     const struct asker *asker, outcome_fn done, void *arg)
{
    ask_decision(conductor, "abort", service, decision, asker, done, arg);
}

void conductor_rollback(struct conductor *conductor, const char *service, const struct decision *decision,
                        const struct asker *asker, outcome_fn done, void *arg)
{
    ask_decision(conductor, "rollback", service, decision, asker, done, arg);
}

void conductor_rotate(struct conductor *conductor, const char *service, const char *instance, bool drain,
                      const struct asker *asker, outcome_fn done, void *arg)
{
    ask(conductor, asker, done, arg, "%s %s %s", drain ? "drain" : "enable", service, instance);
}

void conductor_maintenance(struct conductor *conductor, const char *service, bool on, const char *message,
                           const struct asker *asker, outcome_fn done, void *arg)
{
    ask(conductor, asker, done, arg, "maintenance %s %d %s", service, on, message == NULL ? "-" : message);
}

void conductor_pause(struct conductor *conductor, const char *service, const struct pause_request *request,
                     const struct asker *asker, outcome_fn done, void *arg)
{
    ask(conductor, asker, done, arg, "pause %s %d %d", service, (int)request->max_ms, (int)request->wait_ms);
}

void conductor_resume(struct conductor *conductor, const char *service, const struct asker *asker,
                      outcome_fn done, void *arg)
{
    ask(conductor, asker, done, arg, "resume %s", service);
}

uint64_t conductor_waiting(struct conductor *conductor, const struct service *service)
{
    (void)conductor;
    (void)service;
    return 0;
}

void conductor_reload(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg)
{
    ask(conductor, asker, done, arg, "reload");
}

void conductor_upgrade(struct conductor *conductor, const struct asker *asker, outcome_fn done, void *arg)
{
    ask(conductor, asker, done, arg, "upgrade");
}

json_t *conductor_status(struct conductor *conductor)
{
    return json_pack("{s:s, s:i}", "version", "1.0", "snapshot", (int)conductor->version);
}

static bool knows(const struct conductor *conductor, const char *service)
{
    return config_service(conductor->config, str_of(service)) != NULL;
}

json_t *conductor_service(struct conductor *conductor, const char *service)
{
    json_t *pools = json_array();
    if (conductor->instances > 0)
        json_array_append_new(pools, json_pack("{s:s}", "deployment", service));
    json_t *json = json_pack("{s:s, s:o}", "service", service, "pools", pools);
    if (knows(conductor, service))
        return json;
    json_decref(json);
    return NULL;
}

json_t *conductor_instances(struct conductor *conductor, const char *pool, size_t from, size_t limit,
                            bool figures)
{
    (void)pool;
    (void)figures;
    json_t *instances = json_array();
    for (size_t i = from; i < conductor->instances && i - from < limit; i++)
        json_array_append_new(instances, json_pack("{s:I}", "address", (json_int_t)i));
    return instances;
}

json_t *conductor_history(struct conductor *conductor, const char *service, size_t limit)
{
    return knows(conductor, service) ? json_pack("{s:[], s:i}", "deployments", "limit", (int)limit) : NULL;
}

json_t *conductor_deployment(struct conductor *conductor, const char *deployment)
{
    (void)conductor;
    return strcmp(deployment, "web-1") == 0 ? json_pack("{s:s}", "deployment", deployment) : NULL;
}

void conductor_no_service(struct conductor *conductor, const char *service, struct err *err)
{
    (void)conductor;
    err_set(err, "no service \"%s\"; did you mean \"web\"?", service);
}

void conductor_no_deployment(struct conductor *conductor, const char *deployment, struct err *err)
{
    (void)conductor;
    err_set(err, "no deployment \"%s\"", deployment);
}

const struct config *conductor_config(struct conductor *conductor)
{
    return conductor->config;
}

struct counters *conductor_counters(struct conductor *conductor)
{
    return conductor->counters;
}

json_t *conductor_traffic(struct conductor *conductor)
{
    (void)conductor;
    return json_pack("{s:[]}", "services");
}

json_t *conductor_service_traffic(struct conductor *conductor, const char *service, uint64_t seconds)
{
    if (config_service(conductor->config, str_of(service)) == NULL)
        return NULL;
    return json_pack("{s:s, s:I}", "service", service, "seconds", (json_int_t)seconds);
}

struct schedule_tally conductor_scheduled(struct conductor *conductor, const char *service)
{
    (void)service;
    return conductor->scheduled;
}

uint64_t conductor_snapshot_version(struct conductor *conductor)
{
    return conductor->version;
}

bool conductor_live_instances(struct conductor *conductor, const char *service, const char ***instances,
                              size_t *count, const char **release)
{
    const struct config_service *found = config_service(conductor->config, str_of(service));
    if (found == NULL)
        return false;
    *count = found->instances.count;
    *instances = mem_zero(*count, sizeof **instances);
    for (size_t i = 0; i < *count; i++)
        (*instances)[i] = found->instances.items[i];
    *release = "live";
    return true;
}

const char *conductor_instance_state(struct conductor *conductor, const struct pool *pool,
                                     const struct instance *instance)
{
    (void)conductor;
    (void)pool;
    return instance_state_shown(instance->state);
}

const struct past *conductor_past(struct conductor *conductor)
{
    return &conductor->past;
}

const struct registry *conductor_registry(struct conductor *conductor)
{
    return conductor->registry;
}

void conductor_listeners(struct conductor *conductor, const char *addresses[COUNTERS_LISTENERS])
{
    for (size_t i = 0; i < COUNTERS_LISTENERS; i++)
        addresses[i] = i == 1 ? conductor->listener : NULL;
}

int64_t conductor_certificates_end(struct conductor *conductor, unsigned listener)
{
    return listener == 1 ? conductor->certificates_end : 0;
}

uint64_t conductor_journal_failures(struct conductor *conductor)
{
    return conductor->journal_failures;
}
