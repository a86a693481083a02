/* Whole files, replaced durably, and locked. Nothing here waits for anything but the disk, save file_lock,
 * which is for the start. Invariant: success of what writes means that a power cut does not undo it.
 */
#include "io/file.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_RETRY_MS 10

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t count = FAULTY("file.write", ENOSPC, write(fd, bytes.p, bytes.n));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        bytes.p += count;
        bytes.n -= (size_t)count;
    }
    return true;
}

/* False with errno. */
static bool write_new(const char *path, struct str bytes, mode_t mode)
{
    int fd = FAULTY("file.create", ENOSPC, open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (fd < 0)
        return false;
    bool good = fchmod(fd, mode) == 0 && write_all(fd, bytes) && FAULTY("file.sync", EIO, fsync(fd)) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return good;
}

bool file_replace(const char *path, struct str bytes, mode_t mode, struct err *err)
{
    char *temporary = mem_printf("%s.new", path);
    unlink(temporary); /* of one who was interrupted here */
    bool good = write_new(temporary, bytes, mode);
    fault_die("file.written", NULL);
    good = good && FAULTY("file.rename", EIO, rename(temporary, path)) == 0;
    fault_die("file.renamed", NULL);
    if (!good) {
        err_set(err, "cannot write %s: %s", path, strerror(errno));
        unlink(temporary);
    }
    free(temporary);
    return good && folder_sync(path, err);
}

/* Makes one folder; *made if it was not there. */
static bool make_one(const char *path, mode_t mode, bool *made, struct err *err)
{
    struct stat found;
    *made = FAULTY("file.mkdir", ENOSPC, mkdir(path, mode)) == 0;
    if (*made)
        return chmod(path, mode) == 0 || err_set(err, "cannot set the mode of %s: %s", path, strerror(errno));
    int error = errno;
    if (stat(path, &found) != 0)
        return err_set(err, "cannot make the folder %s: %s", path, strerror(error));
    return S_ISDIR(found.st_mode) ||
           err_set(err, "%s is there and not a folder; name one, or take it away", path);
}

bool file_make_directory(const char *path, mode_t mode, struct err *err)
{
    char *part = mem_dup(path);
    bool good = true;
    for (size_t i = 1; good && i <= strlen(path); i++) {
        if (path[i] != '\0' && path[i] != '/')
            continue;
        bool last = path[i + strspn(path + i, "/")] == '\0', made;
        part[i] = '\0';
        good = make_one(part, last ? mode : 0755, &made, err) && (!made || folder_sync(part, err));
        part[i] = path[i];
    }
    free(part);
    return good;
}

static bool take_lock(int fd, uint64_t wait_ms)
{
    uint64_t until_ms = clock_mono_ms() + wait_ms;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || clock_mono_ms() >= until_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_MS * 1000000}, NULL);
    }
    return true;
}

static bool refuse_lock(int fd, const char *path, struct err *err)
{
    char holder[16] = "";
    if (errno != EWOULDBLOCK)
        return err_set(err, "cannot lock %s: %s", path, strerror(errno));
    if (pread(fd, holder, sizeof holder - 1, 0) <= 0)
        return err_set(err, "%s is locked by another process; stop it first", path);
    holder[strcspn(holder, "\n")] = '\0';
    return err_set(err, "%s is locked by process %s; stop it first", path, holder);
}

int file_lock(const char *path, uint64_t wait_ms, struct err *err)
{
    char holder[16];
    int fd = FAULTY("file.lock", ENOSPC, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (fd < 0) {
        err_set(err, "cannot open %s: %s", path, strerror(errno));
        return -1;
    }
    if (!take_lock(fd, wait_ms)) {
        refuse_lock(fd, path, err);
        close(fd);
        return -1;
    }
    int n = snprintf(holder, sizeof holder, "%d\n", getpid());
    bool told = ftruncate(fd, 0) == 0 && pwrite(fd, holder, (size_t)n, 0) == n;
    (void)told; /* it is for the message of the next one only: the lock holds without it */
    return fd;
}
