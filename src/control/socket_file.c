#include "control/socket_file.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/capabilities.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_in(gid_t group)
{
    int most = getgroups(0, NULL);
    gid_t *groups = mem_zero(most > 0 ? (size_t)most : 1, sizeof *groups);
    int count = getgroups(most, groups);
    bool found = group == getegid();
    for (int i = 0; i < count && !found; i++)
        found = groups[i] == group;
    free(groups);
    return found;
}

/* One that is made in a folder with the set-group-ID bit has the group of that. */
static bool has_already(const char *path, gid_t group)
{
    struct stat status;
    if (stat(path, &status) == 0)
        return status.st_gid == group;
    const char *slash = strrchr(path, '/');
    char *folder =
        slash == NULL ? str_dup(STR(".")) : str_dup((struct str){path, (size_t)(slash - path) + 1});
    bool has = stat(folder, &status) == 0 && (status.st_mode & S_ISGID) != 0 && status.st_gid == group;
    free(folder);
    return has;
}

bool socket_file_may_have(const char *path, gid_t group)
{
    return group == (gid_t)-1 || is_in(group) || (capabilities_permitted() & CAPABILITY(CAP_CHOWN)) != 0 ||
           has_already(path, group);
}
