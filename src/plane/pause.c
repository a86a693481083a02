/* Lines by service. Invariant: a line that is not empty has its `tick` set, so everybody in it goes on, at
 * the latest when the time of its pause is over and the pace has come to them. */
#include "plane/pause.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define TICK_MS 20
#define STALL_MS 100     /* what a worker that was busy for longer may not catch up with */
#define PACE_LEAST 20000 /* thousandths: 20 requests a second are no burst */
#define PACE_MOST 10000000000ULL
#define PATIENCE_MS 10000
#define CREDIT_UNIT 1000000 /* thousandths of a request times ms */

struct pause_line {
    struct pause *pause;
    char *service;
    struct snapshot_pause terms; /* as the last world said that paused it */
    bool going;                  /* it is let go */
    uint64_t held_since_ms, going_since_ms;
    uint64_t held_ms;  /* how long it was held */
    uint64_t together; /* how many waited when it was let go, over all workers */
    uint64_t ticked_ms;
    uint64_t credit, bytes;
    uint32_t count;
    TAILQ_HEAD(, pause_place) places;
    struct deadline tick;
    LIST_ENTRY(pause_line) entry;
};

/* ---- cells ---- */

static struct counters_pause *cells_of(const struct pause *pause, unsigned worker, uint32_t slot)
{
    return &counters_worker(pause->counters, worker)->pauses[slot];
}

static struct counters_pause sum_of(const struct pause *pause, uint32_t slot)
{
    return counters_pause_sum(pause->counters, slot);
}

static void count_in(struct pause_line *line, uint64_t places, uint64_t bytes)
{
    struct counters_pause *cells = cells_of(line->pause, line->pause->worker, line->terms.slot);
    counters_add(&cells->waiting, places);
    counters_add(&cells->bytes, bytes);
}

static void count_out(struct pause_line *line, uint64_t places, uint64_t bytes)
{
    struct counters_pause *cells = cells_of(line->pause, line->pause->worker, line->terms.slot);
    counters_sub(&cells->waiting, places);
    counters_sub(&cells->bytes, bytes);
}

/* ---- letting go ---- */

uint64_t pause_pace(uint64_t rate, uint64_t waiting, uint64_t held_ms, uint64_t going_ms)
{
    uint64_t seen = held_ms == 0 ? 0 : waiting * 1000000 / held_ms;
    uint64_t pace = (rate > seen ? rate : seen) * 9 / 5, patience_ms = 2 * held_ms + PATIENCE_MS;
    if (pace < PACE_LEAST)
        pace = PACE_LEAST;
    while (going_ms >= patience_ms && pace < PACE_MOST) {
        pace *= 2;
        going_ms -= PATIENCE_MS;
    }
    return pace < PACE_MOST ? pace : PACE_MOST;
}

static void let_go(struct pause_line *line)
{
    uint64_t now_ms = loop_ms(line->pause->loop);
    if (line->going)
        return;
    line->going = true;
    line->going_since_ms = line->ticked_ms = now_ms;
    line->held_ms = now_ms - line->held_since_ms;
    line->together = sum_of(line->pause, line->terms.slot).waiting;
    line->credit = 0;
    deadline_set(&line->tick, TICK_MS);
}

static void go_first(struct pause_line *line)
{
    struct pause_place *first = TAILQ_FIRST(&line->places);
    pause_leave(first);
    line->pause->go(first);
}

/* Only those that wait now: who goes may come again. */
static void let_all_go(struct pause_line *line)
{
    for (uint32_t left = line->count; left > 0 && line->count > 0; left--)
        go_first(line);
}

static void end(struct pause_line *line)
{
    LIST_REMOVE(line, entry);
    deadline_clear(&line->tick);
    free(line->service);
    free(line);
}

/* As many as this worker's part of the line has earned. */
static void release_some(struct pause_line *line, uint64_t waiting)
{
    uint64_t now_ms = loop_ms(line->pause->loop), passed_ms = now_ms - line->ticked_ms;
    line->ticked_ms = now_ms;
    if (line->count == 0) {
        line->credit = 0;
        return;
    }
    uint64_t pace =
        pause_pace(line->terms.rate, line->together, line->held_ms, now_ms - line->going_since_ms);
    line->credit += pace * line->count / waiting * (passed_ms < STALL_MS ? passed_ms : STALL_MS);
    for (; line->credit >= CREDIT_UNIT && line->count > 0; line->credit -= CREDIT_UNIT)
        go_first(line);
}

static void tick(struct deadline *deadline)
{
    struct pause_line *line = mem_container(deadline, struct pause_line, tick);
    uint64_t now_ms = loop_ms(line->pause->loop);
    if (!line->going && now_ms < line->terms.until_ms) {
        deadline_set(&line->tick, line->terms.until_ms - now_ms);
        return;
    }
    if (!line->going) {
        let_go(line);
        return;
    }
    uint64_t waiting = sum_of(line->pause, line->terms.slot).waiting;
    if (waiting == 0) {
        end(line);
        return;
    }
    release_some(line, waiting);
    deadline_set(&line->tick, TICK_MS);
}

/* ---- lines ---- */

static struct pause_line *find(const struct pause *pause, struct str service)
{
    struct pause_line *line;
    LIST_FOREACH (line, &pause->lines, entry) {
        if (str_equal(str_of(line->service), service))
            return line;
    }
    return NULL;
}

