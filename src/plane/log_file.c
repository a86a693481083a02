#include "plane/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

int log_file_write(struct log_file *file, struct str *lines)
{
    int error = 0;
    while (file->fd >= 0 && lines->n > 0 && error == 0) {
        ssize_t written = write(file->fd, lines->p, lines->n);
        if (written > 0) {
            *lines = (struct str){lines->p + written, lines->n - (size_t)written};
            file->end += (uint64_t)written;
        } else if (written == 0 || errno != EINTR) {
            error = written < 0 ? errno : EIO;
        }
    }
    if (file->fd < 0)
        lines->n = 0;
    if (file->end >= file->let_go + LOG_FILE_STEP + LOG_FILE_KEPT)
        let_go(file);
    return error;
}
