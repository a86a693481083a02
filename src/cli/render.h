/* render: the daemon's shapes as text of at most 80 columns. */
#pragma once

#include "cli/terminal.h"

#include <jansson.h>

/* Each the answer to the GET of that shape. */
void render_status(struct terminal *terminal, const json_t *status);
void render_service(struct terminal *terminal, const json_t *service);
void render_history(struct terminal *terminal, const json_t *history);
/* The array that an uptest run answers with.. */
void render_results(struct terminal *terminal, const json_t *results);
