/* state: the state folder of a daemon that runs. A control that takes the place of another goes on with what
 * that one has left, and never begins anew: what is live would be forgotten. */
#pragma once

#include "base/err.h"
#include "config/config.h"

#include <stdint.h>

/* Is there a folder to go on with, and may this process write to it? Changes nothing. False with a sentence
 * that says what can be done. */
bool state_is_there(const char *directory, struct err *err) MUST_CHECK;

/* What the next control knows the folder by: a memory file, or -1. */
int state_mark(const char *directory, struct err *err) MUST_CHECK;

/* How many records its journal has, for the next control to see whether it finds them all. */
void state_set_records(int mark, uint64_t records);
/* 0: an earlier program has not said. */
uint64_t state_records(int mark);

/* Is it the folder that the mark was made of? A copy of it is not, nor is what lies below a volume. */
bool state_is_marked(const char *directory, int mark, struct err *err) MUST_CHECK;

/* The folder that this control begins with: the first one of a daemon makes it where it is missing; `mark` is
 * what an earlier one has left, or -1. */
bool state_find(const struct config *config, bool is_first, int mark, struct err *err) MUST_CHECK;
/* As state_mark; where that fails it is logged what comes of it. */
int state_mark_for_next(const char *directory);
