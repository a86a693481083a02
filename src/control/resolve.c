/* Names to addresses on a thread of its own a request, since getaddrinfo may wait for long. Who has started a
 * request may go at any time: the request owns all that the thread touches, outlives its canceller and is
 * dropped when the thread has come back. */
#include "control/probe.h"

#include "base/fault.h"
#include "base/mem.h"
#include "control/sockaddr.h"
#include "io/mailbox.h"
#include "io/thread.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

struct resolve {
    struct mail mail;
    struct loop *loop;
    struct mailbox *mailbox; /* NULL: no thread was needed */
    struct loop_deferred deferred;
    void (*done)(void *arg, const struct probe_target *targets, const char *reason); /* NULL: cancelled */
    void *arg;
    struct err err; /* the first that failed; text[0] is NUL: none */
    size_t count;
    struct address *addresses;
    struct probe_target targets[];
};

/* ---- texts and addresses ---- */

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons(port);
}

static void take(const struct addrinfo *one, uint16_t port, struct sockaddr_storage *address)
{
    *address = (struct sockaddr_storage){0};
    memcpy(address, one->ai_addr, one->ai_addrlen);
    set_port(address, port);
}

/* Where a name has both families IPv4 is taken: what listens on one only, mostly listens there. */
static const struct addrinfo *choose(const struct addrinfo *found)
{
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        if (one->ai_family == AF_INET)
            return one;
    }
    return found;
}

/* Uptests get the name and look it up themselves: where another address of it may be the one that they ask,
 * what was tested is not what gets the requests. */
static bool is_only(const struct addrinfo *found, const struct addrinfo *chosen,
                    const struct address *address, const struct probe_target *target, struct err *err)
{
    struct sockaddr_storage other;
    char *text = sockaddr_text(&target->address);
    bool only = true;
    for (const struct addrinfo *one = found; one != NULL && only; one = one->ai_next) {
        if (one->ai_family != chosen->ai_family)
            continue;
        take(one, address->port, &other);
        char *another = sockaddr_text(&other);
        if (strcmp(text, another) != 0)
            only = err_set(err,
                           "instance %s: the name \"%s\" has several addresses; name each instance by its "
                           "own, such as %s and %s",
                           target->name, address->host, text, another);
        free(another);
    }
    free(text);
    return only;
}

static bool look_up(const struct address *address, struct probe_target *target, struct err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(address->host, NULL, &hints, &found);
    if (error != 0)
        return err_set(err, "instance %s: the name \"%s\" cannot be resolved: %s", target->name,
                       address->host, error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    const struct addrinfo *chosen = choose(found);
    take(chosen, address->port, &target->address);
    target->length = chosen->ai_addrlen;
    bool only = is_only(found, chosen, address, target, err);
    freeaddrinfo(found);
    return only;
}

/* ---- the thread ---- */

/* Instances of one host stand side by side; it is asked for once. */
static bool same_as_before(struct resolve *resolve, size_t i)
{
    if (i == 0 || strcmp(resolve->addresses[i].host, resolve->addresses[i - 1].host) != 0)
        return false;
    resolve->targets[i].address = resolve->targets[i - 1].address;
    resolve->targets[i].length = resolve->targets[i - 1].length;
    set_port(&resolve->targets[i].address, resolve->addresses[i].port);
    return true;
}

static void *look_all_up(void *arg)
{
    struct resolve *resolve = arg;
    for (size_t i = 0; i < resolve->count; i++) {
        if (resolve->addresses[i].kind != ADDRESS_NAME || same_as_before(resolve, i))
            continue;
        if (!look_up(&resolve->addresses[i], &resolve->targets[i], &resolve->err))
            break;
    }
    mailbox_post(resolve->mailbox, &resolve->mail);
    return NULL;
}

static bool start_thread(struct resolve *resolve)
{
    int error = resolve->mailbox == NULL || fault_fails("resolve.thread", EAGAIN)
                    ? errno
                    : thread_begin(NULL, look_all_up, resolve);
    return error == 0 ||
           err_set(&resolve->err, "names cannot be resolved, since no thread can be started: %s",
                   strerror(error));
}

/* ---- the end ---- */

static void tell(struct loop_deferred *deferred)
{
    struct resolve *resolve = mem_container(deferred, struct resolve, deferred);
    bool failed = resolve->err.text[0] != '\0';
    if (resolve->done != NULL)
        resolve->done(resolve->arg, failed ? NULL : resolve->targets, failed ? resolve->err.text : "");
    if (resolve->mailbox != NULL)
        mailbox_free(resolve->mailbox);
    for (size_t i = 0; i < resolve->count; i++)
        free((char *)resolve->targets[i].name);
    free(resolve->addresses);
    free(resolve);
}

static void thread_came_back(void *arg, struct mail *mail)
{
    (void)mail;
    struct resolve *resolve = arg;
    loop_defer(resolve->loop, &resolve->deferred);
}

/* ---- the outside ---- */

/* Takes the texts apart; *any_name tells whether one of them needs the thread. */
static bool parse(struct resolve *resolve, const char *const *names, bool *any_name)
{
    for (size_t i = 0; i < resolve->count; i++)
        resolve->targets[i].name = mem_dup(names[i]);
    *any_name = false;
    for (size_t i = 0; i < resolve->count; i++) {
        struct address *address = &resolve->addresses[i];
        if (!address_parse_instance(str_of(names[i]), address, &resolve->err))
            return false;
        if (address->kind == ADDRESS_NAME)
            *any_name = true;
        else
            resolve->targets[i].length = sockaddr_from(address, &resolve->targets[i].address);
    }
    return true;
}

struct resolve *resolve_start(struct loop *loop, const char *const *names, size_t count,
                              void (*done)(void *arg, const struct probe_target *targets, const char *reason),
                              void *arg)
{
    struct resolve *resolve = mem_zero(1, sizeof *resolve + count * sizeof *resolve->targets);
    resolve->loop = loop;
    resolve->deferred.run = tell;
    resolve->done = done;
    resolve->arg = arg;
    resolve->count = count;
    resolve->addresses = mem_zero(count, sizeof *resolve->addresses);
    bool any_name;
    if (parse(resolve, names, &any_name) && any_name) {
        resolve->mailbox = mailbox_try(loop, thread_came_back, resolve);
        if (start_thread(resolve))
            return resolve;
    }
    loop_defer(loop, &resolve->deferred);
    return resolve;
}

void resolve_cancel(struct resolve *resolve)
{
    if (resolve != NULL)
        resolve->done = NULL;
}
