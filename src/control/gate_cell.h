/* gate_cell: how one uptest on one instance ended. For gate.c alone. */
#pragma once

#include "control/gate.h"

#define GATE_OUTPUT_KEPT ((size_t)64 * 1024)
#define GATE_OUTPUT_LIMIT ((uint64_t)256 * 1024 * 1024)

/* Settles a running cell by what its child has come to. `cut` (or NULL): the words for what has cut the gate
 * short before: it has failed in any case. */
void gate_cell_settle(struct gate_cell *cell, const struct child_result *result, const char *cut);

/* Settles a cell that was not run. The sentence becomes its output. */
void gate_cell_fail(struct gate_cell *cell, const char *how, const char *sentence);

/* `uptest 02_login on 127.0.0.1:8002 exited with status 1 after 0.21 s: "its last line of output"`; to be
 * freed. */
char *gate_cell_sentence(const struct gate_cell *cell);

/* Frees what the cell owns: output and how. */
void gate_cell_clear(struct gate_cell *cell);
