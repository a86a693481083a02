/* From files to the sealed memfd. Invariant: what was read from files is wiped as soon as it is sealed, or
 * the config is refused. */
#include "control/credentials.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/places.h"
#include "control/checked.h"
#include "control/upstream_files.h"
#include "io/certificate_files.h"
#include "io/tls_context.h"
#include "io/tls_memory.h"
#include "link/counters.h"
#include "link/keyring.h"

#include <assert.h>
#include <errno.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROTATE_MS (8 * 3600 * 1000ULL)
#define NS_PER_MS 1000000
#define TICKETS_KEPT 4 /* so that a ticket is taken for a day at least */

/* A listener that speaks TLS, as it was read. */
struct draft {
    size_t place; /* in the config */
    struct keyring_listener listener;
    struct buf client_ca;
    struct certificate_files *files;
    size_t count;
};

/* Of what is in force, for the next control. */
struct memo {
    uint8_t config[SHA256_DIGEST_LENGTH]; /* it was made for */
    uint64_t turned_ns;                   /* when the key that seals tickets was made, steady; 0: not known */
};

struct credentials {
    struct channel *keeper;
    void (*changed)(void *arg, int fd);
    void *arg;
    struct deadline rotate;
    int fd;                           /* what is in force; -1: nothing needs any */
    int64_t ends[COUNTERS_LISTENERS]; /* of the certificates in it; 0: none */
    bool restored;
    struct memo memo;
    struct checked *checked;
    struct draft *drafts;
    size_t count;
    struct upstream_files *upstreams; /* NULL: none were read */
    struct tls_ticket_key *tickets;   /* a secret, with room for TICKETS_KEPT */
    size_t ticket_count;
};

/* Words of the config that the proxy reads as its own. */
_Static_assert((int)CONFIG_TLS_1_3 == TLS_MINIMUM_1_3 && (int)CONFIG_CLIENT_OPTIONAL == TLS_VERIFY_OPTIONAL &&
                   (int)CONFIG_CLIENT_REQUIRED == TLS_VERIFY_REQUIRED,
               "");

/* ---- what is read ---- */

void credentials_discard(struct credentials *credentials)
{
    for (size_t i = 0; i < credentials->count; i++) {
        struct draft *draft = &credentials->drafts[i];
        for (size_t k = 0; k < draft->count; k++)
            certificate_files_wipe(&draft->files[k]);
        free(draft->files);
        buf_free(&draft->client_ca);
    }
    upstream_files_wipe(credentials->upstreams);
    credentials->upstreams = NULL;
    free(credentials->drafts);
    credentials->drafts = NULL;
    credentials->count = 0;
}

static bool read_pairs(struct draft *draft, struct checked *checked, const struct config *config,
                       const struct config_tls *tls, struct err *err)
{
    size_t count = config_identity_count(tls);
    draft->files = mem_zero(count, sizeof *draft->files);
    for (size_t i = 0; i < count; i++) {
        const struct config_identity *identity = config_identity(tls, i);
        draft->count = i + 1;
        if (!checked_read(checked, &draft->files[i], identity->certificate, identity->key, identity->ocsp,
                          i > 0, err))
            return err_prefix(err, "%s:%u", config->path,
                              places_line(config->places, &identity->certificate, tls->line));
    }
    return true;
}

/* The list has one or two, or is absent. */
static enum tls_protocols protocols_of(const struct config_list *list)
{
    if (list->count == 0)
        return TLS_H2_HTTP1;
    bool first = strcmp(list->items[0], "h2") == 0, last = strcmp(list->items[list->count - 1], "h2") == 0;
    if (first == last)
        return first ? TLS_H2 : TLS_HTTP1;
    return first ? TLS_H2_HTTP1 : TLS_HTTP1_H2;
}

