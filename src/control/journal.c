/* journal.c numbers records as they are written, a batch at a time: a batch that fails gives its numbers
 * back. Invariant: the file holds the records 1 to `last` and nothing else, save while a batch is under way.
 */
#include "control/journal.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "control/state.h"
#include "deploy/record_names.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#define NS_PER_MS 1000000
#define NAMED_MAX 100 /* bytes of names of pools, in a sentence */

struct entry {
    struct record *record;
    void (*done)(void *arg, struct record *record, int error);
    void *arg;
    STAILQ_ENTRY(entry) next;
};

STAILQ_HEAD(entries, entry);

struct journal {
    char *directory, *path;
    const struct registry *registry;
    struct appender *appender;
    uint64_t last; /* number of the last record on disk */
    uint64_t read; /* that of the last one that was there when it was opened */
    int mark;      /* see state.h; -1: none */
    struct entries waiting, writing;
    uint64_t failures; /* batches that were not written */
    bool is_lost;      /* said once: the file is not where the next control looks for it */
    struct err lost;   /* why it cannot be written anew */
    int refused;       /* errno of the batch that is being "written", since it is lost; else 0 */
    bool telling;      /* of a batch that has ended; the registry has not all of it yet */
    bool closing;
};

/* ---- reading ---- */

struct reading {
    const char *path;
    FILE *file;
    uint64_t number;   /* of the record at `offset` */
    uint64_t offset;   /* bytes before the line */
    uint64_t until_ms; /* monotonic: then it ends, wherever it is */
    bool only_looks;   /* another process may write: nothing is changed, and what is torn is no damage */
    bool is_foreign;   /* the record has its checksum, and is not understood */
};

/* Of a journal that ends here: a service that it does not know begins with what the config names. */
static void name_live(const struct registry *registry, struct buf *out)
{
    const struct service *service, *next;
    size_t begin = out->n, unnamed = 0;
    HASH_ITER(hh, registry->services, service, next)
    {
        const struct pool *live = service->live;
        if (live != NULL && out->n - begin + strlen(live->name) <= NAMED_MAX)
            buf_printf(out, "%s%s", out->n > begin ? ", " : "", live->name);
        else if (live != NULL)
            unnamed++;
    }
    if (unnamed > 0)
        buf_printf(out, " and %zu more", unnamed);
    buf_printf(out, "%snothing but the instances that the config names", out->n > begin ? ", else " : "");
}

/* To cut the file under a control that works would leave a hole before what it appends next. */
static const char *remedy_beside_control(const struct reading *reading)
{
    return reading->is_foreign ? "take a version that does"
                               : "the control that runs works on, but none can start from this file: note "
                                 "what `upswap status` shows, stop the daemon, put the file back from a copy "
                                 "(without one, the next start says what can be given up), start it, and "
                                 "stage what is missing again";
}

static bool damaged(const struct reading *reading, const struct registry *registry, struct err *err)
{
    struct buf text = BUF_EMPTY;
    buf_printf(&text, "%s: record %" PRIu64 " at byte %" PRIu64 " is damaged: %s; ", reading->path,
               reading->number, reading->offset, err->text);
    if (reading->only_looks) {
        buf_printf(&text, "%s", remedy_beside_control(reading));
    } else {
        buf_printf(
            &text,
            "put the file back from a copy, or give up this record and all behind it with `truncate -s "
            "%" PRIu64 " %s`: live is then ",
            reading->offset, reading->path);
        name_live(registry, &text);
        buf_printf(&text, ", and what is missing is to be staged again; a proxy that runs serves as before "
                          "until control starts");
    }
    err_set(err, "%s", text.p);
    buf_free(&text);
    return false;
}

static bool is_at_end(FILE *file)
{
    int c = getc(file);
    if (c != EOF)
        ungetc(c, file);
    return c == EOF;
}

static bool cut_back(const struct reading *reading, struct err *err)
{
    log_warn("%s: the last record (number %" PRIu64
             ") was torn while it was written, before anything was done "
             "about it; it is dropped",
             reading->path, reading->number);
    if (FAULTY("journal.cut", EIO, truncate(reading->path, (off_t)reading->offset)) == 0)
        return true;
    return err_set(err, "%s: the torn last record cannot be cut off: %s", reading->path, strerror(errno));
}

