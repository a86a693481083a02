/* Deployments: staging, what may be done with one that runs, and what became of the earlier ones. */
#include "control/api.h"

#include "base/endpoint.h"
#include "base/mem.h"
#include "base/units.h"

#include <stdlib.h>

#define HISTORY_USUAL 20
#define HISTORY_MAX 1000
#define CANARY_STEP_USUAL_MS 60000
#define CANARY_PERCENT (CANARY_WHOLE / 100)

void api_history(struct api *api, struct admin_request *request, const char *service)
{
    struct api_parameter limit = {.name = "limit"};
    uint64_t most = HISTORY_USUAL;
    if (!api_read_query(request, &limit, 1))
        return;
    if (api_read_number(request, &limit, 1, HISTORY_MAX, &most))
        api_found(api, request, conductor_history(api->conductor, service, most), service,
                  conductor_no_service);
    api_free_query(&limit, 1);
}

void api_deployment(struct api *api, struct admin_request *request, const char *name)
{
    if (api_read_query(request, NULL, 0))
        api_found(api, request, conductor_deployment(api->conductor, name), name, conductor_no_deployment);
}

/* ---- stage ---- */

static bool are_instance_keys(json_t *item, struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach (item, key, value) {
        if (strcmp(key, "address") != 0 && strcmp(key, "weight") != 0 && strcmp(key, "pid") != 0)
            return err_set(
                err, "the key \"%.64s\" of an instance is not known; these are: address, weight, pid", key);
    }
    return true;
}

static bool read_weight(const json_t *weight, struct stage_instance *instance, struct err *err)
{
    if (!json_is_integer(weight))
        return err_set(err, "the key \"weight\" of instance %.300s must be a whole number, not %s",
                       instance->address, api_type_name(weight));
    if (!endpoint_weight(json_integer_value(weight), err))
        return err_prefix(err, "the key \"weight\" of instance %.300s", instance->address);
    instance->weight = (uint32_t)json_integer_value(weight);
    return true;
}

static bool read_instance_object(json_t *item, struct stage_instance *instance, struct err *err)
{
    json_t *pid = json_object_get(item, "pid"), *weight = json_object_get(item, "weight");
    if (!are_instance_keys(item, err))
        return false;
    instance->address = json_string_value(json_object_get(item, "address"));
    if (instance->address == NULL)
        return err_set(err, "the key \"address\" of an instance must be there and be a text, HOST:PORT");
    instance->pid = json_integer_value(pid);
    if (pid != NULL && (instance->pid < 1 || instance->pid > INT32_MAX))
        return err_set(err, "the key \"pid\" of instance %.300s must be the number of a process",
                       instance->address);
    return weight == NULL || read_weight(weight, instance, err);
}

bool api_read_instance(json_t *item, struct stage_instance *instance, struct err *err)
{
    *instance = (struct stage_instance){.address = json_string_value(item), .weight = 1};
    if (json_is_object(item))
        return read_instance_object(item, instance, err);
    return instance->address != NULL ||
           err_set(err, "each of \"instances\" must be a text HOST:PORT, or an object with address, weight "
                        "and pid");
}

static const char *text_or_empty(const json_t *value)
{
    return value == NULL ? "" : json_string_value(value);
}

static bool read_duration(const char *key, const json_t *value, uint64_t least_ms, uint64_t *ms,
                          struct err *err)
{
    return units_duration(str_of(json_string_value(value)), ms, err)
               ? *ms >= least_ms || err_set(err, "the key \"%s\" must be at least %llu ms", key,
                                            (unsigned long long)least_ms)
               : err_prefix(err, "the key \"%s\"", key);
}

static bool read_watch(const json_t *value, struct stage_request *staged, struct err *err)
{
    return value == NULL || read_duration("watch", value, 0, &staged->watch_ms, err);
}

/* Percent, to the nearest millionth of the whole. False: it is none, or one that none or all would be in. */
static bool read_share(const json_t *item, uint32_t *share)
{
    double percent = json_number_value(item);
    if (!json_is_number(item) || percent < 1.0 / CANARY_PERCENT ||
        percent > (CANARY_WHOLE - 1.0) / CANARY_PERCENT)
        return false;
    *share = (uint32_t)(percent * CANARY_PERCENT + 0.5);
    return true;
}

static bool read_shares(json_t *list, struct canary *canary, struct err *err)
{
    size_t i;
    json_t *item;
    if (json_array_size(list) == 0 || json_array_size(list) > CANARY_SHARES_MAX)
        return err_set(err, "the key \"canary\" has %zu shares; it takes 1 to %d", json_array_size(list),
                       CANARY_SHARES_MAX);
    json_array_foreach (list, i, item) {
        if (!read_share(item, &canary->shares[i]) || (i > 0 && canary->shares[i] <= canary->shares[i - 1]))
            return err_set(err, "the key \"canary\" must list rising shares in percent, each from 0.0001 to "
                                "99.9999, such as [1, 10, 50]");
        canary->count = i + 1;
    }
    return true;
}

