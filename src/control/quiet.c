/* quiet: waits until a paused service has nothing in flight that ends by itself. Invariant: whoever waits is
 * told once, also when the pause is over before. */
#include "base/clock.h"
#include "base/mem.h"
#include "control/conduct.h"

#include <stdlib.h>

#define LOOK_MS 20

struct quiet {
    struct conductor *conductor;
    char *service;
    uint64_t since_ns; /* of the mode */
    uint64_t version;  /* of the world that says so */
    uint64_t until_ms;
    struct deadline look;
    quiet_fn *done;
    void *arg;
};

static void end(struct quiet *quiet, enum quiet_end how, const struct pauses_rest *rest)
{
    quiet->done(quiet->arg, how, rest);
    free(quiet->service);
    free(quiet);
}

static void look(struct deadline *deadline)
{
    struct quiet *quiet = mem_container(deadline, struct quiet, look);
    struct conductor *conductor = quiet->conductor;
    const struct service *service = registry_service(conductor->options.registry, quiet->service);
    struct pauses_rest rest = pauses_rest(conductor->pauses, service, quiet->version);
    bool over = service->mode.kind == MODE_SERVING || service->mode.since_ns != quiet->since_ns;
    if (over)
        end(quiet, QUIET_OVER, &rest);
    else if (!rest.begun && rest.requests == 0)
        end(quiet, QUIET_REACHED, &rest);
    else if (clock_mono_ms() >= quiet->until_ms)
        end(quiet, QUIET_NOT_YET, &rest);
    else
        deadline_set(&quiet->look, LOOK_MS);
}

void quiet_cancel(struct quiet *quiet)
{
    if (quiet == NULL)
        return;
    deadline_clear(&quiet->look);
    free(quiet->service);
    free(quiet);
}

struct quiet *quiet_await(struct conductor *conductor, const struct service *service, uint64_t version,
                          uint64_t wait_ms, quiet_fn *done, void *arg)
{
    struct quiet *quiet = mem_alloc(sizeof *quiet);
    *quiet = (struct quiet){.conductor = conductor,
                            .service = mem_dup(service->name),
                            .since_ns = service->mode.since_ns,
                            .version = version,
                            .until_ms = clock_mono_ms() + wait_ms,
                            .done = done,
                            .arg = arg};
    deadline_init(&quiet->look, conductor->options.loop, look);
    deadline_set(&quiet->look, 0);
    return quiet;
}
