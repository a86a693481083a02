/* archive.c hands each file to a thread and hears of its end by mail. Invariant: a job belongs to its thread
 * until its mail is posted, and to the loop from then on. */
#include "control/archive.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/mailbox.h"
#include "io/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 31)

struct archive {
    char *folder;
    struct mailbox *mailbox;
    LIST_HEAD(, job) jobs;
};

struct job {
    struct mail mail;
    struct archive *archive;
    pthread_t thread;
    bool has_thread;
    char *path;
    json_t *result; /* the thread's */
    json_t *shown;  /* the loop's, while it is not on disk; or NULL */
    bool failed;
    struct err err;
    void (*done)(void *arg, const char *failure);
    void *arg;
    LIST_ENTRY(job) entry;
};

/* No service has a dot in its name, so no two deployments meet in one file. */
static char *path_of(const struct archive *archive, const char *deployment, enum archive_kind kind)
{
    static const char *const parts[ARCHIVE_KINDS] = {"",       ".shadow",  ".launch",
                                                     ".watch", ".command", ".yardstick"};
    return mem_printf("%s/%s%s.json", archive->folder, deployment, parts[kind]);
}

static void join(struct job *job)
{
    if (job->has_thread)
        pthread_join(job->thread, NULL);
    job->has_thread = false;
}

static void delivered(void *arg, struct mail *mail)
{
    (void)arg;
    struct job *job = mem_container(mail, struct job, mail);
    join(job);
    LIST_REMOVE(job, entry);
    if (job->done != NULL)
        job->done(job->arg, job->failed ? job->err.text : NULL);
    else if (job->failed)
        log_warn("%s", job->err.text);
    json_decref(job->shown);
    free(job->path);
    free(job);
}

struct archive *archive_open(struct loop *loop, const char *directory, struct err *err)
{
    char *folder = mem_printf("%s/deployments", directory);
    if (!file_make_directory(folder, 0700, err)) {
        free(folder);
        return NULL;
    }
    struct archive *archive = mem_zero(1, sizeof *archive);
    archive->folder = folder;
    archive->mailbox = mailbox_new(loop, delivered, archive);
    LIST_INIT(&archive->jobs);
    return archive;
}

static void *write_file(void *arg)
{
    struct job *job = arg;
    char *text = json_dumps(job->result, JSON_COMPACT);
    json_decref(job->result);
    if (text == NULL)
        job->failed = !err_set(&job->err, "%s: the result cannot be written as JSON", job->path);
    else
        job->failed = !file_replace(job->path, str_of(text), 0600, &job->err);
    free(text);
    mailbox_post(job->archive->mailbox, &job->mail);
    return NULL;
}

static void begin(const struct job *what)
{
    struct job *job = mem_zero(1, sizeof *job);
    *job = *what;
    LIST_INSERT_HEAD(&job->archive->jobs, job, entry);
    job->has_thread =
        !fault_fails("archive.thread", EAGAIN) && thread_begin(&job->thread, write_file, job) == 0;
    if (!job->has_thread)
        write_file(job); /* no thread to be had: slow is better than never */
}

void archive_write(struct archive *archive, const char *deployment, enum archive_kind kind, json_t *result,
                   void (*done)(void *arg, const char *failure), void *arg)
{
    begin(&(struct job){.archive = archive,
                        .path = path_of(archive, deployment, kind),
                        .result = result,
                        .done = done,
                        .arg = arg});
}

void archive_publish(struct archive *archive, const char *deployment, enum archive_kind kind, json_t *result,
                     void (*done)(void *arg, const char *failure), void *arg)
{
    begin(&(struct job){.archive = archive,
                        .path = path_of(archive, deployment, kind),
                        .result = result,
                        .shown = json_deep_copy(result),
                        .done = done,
                        .arg = arg});
}

/* The newest is the first. */
static json_t *find_shown(const struct archive *archive, const char *path)
{
    const struct job *job;
    LIST_FOREACH (job, &archive->jobs, entry) {
        if (job->shown != NULL && strcmp(job->path, path) == 0)
            return json_incref(job->shown);
    }
    return NULL;
}

static bool is_cell(const json_t *cell)
{
    return json_is_string(json_object_get(cell, "instance")) &&
           json_is_string(json_object_get(cell, "uptest")) && json_is_string(json_object_get(cell, "state"));
}

/* What is shown must be what somebody has found. */
static bool is_result(const json_t *json, enum archive_kind kind)
{
    size_t i;
    const json_t *cell, *cells = json_object_get(json, "cells");
    if (kind != ARCHIVE_GATE)
        return json_is_object(json);
    json_array_foreach (cells, i, cell) {
        if (!is_cell(cell))
            return false;
    }
    return json_is_array(cells) && json_is_boolean(json_object_get(json, "passed"));
}

static json_t *parse(const char *path, enum archive_kind kind, struct str text)
{
    json_error_t fault;
    json_t *result = json_loadb(text.p, text.n, 0, &fault);
    if (result != NULL && is_result(result, kind))
        return result;
    log_warn("%s is damaged: %s; it is not shown: put a copy of it back, or remove it", path,
             result == NULL ? fault.text : "it is JSON, but not what was written there");
    json_decref(result);
    return NULL;
}

static json_t *read_file(const char *path, enum archive_kind kind)
{
    struct buf text = BUF_EMPTY;
    struct err err;
    bool missing = false;
    json_t *result = NULL;
    if (file_read(path, FILE_MAX, &text, &missing, &err))
        result = parse(path, kind, buf_str(&text));
    else if (!missing)
        log_warn("%s", err.text);
    buf_free(&text);
    return result;
}

json_t *archive_read(struct archive *archive, const char *deployment, enum archive_kind kind)
{
    char *path = path_of(archive, deployment, kind);
    json_t *result = find_shown(archive, path);
    if (result == NULL)
        result = read_file(path, kind);
    free(path);
    return result;
}

bool archive_has(struct archive *archive, const char *deployment, enum archive_kind kind)
{
    char *path = path_of(archive, deployment, kind);
    bool has = access(path, F_OK) == 0;
    free(path);
    return has;
}

void archive_drop(struct archive *archive, const char *deployment)
{
    for (enum archive_kind kind = ARCHIVE_GATE; kind < ARCHIVE_KINDS; kind++) {
        char *path = path_of(archive, deployment, kind);
        unlink(path);
        free(path);
    }
}

void archive_close(struct archive *archive)
{
    if (archive == NULL)
        return;
    struct job *job;
    LIST_FOREACH (job, &archive->jobs, entry)
        join(job);
    mailbox_free(archive->mailbox);
    free(archive->folder);
    free(archive);
}
