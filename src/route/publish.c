/* Publishing by one store, and the one rule of reclamation: a view is disposed of only after every worker has
 * itself said that it is past it.
 *
 * Views are numbered in the order of their publication. A worker says in publisher_turn which number it has
 * seen; nobody says it on its behalf. So a worker that has loaded the pointer right before a store, and has
 * not yet counted itself in, has not said anything newer, and its view stays. Once it has said so, each later
 * load of the same pointer by the same thread gives that view or a newer one (coherence), so its cell in an
 * older view can only fall. Its number is stored with release and read with acquire before the cells are: who
 * sees the newer number also sees every exchange that was counted into the older view before. A worker may
 * take a newer view than the one its last turn saw; that view's number is above what it has said, so it stays
 * too. */
#include "route/publish.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define CACHE_LINE 64

/* Exchanges of one worker that keep a view; written by that worker alone. */
struct view_cell {
    uint32_t reading;
} __attribute__((aligned(CACHE_LINE)));

/* The number of the view that the worker's last turn saw; 0: none. */
struct worker_cell {
    uint64_t seen;
} __attribute__((aligned(CACHE_LINE)));

struct publisher {
    struct view *present; /* the one thing that workers and the publishing thread share, besides the cells */
    unsigned workers;
    struct worker_cell *cells;
    uint64_t published; /* views so far */
    struct view *views; /* not yet disposed of, newest first */
};

struct publisher *publisher_new(unsigned workers)
{
    assert(workers > 0);
    struct publisher *publisher = mem_zero(1, sizeof *publisher);
    publisher->workers = workers;
    publisher->cells = mem_aligned(CACHE_LINE, workers * sizeof *publisher->cells);
    return publisher;
}

static void dispose(struct view *view)
{
    view->dispose(view);
    free(view->cells);
    free(view);
}

void publisher_free(struct publisher *publisher)
{
    while (publisher->views != NULL) {
        struct view *view = publisher->views;
        publisher->views = view->next;
        dispose(view);
    }
    free(publisher->cells);
    free(publisher);
}

uint64_t publisher_publish(struct publisher *publisher, const struct snapshot *snapshot,
                           void (*dispose_view)(struct view *view), void *arg)
{
    struct view *view = mem_zero(1, sizeof *view);
    view->snapshot = snapshot;
    view->dispose = dispose_view;
    view->arg = arg;
    view->number = ++publisher->published;
    view->cells = mem_aligned(CACHE_LINE, publisher->workers * sizeof *view->cells);
    view->next = publisher->views;
    publisher->views = view;
    __atomic_store_n(&publisher->present, view, __ATOMIC_RELEASE);
    return clock_mono_ns();
}

/* The present view counts as read: no worker can have seen a newer one. */
static bool is_read(const struct publisher *publisher, const struct view *view)
{
    for (unsigned i = 0; i < publisher->workers; i++) {
        if (__atomic_load_n(&publisher->cells[i].seen, __ATOMIC_ACQUIRE) <= view->number ||
            __atomic_load_n(&view->cells[i].reading, __ATOMIC_ACQUIRE) != 0)
            return true;
    }
    return false;
}

bool publisher_reap(struct publisher *publisher)
{
    struct view **link = &publisher->views;
    while (*link != NULL) {
        struct view *view = *link;
        if (is_read(publisher, view)) {
            link = &view->next;
            continue;
        }
        *link = view->next;
        dispose(view);
    }
    return publisher->views != NULL && publisher->views->next != NULL;
}

struct view *publisher_take(struct publisher *publisher, unsigned worker)
{
    assert(worker < publisher->workers);
    struct view *view = __atomic_load_n(&publisher->present, __ATOMIC_ACQUIRE);
    if (view != NULL) {
        uint32_t *reading = &view->cells[worker].reading;
        __atomic_store_n(reading, *reading + 1, __ATOMIC_RELAXED);
    }
    return view;
}

void view_release(struct view *view, unsigned worker)
{
    uint32_t *reading = &view->cells[worker].reading;
    assert(*reading > 0);
    __atomic_store_n(reading, *reading - 1, __ATOMIC_RELEASE);
}

const struct view *publisher_turn(struct publisher *publisher, unsigned worker)
{
    assert(worker < publisher->workers);
    const struct view *view = __atomic_load_n(&publisher->present, __ATOMIC_ACQUIRE);
    if (view != NULL)
        __atomic_store_n(&publisher->cells[worker].seen, view->number, __ATOMIC_RELEASE);
    return view;
}
