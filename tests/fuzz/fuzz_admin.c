/* The admin API: "METHOD PATH" in the first line, the rest is the body. Whatever it is, it is answered, and
 * what the conductor is asked for is within the bounds that it counts on. What runs programs or goes on (runs
 * of uptests, events, metrics) is left out. */
#include "fuzz.h"

#include "../unit/control/fake_conductor.h"
#include "base/mem.h"
#include "control/api.h"

#include <stdlib.h>

void __wrap_conductor_stage(struct conductor *conductor, const char *service,
                            const struct stage_request *request, const struct asker *asker, outcome_fn done,
                            void *arg);
void __real_conductor_stage(struct conductor *conductor, const char *service,
                            const struct stage_request *request, const struct asker *asker, outcome_fn done,
                            void *arg);
void __wrap_conductor_pause(struct conductor *conductor, const char *service,
                            const struct pause_request *request, const struct asker *asker, outcome_fn done,
                            void *arg);
void __real_conductor_pause(struct conductor *conductor, const char *service,
                            const struct pause_request *request, const struct asker *asker, outcome_fn done,
                            void *arg);

void __wrap_conductor_stage(struct conductor *conductor, const char *service,
                            const struct stage_request *request, const struct asker *asker, outcome_fn done,
                            void *arg)
{
    const struct canary *canary = &request->canary;
    fuzz_check(service[0] != '\0' && request->release != NULL);
    fuzz_check(!request->launch || request->instance_count == 0);
    for (size_t i = 0; i < request->instance_count; i++) {
        fuzz_check(request->instances[i].address != NULL && request->instances[i].pid >= 0);
        fuzz_check(request->instances[i].weight >= 1 && request->instances[i].weight <= 256);
    }
    fuzz_check(canary->count <= CANARY_SHARES_MAX && canary->taken == 0);
    for (size_t i = 0; i < canary->count; i++)
        fuzz_check(canary->shares[i] > (i == 0 ? 0 : canary->shares[i - 1]) &&
                   canary->shares[i] < CANARY_WHOLE);
    fuzz_check(request->pause_with_count <= PAUSE_WITH_MAX);
    for (size_t i = 0; i < request->pause_with_count; i++)
        fuzz_check(request->pause_with[i] != NULL);
    __real_conductor_stage(conductor, service, request, asker, done, arg);
}

void __wrap_conductor_pause(struct conductor *conductor, const char *service,
                            const struct pause_request *request, const struct asker *asker, outcome_fn done,
                            void *arg)
{
    fuzz_check(request->max_ms > 0 && request->max_ms <= PAUSE_MOST_MS);
    __real_conductor_pause(conductor, service, request, asker, done, arg);
}

/* What is left out: what goes on, and services whose names are no ASCII, since the conductor that stands in
 * here knows every service. */
static bool is_left_out(const char *path)
{
    bool names = strncmp(path, "/v1/services/", strlen("/v1/services/")) == 0;
    for (const char *p = path; names && *p != '\0'; p++) {
        if ((uint8_t)*p >= 0x80)
            return true;
    }
    return strstr(path, "events") != NULL || strstr(path, "uptest") != NULL ||
           strstr(path, "metrics") != NULL;
}

static struct admin_request *request_of(struct str line, struct str body)
{
    struct admin_request *request = mem_zero(1, sizeof *request);
    struct str method, path;
    str_split(&line, ' ', &method);
    if (line.p == NULL || !str_split(&line, '?', &path))
        path = STR("");
    request->method = http_method_of(method);
    request->path = str_dup(path);
    request->query = line.p == NULL ? mem_dup("") : str_dup(line);
    buf_add_str(&request->body, body);
    request->asker = (struct asker){.uid = -1};
    return request;
}

static void release(struct admin_request *request)
{
    free(request->path);
    free(request->query);
    buf_free(&request->body);
    free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct api api;
    struct str rest = {(const char *)bytes, count}, line = {"", 0};
    if (api.conductor == NULL)
        api.conductor =
            fake_conductor_new("listeners = ({ address = \"127.0.0.1:0\"; });\n"
                               "services = ({ name = \"web\"; instances = [ \"127.0.0.1:8001\" ];\n"
                               "  uptests = { directory = \"/nowhere\"; }; });\n");
    if (count > 0)
        str_split(&rest, '\n', &line);
    if (rest.p == NULL)
        rest = STR("");
    struct admin_request *request = request_of(line, rest);
    /* Nobody waits for the answer; who forgets the request leaks it. */
    if (is_left_out(request->path))
        release(request);
    else
        api_dispatch(&api, request);
    return 0;
}
