/* Lines by pool slot, made when first needed. Invariant: a line with somebody in it has its `look` set or is
 * about to be served, so nobody waits for a word that does not come. */
#include "plane/queue.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct queue_line {
    struct queue *queue;
    uint32_t slot, count;
    bool is_due; /* `serving` is deferred */
    TAILQ_HEAD(, queue_place) places;
    struct deadline look;
    struct loop_deferred serving;
};

struct queue {
    struct queue_options options;
    struct queue_line **lines; /* by pool slot; NULL: nobody has ever waited there */
};

struct queue *queue_new(const struct queue_options *options)
{
    struct queue *queue = mem_alloc(sizeof *queue);
    *queue = (struct queue){.options = *options};
    queue->lines = mem_zero(COUNTERS_POOLS, sizeof(struct queue_line *));
    return queue;
}

void queue_free(struct queue *queue)
{
    for (size_t i = 0; i < COUNTERS_POOLS; i++) {
        if (queue->lines[i] == NULL)
            continue;
        assert(queue->lines[i]->count == 0);
        deadline_clear(&queue->lines[i]->look);
        free(queue->lines[i]);
    }
    free(queue->lines);
    free(queue);
}

static uint64_t *cell_of(const struct queue *queue, unsigned worker, uint32_t slot)
{
    return &counters_pool(queue->options.counters, worker, slot)->queued;
}

static bool waits(const struct queue *queue, unsigned worker, uint32_t slot)
{
    return counters_read(cell_of(queue, worker, slot)) > 0;
}

bool queue_is_used(const struct queue *queue, uint32_t slot)
{
    unsigned workers = counters_workers(queue->options.counters);
    for (unsigned i = 0; i < workers; i++) {
        if (waits(queue, i, slot))
            return true;
    }
    return false;
}

/* ---- serving ---- */

/* A line that is done passes the word on: there may be more room than it needed. */
static void serve(struct loop_deferred *deferred)
{
    struct queue_line *line = mem_container(deferred, struct queue_line, serving);
    struct queue *queue = line->queue;
    struct queue_place *first;
    line->is_due = false;
    while ((first = TAILQ_FIRST(&line->places)) != NULL && queue->options.serve(first))
        continue;
    if (line->count > 0)
        deadline_set(&line->look, QUEUE_LOOK_MS);
    else
        queue_returned(queue, line->slot);
}

static void serve_soon(struct queue_line *line)
{
    if (line->is_due || line->count == 0)
        return;
    line->is_due = true;
    loop_defer(line->queue->options.loop, &line->serving);
}

static void look(struct deadline *deadline)
{
    serve_soon(mem_container(deadline, struct queue_line, look));
}

void queue_serve(struct queue *queue, uint32_t slot)
{
    if (queue->lines[slot] != NULL)
        serve_soon(queue->lines[slot]);
}

void queue_returned(struct queue *queue, uint32_t slot)
{
    unsigned workers = counters_workers(queue->options.counters), own = queue->options.worker;
    for (unsigned i = 1; i < workers; i++) {
        unsigned worker = (own + i) % workers;
        if (waits(queue, worker, slot)) {
            queue->options.wake(queue->options.arg, worker, slot);
            return;
        }
    }
    queue_serve(queue, slot);
}

/* ---- who waits ---- */

static struct queue_line *line_of(struct queue *queue, uint32_t slot)
{
    struct queue_line *line = queue->lines[slot];
    if (line != NULL)
        return line;
    line = calloc(1, sizeof *line);
    if (line == NULL)
        return NULL;
    line->queue = queue;
    line->slot = slot;
    line->serving.run = serve;
    TAILQ_INIT(&line->places);
    deadline_init(&line->look, queue->options.loop, look);
    queue->lines[slot] = line;
    return line;
}

bool queue_join(struct queue *queue, uint32_t slot, struct queue_place *place, uint32_t most)
{
    struct queue_line *line = most == 0 ? NULL : line_of(queue, slot);
    if (line == NULL || line->count >= most)
        return false;
    TAILQ_INSERT_TAIL(&line->places, place, entry);
    place->line = line;
    line->count++;
    counters_add(cell_of(queue, queue->options.worker, slot), 1);
    if (!deadline_is_set(&line->look))
        deadline_set(&line->look, QUEUE_LOOK_MS);
    return true;
}

void queue_leave(struct queue_place *place)
{
    struct queue_line *line = place->line;
    struct queue *queue = line->queue;
    TAILQ_REMOVE(&line->places, place, entry);
    place->line = NULL;
    line->count--;
    counters_sub(cell_of(queue, queue->options.worker, line->slot), 1);
}