static bool read_listener(struct credentials *credentials, const struct config *config, size_t place,
                          struct err *err)
{
    const struct config_tls *tls = &config->listeners[place].tls;
    if (tls->line == 0)
        return true;
    credentials->drafts =
        mem_resize(credentials->drafts, credentials->count + 1, sizeof *credentials->drafts);
    struct draft *draft = &credentials->drafts[credentials->count++];
    *draft = (struct draft){.place = place,
                            .listener = {.minimum = tls->minimum,
                                         .verify = tls->client_verify,
                                         .protocols = protocols_of(&tls->protocols)}};
    if (tls->client_ca != NULL && !certificate_files_authorities(&draft->client_ca, tls->client_ca, err))
        return err_prefix(err, "%s:%u", config->path,
                          places_line(config->places, &tls->client_ca, tls->line));
    if (tls->client_verify == CONFIG_CLIENT_OFF)
        buf_free(&draft->client_ca); /* looked at, so that it is good on the day when clients are asked */
    return read_pairs(draft, credentials->checked, config, tls, err);
}

static bool read_all(struct credentials *credentials, const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        if (!read_listener(credentials, config, i, err)) {
            credentials_discard(credentials);
            return false;
        }
    }
    credentials->upstreams = upstream_files_read(config, credentials->checked, err);
    if (credentials->upstreams != NULL)
        return true;
    credentials_discard(credentials);
    return false;
}

bool credentials_prepare(struct credentials *credentials, const struct config *config, struct err *err)
{
    credentials_discard(credentials);
    return credentials->restored || read_all(credentials, config, err);
}

/* ---- what is sealed ---- */

static bool new_ticket_key(struct credentials *credentials, struct err *err)
{
    struct tls_ticket_key *keys = credentials->tickets;
    struct tls_ticket_key fresh;
    if (RAND_priv_bytes((unsigned char *)&fresh, sizeof fresh) != 1)
        return err_set(err, "no random numbers can be had for the keys of tickets");
    memmove(keys + 1, keys, (TICKETS_KEPT - 1) * sizeof *keys);
    keys[0] = fresh;
    credentials->memo.turned_ns = clock_steady_ns();
    explicit_bzero(&fresh, sizeof fresh);
    if (credentials->ticket_count < TICKETS_KEPT)
        credentials->ticket_count++;
    return true;
}

static struct str tickets(const struct credentials *credentials)
{
    return (struct str){(const char *)credentials->tickets,
                        credentials->ticket_count * sizeof *credentials->tickets};
}

static size_t size_of(const struct credentials *credentials)
{
    size_t size = keyring_size(tickets(credentials).n) + keyring_size(sizeof credentials->memo) +
                  upstream_files_size(credentials->upstreams);
    for (size_t i = 0; i < credentials->count; i++) {
        const struct draft *draft = &credentials->drafts[i];
        size += keyring_size(sizeof draft->listener) + keyring_size(draft->client_ca.n);
        for (size_t k = 0; k < draft->count; k++)
            size += keyring_size(draft->files[k].certificate.n) + keyring_size(draft->files[k].key.n) +
                    keyring_size(draft->files[k].ocsp.n);
    }
    return size;
}

static uint32_t id_of(const struct sockets *sockets, size_t place)
{
    for (size_t i = 0; i < sockets_count(sockets); i++) {
        if (sockets_at(sockets, i)->place == place)
            return sockets_at(sockets, i)->id;
    }
    abort(); /* a config in force has a socket for each listener */
}

static void add_draft(struct buf *image, struct draft *draft, const struct sockets *sockets)
{
    draft->listener.id = id_of(sockets, draft->place);
    keyring_add(image, KEYRING_LISTENER,
                (struct str){(const char *)&draft->listener, sizeof draft->listener});
    if (draft->client_ca.n > 0)
        keyring_add(image, KEYRING_CLIENT_CA, buf_str(&draft->client_ca));
    for (size_t i = 0; i < draft->count; i++) {
        const struct certificate_files *files = &draft->files[i];
        keyring_add(image, KEYRING_CERTIFICATE, buf_str(&files->certificate));
        keyring_add(image, KEYRING_KEY, buf_str(&files->key));
        if (files->ocsp.n > 0)
            keyring_add(image, KEYRING_OCSP, buf_str(&files->ocsp));
    }
}