static bool take_line(struct registry *registry, struct reading *reading, struct str line, struct err *err)
{
    struct record record;
    if (!record_decode(line, &record, err)) {
        reading->is_foreign = record_is_whole(line);
        return reading->is_foreign ? err_prefix(err, "version %s does not know it", version_text) : false;
    }
    bool taken = record.seq == reading->number ? registry_apply(registry, &record, NULL, err)
                                               : err_set(err, "its number is %" PRIu64, record.seq);
    record_free(&record);
    return taken;
}

static bool read_lines(struct reading *reading, struct registry *registry, struct err *err)
{
    char *bytes = NULL;
    size_t room = 0;
    ssize_t n;
    bool ok = true;
    while (ok && clock_mono_ms() < reading->until_ms && (n = getline(&bytes, &room, reading->file)) > 0) {
        bool ended = bytes[n - 1] == '\n';
        struct str line = {bytes, (size_t)n - ended};
        if (!ended || (!record_is_whole(line) && is_at_end(reading->file))) {
            ok = reading->only_looks || cut_back(reading, err);
            break;
        }
        ok = take_line(registry, reading, line, err) || damaged(reading, registry, err);
        reading->number++;
        reading->offset += (uint64_t)n;
    }
    if (ok && ferror(reading->file))
        ok = err_set(err, "%s: cannot be read: %s", reading->path, strerror(errno));
    free(bytes);
    return ok;
}

static FILE *open_regular(int fd, const char *path, struct err *err)
{
    struct stat found;
    bool is_file = fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    FILE *file = is_file ? fdopen(fd, "r") : NULL;
    if (!is_file)
        err_set(err, "%s is not a regular file; move it away, and put the journal back", path);
    else if (file == NULL)
        err_set(err, "%s: cannot be read: %s", path, strerror(errno));
    if (file == NULL)
        close(fd);
    return file;
}

