/* A file that grows at its end, written by one thread of its own. Invariant: the first `size` bytes of the
 * file are on disk and were acknowledged, and nothing is written elsewhere than right behind them.
 */
#include "base/fault.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/folder.h"
#include "io/mailbox.h"
#include "io/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
    struct mail mail; /* when it is done with */
    struct entry *next;
    void (*done)(void *arg, int error);
    void *arg;
    int error;
    size_t n;
    char bytes[];
};

struct queue {
    struct entry *first, **end;
};

struct appender {
    int fd;
    bool torn; /* there may be bytes behind `size`; of whoever writes just now */
    struct mailbox *mailbox;
    char *path;
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t more; /* something is queued, or it closes */
        pthread_cond_t idle; /* nothing is queued or being written */
        struct queue queue;
        bool writing, closing;
        uint64_t size;
    } shared; /* touched under its lock only */
};

static void queue_clear(struct queue *queue)
{
    queue->first = NULL;
    queue->end = &queue->first;
}

static void queue_add(struct queue *queue, struct entry *entry)
{
    entry->next = NULL;
    *queue->end = entry;
    queue->end = &entry->next;
}

/* Moves all of `from` behind `to`. */
static void queue_move(struct queue *to, struct queue *from)
{
    if (from->first == NULL)
        return;
    *to->end = from->first;
    to->end = from->end;
    queue_clear(from);
}

/* 0 or errno. */
static int write_at(int fd, const char *bytes, size_t count, uint64_t at)
{
    while (count > 0) {
        ssize_t written = FAULTY("appender.write", ENOSPC, pwrite(fd, bytes, count, (off_t)at));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? errno : EIO;
        bytes += written;
        count -= (size_t)written;
        at += (uint64_t)written;
    }
    return 0;
}

/* Takes off what a failed write has left. Where even this fails it is tried again before the next write:
 * never is anything put behind torn bytes. */
static int cut_back(struct appender *appender, uint64_t size)
{
    if (!appender->torn)
        return 0;
    if (FAULTY("appender.truncate", EIO, ftruncate(appender->fd, (off_t)size)) != 0 ||
        FAULTY("appender.cut", EIO, fsync(appender->fd)) != 0)
        return errno;
    appender->torn = false;
    return 0;
}

/* Writes the whole list and syncs it once. *size grows by what was written, if all was. */
static int commit(struct appender *appender, const struct entry *entry, uint64_t *size)
{
    uint64_t end = *size;
    int error = cut_back(appender, end);
    if (error != 0)
        return error;
    appender->torn = true;
    for (; entry != NULL && error == 0; entry = entry->next) {
        error = write_at(appender->fd, entry->bytes, entry->n, end);
        end += entry->n;
    }
    fault_die("appender.written", NULL);
    if (error == 0 && FAULTY("appender.sync", EIO, fdatasync(appender->fd)) != 0)
        error = errno;
    fault_die("appender.synced", NULL);
    if (error != 0) {
        cut_back(appender, *size);
        return error;
    }
    appender->torn = false;
    *size = end;
    return 0;
}

static void post_all(struct appender *appender, struct queue *queue, int error)
{
    struct entry *next;
    for (struct entry *entry = queue->first; entry != NULL; entry = next) {
        next = entry->next; /* once posted it is the loop's */
        entry->error = error;
        mailbox_post(appender->mailbox, &entry->mail);
    }
    queue_clear(queue);
}

/* Takes what is queued, commits it and tells; called and returns with the lock held. What has queued up
 * behind a failure fails with it: it may rest on what was lost. */
static void commit_queue_locked(struct appender *appender)
{
    struct queue taken;
    uint64_t size = appender->shared.size;
    queue_clear(&taken);
    queue_move(&taken, &appender->shared.queue);
    appender->shared.writing = true;
    pthread_mutex_unlock(&appender->shared.lock);
    int error = commit(appender, taken.first, &size);
    pthread_mutex_lock(&appender->shared.lock);
    appender->shared.size = size;
    if (error != 0)
        queue_move(&taken, &appender->shared.queue);
    post_all(appender, &taken, error);
    appender->shared.writing = false;
    if (appender->shared.queue.first == NULL)
        pthread_cond_signal(&appender->shared.idle);
}

static void *write_on(void *arg)
{
    struct appender *appender = arg;
    pthread_mutex_lock(&appender->shared.lock);
    for (;;) {
        while (appender->shared.queue.first == NULL && !appender->shared.closing)
            pthread_cond_wait(&appender->shared.more, &appender->shared.lock);
        if (appender->shared.queue.first == NULL)
            break;
        commit_queue_locked(appender);
    }
    pthread_mutex_unlock(&appender->shared.lock);
    return NULL;
}

