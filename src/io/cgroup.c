/* Invariant: a group is removed by the process that made it, by its program's warden when that process has
 * ended, or by the next one's cgroup_begin: so never before a program was started in it.
 */
#include "io/cgroup.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/share.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEPTH_MAX 16 /* of descriptors, where a group has groups in it */

static char *place;          /* the folder of our own group; NULL: there are no groups */
static char *prefix;         /* of their names, with the folder */
static uint64_t last_number; /* those of a later process are higher: who is late to remove a group of ours
                                meets none of its */

/* Paths of what was not empty yet when it was to be removed. */
static char **left;
static size_t left_count;

static struct {
    struct cgroup at[CGROUP_KEEPS]; /* the last one is the next to be given */
    size_t count;
} spare; /* empty groups */

/* ---- the end of one ---- */

void cgroup_kill(int kill_fd)
{
    if (kill_fd >= 0)
        (void)!write(kill_fd, "1", 1);
}

static int remove_folder(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)at;
    return kind == FTW_DP ? rmdir(path) : 0;
}

/* With the groups that a program of our own user may have made in it. */
static bool is_removed(const char *path)
{
    return rmdir(path) == 0 || errno == ENOENT ||
           nftw(path, remove_folder, DEPTH_MAX, FTW_DEPTH | FTW_PHYS) == 0;
}

static void remove_left(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < left_count; i++) {
        if (is_removed(left[i]))
            free(left[i]);
        else
            left[kept++] = left[i];
    }
    left_count = kept;
}

/* Takes `path`. */
static void leave(char *path)
{
    left = mem_resize(left, left_count + 1, sizeof *left);
    left[left_count++] = path;
}

void cgroup_remove(struct cgroup *group)
{
    if (group->kill_fd >= 0)
        close(group->kill_fd);
    if (group->fd >= 0)
        close(group->fd);
    if (group->path != NULL)
        leave(group->path);
    *group = CGROUP_NONE;
    remove_left();
}

void cgroup_keep(struct cgroup *group)
{
    if (group->path == NULL || place == NULL || spare.count == CGROUP_KEEPS) {
        cgroup_remove(group);
        return;
    }
    spare.at[spare.count++] = *group;
    *group = CGROUP_NONE;
}

size_t cgroup_kept(void)
{
    return spare.count;
}

static void remove_kept(void)
{
    while (spare.count > 0)
        cgroup_remove(&spare.at[--spare.count]);
}

/* ---- the beginning of one ---- */

static int open_in(const char *path, const char *name, int flags)
{
    char *file = mem_printf("%s/%s", path, name);
    int fd = FAULTY("cgroup.open", EMFILE, open(file, flags | O_CLOEXEC));
    free(file);
    return fd;
}

static char *make_folder(void)
{
    for (;;) {
        char *path = mem_printf("%s%ju", prefix, (uintmax_t)++last_number);
        if (FAULTY("cgroup.make", EAGAIN, mkdir(path, 0755)) == 0)
            return path;
        free(path);
        if (errno != EEXIST)
            return NULL;
    }
}

static struct cgroup make(void)
{
    struct cgroup group = CGROUP_NONE;
    group.path = make_folder();
    if (group.path == NULL)
        return CGROUP_NONE;
    group.fd = open_in(group.path, ".", O_RDONLY | O_DIRECTORY);
    group.kill_fd = open_in(group.path, "cgroup.kill", O_WRONLY);
    if (group.fd >= 0 && group.kill_fd >= 0)
        return group;
    int error = errno;
    cgroup_remove(&group);
    errno = error;
    return CGROUP_NONE;
}

