#include "keeper/program.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_same(const char *path, const char *self)
{
    struct stat one, other;
    return stat(path, &one) == 0 && stat(self, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* A name with a slash is a path; of others, the first that is found counts, as for the shell. */
static bool find(const char *name, const char *self, char path[HANDOVER_PATH_MAX])
{
    char folder[HANDOVER_PATH_MAX];
    const char *variable = getenv("PATH");
    struct str rest = str_of(variable == NULL ? "" : variable), part;
    if (name[0] == '/')
        return snprintf(path, HANDOVER_PATH_MAX, "%s", name) < HANDOVER_PATH_MAX && is_same(path, self);
    if (strchr(name, '/') != NULL)
        return getcwd(folder, sizeof folder) != NULL &&
               snprintf(path, HANDOVER_PATH_MAX, "%s/%s", folder, name) < HANDOVER_PATH_MAX &&
               is_same(path, self);
    while (str_split(&rest, ':', &part)) {
        int n = snprintf(path, HANDOVER_PATH_MAX, "%.*s/%s", STR_ARG(part), name);
        if (part.n > 0 && part.p[0] == '/' && n < HANDOVER_PATH_MAX && is_same(path, self))
            return true;
    }
    return false;
}

void program_find(const char *name, const char *self, char path[HANDOVER_PATH_MAX])
{
    if (name != NULL && find(name, self, path))
        return;
    ssize_t n = readlink(self, path, HANDOVER_PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
}
