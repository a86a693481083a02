/* The folder of a path, synced. A name is durable only when its folder has been synced after the change. */
#include "io/folder.h"

#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* To be freed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return mem_dup(".");
    return slash == path ? mem_dup("/") : mem_printf("%.*s", (int)(slash - path), path);
}

bool folder_sync(const char *path, struct err *err)
{
    char *folder = folder_of(path);
    int fd = FAULTY("folder.open", EMFILE, open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    bool good = fd >= 0 && FAULTY("folder.sync", EIO, fsync(fd)) == 0;
    if (!good)
        err_set(err, "cannot sync the folder %s: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(folder);
    return good;
}
