/* ending: how a program that was run has ended, in words that a person is told. */
#pragma once

#include "io/child.h"

#include <jansson.h>

/* `exited with status 1 after 0.21 s`, to stand after what was run; to be freed. `output_limit`: bytes that
 * it was allowed to write. */
char *ending_words(const struct child_result *result, uint64_t output_limit);

/* `WHAT HOW: "the last line of the output that is not blank"`, as valid UTF-8; to be freed. */
char *ending_sentence(const char *what, const char *how, struct str output);

/* What to quote in it: what came before the time was over. Behind that is how it took TERM, or a shell's word
 * for it. Borrowed from the result. */
struct str ending_output(const struct child_result *result);

/* "usage" of a program that has ended: {"user":0.12,"system":0.03,"memory":31457280}, seconds of CPU time and
 * bytes; "memory_at_most" in the place of "memory" where no more can be told. Null where nothing is known. */
json_t *ending_usage(const struct child_usage *usage);