/* ---- when certificates expire ---- */

static void note_end(int64_t *end, int64_t ends)
{
    if (ends != 0 && (*end == 0 || ends < *end))
        *end = ends;
}

/* From what is sealed, whoever has sealed it. */
static void note_ends(struct credentials *credentials)
{
    struct keyring keyring;
    struct keyring_record record;
    struct keyring_listener listener = {.id = COUNTERS_LISTENERS};
    struct err err;
    memset(credentials->ends, 0, sizeof credentials->ends);
    if (!keyring_map(&keyring, credentials->fd, &err)) {
        log_warn("it is not known when certificates expire: %s", err.text);
        return;
    }
    while (keyring_next(&keyring, &record)) {
        if (record.kind == KEYRING_UPSTREAM)
            break; /* what follows is no listener's */
        if (record.kind == KEYRING_LISTENER && record.bytes.n == sizeof listener)
            memcpy(&listener, record.bytes.p, sizeof listener);
        else if (record.kind == KEYRING_CERTIFICATE && listener.id < COUNTERS_LISTENERS)
            note_end(&credentials->ends[listener.id], checked_end(credentials->checked, record.bytes));
    }
    keyring_unmap(&keyring);
}

int64_t credentials_end(const struct credentials *credentials, unsigned listener)
{
    return listener < COUNTERS_LISTENERS ? credentials->ends[listener] : 0;
}

/* The sealed image takes the place of the one before, here, at the keeper and at the proxy. */
static void replace(struct credentials *credentials, int fd)
{
    struct message_name name = {.name = CREDENTIALS_NAME};
    if (credentials->fd >= 0)
        close(credentials->fd);
    credentials->fd = fd;
    note_ends(credentials);
    channel_send(credentials->keeper, MESSAGE_STORE, &name, sizeof name, fd);
    credentials->changed(credentials->arg, fd);
}

static void add_memo(const struct memo *memo, struct buf *image)
{
    keyring_add(image, KEYRING_CONFIG, (struct str){(const char *)memo, sizeof *memo});
}

static int seal(struct credentials *credentials, const struct sockets *sockets, struct err *err)
{
    struct buf image = BUF_EMPTY;
    if (credentials->ticket_count == 0 && !new_ticket_key(credentials, err))
        return -1;
    buf_reserve(&image, size_of(credentials));
    keyring_add(&image, KEYRING_TICKETS, tickets(credentials));
    add_memo(&credentials->memo, &image);
    for (size_t i = 0; i < credentials->count; i++)
        add_draft(&image, &credentials->drafts[i], sockets);
    upstream_files_add(credentials->upstreams, &image);
    return keyring_seal(&image, err);
}

/* What was restored is kept where the files are no good: the listeners that it has go on. */
static void compare(struct credentials *credentials, const struct config *config,
                    const uint8_t digest[SHA256_DIGEST_LENGTH])
{
    struct err err;
    if (!credentials->restored || memcmp(credentials->memo.config, digest, SHA256_DIGEST_LENGTH) == 0)
        return;
    if (read_all(credentials, config, &err))
        credentials->restored = false;
    else
        log_error("%s; the certificates before stay: mend it and reload", err.text);
}

/* Till the next key of tickets is due, which does not begin anew with each control. */
static uint64_t left_ms(const struct memo *memo)
{
    uint64_t now_ns = clock_steady_ns();
    bool is_known = memo->turned_ns != 0 && memo->turned_ns < now_ns;
    uint64_t passed_ms = is_known ? (now_ns - memo->turned_ns) / NS_PER_MS : 0;
    return passed_ms < ROTATE_MS ? ROTATE_MS - passed_ms : 0;
}

