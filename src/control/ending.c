/* The words for each way in which a program can end. */
#include "control/ending.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

#define QUOTED_MAX 200 /* bytes of the last line in a sentence */

char *ending_words(const struct child_result *result, uint64_t output_limit)
{
    double seconds = (double)result->ns / 1e9;
    if (!result->started)
        return mem_dup("could not be started");
    if (result->overflowed)
        return mem_printf("was killed after %.2f s, since it had written more than %d MiB", seconds,
                          (int)(output_limit >> 20));
    if (result->timed_out)
        return mem_printf("was killed after %.2f s, since its timeout was over", seconds);
    if (result->signal != 0) {
        const char *name = sigabbrev_np(result->signal);
        return mem_printf("was ended by signal %d (SIG%s) after %.2f s", result->signal,
                          name != NULL ? name : "?", seconds);
    }
    if (result->exit_status < 0)
        return mem_printf("ended in a way that cannot be told after %.2f s", seconds);
    return mem_printf("exited with status %d after %.2f s", result->exit_status, seconds);
}

static struct str last_line(struct str text)
{
    text = str_trim(text);
    const char *end = text.n > 0 ? memrchr(text.p, '\n', text.n) : NULL;
    size_t before = end == NULL ? 0 : (size_t)(end - text.p) + 1;
    return utf8_head(str_trim((struct str){text.p + before, text.n - before}), QUOTED_MAX);
}

char *ending_sentence(const char *what, const char *how, struct str output)
{
    struct buf text = BUF_EMPTY;
    size_t size;
    buf_printf(&text, "%s %s", what, how);
    struct str line = last_line(output);
    if (line.n > 0)
        buf_printf(&text, ": \"%.*s\"", STR_ARG(line));
    char *clean = utf8_tail(buf_str(&text), SIZE_MAX, false, &size);
    buf_free(&text);
    return clean;
}

struct str ending_output(const struct child_result *result)
{
    return (struct str){result->output.p, result->output.n - result->late};
}

json_t *ending_usage(const struct child_usage *usage)
{
    if (!usage->known)
        return json_null();
    return json_pack("{s:f, s:f, s:I}", "user", (double)usage->user_us / 1e6, "system",
                     (double)usage->system_us / 1e6, usage->bound ? "memory_at_most" : "memory",
                     (json_int_t)usage->memory);
}