static bool read_canary(json_t *list, const json_t *step, struct canary *canary, struct err *err)
{
    canary->step_ms = CANARY_STEP_USUAL_MS;
    if (list == NULL)
        return step == NULL || err_set(err, "the key \"step\" says how long each share of \"canary\" is "
                                            "watched; name the shares too");
    return read_shares(list, canary, err) &&
           (step == NULL || read_duration("step", step, 1, &canary->step_ms, err));
}

enum {
    STAGE_INSTANCES,
    STAGE_LAUNCH,
    STAGE_RELEASE,
    STAGE_HOLD,
    STAGE_ALLOW_UNTESTED,
    STAGE_WATCH,
    STAGE_CANARY,
    STAGE_STEP,
    STAGE_PAUSE_WITH,
    STAGE_PAUSE_MAX
};

static const struct api_key stage_keys[] = {
    [STAGE_INSTANCES] = {"instances", API_LIST, false},
    [STAGE_LAUNCH] = {"launch", API_BOOL, false},
    [STAGE_RELEASE] = {"release", API_TEXT, false},
    [STAGE_HOLD] = {"hold", API_BOOL, false},
    [STAGE_ALLOW_UNTESTED] = {"allow_untested", API_BOOL, false},
    [STAGE_WATCH] = {"watch", API_TEXT, false},
    [STAGE_CANARY] = {"canary", API_LIST, false},
    [STAGE_STEP] = {"step", API_TEXT, false},
    [STAGE_PAUSE_WITH] = {"pause_with", API_LIST, false},
    [STAGE_PAUSE_MAX] = {"pause_max", API_TEXT, false},
};

#define STAGE_KEYS (sizeof stage_keys / sizeof *stage_keys)

/* argv; it is borrowed from the list. */
static bool read_pause(json_t *list, const json_t *most, const char *argv[PAUSE_WITH_MAX],
                       struct stage_request *staged, struct err *err)
{
    size_t i;
    json_t *word;
    if (list == NULL)
        return most == NULL || err_set(err, "the key \"pause_max\" goes with \"pause_with\"; leave it out");
    if (json_array_size(list) == 0 || json_array_size(list) > PAUSE_WITH_MAX)
        return err_set(err, "the key \"pause_with\" must be a command of 1 to %d words", PAUSE_WITH_MAX);
    json_array_foreach (list, i, word) {
        argv[i] = json_string_value(word);
        if (argv[i] == NULL || (i == 0 && argv[i][0] == '\0'))
            return err_set(err, "each word of \"pause_with\" must be a text, and the first a program");
    }
    staged->pause_with = argv;
    staged->pause_with_count = json_array_size(list);
    staged->pause_ms = PAUSE_USUAL_MS;
    if (most != NULL && !read_duration("pause_max", most, 1, &staged->pause_ms, err))
        return false;
    return staged->pause_ms <= PAUSE_MOST_MS ||
           err_set(err, "the key \"pause_max\" must be at most %d s", PAUSE_MOST_MS / 1000);
}

/* Either is there. */
static bool check_source(const json_t *instances, bool launch, struct err *err)
{
    if (instances != NULL && launch)
        return err_set(
            err, "the key \"launch\" has the instances told by launch.command; leave \"instances\" out");
    return instances != NULL || launch ||
           err_set(err, "the key \"instances\" is missing; name them, or set \"launch\" to true");
}

static void stage(struct api *api, struct admin_request *request, const char *service, json_t *const *values)
{
    json_t *list = values[STAGE_INSTANCES];
    size_t count = json_array_size(list);
    struct stage_instance *instances = mem_zero(count, sizeof *instances);
    struct err err;
    bool ok = check_source(list, json_is_true(values[STAGE_LAUNCH]), &err);
    for (size_t i = 0; i < count && ok; i++)
        ok = api_read_instance(json_array_get(list, i), &instances[i], &err);
    struct stage_request staged = {.instances = instances,
                                   .instance_count = count,
                                   .launch = json_is_true(values[STAGE_LAUNCH]),
                                   .release = text_or_empty(values[STAGE_RELEASE]),
                                   .hold = json_is_true(values[STAGE_HOLD]),
                                   .allow_untested = json_is_true(values[STAGE_ALLOW_UNTESTED]),
                                   .has_watch = values[STAGE_WATCH] != NULL};
    const char *argv[PAUSE_WITH_MAX];
    ok = ok && read_pause(values[STAGE_PAUSE_WITH], values[STAGE_PAUSE_MAX], argv, &staged, &err) &&
         read_watch(values[STAGE_WATCH], &staged, &err) &&
         read_canary(values[STAGE_CANARY], values[STAGE_STEP], &staged.canary, &err);
    if (ok) {
        conductor_stage(api->conductor, service, &staged, &request->asker, api_outcome, request);
    } else {
        admin_problem(request, 400, "%s", err.text);
    }
    free(instances);
}

