/* Invariant: whoever says something goes on soon, whether stderr takes it or not; save where two processes
 * write to one pipe in the same moment, and it has room for one. */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 20 /* for a reader that is a little behind; none where something is lost already */
#define LINE_SIZE 2560 /* bytes; fewer than PIPE_BUF, so that a pipe with any room takes one whole */

static const char *log_role = "";
static enum log_level log_threshold = LOG_LEVEL_INFO;
static enum log_format log_shape = LOG_FORMAT_TEXT;
static unsigned log_lost; /* sentences, that nobody was told of; atomic */
static bool log_is_journal;

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"}; /* sd-daemon(3) */

/* systemd names the device and inode of what it has made stderr (systemd.exec(5)): who has put another there
 * does not mean it. */
static bool is_journal(void)
{
    const char *told = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat status;
    if (told == NULL || fstat(STDERR_FILENO, &status) != 0)
        return false;
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(told, own) == 0;
}

void log_open(const char *role)
{
    log_role = role;
    log_is_journal = is_journal();
}

/* What stands before a line, for the journal alone, which takes it off again. */
static const char *priority(enum log_level level)
{
    return log_is_journal ? priorities[level] : "";
}

void log_configure(enum log_level level, enum log_format format)
{
    log_threshold = level;
    log_shape = format;
}

/* Copies text into out as the inside of a JSON string; what does not fit is left out. Returns bytes written.
 */
static size_t escape(char *out, size_t room, const char *text)
{
    size_t n = 0;
    for (; *text != '\0' && n + 7 < room; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20) {
            n += (size_t)snprintf(out + n, room - n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
    return n;
}

/* A line break inside a sentence would let a client forge log lines. */
static void flatten(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
    }
}

static PRINTF_LIKE(3, 0) int compose(char line[LINE_SIZE], enum log_level level, const char *format,
                                     va_list args)
{
    char sentence[1024], time[CLOCK_TEXT_SIZE];
    vsnprintf(sentence, sizeof sentence, format, args);
    clock_text(clock_wall_ns(), time);
    if (log_shape == LOG_FORMAT_JSON) {
        char escaped[2048];
        escape(escaped, sizeof escaped, sentence);
        return snprintf(
            line, LINE_SIZE,
            "%s{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d,\"message\":\"%s\"}\n",
            priority(level), time, level_names[level], log_role, (int)getpid(), escaped);
    }
    flatten(sentence);
    return snprintf(line, LINE_SIZE, "%s%s %-5s %s[%d] %s\n", priority(level), time, level_names[level],
                    log_role, (int)getpid(), sentence);
}

/* A pipe whose reader stalls has none. It is not ours alone, so it cannot be told not to block. */
static bool has_room(int patience_ms)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    int found;
    do
        found = poll(&out, 1, patience_ms);
    while (found < 0 && errno == EINTR);
    return found > 0;
}

/* False: there was no room. One write, so that lines of several processes do not mix; that it fails, as on a
 * full disk, is nobody's reason to stop. */
static PRINTF_LIKE(3, 0) bool vput(int patience_ms, enum log_level level, const char *format, va_list args)
{
    char line[LINE_SIZE];
    int n = compose(line, level, format, args);
    if (!has_room(patience_ms))
        return false;
    ssize_t written = n > 0 ? write(STDERR_FILENO, line, (size_t)n) : 0;
    (void)written;
    return true;
}

static PRINTF_LIKE(1, 2) bool put_at_once(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool ok = vput(0, LOG_LEVEL_ERROR, format, args);
    va_end(args);
    return ok;
}

static PRINTF_LIKE(2, 0) void log_line(enum log_level level, const char *format, va_list args)
{
    if (level > log_threshold)
        return;
    unsigned lost = __atomic_exchange_n(&log_lost, 0, __ATOMIC_RELAXED);
    if (lost > 0 && put_at_once("%u sentence%s lost before this one: whoever reads this log was held up",
                                lost, lost == 1 ? " is" : "s are"))
        lost = 0;
    if (lost > 0 || !vput(PATIENCE_MS, level, format, args))
        __atomic_add_fetch(&log_lost, lost + 1, __ATOMIC_RELAXED);
}

#define LOG_FUNCTION(name, level)      \
    void name(const char *format, ...) \
    {                                  \
        va_list args;                  \
        va_start(args, format);        \
        log_line(level, format, args); \
        va_end(args);                  \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

void log_last_word(const char *sentence)
{
    if (log_shape == LOG_FORMAT_JSON)
        log_error("%s", sentence);
    else
        fprintf(stderr, "%supswapd: %s\n", priority(LOG_LEVEL_ERROR), sentence);
}
