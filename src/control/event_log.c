/* The numbered events, in memory and in a file. An event is in the file before anyone is told of it, and its
 * number is above that of every event before; a file that cannot be written costs the events their place
 * across a restart, nothing else. Only where the whole daemon goes meanwhile are their numbers given again.
 */
#include "control/event_log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (32 * 1024 * 1024) /* bytes, then it is rotated */
#define KEPT_BYTES (64 * 1024 * 1024)
#define TAIL_MAX 4096        /* bytes of a text in an event */
#define AHEAD_MAX UINT32_MAX /* of the file: others may write where the number is carried, and spoil it */

/* Every type there is (CONTRACT.md, Events). */
static const char *const types[] = {
    "deployment.staged",
    "deployment.ready",
    "deployment.held",
    "deployment.promoted",
    "deployment.rejected",
    "deployment.aborted",
    "deployment.rolled_back",
    "deployment.done",
    "uptest.started",
    "uptest.finished",
    "gate.passed",
    "gate.failed",
    "swap.published",
    "canary.step",
    "watch.started",
    "watch.passed",
    "watch.failed",
    "drain.started",
    "drain.finished",
    "instance.ejected",
    "instance.restored",
    "instance.retired",
    "teardown.started",
    "teardown.finished",
    "teardown.failed",
    "config.reloaded",
    "config.refused",
    "daemon.started",
    "daemon.upgraded",
    "daemon.proxy_restarted",
    "uptest.failed",
    "uptest.passed",
    "launch.instance",
    "launch.finished",
    "pause.started",
    "pause.quiet",
    "pause.command",
    "pause.ended",
    "maintenance.started",
    "maintenance.ended",
    "daemon.upgrade_refused",
    "shadow.started",
};

struct entry {
    uint64_t seq;
    char *service; /* NULL: none */
    size_t size;   /* bytes of line, without its NUL */
    char line[];
};

struct event_log {
    char *path, *old_path;
    int fd;
    uint64_t file_size; /* since the last rotation, tried or done */
    bool failing;       /* the last write failed: said once */
    uint64_t last;
    uint64_t *carried;                  /* the same where it outlives this process; NULL: nowhere */
    struct entry *kept[EVENT_LOG_KEPT]; /* a ring; oldest at `first` */
    size_t first, count, bytes;
    struct event_subscription *subscriptions;
};

json_t *event_log_tail(struct str text)
{
    size_t size;
    char *tail = utf8_tail(text, TAIL_MAX, text.n > TAIL_MAX, &size);
    json_t *json = json_stringn(tail, size);
    free(tail);
    return json;
}

/* ---- the ring ---- */

static void entry_free(struct entry *entry)
{
    free(entry->service);
    free(entry);
}

static void drop_oldest(struct event_log *log)
{
    struct entry *entry = log->kept[log->first];
    log->bytes -= entry->size;
    log->first = (log->first + 1) % EVENT_LOG_KEPT;
    log->count--;
    entry_free(entry);
}

static const struct entry *keep(struct event_log *log, uint64_t seq, const char *service, struct str line)
{
    struct entry *entry = mem_alloc(sizeof *entry + line.n + 1);
    *entry = (struct entry){.seq = seq, .service = mem_dup(service), .size = line.n};
    memcpy(entry->line, line.p, line.n);
    entry->line[line.n] = '\0';
    while (log->count == EVENT_LOG_KEPT || (log->count > 0 && log->bytes + line.n > KEPT_BYTES))
        drop_oldest(log);
    log->kept[(log->first + log->count) % EVENT_LOG_KEPT] = entry;
    log->count++;
    log->bytes += line.n;
    log->last = seq;
    return entry;
}

static struct str entry_line(const struct entry *entry)
{
    return (struct str){entry->line, entry->size};
}

/* ---- the file ---- */

/* Takes up one line of the file. */
static bool read_line(struct event_log *log, struct str line)
{
    json_t *event = json_loadb(line.p, line.n, 0, NULL);
    json_int_t seq = json_integer_value(json_object_get(event, "seq"));
    bool good = seq > 0 && (uint64_t)seq > log->last;
    if (good)
        keep(log, (uint64_t)seq, json_string_value(json_object_get(event, "service")), line);
    json_decref(event);
    return good;
}

