/* roster: the instances that a launch prints on its stdout, taken out of it as it comes: a line each, such as
 * "127.0.0.1:8001 pid=4711". Pure. */
#pragma once

#include "base/buf.h"
#include "base/endpoint.h"

struct roster {
    struct buf line; /* what stands behind the last line end */
    size_t lines;    /* whole ones so far */
};

/* What is done with an instance; its address points into the text. False with a sentence: it is refused. */
typedef bool roster_each(void *arg, const struct endpoint *endpoint, struct err *err);

/* Zeroed, it is ready. Takes more of the text, and calls `each` for each line that is not blank. False: a
 * line is no instance, or was refused; the sentence names it, and no more may be given. */
bool roster_take(struct roster *roster, struct str bytes, roster_each *each, void *arg,
                 struct err *err) MUST_CHECK;
/* The text has ended: what stands behind its last line end is a line too. */
bool roster_end(struct roster *roster, roster_each *each, void *arg, struct err *err) MUST_CHECK;
void roster_free(struct roster *roster);
