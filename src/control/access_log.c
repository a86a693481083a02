/* access_log: the file that the proxy appends to, opened here, since the proxy opens none. */
#include "config/places.h"

#include "base/fault.h"
#include "control/conduct.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A FIFO that nobody reads is not waited for. */
static int open_to_append(const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK;
    return FAULTY("access_log.open", ENOSPC, open(path, flags, 0640));
}

/* What is no file may be the daemon's own output, by the name of /dev/stdout. It is not written to by the
 * descriptor that there is: the log must not block, and everybody's descriptor would not then. */
static const char *remedy(const char *path, int error)
{
    struct stat status = {0};
    stat(path, &status);
    switch (error) {
    case ENXIO:
        return S_ISSOCK(status.st_mode) ? "it is a socket, which no name opens: put a pipe there (upswapd "
                                          "... | cat), or name a file"
                                        : "it is a FIFO that nobody reads: start its reader first";
    case EACCES:
        return S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)
                   ? "it is another user's: start the daemon as the user that it runs as, not by a "
                     "program that changes it (docker run --user), or name a file"
                   : "let the daemon's user write there, or name another one";
    case EISDIR:
        return "it is a folder: name a file in it";
    default:
        return "make its folder, or name another one";
    }
}

bool access_log_open(const struct config *config, int *fd, struct err *err)
{
    const char *path = config->access_log_path;
    *fd = -1;
    if (path == NULL)
        return true;
    *fd = open_to_append(path);
    if (*fd >= 0)
        return true;
    int error = errno;
    return err_set(err, "%s:%u: access_log.path \"%s\" cannot be opened: %s; %s", config->path,
                   places_line(config->places, &config->access_log_path, 1), path, strerror(error),
                   remedy(path, error));
}