static void hold(struct pause_line *line)
{
    uint64_t now_ms = loop_ms(line->pause->loop);
    line->going = false;
    line->held_since_ms = now_ms;
    deadline_set(&line->tick, line->terms.until_ms > now_ms ? line->terms.until_ms - now_ms : 0);
}

static struct pause_line *make(struct pause *pause, struct str service, const struct snapshot_pause *terms)
{
    struct pause_line *line = calloc(1, sizeof *line);
    if (line == NULL)
        return NULL;
    line->pause = pause;
    line->service = str_dup(service);
    line->terms = *terms;
    TAILQ_INIT(&line->places);
    deadline_init(&line->tick, pause->loop, tick);
    LIST_INSERT_HEAD(&pause->lines, line, entry);
    hold(line);
    return line;
}

/* A pause that is told of anew may last longer, or be another one, of another slot. */
static void take_terms(struct pause_line *line, const struct snapshot_pause *terms)
{
    uint64_t until_ms = line->terms.until_ms;
    count_out(line, line->count, line->bytes);
    line->terms = *terms;
    count_in(line, line->count, line->bytes);
    if (line->going && terms->until_ms > loop_ms(line->pause->loop))
        hold(line);
    else if (!line->going && terms->until_ms != until_ms)
        deadline_set(&line->tick, 0);
}

static void take_paused(struct pause *pause, struct str service, const struct snapshot_pause *terms)
{
    struct pause_line *line = find(pause, service);
    if (line != NULL)
        take_terms(line, terms);
    else if (terms->until_ms > loop_ms(pause->loop))
        make(pause, service, terms);
}

static const struct snapshot_service *service_of(const struct snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot_service_count(snapshot); i++) {
        const struct snapshot_service *service = snapshot_service_at(snapshot, i);
        if (str_equal(snapshot_service_name(snapshot, service), str_of(name)))
            return service;
    }
    return NULL;
}

/* What this world says of a service that has a line. */
static void follow(struct pause_line *line, const struct snapshot *snapshot)
{
    const struct snapshot_service *service = service_of(snapshot, line->service);
    unsigned mode = service == NULL ? SNAPSHOT_MAINTENANCE : snapshot_service_rules(service)->mode;
    if (mode == SNAPSHOT_PAUSED)
        return;
    let_go(line);
    if (mode != SNAPSHOT_SERVING)
        let_all_go(line);
}

void pause_turn(struct pause *pause, const struct snapshot *snapshot)
{
    struct pause_line *line, *next;
    for (size_t i = 0; snapshot_may_pause(snapshot) && i < snapshot_service_count(snapshot); i++) {
        const struct snapshot_service *service = snapshot_service_at(snapshot, i);
        const struct snapshot_rules *rules = snapshot_service_rules(service);
        if (rules->mode == SNAPSHOT_PAUSED)
            take_paused(pause, snapshot_service_name(snapshot, service), &rules->pause);
    }
    for (line = LIST_FIRST(&pause->lines); line != NULL; line = next) {
        next = LIST_NEXT(line, entry);
        follow(line, snapshot);
    }
}

void pause_stop(struct pause *pause)
{
    struct pause_line *line;
    LIST_FOREACH (line, &pause->lines, entry)
        let_all_go(line);
}

/* ---- who waits ---- */

static bool is_paused(const struct pause *pause, const struct snapshot_rules *rules)
{
    return rules->mode == SNAPSHOT_PAUSED && rules->pause.until_ms > loop_ms(pause->loop);
}

bool pause_holds(const struct pause *pause, struct str service, const struct snapshot_rules *rules)
{
    const struct pause_line *line = find(pause, service);
    if (is_paused(pause, rules))
        return true;
    return line != NULL && (!line->going || sum_of(pause, line->terms.slot).waiting > 0);
}

bool pause_join(struct pause *pause, struct str service, const struct snapshot_rules *rules,
                struct pause_place *place, uint32_t bytes)
{
    struct pause_line *line = find(pause, service);
    if (line == NULL)
        line = make(pause, service, &rules->pause);
    if (line == NULL)
        return false;
    struct counters_pause sum = sum_of(pause, line->terms.slot);
    if (sum.waiting >= line->terms.most || sum.bytes + bytes > line->terms.bytes_most)
        return false;
    TAILQ_INSERT_TAIL(&line->places, place, entry);
    place->line = line;
    place->bytes = bytes;
    line->count++;
    line->bytes += bytes;
    count_in(line, 1, bytes);
    return true;
}

void pause_leave(struct pause_place *place)
{
    struct pause_line *line = place->line;
    TAILQ_REMOVE(&line->places, place, entry);
    place->line = NULL;
    line->count--;
    line->bytes -= place->bytes;
    count_out(line, 1, place->bytes);
}

void pause_init(struct pause *pause, struct loop *loop, struct counters *counters, unsigned worker,
                void (*go)(struct pause_place *place))
{
    *pause = (struct pause){.loop = loop, .counters = counters, .worker = worker, .go = go};
    LIST_INIT(&pause->lines);
}

void pause_release(struct pause *pause)
{
    struct pause_line *line;
    while ((line = LIST_FIRST(&pause->lines)) != NULL) {
        assert(line->count == 0);
        end(line);
    }
}
