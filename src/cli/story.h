/* story: a whole deployment for a person: who asked for what, each state with its cause and its length, what
 * ran and what it used, what was measured, and what is other than in the last good deployment. */
#pragma once

#include "cli/terminal.h"

#include <jansson.h>

/* The answer to GET /v1/deployments/D. Parts that a daemon of another version does not tell are left out. */
void story_tell(struct terminal *terminal, const json_t *deployment);

/* A length of time in at most 8 columns: "0.12 s", "12.3 s", "5m 07s", "3h 05m", "12d 07h". Returns out. */
#define STORY_LENGTH_SIZE 24
char *story_length(double seconds, char out[STORY_LENGTH_SIZE]);
