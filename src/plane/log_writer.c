/* A loop of its own. What the kernel can watch (a pipe, a terminal) is written without blocking, so that the
 * thread hears of another file and of the end meanwhile; with a file it is the write that waits. Invariant:
 * a line goes on where it began, unless that stands still for longer than the patience. */
#include "plane/log_writer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/mailbox.h"
#include "io/thread.h"
#include "plane/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COMPLAIN_MS 60000 /* between complaints */

enum errand_type {
    ERRAND_PIECE, /* to be written */
    ERRAND_USE,   /* another file */
    ERRAND_LOST,  /* there was no room for lines */
    ERRAND_END
};

struct errand {
    struct mail mail;
    enum errand_type type;
    struct access_log_batch *batch;
    int fd;
    STAILQ_ENTRY(errand) link;
};

struct log_writer {
    pthread_t thread;
    sem_t ended; /* posted by the thread */
    struct mailbox *errands;
    uint64_t waiting; /* bytes that were handed on and are not done with; atomic */
    uint64_t lost;    /* lines that nobody was told of; atomic */

    /* The thread's own. */
    struct loop *loop;
    struct log_file file;
    int next_fd; /* what to turn to once the line that is in part written is whole; -1: nothing */
    struct loop_watch writable;
    bool is_watched; /* so a write does not block, and `writable` tells when more can be written */
    bool is_full;    /* until it tells */
    STAILQ_HEAD(, errand) pieces;
    size_t written; /* bytes of the first one */
    bool is_torn;   /* what was written last is a part of a line, of which the rest is lost */
    struct deadline patience;
    struct deadline complained;
    int error; /* why lines were lost last; 0: for want of room or time */
    bool ending;
};

/* ---- what is lost ---- */

static uint64_t count_lines(struct str text)
{
    uint64_t lines = 0;
    const char *end;
    for (; (end = memchr(text.p, '\n', text.n)) != NULL; lines++)
        text = (struct str){end + 1, text.n - (size_t)(end + 1 - text.p)};
    return lines;
}

static void tell(struct log_writer *writer)
{
    uint64_t lost = __atomic_exchange_n(&writer->lost, 0, __ATOMIC_RELAXED);
    if (lost == 0)
        return;
    deadline_set(&writer->complained, COMPLAIN_MS);
    log_error("the access log cannot be written, %llu line%s lost: %s", (unsigned long long)lost,
              lost == 1 ? " is" : "s are",
              writer->error != 0 ? strerror(writer->error)
                                 : "its reader or its disk is held up; see to that, or name another "
                                   "access_log.path");
}

static void complain(struct log_writer *writer, int error)
{
    writer->error = error;
    if (!deadline_is_set(&writer->complained))
        tell(writer);
}

static void may_complain(struct deadline *deadline)
{
    tell(mem_container(deadline, struct log_writer, complained));
}

/* Are they the first that nobody was told of? */
static bool lose(struct log_writer *writer, struct str lines)
{
    return __atomic_fetch_add(&writer->lost, count_lines(lines), __ATOMIC_RELAXED) == 0;
}

/* ---- the pieces ---- */

static struct str rest_of(const struct log_writer *writer, const struct errand *piece)
{
    return (struct str){piece->batch->bytes + writer->written, piece->batch->size - writer->written};
}

static void done_with_first(struct log_writer *writer)
{
    struct errand *piece = STAILQ_FIRST(&writer->pieces);
    STAILQ_REMOVE_HEAD(&writer->pieces, link);
    writer->written = 0;
    __atomic_sub_fetch(&writer->waiting, piece->batch->size, __ATOMIC_RELAXED);
    access_log_batch_free(piece->batch);
    free(piece);
}

static void lose_all(struct log_writer *writer)
{
    const struct errand *piece;
    while ((piece = STAILQ_FIRST(&writer->pieces)) != NULL) {
        lose(writer, rest_of(writer, piece));
        done_with_first(writer);
    }
    writer->error = 0;
}

static struct str rest_of_line(const struct log_writer *writer, const struct errand *piece)
{
    struct str rest = rest_of(writer, piece);
    const char *end = memchr(rest.p, '\n', rest.n);
    return end != NULL ? (struct str){rest.p, (size_t)(end + 1 - rest.p)} : rest;
}

