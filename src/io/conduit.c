/* Pipes. Invariant: a conduit in the store is empty, so EAGAIN on filling one always means that the source
 * has nothing. */
#include "io/conduit.h"

#include "base/mem.h"
#include "io/direct.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Each filling and draining costs calls and wakes the other side, so the larger the better, up to
 * CONDUIT_ROOM, which is what a user may have without privilege. In all a user has 64 MiB of them; beyond,
 * pipes are too small to be worth it. */
#define ROOM_LEAST (64 * 1024)
/* The last bytes are asked for together with one more where they are so few that they will not have come in
 * so many pieces, of which each takes a page of the pipe. */
#define WITH_MORE_MOST (64 * 1024) /* bytes */
#define WITH_MORE_PAGES 256

struct conduit {
    int in, out; /* ends of the pipe: what is written into `in` comes from `out` */
    long pages;  /* of its room */
    bool spoilt; /* there is a byte in it that is not held */
    size_t held;
    struct conduit *next; /* in the store */
};

struct conduits {
    struct conduit *idle;
    unsigned left; /* that may still be made */
};

struct conduits *conduits_new(unsigned most)
{
    struct conduits *conduits = mem_zero(1, sizeof *conduits);
    conduits->left = most;
    return conduits;
}

static void destroy(struct conduit *conduit)
{
    close(conduit->in);
    close(conduit->out);
    free(conduit);
}

void conduits_free(struct conduits *conduits)
{
    struct conduit *next;
    for (struct conduit *conduit = conduits->idle; conduit != NULL; conduit = next) {
        next = conduit->next;
        destroy(conduit);
    }
    free(conduits);
}

/* Its room, or 0: there is none that is worth it. */
static int open_pipe(int ends[2])
{
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
        return 0;
    int room = fcntl(ends[1], F_SETPIPE_SZ, CONDUIT_ROOM);
    if (room < ROOM_LEAST)
        room = fcntl(ends[1], F_GETPIPE_SZ);
    if (room >= ROOM_LEAST)
        return room;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

struct conduit *conduits_take(struct conduits *conduits)
{
    struct conduit *conduit = conduits->idle;
    int ends[2], room;
    if (conduit != NULL) {
        conduits->idle = conduit->next;
        return conduit;
    }
    if (conduits->left == 0 || (room = open_pipe(ends)) == 0)
        return NULL;
    conduits->left--;
    conduit = mem_alloc(sizeof *conduit);
    *conduit = (struct conduit){.in = ends[1], .out = ends[0], .pages = room / sysconf(_SC_PAGESIZE)};
    return conduit;
}

void conduits_give(struct conduits *conduits, struct conduit *conduit)
{
    if (conduit->held > 0 || conduit->spoilt) {
        destroy(conduit);
        conduits->left++;
        return;
    }
    conduit->next = conduits->idle;
    conduits->idle = conduit;
}

size_t conduit_holds(const struct conduit *conduit)
{
    return conduit->held;
}

static ssize_t move(int from, int to, size_t count)
{
    ssize_t moved;
    do
        moved = direct_splice(from, to, count, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (moved < 0 && errno == EINTR);
    return moved;
}

/* A count below `most` tells nothing: small packets fill a pipe before its bytes are used up. */
ssize_t conduit_fill(struct conduit *conduit, struct stream *source, size_t most)
{
    assert(conduit->held == 0 && !conduit->spoilt && most > 0 && source->ops == &stream_plain);
    ssize_t count = move(source->fd, conduit->in, most);
    if (count > 0)
        conduit->held = (size_t)count;
    return stream_received(source, count, count > 0);
}

/* A pipe that is just full answers as if there were no more: then it would not be seen. */
ssize_t conduit_fill_last(struct conduit *conduit, struct stream *source, size_t most)
{
    bool with_more = most <= WITH_MORE_MOST && conduit->pages >= WITH_MORE_PAGES;
    assert(!source->fresh);
    ssize_t count = conduit_fill(conduit, source, with_more ? most + 1 : most);
    if (count < (ssize_t)most)
        return count;
    if (!with_more)
        stream_look(source);
    else if (count == (ssize_t)most)
        source->readable = source->hung_up;
    conduit->spoilt = count > (ssize_t)most;
    conduit->held = most;
    return (ssize_t)most;
}

ssize_t conduit_drain(struct conduit *conduit, struct stream *sink)
{
    assert(conduit->held > 0 && sink->ops == &stream_plain);
    ssize_t count = move(conduit->out, sink->fd, conduit->held);
    bool all = count == (ssize_t)conduit->held;
    if (count > 0)
        conduit->held -= (size_t)count;
    return stream_sent(sink, count, all);
}

void conduit_read(struct conduit *conduit, char *to)
{
    while (conduit->held > 0) {
        ssize_t count = read(conduit->out, to, conduit->held);
        assert(count > 0 || errno == EINTR);
        if (count <= 0)
            continue;
        to += count;
        conduit->held -= (size_t)count;
    }
}