void credentials_commit(struct credentials *credentials, const struct config *config, struct str text,
                        const struct sockets *sockets)
{
    struct err err;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)text.p, text.n, digest);
    compare(credentials, config, digest);
    if (!credentials->restored)
        memcpy(credentials->memo.config, digest, sizeof digest);
    bool needs = credentials->count > 0 || !upstream_files_is_empty(credentials->upstreams) ||
                 (credentials->fd >= 0 && !credentials->restored);
    if (needs) {
        int fd = seal(credentials, sockets, &err);
        if (fd >= 0)
            replace(credentials, fd);
        else
            log_error("the certificates before stay: %s", err.text);
    } else if (credentials->fd >= 0) {
        credentials->changed(credentials->arg, credentials->fd);
    }
    credentials->restored = false;
    credentials_discard(credentials);
    checked_sweep(credentials->checked);
    if (credentials->fd >= 0 && !deadline_is_set(&credentials->rotate))
        deadline_set(&credentials->rotate, left_ms(&credentials->memo));
}

/* ---- rotation ---- */

/* One of a program from before tickets had their time is shorter. */
static void take_memo(struct memo *memo, struct str bytes)
{
    memcpy(memo, bytes.p, bytes.n < sizeof *memo ? bytes.n : sizeof *memo);
}

/* The same records, but for the keys of tickets and when they turned. */
static int reseal(const struct credentials *credentials, struct err *err)
{
    struct keyring old;
    struct keyring_record record;
    struct memo memo = {.turned_ns = 0};
    struct buf image = BUF_EMPTY;
    if (!keyring_map(&old, credentials->fd, err))
        return -1;
    buf_reserve(&image, old.n + keyring_size(tickets(credentials).n) + keyring_size(sizeof memo));
    keyring_add(&image, KEYRING_TICKETS, tickets(credentials));
    while (keyring_next(&old, &record)) {
        if (record.kind == KEYRING_CONFIG) {
            take_memo(&memo, record.bytes);
            memo.turned_ns = credentials->memo.turned_ns;
            add_memo(&memo, &image);
        } else if (record.kind != KEYRING_TICKETS) {
            keyring_add(&image, record.kind, record.bytes);
        }
    }
    keyring_unmap(&old);
    return keyring_seal(&image, err);
}

static void rotate(struct deadline *deadline)
{
    struct credentials *credentials = mem_container(deadline, struct credentials, rotate);
    struct err err;
    int fd = new_ticket_key(credentials, &err) ? reseal(credentials, &err) : -1;
    if (fd >= 0)
        replace(credentials, fd);
    else
        log_error("the keys of tickets stay as they are: %s", err.text);
    deadline_set(&credentials->rotate, ROTATE_MS);
}

/* ---- the beginning ---- */

struct credentials *credentials_new(struct loop *loop, struct channel *keeper,
                                    void (*changed)(void *arg, int fd), void *arg)
{
    struct credentials *credentials = mem_zero(1, sizeof *credentials);
    credentials->keeper = keeper;
    credentials->changed = changed;
    credentials->arg = arg;
    credentials->fd = -1;
    credentials->checked = checked_new();
    credentials->tickets = tls_memory_new(TICKETS_KEPT * sizeof *credentials->tickets);
    assert(credentials->tickets != NULL); /* the first to ask */
    deadline_init(&credentials->rotate, loop, rotate);
    return credentials;
}

static void take_tickets(struct credentials *credentials, struct str bytes)
{
    size_t count = bytes.n / sizeof *credentials->tickets;
    credentials->ticket_count = count < TICKETS_KEPT ? count : TICKETS_KEPT;
    memcpy(credentials->tickets, bytes.p, credentials->ticket_count * sizeof *credentials->tickets);
}

void credentials_restore(struct credentials *credentials, int fd)
{
    struct keyring keyring;
    struct keyring_record record;
    struct err err;
    if (!keyring_map(&keyring, fd, &err)) {
        log_error("%s; the certificates are read anew", err.text);
        close(fd);
        return;
    }
    while (keyring_next(&keyring, &record)) {
        if (record.kind == KEYRING_TICKETS)
            take_tickets(credentials, record.bytes);
        else if (record.kind == KEYRING_CONFIG)
            take_memo(&credentials->memo, record.bytes);
    }
    keyring_unmap(&keyring);
    credentials->fd = fd;
    credentials->restored = true;
    note_ends(credentials);
}
