#include "base/log.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

static const char *log_role = "";
static enum log_level log_threshold = LOG_LEVEL_INFO;
static enum log_format log_shape = LOG_FORMAT_TEXT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_open(const char *role)
{
    log_role = role;
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

static PRINTF_LIKE(2, 0) void log_line(enum log_level level, const char *format, va_list args)
{
    if (level > log_threshold)
        return;
    char sentence[1024], time[CLOCK_TEXT_SIZE], line[2560];
    vsnprintf(sentence, sizeof sentence, format, args);
    clock_text(clock_wall_ns(), time);
    int n;
    if (log_shape == LOG_FORMAT_JSON) {
        char escaped[2048];
        escape(escaped, sizeof escaped, sentence);
        n = snprintf(line, sizeof line,
                     "{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d,\"message\":\"%s\"}\n",
                     time, level_names[level], log_role, (int)getpid(), escaped);
    } else {
        flatten(sentence);
        n = snprintf(line, sizeof line, "%s %-5s %s[%d] %s\n", time, level_names[level], log_role,
                     (int)getpid(), sentence);
    }
    /* One write, so that lines of several processes do not mix. A full stderr is nobody's reason to stop. */
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
        return;
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
