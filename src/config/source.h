/* source: the file's text before libconfig sees it.
 *
 * libconfig 1.5 cuts what it cannot hold without a word: a number past 32 bits, a text at a NUL byte, the
 * rest of a file whose comment is not closed; and it joins two items of a list that miss their comma. Those
 * are found here, so that nothing is ever read as something else than what was written. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdio.h>

/* Reads the whole file into *text. Faults as "PATH: sentence". */
bool source_read(FILE *file, const char *path, struct buf *text, struct err *err) MUST_CHECK;

/* Looks through the text. The fault as "PATH:LINE: sentence". */
bool source_check(struct str text, const char *path, struct err *err) MUST_CHECK;

/* Is there something on the line, where libconfig has refused the text that was looked through, of which more
 * can be said? Then the fault is, as above. */
bool source_explain(struct str text, const char *path, unsigned line, struct err *err) MUST_CHECK;
