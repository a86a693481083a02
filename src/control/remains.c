/* remains: a gate whose deployment was given up is over only when what it runs is gone. What it has come to
 * until then is what somebody wants to see who has aborted it since it took so long. */
#include "base/mem.h"
#include "control/conduct.h"

#include <stdlib.h>

struct remains {
    struct course *course;
    char *pool;
    struct gate *gate;
    LIST_ENTRY(remains) entry;
};

/* Nothing begins in a gate that was given up. */
static void on_started(void *arg, const struct gate_cell *cell)
{
    (void)arg;
    (void)cell;
}

static void on_finished(void *arg, const struct gate_cell *cell)
{
    const struct remains *remains = arg;
    course_cell_finished(remains->course, remains->pool, cell);
}

static void on_done(void *arg, bool passed, const char *reason)
{
    struct remains *remains = arg;
    (void)passed;
    (void)reason;
    course_publish(remains->course, remains->pool, ARCHIVE_GATE, view_gate(remains->gate, false));
    LIST_REMOVE(remains, entry);
    gate_free(remains->gate);
    free(remains->pool);
    free(remains);
}

void remains_take(struct course *course, const char *pool, struct gate *gate, const char *words)
{
    static const struct gate_callbacks callbacks = {on_started, on_finished, on_done};
    struct remains *remains = mem_zero(1, sizeof *remains);
    remains->course = course;
    remains->pool = mem_dup(pool);
    remains->gate = gate;
    LIST_INSERT_HEAD(&course->remains, remains, entry);
    gate_give_up(gate, words, &callbacks, remains);
}

const struct gate *remains_gate(const struct course *course, const char *pool)
{
    const struct remains *remains;
    LIST_FOREACH (remains, &course->remains, entry) {
        if (strcmp(remains->pool, pool) == 0)
            return remains->gate;
    }
    return NULL;
}