/* The last EVENT_LOG_KEPT lines of text, which ends with a line end. */
static struct str last_lines(struct str text)
{
    size_t at = text.n;
    for (size_t lines = 0; at > 0 && lines < EVENT_LOG_KEPT; lines++) {
        const char *end = memrchr(text.p, '\n', at - 1);
        at = end == NULL ? 0 : (size_t)(end - text.p) + 1;
    }
    return (struct str){text.p + at, text.n - at};
}

/* Reads the last FILE_MAX bytes, at most, whole lines only. *end gets where the last line ends: behind it is
 * what an interrupted write left. */
static bool read_end(int fd, struct buf *out, off_t *end)
{
    off_t size = lseek(fd, 0, SEEK_END);
    off_t at = size > FILE_MAX ? size - FILE_MAX : 0;
    bool inside = at > 0;
    buf_reserve(out, (size_t)(size - at));
    *end = 0;
    while (at < size) {
        ssize_t n = pread(fd, out->p + out->n, (size_t)(size - at), at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break; /* shorter than it was */
        out->n += (size_t)n;
        at += n;
    }
    const char *last = memrchr(out->p, '\n', out->n);
    size_t whole = last == NULL ? 0 : (size_t)(last - out->p) + 1;
    *end = at - (off_t)(out->n - whole);
    out->n = whole;
    const char *first = inside ? memchr(out->p, '\n', out->n) : NULL;
    if (first != NULL)
        buf_drop(out, (size_t)(first - out->p) + 1);
    return true;
}

/* Takes up the end of an open file; *end as by read_end. */
static bool read_events(struct event_log *log, int fd, const char *path, off_t *end, struct err *err)
{
    struct buf bytes = BUF_EMPTY;
    if (!read_end(fd, &bytes, end)) {
        buf_free(&bytes);
        return err_set(err, "%s cannot be read: %s", path, strerror(errno));
    }
    struct str rest = last_lines(buf_str(&bytes)), line;
    size_t bad = 0;
    while (rest.n > 0 && str_split(&rest, '\n', &line))
        bad += !read_line(log, line);
    if (bad > 0)
        log_warn("%s: %zu lines are no events, or out of order; they are left out", path, bad);
    buf_free(&bytes);
    return true;
}

static bool read_old(struct event_log *log, struct err *err)
{
    int fd = FAULTY("events.open_old", EMFILE, open(log->old_path, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return errno == ENOENT || err_set(err, "%s cannot be opened: %s", log->old_path, strerror(errno));
    off_t ignored;
    bool ok = read_events(log, fd, log->old_path, &ignored, err);
    close(fd);
    return ok;
}

static int open_file(const char *path)
{
    return FAULTY("events.open", ENOSPC, open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
}

static bool read_current(struct event_log *log, struct err *err)
{
    off_t end;
    log->fd = open_file(log->path);
    if (log->fd < 0)
        return err_set(err, "%s cannot be opened: %s", log->path, strerror(errno));
    if (!read_events(log, log->fd, log->path, &end, err))
        return false;
    if (FAULTY("events.cut", EIO, ftruncate(log->fd, end)) != 0)
        return err_set(err, "%s: its torn last line cannot be cut off: %s", log->path, strerror(errno));
    log->file_size = (uint64_t)end;
    return true;
}

struct event_log *event_log_open(const char *directory, struct err *err)
{
    struct event_log *log = mem_zero(1, sizeof *log);
    log->fd = -1;
    log->path = mem_printf("%s/events.jsonl", directory);
    log->old_path = mem_printf("%s.1", log->path);
    if (read_old(log, err) && read_current(log, err))
        return log;
    event_log_close(log);
    return NULL;
}

void event_log_carry(struct event_log *log, uint64_t *last)
{
    uint64_t carried = *last;
    if (carried > log->last && carried - log->last <= AHEAD_MAX)
        log->last = carried;
    log->carried = last;
    *last = log->last;
}

void event_log_close(struct event_log *log)
{
    if (log == NULL)
        return;
    assert(log->subscriptions == NULL);
    while (log->count > 0)
        drop_oldest(log);
    if (log->fd >= 0)
        close(log->fd);
    free(log->path);
    free(log->old_path);
    free(log);
}

static void rotate(struct event_log *log)
{
    int fd = -1;
    if (rename(log->path, log->old_path) == 0)
        fd = open_file(log->path);
    if (fd < 0) {
        log_warn("%s cannot be rotated: %s; it grows on", log->path, strerror(errno));
        log->file_size = 0; /* tries again after as many bytes */
        return;
    }
    close(log->fd);
    log->fd = fd;
    log->file_size = 0;
}

/* A line is whole in the file, or not there. */
static void write_line(struct event_log *log, struct str line)
{
    if (log->file_size + line.n > FILE_MAX)
        rotate(log);
    off_t end = lseek(log->fd, 0, SEEK_END);
    ssize_t n = FAULTY("events.write", ENOSPC, write(log->fd, line.p, line.n));
    if (n == (ssize_t)line.n) {
        log->file_size += line.n;
        log->failing = false;
        return;
    }
    int error = n < 0 ? errno : ENOSPC;
    if (n > 0 && ftruncate(log->fd, end) != 0)
        error = errno;
    if (!log->failing)
        log_error("%s cannot be written: %s; events are kept in memory only", log->path, strerror(error));
    log->failing = true;
}

/* ---- adding, reading, following ---- */

static void check_type(const char *type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i], type) == 0)
            return;
    }
    log_error("event type \"%s\" is in no table", type);
    abort();
}

