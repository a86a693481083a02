/* Invariant: nothing that fails here stops whoever writes. */
#include "plane/log_file.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMPLAIN_MS 60000 /* between complaints */

/* Bytes in it; 0 of what is no file. */
static uint64_t size_of(int fd)
{
    struct stat status;
    return fd >= 0 && fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

void log_file_use(struct log_file *file, int fd)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = fd;
    file->end = file->let_go = size_of(fd);
}

static void complain(struct log_file *file, int error, uint64_t now_ms)
{
    if (file->complained_ms != 0 && now_ms - file->complained_ms < COMPLAIN_MS)
        return;
    file->complained_ms = now_ms;
    log_error("the access log cannot be written, lines are lost: %s", strerror(error));
}

/* What the kernel is told of once it begins to write to the disk, and keeps until it has; so it is told of
 * everything twice. The file may have been cut meanwhile; what is none has nothing to let go. */
static void let_go(struct log_file *file)
{
    file->end = size_of(file->fd);
    if (file->end < file->let_go)
        file->let_go = 0;
    for (; file->end >= file->let_go + LOG_FILE_STEP + LOG_FILE_KEPT; file->let_go += LOG_FILE_STEP) {
        uint64_t from = file->let_go < LOG_FILE_STEP ? 0 : file->let_go - LOG_FILE_STEP;
        posix_fadvise(file->fd, (off_t)from, (off_t)(file->let_go + LOG_FILE_STEP - from),
                      POSIX_FADV_DONTNEED);
    }
}

void log_file_write(struct log_file *file, struct str lines, uint64_t now_ms)
{
    while (file->fd >= 0 && lines.n > 0) {
        ssize_t written = write(file->fd, lines.p, lines.n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            complain(file, errno, now_ms);
            return;
        }
        lines = (struct str){lines.p + written, lines.n - (size_t)written};
        file->end += (uint64_t)written;
    }
    if (file->end >= file->let_go + LOG_FILE_STEP + LOG_FILE_KEPT)
        let_go(file);
}