/* False: it is gone. */
static bool read_file(const struct cgroup *group, const char *name, char text[256])
{
    int fd = openat(group->fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, 255);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* Its last program may have been able to write to it, and anybody may have removed it. */
static bool is_as_new(const struct cgroup *group)
{
    char events[256], controllers[256];
    struct stat status;
    return fstat(group->fd, &status) == 0 && status.st_nlink == 2 &&
           read_file(group, "cgroup.events", events) && strstr(events, "populated 0") != NULL &&
           strstr(events, "frozen 0") != NULL && read_file(group, "cgroup.subtree_control", controllers) &&
           strchr("\n", controllers[0]) != NULL;
}

struct cgroup cgroup_make(void)
{
    if (place == NULL)
        return CGROUP_NONE;
    while (spare.count > 0) {
        struct cgroup *group = &spare.at[--spare.count];
        if (is_as_new(group))
            return *group;
        cgroup_remove(group);
    }
    remove_left();
    return make();
}

static void enter(int group_fd)
{
    int fd = group_fd < 0 ? -1 : openat(group_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "0", 1);
    close(fd);
}

/* By clone3, which takes no lock of the whole kernel, as a move does. */
static pid_t start_inside(int group_fd, void (*run)(void *arg), void *arg)
{
    struct clone_args how = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)(unsigned)group_fd};
    pid_t pid = share_start(&how, run, arg);
    if (pid >= 0)
        return pid;
    how.flags = CLONE_INTO_CGROUP;
    pid = (pid_t)syscall(SYS_clone3, &how, sizeof how);
    if (pid == 0)
        run(arg);
    return pid;
}

/* Where a filter knows no clone3 (RestrictNamespaces of systemd), it is the move. */
pid_t cgroup_start(int group_fd, void (*run)(void *arg), void *arg)
{
    pid_t pid = group_fd < 0 ? -1 : start_inside(group_fd, run, arg);
    if (pid >= 0)
        return pid;
    pid = _Fork();
    if (pid == 0) {
        enter(group_fd);
        run(arg);
    }
    return pid;
}

/* ---- where ---- */

static const char *mounted_at(void)
{
    static const char *const usual[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct statfs status;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (statfs(usual[i], &status) == 0 && status.f_type == CGROUP2_SUPER_MAGIC)
            return usual[i];
    }
    return NULL;
}

/* Our own group's name, such as "/system.slice/upswapd.service"; to be freed; NULL: unknown. */
static char *own_name(void)
{
    char line[4096];
    char *name = NULL;
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL)
        return NULL;
    while (name == NULL && fgets(line, sizeof line, file) != NULL) {
        struct str text = str_trim(str_of(line));
        if (str_starts_with(text, STR("0::/")))
            name = str_dup((struct str){text.p + strlen("0::"), text.n - strlen("0::")});
    }
    fclose(file);
    return name;
}

static bool is_ours(const char *name, const char *path)
{
    char value;
    return strcmp(name, "/") == 0 || (getxattr(path, "user.delegate", &value, 1) == 1 && value == '1');
}

static char *find_place(struct err *why)
{
    const char *mounted = mounted_at();
    char *name = own_name();
    char *path = NULL;
    if (mounted == NULL || name == NULL)
        err_set(why, "there is no cgroup v2 at /sys/fs/cgroup");
    else
        path = mem_printf("%s%s", mounted, strcmp(name, "/") == 0 ? "" : name);
    if (path != NULL && !is_ours(name, path)) {
        err_set(why, "%s is not delegated to it; Delegate=yes in its unit mends that", path);
        free(path);
        path = NULL;
    }
    free(name);
    return path;
}

/* ---- what an earlier process has left ---- */

static void kill_group(const char *path)
{
    int fd = open_in(path, "cgroup.kill", O_WRONLY);
    cgroup_kill(fd);
    if (fd >= 0)
        close(fd);
}

static void clear(void)
{
    DIR *folder = opendir(place);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char *path = mem_printf("%s/%s", place, entry->d_name);
        if (str_starts_with(str_of(path), str_of(prefix))) {
            kill_group(path);
            leave(path);
        } else {
            free(path);
        }
    }
    if (folder != NULL)
        closedir(folder);
    remove_left();
}

void cgroup_end(void)
{
    if (place == NULL)
        return;
    remove_kept();
    clear();
    free(place);
    place = NULL;
}

bool cgroup_begin(const char *label, struct err *why)
{
    remove_kept();
    free(place);
    place = find_place(why);
    if (place == NULL)
        return false;
    free(prefix);
    prefix = mem_printf("%s/%s-", place, label);
    last_number = clock_mono_ns();
    clear();
    struct cgroup trial = make();
    bool made = trial.fd >= 0;
    if (!made) {
        err_set(why, "no group can be made in %s: %s", place, strerror(errno));
        free(place);
        place = NULL;
    }
    cgroup_remove(&trial);
    return made;
}
