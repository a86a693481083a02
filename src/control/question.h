/* question: a GET on a connection of its own, in either protocol: bytes to send, bytes that were heard, and
 * what they come to. Knows no socket and no time. Everything that it hears is hostile, and bounded. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUESTION_HEAD_MAX 16384   /* bytes of a response's head */
#define QUESTION_ANSWER_MAX 65536 /* bytes that may come before its final head is whole */

struct question;

/* Everything is copied. */
struct question_order {
    const char *path; /* begins with '/' */
    const char *host;
    bool h2;    /* HTTP/2 with prior knowledge, else HTTP/1.1 */
    bool tls;   /* below it */
    bool https; /* what clients speak */
};

/* NULL: no memory. */
struct question *question_new(const struct question_order *order);
void question_free(struct question *question); /* NULL is fine */

/* What is to be sent now; empty: nothing. It grows at its end by what is heard, until the end. */
struct str question_text(const struct question *question);
/* So many bytes of it have gone. */
void question_sent(struct question *question, size_t count);

enum question_state {
    QUESTION_OPEN,
    QUESTION_ANSWERED, /* question_status; what is still to be sent says goodbye */
    QUESTION_FAILED    /* question_fault */
};
/* Not after it was answered or has failed. */
enum question_state question_hear(struct question *question, const char *bytes, size_t count);

uint16_t question_status(const struct question *question);
/* What is wrong with the answer: a word of doc/x-upswap.md, or a few of them. */
const char *question_fault(const struct question *question);
