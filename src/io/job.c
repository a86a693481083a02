/* Invariant: in the file, each pointer of struct job, and each that those lead to, is an offset from its
 * beginning, 0 for NULL; job_open makes pointers of them in place, in pages that are its own.
 */
#include "io/job.h"

#include "base/buf.h"
#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* ---- writing ---- */

static uintptr_t add_text(struct buf *file, struct str text)
{
    uintptr_t offset = file->n;
    buf_add_str(file, text);
    buf_add(file, "", 1);
    return offset;
}

static char *text(struct buf *file, const char *text)
{
    return text == NULL ? NULL : (char *)add_text(file, str_of(text));
}

/* The offsets of strings that are there by now. */
static char **list(struct buf *file, const struct buf *offsets)
{
    static const char nothing[sizeof(uintptr_t)];
    buf_add(file, nothing, (sizeof nothing - file->n % sizeof nothing) % sizeof nothing);
    uintptr_t offset = file->n;
    buf_add_str(file, buf_str(offsets));
    buf_add(file, nothing, sizeof nothing);
    return (char **)offset;
}

static void add_offset(struct buf *offsets, uintptr_t offset)
{
    buf_add(offsets, &offset, sizeof offset);
}

static char **texts(struct buf *file, const char *const *texts)
{
    struct buf offsets = BUF_EMPTY;
    for (; *texts != NULL; texts++)
        add_offset(&offsets, add_text(file, str_of(*texts)));
    char **made = list(file, &offsets);
    buf_free(&offsets);
    return made;
}

static struct str path_of(const char *const *envp)
{
    for (; *envp != NULL; envp++) {
        if (str_starts_with(str_of(*envp), STR("PATH=")))
            return str_of(*envp + strlen("PATH="));
    }
    return STR(DEFAULT_PATH);
}

/* All names under which the file may be found. An empty part of PATH, the present folder by tradition, is
 * left out. */
static char **files(struct buf *file, const struct child_spec *spec)
{
    const char *name = spec->argv[0];
    struct buf offsets = BUF_EMPTY;
    struct str path = strchr(name, '/') == NULL ? path_of(spec->envp) : STR(""), folder;
    if (strchr(name, '/') != NULL)
        add_offset(&offsets, add_text(file, str_of(name)));
    while (str_split(&path, ':', &folder)) {
        if (folder.n == 0)
            continue;
        char *whole = mem_printf("%.*s/%s", STR_ARG(folder), name);
        add_offset(&offsets, add_text(file, str_of(whole)));
        free(whole);
    }
    char **made = list(file, &offsets);
    buf_free(&offsets);
    return made;
}

/* One that runs as this user already, and not as root, could not change its groups, and need not. */
bool job_must_become(const struct child_user *user)
{
    return user != NULL && (geteuid() == 0 || geteuid() != user->uid);
}

static void describe(struct buf *file, const struct child_spec *spec, const char *group_path)
{
    struct job job = {.contained = spec->contained,
                      .apart = spec->apart,
                      .becomes = job_must_become(spec->user),
                      .grouped = group_path != NULL,
                      .uid = spec->user != NULL ? spec->user->uid : getuid(),
                      .memory_max = spec->memory_max,
                      .processes_max = spec->processes_max,
                      .file_max = spec->file_max};
    if (job.becomes)
        job.user = *spec->user;
    buf_add(file, &job, sizeof job);
    job.files = files(file, spec);
    job.argv = texts(file, spec->argv);
    job.envp = texts(file, spec->envp);
    job.directory = text(file, spec->directory != NULL ? spec->directory : "/");
    job.group_path = text(file, group_path);
    job.size = file->n;
    memcpy(file->p, &job, sizeof job);
}

int job_write(const struct child_spec *spec, const char *group_path)
{
    struct buf file = BUF_EMPTY;
    describe(&file, spec, group_path);
    int fd = FAULTY("job.memfd", EMFILE, memfd_create("upswap-job", MFD_CLOEXEC));
    bool written = fd >= 0 && FAULTY("job.write", ENOMEM, write(fd, file.p, file.n)) == (ssize_t)file.n;
    int error = errno;
    buf_free(&file);
    if (written)
        return fd;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* ---- reading ---- */

static char *at(struct job *job, const char *offset)
{
    return offset == NULL ? NULL : (char *)job + (uintptr_t)offset;
}

static char **list_at(struct job *job, char **offset)
{
    char **texts = (char **)((char *)job + (uintptr_t)offset);
    for (char **each = texts; *each != NULL; each++)
        *each = at(job, *each);
    return texts;
}

struct job *job_open(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return NULL;
    struct job *job = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (job == MAP_FAILED)
        return NULL;
    job->files = list_at(job, job->files);
    job->argv = list_at(job, job->argv);
    job->envp = list_at(job, job->envp);
    job->directory = at(job, job->directory);
    job->group_path = at(job, job->group_path);
    return job;
}

void job_close(struct job *job)
{
    munmap(job, job->size);
}