static bool is_inside_line(const struct log_writer *writer)
{
    return writer->written > 0 && STAILQ_FIRST(&writer->pieces)->batch->bytes[writer->written - 1] != '\n';
}

/* What is there of it stays where it is. */
static void lose_rest_of_line(struct log_writer *writer)
{
    const struct errand *piece = STAILQ_FIRST(&writer->pieces);
    struct str rest = rest_of_line(writer, piece);
    lose(writer, rest);
    writer->written += rest.n;
    writer->is_torn = true;
    if (writer->written == piece->batch->size)
        done_with_first(writer);
    complain(writer, 0);
}

/* ---- what is written to ---- */

/* Control has opened it for the access log alone, so nobody else is surprised by a write that does not block.
 */
static bool watch(struct log_writer *writer, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           loop_watch(writer->loop, &writer->writable, fd, EPOLLOUT | EPOLLET);
}

static bool is_same(int fd, int other)
{
    struct stat one, two;
    return fstat(fd, &one) == 0 && fstat(other, &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

static void turn_to(struct log_writer *writer, int fd)
{
    if (writer->is_watched)
        loop_unwatch(writer->loop, &writer->writable, writer->file.fd);
    writer->is_torn = writer->is_torn && is_same(writer->file.fd, fd);
    log_file_use(&writer->file, fd);
    writer->is_watched = fd >= 0 && watch(writer, fd);
    writer->is_full = false;
}

static void turn_to_next(struct log_writer *writer)
{
    if (is_inside_line(writer))
        lose_rest_of_line(writer);
    turn_to(writer, writer->next_fd);
    writer->next_fd = -1;
    deadline_clear(&writer->patience);
}

/* So that it takes no other with it. */
static int end_torn_line(struct log_writer *writer)
{
    struct str end = STR("\n");
    int error = writer->is_torn ? log_file_write(&writer->file, &end) : 0;
    writer->is_torn &= error != 0;
    return error;
}

static void write_first(struct log_writer *writer)
{
    const struct errand *piece = STAILQ_FIRST(&writer->pieces);
    struct str due = writer->next_fd >= 0 ? rest_of_line(writer, piece) : rest_of(writer, piece);
    size_t size = due.n;
    int error = end_torn_line(writer);
    if (error == 0)
        error = log_file_write(&writer->file, &due);
    writer->written += size - due.n;
    if (error == EAGAIN && writer->is_watched) {
        writer->is_full = true;
        return;
    }
    if (error != 0) {
        writer->is_torn |= is_inside_line(writer);
        lose(writer, rest_of(writer, piece));
        complain(writer, error);
    }
    if (error != 0 || writer->written == piece->batch->size)
        done_with_first(writer);
}

/* Until nothing waits or the file is full. */
static void write_on(struct log_writer *writer)
{
    for (;;) {
        if (writer->next_fd >= 0 && !is_inside_line(writer))
            turn_to_next(writer);
        if (STAILQ_EMPTY(&writer->pieces) || writer->is_full)
            break;
        write_first(writer);
    }
    if (writer->ending && STAILQ_EMPTY(&writer->pieces))
        loop_stop(writer->loop);
}

static void became_writable(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct log_writer *writer = mem_container(watch, struct log_writer, writable);
    writer->is_full = false;
    write_on(writer);
}

static void out_of_patience(struct deadline *deadline)
{
    struct log_writer *writer = mem_container(deadline, struct log_writer, patience);
    if (writer->ending)
        lose_all(writer);
    else
        turn_to_next(writer);
    write_on(writer);
}

/* ---- the thread ---- */

/* Nobody wants the one any more that was to be next. */
static void forget_next(struct log_writer *writer)
{
    if (writer->next_fd < 0)
        return;
    close(writer->next_fd);
    writer->next_fd = -1;
}

static void use(struct log_writer *writer, int fd)
{
    bool is_waited_for = writer->next_fd >= 0;
    forget_next(writer);
    if (is_same(writer->file.fd, fd)) {
        deadline_clear(&writer->patience);
        turn_to(writer, fd); /* and the line goes on */
        return;
    }
    if (!is_waited_for)
        deadline_set(&writer->patience, LOG_WRITER_PATIENCE_MS);
    writer->next_fd = fd;
}

static void begin_end(struct log_writer *writer)
{
    if (writer->next_fd >= 0)
        turn_to_next(writer);
    writer->ending = true;
    deadline_set(&writer->patience, LOG_WRITER_PATIENCE_MS);
}

static void deliver(void *arg, struct mail *mail)
{
    struct log_writer *writer = arg;
    struct errand *errand = mem_container(mail, struct errand, mail);
    switch (errand->type) {
    case ERRAND_PIECE:
        STAILQ_INSERT_TAIL(&writer->pieces, errand, link);
        write_on(writer);
        return;
    case ERRAND_USE:
        use(writer, errand->fd);
        break;
    case ERRAND_LOST:
        complain(writer, 0);
        break;
    case ERRAND_END:
        begin_end(writer);
        break;
    }
    free(errand);
    write_on(writer);
}

static void *run(void *arg)
{
    struct log_writer *writer = arg;
    loop_run(writer->loop);
    tell(writer);
    sem_post(&writer->ended);
    return NULL;
}

static void release(struct log_writer *writer)
{
    mailbox_free(writer->errands);
    turn_to(writer, -1);
    deadline_clear(&writer->patience);
    deadline_clear(&writer->complained);
    loop_free(writer->loop);
    sem_destroy(&writer->ended);
    free(writer);
}

struct log_writer *log_writer_start(struct err *err)
{
    struct log_writer *writer = mem_zero(1, sizeof *writer);
    writer->loop = loop_new();
    writer->errands = mailbox_new(writer->loop, deliver, writer);
    writer->file.fd = writer->next_fd = -1;
    writer->writable.ready = became_writable;
    STAILQ_INIT(&writer->pieces);
    sem_init(&writer->ended, 0, 0);
    deadline_init(&writer->patience, writer->loop, out_of_patience);
    deadline_init(&writer->complained, writer->loop, may_complain);
    int error = thread_begin(&writer->thread, run, writer);
    if (error == 0)
        return writer;
    err_set(err, "cannot start the thread that writes the access log: %s; raise the limit of processes",
            strerror(error));
    release(writer);
    return NULL;
}

static void post(struct log_writer *writer, const struct errand *errand)
{
    struct errand *copy = mem_alloc(sizeof *copy);
    *copy = *errand;
    mailbox_post(writer->errands, &copy->mail);
}

void log_writer_use(struct log_writer *writer, int fd)
{
    post(writer, &(struct errand){.type = ERRAND_USE, .fd = fd});
}

void log_writer_hand(struct log_writer *writer, struct access_log_batch *batch)
{
    if (__atomic_add_fetch(&writer->waiting, batch->size, __ATOMIC_RELAXED) <= LOG_WRITER_ROOM) {
        post(writer, &(struct errand){.type = ERRAND_PIECE, .batch = access_log_batch_fit(batch)});
        return;
    }
    __atomic_sub_fetch(&writer->waiting, batch->size, __ATOMIC_RELAXED);
    if (lose(writer, (struct str){batch->bytes, batch->size}))
        post(writer, &(struct errand){.type = ERRAND_LOST});
    access_log_batch_free(batch);
}

static bool ends_within(struct log_writer *writer, uint64_t ms)
{
    uint64_t at_ms = clock_mono_ms() + ms;
    struct timespec at = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000 * 1000000)};
    int result;
    do
        result = sem_clockwait(&writer->ended, CLOCK_MONOTONIC, &at);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

void log_writer_end(struct log_writer *writer)
{
    post(writer, &(struct errand){.type = ERRAND_END});
    if (ends_within(writer, 2 * LOG_WRITER_PATIENCE_MS)) {
        pthread_join(writer->thread, NULL);
        release(writer);
        return;
    }
    pthread_detach(writer->thread);
    log_error("the access log cannot be written, and the proxy ends: a write has not returned; "
              "%llu bytes of lines may be lost",
              (unsigned long long)__atomic_load_n(&writer->waiting, __ATOMIC_RELAXED));
}
