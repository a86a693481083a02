/* A list under a mutex and an eventfd that wakes the loop. Invariant: whenever the shared list is not empty,
 * the eventfd has been written since the loop last took the list.
 */
#include "io/mailbox.h"

#include "base/fault.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
    struct loop *loop;
    void (*deliver)(void *arg, struct mail *mail);
    void *arg;
    int wake_fd;
    struct loop_watch wake;
    struct mail *taken; /* from shared, not delivered yet */
    struct loop_deferred freeing;
    struct {
        pthread_mutex_t lock;
        struct mail *first, **end;
    } shared; /* touched under its lock only */
};

static void take(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->shared.lock);
    mailbox->taken = mailbox->shared.first;
    mailbox->shared.first = NULL;
    mailbox->shared.end = &mailbox->shared.first;
    pthread_mutex_unlock(&mailbox->shared.lock);
}

/* The list stands in the mailbox, not on the stack: the receiver may free the mailbox, which delivers the
 * rest. */
static void deliver_taken(struct mailbox *mailbox)
{
    struct mail *mail;
    while ((mail = mailbox->taken) != NULL) {
        mailbox->taken = mail->next;
        mail->next = NULL;
        mailbox->deliver(mailbox->arg, mail);
    }
}

/* Registered edge-triggered: each write is an edge, so the counter need never be read. */
static void woken(struct loop_watch *wake, uint32_t events)
{
    (void)events;
    struct mailbox *mailbox = mem_container(wake, struct mailbox, wake);
    take(mailbox);
    deliver_taken(mailbox);
}

/* False with errno. */
static bool open_wake(struct mailbox *mailbox)
{
    mailbox->wake_fd = FAULTY("mailbox.eventfd", EMFILE, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    mailbox->wake.ready = woken;
    if (mailbox->wake_fd < 0)
        return false;
    if (loop_watch(mailbox->loop, &mailbox->wake, mailbox->wake_fd, EPOLLIN | EPOLLET))
        return true;
    int error = errno;
    close(mailbox->wake_fd);
    errno = error;
    return false;
}

struct mailbox *mailbox_try(struct loop *loop, void (*deliver)(void *arg, struct mail *mail), void *arg)
{
    struct mailbox *mailbox = mem_zero(1, sizeof *mailbox);
    mailbox->loop = loop;
    mailbox->deliver = deliver;
    mailbox->arg = arg;
    if (!open_wake(mailbox)) {
        int error = errno;
        free(mailbox);
        errno = error;
        return NULL;
    }
    pthread_mutex_init(&mailbox->shared.lock, NULL);
    mailbox->shared.end = &mailbox->shared.first;
    return mailbox;
}

struct mailbox *mailbox_new(struct loop *loop, void (*deliver)(void *arg, struct mail *mail), void *arg)
{
    struct mailbox *mailbox = mailbox_try(loop, deliver, arg);
    if (mailbox == NULL) {
        perror("upswap: no mailbox could be made");
        abort();
    }
    return mailbox;
}

static void run_freeing(struct loop_deferred *deferred)
{
    struct mailbox *mailbox = mem_container(deferred, struct mailbox, freeing);
    pthread_mutex_destroy(&mailbox->shared.lock);
    free(mailbox);
}

void mailbox_free(struct mailbox *mailbox)
{
    deliver_taken(mailbox);
    take(mailbox);
    deliver_taken(mailbox);
    loop_unwatch(mailbox->loop, &mailbox->wake, mailbox->wake_fd);
    close(mailbox->wake_fd);
    mailbox->freeing.run = run_freeing;
    loop_defer(mailbox->loop, &mailbox->freeing);
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&mailbox->shared.lock);
    int wake_fd = mailbox->wake_fd; /* whoever is woken may free the mailbox */
    bool first = mailbox->shared.first == NULL;
    *mailbox->shared.end = mail;
    mailbox->shared.end = &mail->next;
    pthread_mutex_unlock(&mailbox->shared.lock);
    if (!first)
        return;
    ssize_t written = write(wake_fd, &(uint64_t){1}, sizeof(uint64_t));
    assert(written == sizeof(uint64_t));
    (void)written;
}