/* *missing: there is none. Without O_NONBLOCK the open of a fifo would wait for a writer. */
static FILE *open_file(const char *path, bool *missing, struct err *err)
{
    int fd = FAULTY("journal.open", EMFILE, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    *missing = fd < 0 && errno == ENOENT;
    if (fd >= 0)
        return open_regular(fd, path, err);
    err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
    return NULL;
}

/* `reading` is at the first record. */
static bool read_journal(struct reading *reading, struct registry *registry, struct err *err)
{
    bool missing;
    reading->file = open_file(reading->path, &missing, err);
    if (reading->file == NULL)
        return missing;
    bool ok = read_lines(reading, registry, err);
    fclose(reading->file);
    return ok;
}

bool journal_check(const char *directory, uint64_t within_ms, struct err *err)
{
    char *path = mem_printf("%s/journal", directory);
    struct reading reading = {
        .path = path, .number = 1, .until_ms = clock_mono_ms() + within_ms, .only_looks = true};
    struct registry *registry = registry_new();
    bool ok = read_journal(&reading, registry, err);
    registry_free(registry);
    free(path);
    return ok;
}

static void forget(struct registry *registry, void (*forgotten)(void *arg, const char *pool), void *arg)
{
    struct service *service, *next;
    HASH_ITER(hh, registry->services, service, next)
    {
        char *pool;
        while ((pool = registry_forget(registry, service, JOURNAL_HISTORY)) != NULL) {
            if (forgotten != NULL)
                forgotten(arg, pool);
            free(pool);
        }
    }
}

/* ---- compaction ---- */

static void add_line(struct buf *out, struct record *record, uint64_t *seq)
{
    size_t size;
    record->seq = ++*seq;
    record->time_ns = clock_wall_ns();
    char *line = record_encode(record, &size);
    buf_add(out, line, size);
    free(line);
}

static void write_mode(const struct service *service, struct buf *out, uint64_t *seq)
{
    struct record record = {
        .type = RECORD_MODE, .service = service->name, .mode = service->mode, .asker = service->mode.asker};
    if (service->mode.kind != MODE_SERVING)
        add_line(out, &record, seq);
}

/* Every pool in whatever state it is, service by service, oldest first, its mode, and the version of the
 * world. */
static void write_baseline(const struct registry *registry, struct buf *out, uint64_t *seq)
{
    struct service *service, *next;
    HASH_ITER(hh, registry->services, service, next)
    {
        struct pool *pool;
        TAILQ_FOREACH (pool, &service->pools, of_service) {
            struct record record = {
                .type = RECORD_POOL, .service = service->name, .fresh = pool, .asker = {.uid = -1}};
            add_line(out, &record, seq);
        }
        write_mode(service, out, seq);
    }
    struct record world = {.type = RECORD_WORLD, .world = registry->world, .asker = {.uid = -1}};
    add_line(out, &world, seq);
}

/* Without room for it the old journal is as good. */
static void compact(const char *path, const struct registry *registry, uint64_t *last)
{
    struct buf baseline = BUF_EMPTY;
    struct err err;
    uint64_t seq = 0;
    write_baseline(registry, &baseline, &seq);
    if (file_replace(path, buf_str(&baseline), 0600, &err))
        *last = seq;
    else
        log_warn("the journal stays as long as it is: %s", err.text);
    buf_free(&baseline);
}

struct journal *journal_open(struct loop *loop, const char *directory, struct registry *registry,
                             uint64_t compact_bytes, void (*forgotten)(void *arg, const char *pool),
                             void *arg, struct err *err)
{
    char *path = mem_printf("%s/journal", directory);
    struct reading reading = {.path = path, .number = 1, .until_ms = UINT64_MAX};
    struct appender *appender = NULL;
    uint64_t last = 0; /* of compacted ones, too */
    if (read_journal(&reading, registry, err)) {
        last = reading.number - 1;
        forget(registry, forgotten, arg);
        if (reading.offset > compact_bytes)
            compact(path, registry, &last);
        appender = appender_open(loop, path, err);
    }
    if (appender == NULL) {
        free(path);
        return NULL;
    }
    struct journal *journal = mem_zero(1, sizeof *journal);
    journal->directory = mem_dup(directory);
    journal->path = path;
    journal->registry = registry;
    journal->appender = appender;
    journal->last = last;
    journal->read = reading.number - 1;
    journal->mark = -1;
    STAILQ_INIT(&journal->waiting);
    STAILQ_INIT(&journal->writing);
    return journal;
}

/* ---- appending ---- */

static void flush(struct journal *journal);

static void drop(struct entries *entries)
{
    struct entry *entry;
    while ((entry = STAILQ_FIRST(entries)) != NULL) {
        STAILQ_REMOVE_HEAD(entries, next);
        free(entry);
    }
}

/* Not into another folder: the next control would refuse it, and a volume that comes back would hide it. */
static bool write_anew(struct journal *journal, struct err *err)
{
    struct buf baseline = BUF_EMPTY;
    struct err why;
    uint64_t seq = 0;
    if (!state_is_marked(journal->directory, journal->mark, err))
        return false;
    write_baseline(journal->registry, &baseline, &seq);
    state_set_records(journal->mark, 0); /* there are fewer from the moment on in which it is replaced */
    bool ok = file_replace(journal->path, buf_str(&baseline), 0600, &why) &&
              appender_reopen(journal->appender, &why);
    buf_free(&baseline);
    if (!ok)
        return err_set(err, "%s; make room for it, or let the daemon write to its folder", why.text);
    journal->last = seq;
    state_set_records(journal->mark, seq);
    return true;
}

/* Will the next control find what is written? Else nothing ends for it: what runs goes on, and what is
 * decided still holds. */
static bool is_in_place(struct journal *journal)
{
    bool was_lost = journal->is_lost;
    bool is_there = appender_is_in_place(journal->appender);
    journal->is_lost = !is_there && !write_anew(journal, &journal->lost);
    if (journal->is_lost && !was_lost)
        log_error(
            "%s is gone, or is another file, and cannot be written anew: %s; until then nothing is decided",
            journal->path, journal->lost.text);
    else if (!is_there && !journal->is_lost)
        log_warn(
            "%s was gone, or was another file; it is written anew, with all that is decided: find out who "
            "took it away",
            journal->path);
    return !journal->is_lost;
}

/* What has been appended meanwhile may rest on what was not written, and is not written either. */
static void take_ended(struct journal *journal, bool ok, struct entries *ended)
{
    struct entry *entry;
    STAILQ_INIT(ended);
    STAILQ_CONCAT(ended, &journal->writing);
    STAILQ_FOREACH (entry, ended, next)
        journal->last += ok;
    if (!ok)
        STAILQ_CONCAT(ended, &journal->waiting);
}

static void written(void *arg, int error)
{
    struct journal *journal = arg;
    struct entries ended;
    struct entry *entry;
    if (journal->closing)
        return;
    if (error == 0)
        error = journal->refused;
    journal->failures += error != 0;
    take_ended(journal, error == 0, &ended);
    if (error == 0)
        state_set_records(journal->mark, journal->last);
    journal->telling = true;
    while ((entry = STAILQ_FIRST(&ended)) != NULL) {
        STAILQ_REMOVE_HEAD(&ended, next);
        fault_die("record.after", record_type_names[entry->record->type]);
        entry->done(entry->arg, entry->record, error);
        free(entry);
    }
    journal->telling = false;
    flush(journal);
}

/* Writes all that waits as one batch; nothing of it where it would be lost, so that a file which is put back
 * has no record that was refused. */
static void flush(struct journal *journal)
{
    struct buf batch = BUF_EMPTY;
    struct entry *entry;
    bool is_lost = !is_in_place(journal);
    uint64_t seq = journal->last;
    STAILQ_CONCAT(&journal->writing, &journal->waiting);
    journal->refused = is_lost ? ENOENT : 0;
    STAILQ_FOREACH (entry, &journal->writing, next) {
        size_t size;
        entry->record->seq = ++seq;
        char *line = record_encode(entry->record, &size);
        if (!is_lost)
            buf_add(&batch, line, size);
        free(line);
    }
    if (!STAILQ_EMPTY(&journal->writing))
        appender_write(journal->appender, buf_str(&batch), written, journal);
    buf_free(&batch);
}

/* As a replay will read it. */
static void stamp(struct record *record)
{
    clock_may_be_set();
    int64_t set_by_ns = clock_set_by_ns();
    record->time_ns = clock_wall_ns();
    record->time_ns -= record->time_ns % NS_PER_MS;
    record->steady_ns = set_by_ns == 0 ? 0 : record->time_ns - (uint64_t)set_by_ns;
}

void journal_append(struct journal *journal, struct record *record,
                    void (*done)(void *arg, struct record *record, int error), void *arg)
{
    struct entry *entry = mem_alloc(sizeof *entry);
    *entry = (struct entry){.record = record, .done = done, .arg = arg};
    fault_die("record.before", record_type_names[record->type]);
    stamp(record);
    STAILQ_INSERT_TAIL(&journal->waiting, entry, next);
    if (STAILQ_EMPTY(&journal->writing) && !journal->telling)
        flush(journal);
}

uint64_t journal_failures(const struct journal *journal)
{
    return journal->failures;
}

uint64_t journal_read(const struct journal *journal)
{
    return journal->read;
}

void journal_mark(struct journal *journal, int mark)
{
    journal->mark = mark;
    state_set_records(mark, journal->last);
}

char *journal_failure(const struct journal *journal, int error)
{
    return journal->is_lost ? mem_printf("%s is gone, or is another file, and cannot be written anew: %s",
                                         journal->path, journal->lost.text)
                            : mem_printf("%s cannot be written: %s; make room for it or mend the disk",
                                         journal->path, strerror(error));
}

void journal_close(struct journal *journal)
{
    if (journal == NULL)
        return;
    journal->closing = true;
    appender_close(journal->appender);
    drop(&journal->writing);
    drop(&journal->waiting);
    if (journal->mark >= 0)
        close(journal->mark);
    free(journal->directory);
    free(journal->path);
    free(journal);
}
