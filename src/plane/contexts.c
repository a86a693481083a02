/* From records to contexts. Invariant: a record is used only behind the one that it belongs to. */
#include "plane/contexts.h"

#include "base/mem.h"
#include "link/keyring.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct contexts {
    atomic_uint references;
    struct tls_context *listeners[SNAPSHOT_LISTENERS_MAX];
    struct upstream_contexts *upstreams;
};

/* What has been read of one listener. */
struct draft {
    bool begun;
    bool is_upstream; /* none: link/upstream_contexts.c reads what follows */
    struct keyring_listener listener;
    struct tls_server_options options;
    struct tls_pair *pairs;
};

/* A draft becomes a context when the next one begins, or nothing more comes. */
static bool finish(struct contexts *contexts, struct draft *draft, struct err *err)
{
    uint32_t id = draft->listener.id;
    if (!draft->begun || draft->is_upstream)
        return true;
    draft->options.pairs = draft->pairs;
    if (id >= SNAPSHOT_LISTENERS_MAX || contexts->listeners[id] != NULL || draft->options.count == 0)
        return err_set(err, "the keyring names listener %u twice, without a certificate, or impossibly", id);
    contexts->listeners[id] = tls_server_new(&draft->options, err);
    return contexts->listeners[id] != NULL;
}

static bool begin(struct draft *draft, struct str bytes, struct err *err)
{
    struct tls_server_options *options = &draft->options;
    if (bytes.n != sizeof draft->listener)
        return err_set(err, "the keyring has a listener of %zu bytes", bytes.n);
    memcpy(&draft->listener, bytes.p, sizeof draft->listener);
    if (draft->listener.minimum > TLS_MINIMUM_1_3 || draft->listener.verify > TLS_VERIFY_REQUIRED ||
        draft->listener.protocols >= TLS_PROTOCOLS)
        return err_set(err, "the keyring asks for a policy that there is not");
    *options = (struct tls_server_options){.minimum = (enum tls_minimum)draft->listener.minimum,
                                           .protocols = (enum tls_protocols)draft->listener.protocols,
                                           .verify = (enum tls_verify)draft->listener.verify,
                                           .tickets = options->tickets,
                                           .ticket_count = options->ticket_count};
    draft->begun = true;
    draft->is_upstream = false;
    return true;
}

static void add_pair(struct draft *draft, struct str certificate)
{
    draft->pairs = mem_resize(draft->pairs, draft->options.count + 1, sizeof *draft->pairs);
    draft->pairs[draft->options.count++] = (struct tls_pair){.certificate = certificate};
}

static bool is_stray(const struct keyring_record *record, struct err *err)
{
    return err_set(err, "the keyring has a record of kind %d that belongs to nothing", record->kind);
}

static bool take(struct contexts *contexts, struct draft *draft, const struct keyring_record *record,
                 struct err *err)
{
    struct tls_server_options *options = &draft->options;
    struct tls_pair *pair = options->count > 0 ? &draft->pairs[options->count - 1] : NULL;
    bool starts = record->kind == KEYRING_LISTENER || record->kind == KEYRING_UPSTREAM;
    if (draft->is_upstream && !starts)
        return true;
    if (record->kind > KEYRING_LISTENER && !starts && !draft->begun)
        return is_stray(record, err);
    switch (record->kind) {
    case KEYRING_TICKETS:
        options->tickets = (const void *)record->bytes.p;
        options->ticket_count = record->bytes.n / sizeof *options->tickets;
        break;
    case KEYRING_LISTENER:
        return finish(contexts, draft, err) && begin(draft, record->bytes, err);
    case KEYRING_UPSTREAM:
        draft->is_upstream = finish(contexts, draft, err);
        return draft->is_upstream;
    case KEYRING_CLIENT_CA:
        options->client_ca = record->bytes;
        break;
    case KEYRING_CERTIFICATE:
        add_pair(draft, record->bytes);
        break;
    case KEYRING_KEY:
        if (pair == NULL)
            return is_stray(record, err);
        pair->key = record->bytes;
        break;
    case KEYRING_OCSP:
        if (pair == NULL)
            return is_stray(record, err);
        pair->ocsp = record->bytes;
        break;
    case KEYRING_AUTHORITIES: /* refused there: it stands behind a service only */
    case KEYRING_CONFIG:
    case KEYRING_KINDS:
        break;
    }
    return true;
}

static bool read_all(struct contexts *contexts, struct keyring *keyring, struct err *err)
{
    struct draft draft = {.begun = false};
    struct keyring_record record;
    bool good = true;
    while (good && keyring_next(keyring, &record))
        good = take(contexts, &draft, &record, err);
    if (good && keyring->at != keyring->n)
        good = err_set(err, "the keyring has no record at byte %zu", keyring->at);
    good = good && finish(contexts, &draft, err);
    free(draft.pairs);
    return good;
}

struct contexts *contexts_new(int fd, struct err *err)
{
    struct keyring keyring;
    if (!keyring_map(&keyring, fd, err))
        return NULL;
    struct contexts *contexts = mem_zero(1, sizeof *contexts);
    contexts->references = 1;
    bool good = read_all(contexts, &keyring, err);
    keyring_unmap(&keyring);
    if (good)
        contexts->upstreams = upstream_contexts_new(fd, err);
    if (contexts->upstreams != NULL)
        return contexts;
    contexts_free(contexts);
    return NULL;
}

struct contexts *contexts_ref(struct contexts *contexts)
{
    atomic_fetch_add_explicit(&contexts->references, 1, memory_order_relaxed);
    return contexts;
}

void contexts_free(struct contexts *contexts)
{
    if (contexts == NULL || atomic_fetch_sub_explicit(&contexts->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++)
        tls_context_free(contexts->listeners[id]);
    upstream_contexts_free(contexts->upstreams);
    free(contexts);
}

struct tls_context *contexts_listener(const struct contexts *contexts, uint32_t id)
{
    return contexts == NULL || id >= SNAPSHOT_LISTENERS_MAX ? NULL : contexts->listeners[id];
}

struct upstream_contexts *contexts_upstreams(const struct contexts *contexts)
{
    return contexts == NULL ? NULL : contexts->upstreams;
}

bool contexts_suffice(const struct contexts *contexts, const struct snapshot *snapshot)
{
    for (size_t i = 0; snapshot != NULL && i < snapshot_listener_count(snapshot); i++) {
        uint32_t id = snapshot_listener_id(snapshot, i);
        if (snapshot_door(snapshot, id)->tls && contexts_listener(contexts, id) == NULL)
            return false;
    }
    return true;
}
