/* The verdict on one cell. It passes in one case only: the file was started, ended by itself with status 0,
 * and within the time and the output it is given. */
#include "control/gate_cell.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define QUOTED_MAX 200 /* bytes of the last line in a sentence */

const char *const gate_cell_state_names[] = {
    [GATE_WAITING] = "waiting",
    [GATE_RUNNING] = "running",
    [GATE_PASSED] = "passed",
    [GATE_FAILED] = "failed",
};

static char *how_it_failed(const struct child_result *result, const char *expired)
{
    double seconds = (double)result->ns / 1e9;
    if (!result->started)
        return mem_dup("could not be started");
    if (result->overflowed)
        return mem_printf("was killed after %.2f s, since it had written more than %d MiB", seconds,
                          (int)(GATE_OUTPUT_LIMIT >> 20));
    if (expired != NULL)
        return mem_printf("was killed after %.2f s, since %s", seconds, expired);
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

void gate_cell_settle(struct gate_cell *cell, const struct child_result *result, const char *expired)
{
    assert(cell->state == GATE_RUNNING);
    bool passed = result->exit_status == 0 && !result->timed_out && !result->stopped && !result->overflowed &&
                  expired == NULL;
    cell->state = passed ? GATE_PASSED : GATE_FAILED;
    cell->exit_status = result->exit_status;
    cell->signal = result->signal;
    cell->timed_out = result->timed_out || expired != NULL;
    cell->undecided = !result->started || expired != NULL;
    cell->ns = result->ns;
    cell->usage = result->usage;
    cell->output = utf8_tail(result->output, GATE_OUTPUT_KEPT, result->truncated, &cell->output_size);
    if (!passed)
        cell->how = how_it_failed(result, expired);
}

void gate_cell_fail(struct gate_cell *cell, const char *how, const char *sentence)
{
    assert(cell->state == GATE_WAITING || cell->state == GATE_RUNNING);
    cell->state = GATE_FAILED;
    cell->undecided = true;
    cell->output = utf8_tail(str_of(sentence), GATE_OUTPUT_KEPT, false, &cell->output_size);
    cell->how = mem_dup(how);
}

/* The last line that is not blank. */
static struct str last_line(struct str text)
{
    text = str_trim(text);
    const char *end = text.n > 0 ? memrchr(text.p, '\n', text.n) : NULL;
    size_t before = end == NULL ? 0 : (size_t)(end - text.p) + 1;
    return utf8_head(str_trim((struct str){text.p + before, text.n - before}), QUOTED_MAX);
}

char *gate_cell_sentence(const struct gate_cell *cell)
{
    struct buf text = BUF_EMPTY;
    buf_printf(&text, "uptest %s on %s %s", cell->uptest, cell->instance, cell->how);
    struct str line = last_line((struct str){cell->output, cell->output_size});
    if (line.n > 0)
        buf_printf(&text, ": \"%.*s\"", STR_ARG(line));
    size_t size;
    char *clean = utf8_tail(buf_str(&text), SIZE_MAX, false, &size);
    buf_free(&text);
    return clean;
}

void gate_cell_clear(struct gate_cell *cell)
{
    free(cell->output);
    free(cell->how);
}
