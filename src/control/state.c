/* A folder is known by its inode and the time of its birth. Not by its device, whose number may be another
 * after the same volume was mounted again; and no descriptor of it is kept, which would hold that volume.
 */
#include "control/state.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/places.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PUT_BACK "put state_directory back, or restart the daemon to begin anew"

struct mark {
    uint64_t inode;
    int64_t born_s; /* 0: the file system does not know */
    uint32_t born_ns;
    uint32_t unused;
};

static bool is_lost(int error)
{
    return error == ENOENT || error == ENOTDIR;
}

static bool cannot_go_on(const char *path, int error, struct err *err)
{
    return err_set(err, "%s cannot be opened: %s; %s", path, strerror(error),
                   is_lost(error) ? PUT_BACK : "let the daemon write to it and to its folder");
}

/* Without O_NONBLOCK the open of a fifo would wait for a reader. */
static bool can_write(const char *path, struct err *err)
{
    struct stat found;
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode))
        return err_set(err, "%s is not a regular file; move it away, and put the journal back", path);
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return cannot_go_on(path, errno, err);
    close(fd);
    return true;
}

bool state_is_there(const char *directory, struct err *err)
{
    char *journal = mem_printf("%s/journal", directory);
    bool ok = can_write(journal, err);
    free(journal);
    return ok && (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0 ||
                  cannot_go_on(directory, errno, err));
}

static bool look_at(const char *directory, struct mark *mark, struct err *err)
{
    struct statx found;
    if (statx(AT_FDCWD, directory, 0, STATX_INO | STATX_BTIME, &found) != 0)
        return err_set(err, "cannot look at %s: %s; %s", directory, strerror(errno),
                       is_lost(errno) ? PUT_BACK : "let the daemon's user see it");
    *mark = (struct mark){.inode = found.stx_ino};
    if ((found.stx_mask & STATX_BTIME) != 0) {
        mark->born_s = found.stx_btime.tv_sec;
        mark->born_ns = found.stx_btime.tv_nsec;
    }
    return true;
}

int state_mark(const char *directory, struct err *err)
{
    struct mark mark;
    if (!look_at(directory, &mark, err))
        return -1;
    int fd = FAULTY("state.memfd", EMFILE, memfd_create("upswap-state", MFD_CLOEXEC));
    if (fd >= 0 && FAULTY("state.write", ENOMEM, pwrite(fd, &mark, sizeof mark, 0)) == sizeof mark)
        return fd;
    err_set(err, "no memory file can be had: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

void state_set_records(int mark, uint64_t records)
{
    ssize_t written = pwrite(mark, &records, sizeof records, sizeof(struct mark));
    (void)written; /* one that is missing is not missed */
}

uint64_t state_records(int mark)
{
    uint64_t records;
    bool is_there = pread(mark, &records, sizeof records, sizeof(struct mark)) == sizeof records;
    return is_there ? records : 0;
}

bool state_is_marked(const char *directory, int mark, struct err *err)
{
    struct mark before, now;
    if (pread(mark, &before, sizeof before, 0) != sizeof before)
        return err_set(err, "what the state folder is known by cannot be read: %s", strerror(errno));
    if (!look_at(directory, &now, err))
        return false;
    return memcmp(&before, &now, sizeof now) == 0 ||
           err_set(err, "%s is not the folder with which the daemon has run until now; " PUT_BACK, directory);
}

/* What the key names is told with it. */
static bool make(const struct config *config, struct err *err)
{
    return file_make_directory(config->state_directory, 0750, err) ||
           err_prefix(err, "%s:%u: state_directory", config->path,
                      places_line(config->places, &config->state_directory, 1));
}

/* Only the first control of a daemon may make a folder: the proxy has the world of the one before, and one
 * made of nothing would take its place. */
bool state_find(const struct config *config, bool is_first, int mark, struct err *err)
{
    const char *directory = config->state_directory;
    if (is_first)
        return make(config, err);
    return state_is_there(directory, err) && (mark < 0 || state_is_marked(directory, mark, err));
}

int state_mark_for_next(const char *directory)
{
    struct err err;
    int mark = state_mark(directory, &err);
    if (mark < 0)
        log_warn("a control that is started again will not see whether its state folder is another: %s",
                 err.text);
    return mark;
}