static void set_text(json_t *event, const char *key, const char *text)
{
    if (text != NULL)
        json_object_set_new(event, key, json_string(text));
}

static char *compose(uint64_t seq, const char *type, const char *service, const char *deployment,
                     json_t *more)
{
    char time[CLOCK_TEXT_SIZE];
    json_t *event = json_object();
    json_object_set_new(event, "seq", json_integer((json_int_t)seq));
    set_text(event, "time", clock_text(clock_wall_ns(), time));
    set_text(event, "service", service);
    set_text(event, "deployment", deployment);
    set_text(event, "type", type);
    if (more != NULL)
        json_object_update_missing(event, more);
    json_decref(more);
    char *text = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(event);
    assert(text != NULL);
    return text;
}

uint64_t event_log_add(struct event_log *log, const char *type, const char *service, const char *deployment,
                       json_t *more)
{
    check_type(type);
    uint64_t seq = log->last + 1;
    if (log->carried != NULL)
        *log->carried = seq;
    char *text = compose(seq, type, service, deployment, more);
    size_t size = strlen(text);
    text[size] = '\n';
    write_line(log, (struct str){text, size + 1});
    const struct entry *entry = keep(log, seq, service, (struct str){text, size});
    free(text);
    struct event_subscription *next;
    for (struct event_subscription *s = log->subscriptions; s != NULL; s = next) {
        next = s->next;
        s->added(s, seq, service, entry_line(entry));
    }
    return seq;
}

static const struct entry *entry_at(const struct event_log *log, size_t index)
{
    return log->kept[(log->first + index) % EVENT_LOG_KEPT];
}

/* The index of the first kept event above `since`. */
static size_t index_above(const struct event_log *log, uint64_t since)
{
    size_t low = 0, high = log->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (entry_at(log, middle)->seq > since)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* No event of the log: it is made for this reader, whose place is behind what is gone. */
static bool tell_missed(uint64_t first, uint64_t last, bool (*each)(void *arg, uint64_t seq, struct str line),
                        void *arg)
{
    char *text = compose(last, "events.missed", NULL, NULL,
                         json_pack("{s:I, s:I}", "first", (json_int_t)first, "last", (json_int_t)last));
    bool goes_on = each(arg, last, str_of(text));
    free(text);
    return goes_on;
}

uint64_t event_log_read(struct event_log *log, uint64_t since, const char *service,
                        bool (*each)(void *arg, uint64_t seq, struct str line), void *arg)
{
    uint64_t seen = since;
    for (size_t i = index_above(log, since); i < log->count; i++) {
        const struct entry *entry = entry_at(log, i);
        bool wanted = service == NULL || (entry->service != NULL && strcmp(entry->service, service) == 0);
        uint64_t missed = seen == 0 ? entry->seq : seen + 1;
        seen = entry->seq - 1;
        if (missed < entry->seq && !tell_missed(missed, seen, each, arg))
            return seen;
        seen = entry->seq;
        if (wanted && !each(arg, seen, entry_line(entry)))
            return seen;
    }
    return seen;
}

void event_log_subscribe(struct event_log *log, struct event_subscription *subscription)
{
    subscription->next = log->subscriptions;
    subscription->link = &log->subscriptions;
    if (subscription->next != NULL)
        subscription->next->link = &subscription->next;
    log->subscriptions = subscription;
}

void event_log_unsubscribe(struct event_subscription *subscription)
{
    *subscription->link = subscription->next;
    if (subscription->next != NULL)
        subscription->next->link = subscription->link;
    subscription->link = NULL;
}

uint64_t event_log_last(const struct event_log *log)
{
    return log->last;
}
