/* ending: how a program that was run has ended, in words that a person is told. */
#pragma once

#include "io/child.h"

/* `exited with status 1 after 0.21 s`, to stand after what was run; to be freed. `output_limit`: bytes that
 * it was allowed to write. */
char *ending_words(const struct child_result *result, uint64_t output_limit);

/* `WHAT HOW: "the last line of the output that is not blank"`, as valid UTF-8; to be freed. */
char *ending_sentence(const char *what, const char *how, struct str output);
