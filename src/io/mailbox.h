/* mailbox: messages to a loop from any thread: the only way in which threads speak to each other. */
#pragma once

#include "io/loop.h"

struct mail {
    struct mail *next; /* the mailbox's own */
};

struct mailbox;

/* `deliver` runs on the loop's thread for each mail, oldest first; the mail is then the receiver's. */
struct mailbox *mailbox_new(struct loop *loop, void (*deliver)(void *arg, struct mail *mail), void *arg);
/* The same for who can do without: NULL with errno, where descriptors or memory of the kernel are used up. */
struct mailbox *mailbox_try(struct loop *loop, void (*deliver)(void *arg, struct mail *mail), void *arg);
/* From the loop's thread, when no one posts any more. Undelivered mail is delivered first. */
void mailbox_free(struct mailbox *mailbox);
/* From any thread. The mail is the mailbox's until it is delivered. Wakes the loop if it sleeps. */
void mailbox_post(struct mailbox *mailbox, struct mail *mail);