void api_stage(struct api *api, struct admin_request *request, const char *service)
{
    json_t *object, *values[STAGE_KEYS];
    if (!api_read_body(request, stage_keys, STAGE_KEYS, &object, values))
        return;
    stage(api, request, service, values);
    json_decref(object);
}

/* ---- the other commands ---- */

/* Digits, with or without a point, and within what read_share takes. */
static bool read_share_text(const char *text, uint32_t *share)
{
    char *end = NULL;
    size_t n = strspn(text, "0123456789.");
    json_t *number = json_real(strtod(text, &end));
    bool ok = n > 0 && text[n] == '\0' && end == text + n && read_share(number, share);
    json_decref(number);
    return ok;
}

/* A state from which one is promoted; a canary's with its share, if that is told: "canary:5". */
static bool read_from(const char *text, struct decision *decision, struct err *err)
{
    static const char *const states[] = {"held", "canary", "watching"};
    for (size_t i = 0; text != NULL && i < sizeof states / sizeof *states; i++) {
        if (strcmp(text, states[i]) == 0)
            decision->from = states[i];
    }
    if (text != NULL && strncmp(text, "canary:", 7) == 0 && read_share_text(text + 7, &decision->from_share))
        decision->from = "canary";
    return text == NULL || decision->from != NULL ||
           err_set(err,
                   "the key \"from\" is \"%.64s\"; it must be \"held\", \"canary\", \"canary:PERCENT\" or "
                   "\"watching\"",
                   text);
}

void api_promote(struct api *api, struct admin_request *request, const char *service)
{
    static const struct api_key keys[] = {{"deployment", API_TEXT, false}, {"from", API_TEXT, false}};
    json_t *object, *values[2];
    struct err err;
    if (!api_read_body(request, keys, 2, &object, values))
        return;
    struct decision decision = {.deployment = json_string_value(values[0]), .reason = ""};
    if (read_from(json_string_value(values[1]), &decision, &err))
        conductor_promote(api->conductor, service, &decision, &request->asker, api_outcome, request);
    else
        admin_problem(request, 400, "%s", err.text);
    json_decref(object);
}

/* One with a reason. */
static void end(struct api *api, struct admin_request *request, const char *service,
                void (*command)(struct conductor *, const char *, const struct decision *,
                                const struct asker *, outcome_fn, void *))
{
    static const struct api_key keys[] = {{"deployment", API_TEXT, false}, {"reason", API_TEXT, false}};
    json_t *object, *values[2];
    if (!api_read_body(request, keys, 2, &object, values))
        return;
    const struct decision decision = {.deployment = json_string_value(values[0]),
                                      .reason = text_or_empty(values[1])};
    command(api->conductor, service, &decision, &request->asker, api_outcome, request);
    json_decref(object);
}

void api_abort(struct api *api, struct admin_request *request, const char *service)
{
    end(api, request, service, conductor_abort);
}

void api_rollback(struct api *api, struct admin_request *request, const char *service)
{
    end(api, request, service, conductor_rollback);
}

static void rotate(struct api *api, struct admin_request *request, const char *service, bool drain)
{
    static const struct api_key key = {"instance", API_TEXT, true};
    json_t *object, *instance;
    if (!api_read_body(request, &key, 1, &object, &instance))
        return;
    conductor_rotate(api->conductor, service, json_string_value(instance), drain, &request->asker,
                     api_outcome, request);
    json_decref(object);
}

void api_drain(struct api *api, struct admin_request *request, const char *service)
{
    rotate(api, request, service, true);
}

void api_enable(struct api *api, struct admin_request *request, const char *service)
{
    rotate(api, request, service, false);
}

void api_reload(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    json_t *object;
    if (!api_read_body(request, NULL, 0, &object, NULL))
        return;
    conductor_reload(api->conductor, &request->asker, api_outcome, request);
    json_decref(object);
}

void api_upgrade(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    json_t *object;
    if (!api_read_body(request, NULL, 0, &object, NULL))
        return;
    conductor_upgrade(api->conductor, &request->asker, api_outcome, request);
    json_decref(object);
}
