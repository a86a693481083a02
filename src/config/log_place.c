/* Lines of the log in the journal would be the end of it. Paths are compared by what they lead to. */
#include "config/log_place.h"

#include "base/file.h"
#include "base/mem.h"
#include "config/places.h"

#include <stdlib.h>

/* Of a file that is not there, its name in the folder in which it would be made; to be freed. */
static char *real_path(const char *path)
{
    char *whole = realpath(path, NULL);
    char *real = whole != NULL ? whole : file_in_real_folder(path);
    return real != NULL ? real : mem_dup(path);
}

/* Does the path lead to one of those files that upswap keeps in this folder, or may keep there by a name that
 * begins alike? */
static bool is_own(const char *path, const char *folder)
{
    static const char *const names[] = {"clock", "deployments", "events", "journal", "lock", "secrets"};
    char *file = real_path(path), *inside = real_path(folder);
    size_t n = strlen(inside);
    bool own = false;
    if (strncmp(file, inside, n) == 0 && file[n] == '/') {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            own |= str_starts_with(str_of(file + n + 1), str_of(names[i]));
    }
    free(file);
    free(inside);
    return own;
}

bool log_place_is_free(const struct config *config, struct err *err)
{
    const char *path = config->access_log_path;
    return path == NULL || !is_own(path, config->state_directory) ||
           err_set(
               err,
               "%s:%u: access_log.path: \"%s\" is a file of upswap's own in state_directory, and lines would "
               "be written into it; name another",
               config->path, places_line(config->places, &config->access_log_path, 1), path);
}
