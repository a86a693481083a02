/* access_log: the file that the proxy appends to, opened here, since the proxy opens none. */
#include "config/places.h"

#include "base/fault.h"
#include "control/conduct.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

bool access_log_open(const struct config *config, int *fd, struct err *err)
{
    *fd = -1;
    if (config->access_log_path == NULL)
        return true;
    *fd = FAULTY("access_log.open", ENOSPC,
                 open(config->access_log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
    if (*fd >= 0)
        return true;
    return err_set(err,
                   "%s:%u: access_log.path \"%s\" cannot be opened: %s; make its folder, or name another one",
                   config->path, places_line(config->places, &config->access_log_path, 1),
                   config->access_log_path, strerror(errno));
}
