/* question_h2: a question's HTTP/2. */
#pragma once

#include "base/buf.h"
#include "control/question.h"

#include <stdarg.h>

#define QUESTION_AGENT "upswap-health/" PACKAGE_VERSION

/* What is known of the answer. */
struct question_verdict {
    uint16_t status; /* of its final head; 0: not here yet */
    char fault[128]; /* empty: none */
};

/* The first fault stays. */
void question_blame(struct question_verdict *verdict, const char *format, ...) PRINTF_LIKE(2, 3);

struct question_h2;

/* NULL: no memory. */
struct question_h2 *question_h2_new(const struct question_order *order);
void question_h2_free(struct question_h2 *question); /* NULL is fine */

/* Adds to `out` what is to be sent. False: no memory, or it cannot go on. */
bool question_h2_gather(struct question_h2 *question, struct buf *out);
/* Takes what came, and adds what is to be sent. */
void question_h2_hear(struct question_h2 *question, const char *bytes, size_t count, struct buf *out,
                      struct question_verdict *verdict);
