/* Whether a service is served, waits, or is turned away. */
#include "control/api.h"

#include "base/units.h"

void api_maintenance(struct api *api, struct admin_request *request, const char *service)
{
    static const struct api_key keys[] = {{"on", API_BOOL, true}, {"message", API_TEXT, false}};
    json_t *object, *values[2];
    if (!api_read_body(request, keys, 2, &object, values))
        return;
    if (json_is_false(values[0]) && values[1] != NULL)
        admin_problem(request, 400, "the key \"message\" goes with \"on\": true; leave it out");
    else
        conductor_maintenance(api->conductor, service, json_is_true(values[0]), json_string_value(values[1]),
                              &request->asker, api_outcome, request);
    json_decref(object);
}

/* A duration as text; absent: *ms stays. */
static bool read_duration(const char *key, const json_t *value, uint64_t most_ms, uint64_t *ms,
                          struct err *err)
{
    if (value == NULL)
        return true;
    if (!units_duration(str_of(json_string_value(value)), ms, err))
        return err_prefix(err, "the key \"%s\"", key);
    return (*ms > 0 && *ms <= most_ms) ||
           err_set(err, "the key \"%s\" is \"%.64s\"; it must be a duration from \"1ms\" to \"%llus\"", key,
                   json_string_value(value), (unsigned long long)most_ms / 1000);
}

/* Half of the pause is left, at the least, for what it is for. */
void api_pause(struct api *api, struct admin_request *request, const char *service)
{
    static const struct api_key keys[] = {{"max", API_TEXT, false}, {"wait", API_TEXT, false}};
    json_t *object, *values[2];
    struct err err;
    if (!api_read_body(request, keys, 2, &object, values))
        return;
    struct pause_request pause = {.max_ms = PAUSE_USUAL_MS};
    bool ok = read_duration("max", values[0], PAUSE_MOST_MS, &pause.max_ms, &err);
    pause.wait_ms = pause.max_ms / 2;
    if (ok && read_duration("wait", values[1], pause.max_ms, &pause.wait_ms, &err))
        conductor_pause(api->conductor, service, &pause, &request->asker, api_outcome, request);
    else
        admin_problem(request, 400, "%s", err.text);
    json_decref(object);
}

void api_resume(struct api *api, struct admin_request *request, const char *service)
{
    json_t *object;
    if (!api_read_body(request, NULL, 0, &object, NULL))
        return;
    conductor_resume(api->conductor, service, &request->asker, api_outcome, request);
    json_decref(object);
}
