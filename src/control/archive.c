/* archive.c hands each file to a thread and hears of its end by mail. Invariant: a job belongs to its thread
 * until its mail is posted, and to the loop from then on. */
#include "control/archive.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/yardstick.h"
#include "io/file.h"
#include "io/mailbox.h"
#include "io/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uthash.h>

#define FILE_MAX ((size_t)1 << 31)

/* A file that could not be read, as it was when that was said. */
struct complaint {
    char *path;
    struct stat file;
    UT_hash_handle hh;
};

struct archive {
    char *folder;
    struct mailbox *mailbox;
    LIST_HEAD(, job) jobs;
    struct complaint *complaints; /* by path */
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

static bool is_yardstick(const json_t *json)
{
    struct yardstick ignored;
    return yardstick_unpack(json, &ignored);
}

/* What is shown, or measured by, must be what somebody has found. */
static bool is_result(const json_t *json, enum archive_kind kind)
{
    size_t i;
    const json_t *cell, *cells = json_object_get(json, "cells");
    if (kind == ARCHIVE_YARDSTICK)
        return is_yardstick(json);
    if (kind != ARCHIVE_GATE)
        return json_is_object(json);
    json_array_foreach (cells, i, cell) {
        if (!is_cell(cell))
            return false;
    }
    return json_is_array(cells) && json_is_boolean(json_object_get(json, "passed"));
}

static json_t *parse(const char *path, enum archive_kind kind, struct str text, struct err *err)
{
    json_error_t fault;
    json_t *result = json_loadb(text.p, text.n, 0, &fault);
    if (result != NULL && is_result(result, kind))
        return result;
    err_set(err, "%s is damaged: %s; it is not used: put a copy of it back, or remove it", path,
            result == NULL ? fault.text : "it is JSON, but not what was written there");
    json_decref(result);
    return NULL;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Whoever looks at a deployment has its files read, and a dashboard looks every second: it is said again only
 * of a file that has changed. */
static void complain(struct archive *archive, const char *path, const char *sentence)
{
    struct complaint *complaint;
    struct stat file = {0};
    (void)stat(path, &file);
    HASH_FIND_STR(archive->complaints, path, complaint);
    if (complaint != NULL && is_same_file(&complaint->file, &file))
        return;
    log_warn("%s", sentence);
    if (complaint == NULL) {
        complaint = mem_zero(1, sizeof *complaint);
        complaint->path = mem_dup(path);
        HASH_ADD_KEYPTR(hh, archive->complaints, complaint->path, strlen(complaint->path), complaint);
    }
    complaint->file = file;
}

static void forget_complaint(struct archive *archive, const char *path)
{
    struct complaint *complaint;
    HASH_FIND_STR(archive->complaints, path, complaint);
    if (complaint == NULL)
        return;
    HASH_DEL(archive->complaints, complaint);
    free(complaint->path);
    free(complaint);
}

static json_t *read_file(struct archive *archive, const char *path, enum archive_kind kind)
{
    struct buf text = BUF_EMPTY;
    struct err err;
    bool missing = false;
    json_t *result = NULL;
    if (file_read(path, FILE_MAX, &text, &missing, &err))
        result = parse(path, kind, buf_str(&text), &err);
    if (result == NULL && !missing)
        complain(archive, path, err.text);
    buf_free(&text);
    return result;
}

json_t *archive_read(struct archive *archive, const char *deployment, enum archive_kind kind)
{
    char *path = path_of(archive, deployment, kind);
    json_t *result = find_shown(archive, path);
    if (result == NULL)
        result = read_file(archive, path, kind);
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
        forget_complaint(archive, path);
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
    while (archive->complaints != NULL)
        forget_complaint(archive, archive->complaints->path);
    mailbox_free(archive->mailbox);
    free(archive->folder);
    free(archive);
}
