/* names: what users are called. A directory on the network may have to be asked, and may be slow: so that is
 * done on a thread, and what it said holds for a minute. */
#pragma once

#include "deploy/registry.h" /* struct asker */
#include "io/loop.h"

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#define NAMES_SIZE sizeof(((struct asker *)0)->user)

struct names;

/* Called on a thread, of which there is one at most for each user. False: it has no name. */
typedef bool names_look_up(uid_t uid, char name[NAMES_SIZE]);

struct names_options {
    struct loop *loop;
    uint64_t wait_ms;       /* for an answer */
    names_look_up *look_up; /* NULL: getpwuid_r */
};

struct names *names_new(const struct names_options *options);
/* No question may be under way; a thread may, and is left to itself. */
void names_free(struct names *names);

/* A question that is under way. Embedded in who asks. */
struct names_question {
    struct names *names; /* NULL: none is under way */
    uid_t uid;
    void (*answered)(struct names_question *question, const char *name);
    struct deadline late;
    TAILQ_ENTRY(names_question) entry;
};

/* Asks for the user's name. `answered` comes once, at once where it is known, and within wait_ms in any case:
 * with the number where there is no name, or none was told by then. Those about one user are answered in the
 * order in which they came. */
void names_ask(struct names *names, uid_t uid, struct names_question *question,
               void (*answered)(struct names_question *question, const char *name));
/* `answered` is not called any more. Fine where none is under way. */
void names_cancel(struct names_question *question);
