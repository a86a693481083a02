/* board: a deployment as it stands now, for a terminal: its gate's matrix, then the watch, then the drain of
 * the pool before it. It knows what it was told by events and by answers of the API, and forgets nothing of
 * the gate. */
#pragma once

#include "cli/screen.h"

#include <jansson.h>
#include <stdint.h>

struct board;

struct board *board_new(void);
void board_free(struct board *board);

/* An event of this deployment. Times are monotonic, in ms. True: a cell came of which nobody had told, so the
 * deployment is to be asked for. */
bool board_take_event(struct board *board, const json_t *event, uint64_t now_ms);
/* GET /v1/deployments/D: fills in the cells that wait. */
void board_take_deployment(struct board *board, const json_t *deployment, uint64_t now_ms);
/* GET /v1/services/S: the watch, and the pool `replaces` (or NULL) while it drains. */
void board_take_service(struct board *board, const json_t *service, const char *replaces);

/* Is there a matrix? */
bool board_has_gate(const struct board *board);
void board_draw_gate(const struct board *board, struct screen *screen, uint64_t now_ms);
/* What is measured in the watch, and what still drains; nothing where neither is. */
void board_draw_watch(const struct board *board, struct screen *screen);
void board_draw_drain(const struct board *board, struct screen *screen);
