/* Lists a suite. Whatever stands in the folder and is no folder counts as an uptest, a dangling link too:
 * what cannot be run must fail the gate, not slip out of it. */
#include "control/suite.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool is_uptest(DIR *folder, const char *name)
{
    struct stat status;
    return name[0] != '.' && !(fstatat(dirfd(folder), name, &status, 0) == 0 && S_ISDIR(status.st_mode));
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns 0 or errno. */
static int read_names(DIR *folder, struct suite *suite)
{
    size_t room = 0;
    for (;;) {
        errno = 0;
        const struct dirent *item = readdir(folder);
        if (item == NULL)
            return errno;
        if (!is_uptest(folder, item->d_name))
            continue;
        if (suite->count == room) {
            room = room * 2 + 16;
            suite->names = mem_resize(suite->names, room, sizeof *suite->names);
        }
        suite->names[suite->count++] = mem_dup(item->d_name);
    }
}

/* A name that JSON cannot carry would be missing from every report. */
static bool is_utf8(const char *name)
{
    size_t size;
    char *clean = utf8_tail(str_of(name), SIZE_MAX, false, &size);
    bool same = strcmp(clean, name) == 0;
    free(clean);
    return same;
}

static bool check_names(const struct suite *suite, struct err *err)
{
    for (size_t i = 0; i < suite->count; i++) {
        if (!is_utf8(suite->names[i]))
            return err_set(err,
                           "the uptests' directory %s has a file whose name is not UTF-8, number %zu in "
                           "byte order; rename it",
                           suite->directory, i + 1);
    }
    return true;
}

static enum suite_result list(struct suite *suite, struct err *err)
{
    const char *path = suite->directory;
    DIR *folder = opendir(path);
    if (folder == NULL && errno == ENOENT) {
        err_set(err, "the uptests' directory %s does not exist; make it, or mend uptests.directory", path);
        return SUITE_ABSENT;
    }
    int error = folder == NULL ? errno : read_names(folder, suite);
    if (folder != NULL)
        closedir(folder);
    if (error != 0) {
        err_set(err, "the uptests' directory %s cannot be read: %s", path, strerror(error));
        return SUITE_FAULT;
    }
    if (suite->count == 0) {
        err_set(err, "the uptests' directory %s has no uptests; put executable files there", path);
        return SUITE_ABSENT;
    }
    qsort(suite->names, suite->count, sizeof *suite->names, by_bytes);
    return check_names(suite, err) ? SUITE_FOUND : SUITE_FAULT;
}

enum suite_result suite_list(const struct config_uptests *uptests, const char *release, struct suite *suite,
                             struct err *err)
{
    *suite = (struct suite){NULL, NULL, 0};
    if (uptests->directory == NULL) {
        err_set(err, "no uptests are configured; set uptests.directory for this service");
        return SUITE_ABSENT;
    }
    suite->directory = config_expand(uptests->directory, str_of(release), err);
    if (suite->directory == NULL) {
        err_prefix(err, "uptests.directory");
        return SUITE_FAULT;
    }
    if (suite->directory[0] != '/') {
        err_set(err, "uptests.directory \"%s\" is not an absolute path; begin it with /", suite->directory);
        suite_free(suite);
        return SUITE_FAULT;
    }
    enum suite_result result = list(suite, err);
    if (result != SUITE_FOUND)
        suite_free(suite);
    return result;
}

void suite_free(struct suite *suite)
{
    for (size_t i = 0; i < suite->count; i++)
        free(suite->names[i]);
    free(suite->names);
    free(suite->directory);
    *suite = (struct suite){NULL, NULL, 0};
}
