/* err: one sentence about what went wrong, made where the fault is seen.
 *
 * A function that can fail takes a `struct err *` (never NULL) as its last argument, returns false, NULL or
 * -1, and has then set the sentence. On success the struct is untouched. The sentence says what was wrong,
 * where (file:line, field, instance, uptest) and what would mend it. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

struct err {
    char text[512]; /* NUL-terminated; longer sentences are cut */
};

/* Sets the sentence. Always returns false, so that a function can say `return err_set(err, "...")`. */
bool err_set(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts text and ": " before the sentence that is there, for the place that only a caller knows. Returns
 * false. */
bool err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
