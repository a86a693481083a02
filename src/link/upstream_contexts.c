/* From records to contexts. Invariant: a record is used only behind the service that it belongs to. */
#include "link/upstream_contexts.h"

#include "base/mem.h"
#include "link/keyring.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char service[64], server_name[256];
    struct upstream_context context;
};

struct upstream_contexts {
    struct entry *entries; /* sorted by service */
    size_t count;
    atomic_uint references;
};

/* What has been read of one service; it becomes a context when the next record that is nobody's, or no more,
 * comes. */
struct draft {
    bool begun;
    struct keyring_upstream upstream;
    struct tls_client_options options;
    struct tls_pair pair;
};

static bool finish(struct upstream_contexts *contexts, struct draft *draft, struct err *err)
{
    const struct keyring_upstream *from = &draft->upstream;
    if (!draft->begun)
        return true;
    draft->begun = false;
    struct tls_context *tls = tls_client_new(&draft->options, err);
    if (tls == NULL)
        return err_prefix(err, "service %s", from->service);
    size_t n = contexts->count++;
    contexts->entries = mem_resize(contexts->entries, n + 1, sizeof *contexts->entries);
    struct entry *entry = &contexts->entries[n];
    memcpy(entry->service, from->service, sizeof entry->service);
    memcpy(entry->server_name, from->server_name, sizeof entry->server_name);
    entry->context =
        (struct upstream_context){.tls = tls, .verify = draft->options.verify, .h2 = draft->options.h2};
    return true;
}

static bool begin(struct draft *draft, struct str bytes, struct err *err)
{
    struct keyring_upstream *upstream = &draft->upstream;
    if (bytes.n != sizeof *upstream)
        return err_set(err, "the keyring has a service of %zu bytes", bytes.n);
    memcpy(upstream, bytes.p, sizeof *upstream);
    if (memchr(upstream->service, '\0', sizeof upstream->service) == NULL ||
        memchr(upstream->server_name, '\0', sizeof upstream->server_name) == NULL)
        return err_set(err, "the keyring has a service with an endless name");
    if (upstream->minimum > TLS_MINIMUM_1_3)
        return err_set(err, "the keyring asks for a policy that there is not");
    draft->begun = true;
    draft->options = (struct tls_client_options){.verify = upstream->verify != 0,
                                                 .authorities = STR(""),
                                                 .minimum = (enum tls_minimum)upstream->minimum,
                                                 .h2 = upstream->h2 != 0};
    return true;
}

static bool refuse(const struct keyring_record *record, struct err *err)
{
    return err_set(err, "the keyring has a record of kind %d that belongs to nothing", record->kind);
}

/* A record of a service that has begun. */
static bool add(struct draft *draft, const struct keyring_record *record, struct err *err)
{
    struct tls_client_options *options = &draft->options;
    if (record->kind == KEYRING_AUTHORITIES) {
        options->authorities = record->bytes;
    } else if (record->kind == KEYRING_CERTIFICATE && options->pair == NULL) {
        draft->pair = (struct tls_pair){.certificate = record->bytes};
        options->pair = &draft->pair;
    } else if (record->kind == KEYRING_KEY && options->pair != NULL) {
        draft->pair.key = record->bytes;
    } else {
        return refuse(record, err);
    }
    return true;
}

static bool take(struct upstream_contexts *contexts, struct draft *draft, const struct keyring_record *record,
                 struct err *err)
{
    switch (record->kind) {
    case KEYRING_UPSTREAM:
        return finish(contexts, draft, err) && begin(draft, record->bytes, err);
    case KEYRING_LISTENER:
        return finish(contexts, draft, err);
    case KEYRING_TICKETS:
    case KEYRING_CONFIG:
        return true;
    case KEYRING_AUTHORITIES:
        return draft->begun ? add(draft, record, err) : refuse(record, err);
    default:
        return !draft->begun || add(draft, record, err);
    }
}

static int by_service(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->service, ((const struct entry *)b)->service);
}

/* Their places do not change any more. */
static void sort(struct upstream_contexts *contexts)
{
    if (contexts->count > 0)
        qsort(contexts->entries, contexts->count, sizeof *contexts->entries, by_service);
    for (size_t i = 0; i < contexts->count; i++)
        contexts->entries[i].context.server_name = contexts->entries[i].server_name;
}

struct upstream_contexts *upstream_contexts_new(int fd, struct err *err)
{
    struct keyring keyring;
    struct keyring_record record;
    struct draft draft = {.begun = false};
    if (!keyring_map(&keyring, fd, err))
        return NULL;
    struct upstream_contexts *contexts = mem_zero(1, sizeof *contexts);
    contexts->references = 1;
    bool good = true;
    while (good && keyring_next(&keyring, &record))
        good = take(contexts, &draft, &record, err);
    if (good && keyring.at != keyring.n)
        good = err_set(err, "the keyring has no record at byte %zu", keyring.at);
    good = good && finish(contexts, &draft, err);
    keyring_unmap(&keyring);
    sort(contexts);
    if (good)
        return contexts;
    upstream_contexts_free(contexts);
    return NULL;
}

struct upstream_contexts *upstream_contexts_ref(struct upstream_contexts *contexts)
{
    if (contexts != NULL)
        atomic_fetch_add_explicit(&contexts->references, 1, memory_order_relaxed);
    return contexts;
}

void upstream_contexts_free(struct upstream_contexts *contexts)
{
    if (contexts == NULL || atomic_fetch_sub_explicit(&contexts->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < contexts->count; i++)
        tls_context_free(contexts->entries[i].context.tls);
    free(contexts->entries);
    free(contexts);
}

const struct upstream_context *upstream_contexts_find(const struct upstream_contexts *contexts,
                                                      struct str service)
{
    struct entry wanted = {.service = ""};
    if (contexts == NULL || contexts->count == 0 || service.n >= sizeof wanted.service)
        return NULL;
    memcpy(wanted.service, service.p, service.n);
    const struct entry *found =
        bsearch(&wanted, contexts->entries, contexts->count, sizeof *contexts->entries, by_service);
    return found == NULL ? NULL : &found->context;
}

/* The host of HOST:PORT, without brackets; nothing of a Unix socket. */
static struct str host_of(struct str name)
{
    if (str_starts_with(name, STR("unix:")))
        return STR("");
    while (name.n > 0 && name.p[name.n - 1] != ':')
        name.n--;
    if (name.n > 0)
        name.n--;
    if (name.n > 2 && name.p[0] == '[')
        return (struct str){name.p + 1, name.n - 2};
    return name;
}

bool upstream_context_name(const struct upstream_context *context, struct str instance, struct str *name)
{
    *name = context->server_name[0] != '\0' ? str_of(context->server_name) : host_of(instance);
    return name->n > 0 || !context->verify;
}
