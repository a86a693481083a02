/* Invariant: nothing but the disk is waited for. */
#include "base/file.h"

#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Up to `most` bytes behind out's end; *more if there are others. */
static bool read_to_end(int fd, size_t most, struct buf *out, bool *more)
{
    for (;;) {
        size_t room = most + 1 - out->n;
        ssize_t count = read(fd, buf_reserve(out, room < 65536 ? room : 65536), room < 65536 ? room : 65536);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        out->n += (size_t)count;
        out->p[out->n] = '\0';
        *more = out->n > most;
        if (count == 0 || *more)
            return true;
    }
}

static bool read_open_file(int fd, const char *path, size_t most, struct buf *out, struct err *err)
{
    struct stat found;
    bool more;
    if (fstat(fd, &found) != 0)
        return err_set(err, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return err_set(err, "cannot read %s: it is not a regular file", path);
    if (!read_to_end(fd, most, out, &more))
        return err_set(err, "cannot read %s: %s", path, strerror(errno));
    if (more)
        return err_set(err, "%s is larger than %zu bytes", path, most);
    return true;
}

bool file_read(const char *path, size_t most, struct buf *out, bool *missing, struct err *err)
{
    out->n = 0;
    /* Without O_NONBLOCK the open of a fifo would wait for a writer. */
    int fd = FAULTY("file.open", EMFILE, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (missing != NULL)
        *missing = fd < 0 && errno == ENOENT;
    if (fd < 0)
        return err_set(err, "cannot open %s: %s", path, strerror(errno));
    bool good = read_open_file(fd, path, most, out, err);
    close(fd);
    return good;
}

char *file_in_real_folder(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    char *written = slash == NULL ? mem_dup(".") : str_dup((struct str){path, (size_t)(name - path)});
    char *folder = realpath(written, NULL);
    free(written);
    char *real = folder == NULL             ? NULL
                 : strcmp(folder, "/") == 0 ? mem_printf("/%s", name)
                                            : mem_printf("%s/%s", folder, name);
    free(folder);
    return real;
}