static void deliver(void *arg, struct mail *mail)
{
    (void)arg;
    struct entry *entry = mem_container(mail, struct entry, mail);
    entry->done(entry->arg, entry->error);
    free(entry);
}

/* The descriptor, or -1. */
static int open_synced(const char *path, uint64_t *size, struct err *err)
{
    struct stat found;
    int fd = FAULTY("appender.open", ENOSPC, open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (fd < 0) {
        err_set(err, "cannot open %s: %s", path, strerror(errno));
        return -1;
    }
    bool good = folder_sync(path, err);
    if (good && fstat(fd, &found) != 0)
        good = err_set(err, "cannot look at %s: %s", path, strerror(errno));
    if (good) {
        *size = (uint64_t)found.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

static void appender_free(struct appender *appender)
{
    close(appender->fd);
    mailbox_free(appender->mailbox); /* calls back what is done */
    pthread_mutex_destroy(&appender->shared.lock);
    pthread_cond_destroy(&appender->shared.more);
    pthread_cond_destroy(&appender->shared.idle);
    free(appender->path);
    free(appender);
}

struct appender *appender_open(struct loop *loop, const char *path, struct err *err)
{
    uint64_t size;
    int fd = open_synced(path, &size, err);
    if (fd < 0)
        return NULL;
    struct appender *appender = mem_zero(1, sizeof *appender);
    appender->fd = fd;
    appender->path = mem_dup(path);
    appender->mailbox = mailbox_new(loop, deliver, NULL);
    pthread_mutex_init(&appender->shared.lock, NULL);
    pthread_cond_init(&appender->shared.more, NULL);
    pthread_cond_init(&appender->shared.idle, NULL);
    queue_clear(&appender->shared.queue);
    appender->shared.size = size;
    int error =
        fault_fails("appender.thread", EAGAIN) ? errno : thread_begin(&appender->thread, write_on, appender);
    if (error == 0)
        return appender;
    err_set(err, "cannot start the thread that writes %s: %s", path, strerror(error));
    appender_free(appender);
    return NULL;
}

void appender_write(struct appender *appender, struct str bytes, void (*done)(void *arg, int error),
                    void *arg)
{
    struct entry *entry = mem_alloc(sizeof *entry + bytes.n);
    *entry = (struct entry){.done = done, .arg = arg, .n = bytes.n};
    if (bytes.n > 0)
        memcpy(entry->bytes, bytes.p, bytes.n);
    pthread_mutex_lock(&appender->shared.lock);
    queue_add(&appender->shared.queue, entry);
    pthread_cond_signal(&appender->shared.more);
    pthread_mutex_unlock(&appender->shared.lock);
}

bool appender_is_in_place(const struct appender *appender)
{
    struct stat there, ours;
    return stat(appender->path, &there) == 0 && fstat(appender->fd, &ours) == 0 &&
           there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

bool appender_write_now(struct appender *appender, struct str bytes, struct err *err)
{
    struct entry *entry = mem_alloc(sizeof *entry + bytes.n);
    *entry = (struct entry){.n = bytes.n};
    if (bytes.n > 0)
        memcpy(entry->bytes, bytes.p, bytes.n);
    pthread_mutex_lock(&appender->shared.lock);
    while (appender->shared.queue.first != NULL || appender->shared.writing)
        pthread_cond_wait(&appender->shared.idle, &appender->shared.lock);
    /* Only the loop's thread queues, and it is here: with the lock held the file is ours. */
    int error = commit(appender, entry, &appender->shared.size);
    pthread_mutex_unlock(&appender->shared.lock);
    free(entry);
    return error == 0 || err_set(err, "cannot write %s: %s", appender->path, strerror(error));
}

bool appender_reopen(struct appender *appender, struct err *err)
{
    uint64_t size;
    int fd = open_synced(appender->path, &size, err);
    if (fd < 0)
        return false;
    pthread_mutex_lock(&appender->shared.lock);
    while (appender->shared.queue.first != NULL || appender->shared.writing)
        pthread_cond_wait(&appender->shared.idle, &appender->shared.lock);
    close(appender->fd);
    appender->fd = fd;
    appender->torn = false;
    appender->shared.size = size;
    pthread_mutex_unlock(&appender->shared.lock);
    return true;
}

uint64_t appender_size(const struct appender *appender)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&appender->shared.lock;
    pthread_mutex_lock(lock);
    uint64_t size = appender->shared.size;
    pthread_mutex_unlock(lock);
    return size;
}

void appender_close(struct appender *appender)
{
    pthread_mutex_lock(&appender->shared.lock);
    appender->shared.closing = true;
    pthread_cond_signal(&appender->shared.more);
    pthread_mutex_unlock(&appender->shared.lock);
    pthread_join(appender->thread, NULL);
    appender_free(appender);
}
