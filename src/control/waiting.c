/* waiting: answers that say "it is in force" and so wait until the proxy has published. A proxy that is away
 * is waited for a little; the command is durable in any case. */
#include "base/mem.h"
#include "control/conduct.h"

#include <stdlib.h>

#define PATIENCE_MS 1000

struct waiting {
    uint64_t version;
    json_t *body;
    outcome_fn done;
    void *arg;
    struct deadline patience;
    LIST_ENTRY(waiting) entry;
};

static void end(struct waiting *waiting)
{
    LIST_REMOVE(waiting, entry);
    deadline_clear(&waiting->patience);
    answer(waiting->done, waiting->arg, 200, waiting->body);
    free(waiting);
}

static void run_out(struct deadline *deadline)
{
    end(mem_container(deadline, struct waiting, patience));
}

void answer_when_published(struct conductor *conductor, uint64_t version, outcome_fn done, void *arg,
                           json_t *body)
{
    if (done == NULL || world_published(conductor->world) >= version) {
        answer(done, arg, 200, body);
        return;
    }
    struct waiting *waiting = mem_alloc(sizeof *waiting);
    *waiting = (struct waiting){.version = version, .body = body, .done = done, .arg = arg};
    deadline_init(&waiting->patience, conductor->options.loop, run_out);
    deadline_set(&waiting->patience, PATIENCE_MS);
    LIST_INSERT_HEAD(&conductor->waiting, waiting, entry);
}

void answer_published(struct conductor *conductor, uint64_t version)
{
    struct waiting *waiting, *next;
    for (waiting = LIST_FIRST(&conductor->waiting); waiting != NULL; waiting = next) {
        next = LIST_NEXT(waiting, entry);
        if (waiting->version <= version)
            end(waiting);
    }
}
