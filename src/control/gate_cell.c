/* The verdict on one cell. It passes in one case only: the file was started, ended by itself with status 0,
 * and within the time and the output it is given. */
#include "control/gate_cell.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "control/ending.h"

#include <assert.h>
#include <stdlib.h>

const char *const gate_cell_state_names[] = {
    [GATE_WAITING] = "waiting",
    [GATE_RUNNING] = "running",
    [GATE_PASSED] = "passed",
    [GATE_FAILED] = "failed",
};

static char *how_it_failed(const struct child_result *result, const char *cut)
{
    if (result->started && !result->overflowed && cut != NULL)
        return mem_printf("was killed after %.2f s, since %s", (double)result->ns / 1e9, cut);
    return ending_words(result, GATE_OUTPUT_LIMIT);
}

void gate_cell_settle(struct gate_cell *cell, const struct child_result *result, const char *cut)
{
    assert(cell->state == GATE_RUNNING);
    bool passed = result->exit_status == 0 && !result->timed_out && !result->stopped && !result->overflowed &&
                  cut == NULL;
    cell->state = passed ? GATE_PASSED : GATE_FAILED;
    cell->exit_status = result->exit_status;
    cell->signal = result->signal;
    cell->timed_out = result->timed_out;
    cell->undecided = !result->started || cut != NULL;
    cell->ns = result->ns;
    cell->usage = result->usage;
    cell->output = utf8_tail(result->output, GATE_OUTPUT_KEPT, result->truncated, &cell->output_size);
    if (!passed)
        cell->how = how_it_failed(result, cut);
}

void gate_cell_fail(struct gate_cell *cell, const char *how, const char *sentence)
{
    assert(cell->state == GATE_WAITING || cell->state == GATE_RUNNING);
    cell->state = GATE_FAILED;
    cell->undecided = true;
    cell->output = utf8_tail(str_of(sentence), GATE_OUTPUT_KEPT, false, &cell->output_size);
    cell->how = mem_dup(how);
}

char *gate_cell_sentence(const struct gate_cell *cell)
{
    char *what = mem_printf("uptest %s on %s", cell->uptest, cell->instance);
    char *sentence = ending_sentence(what, cell->how, (struct str){cell->output, cell->output_size});
    free(what);
    return sentence;
}

void gate_cell_clear(struct gate_cell *cell)
{
    free(cell->output);
    free(cell->how);
}
