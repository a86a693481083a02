/* One line: the boot's id, and by how many ns the steady clock is ahead of the monotonic one. Invariant: a
 * line of another boot, or one that is none, is as good as no file.
 */
#include "control/steady.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"

#include <inttypes.h>
#include <stdlib.h>

#define BOOT_PATH "/proc/sys/kernel/random/boot_id"
#define FILE_MODE 0600
#define LINE_MAX_SIZE 128
#define AHEAD_MOST_NS (UINT64_MAX / 4) /* in the year 2116; whatever is above was not written by us */

/* The one line of a file, without its end. */
static bool read_line(const char *path, struct buf *text, struct str *line, struct err *err)
{
    struct str rest;
    if (!file_read(path, LINE_MAX_SIZE, text, NULL, err))
        return false;
    rest = buf_str(text);
    return (str_split(&rest, '\n', line) && rest.p != NULL && rest.n == 0 && line->n > 0) ||
           err_set(err, "%s is not one line", path);
}

static bool take_up(const char *path, struct str boot)
{
    struct buf text = BUF_EMPTY;
    struct err ignored;
    struct str line, id;
    uint64_t ahead_ns;
    bool is_ours = read_line(path, &text, &line, &ignored) && str_split(&line, ' ', &id) &&
                   str_equal(id, boot) && str_to_u64(line, &ahead_ns) && ahead_ns > 0 &&
                   ahead_ns <= AHEAD_MOST_NS;
    if (is_ours)
        clock_steady_set(ahead_ns);
    buf_free(&text);
    return is_ours;
}

static bool write_down(const char *path, struct str boot, struct err *err)
{
    char *line = mem_printf("%.*s %" PRIu64 "\n", STR_ARG(boot), clock_steady_ahead_ns());
    bool ok = file_replace(path, str_of(line), FILE_MODE, err);
    free(line);
    return ok;
}

void steady_open(const char *directory)
{
    struct buf text = BUF_EMPTY;
    struct str boot;
    struct err err;
    char *path = mem_printf("%s/clock", directory);
    if (!read_line(BOOT_PATH, &text, &boot, &err) || !(take_up(path, boot) || write_down(path, boot, &err)))
        log_warn(
            "if the machine's clock is set before control is started again, holds, pauses and drains that "
            "last until then change their length: %s",
            err.text);
    buf_free(&text);
    free(path);
}
