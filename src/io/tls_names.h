/* tls_names: which certificates a server shows to whom, by the names that stand in them. */
#pragma once

#include "io/certificate.h"

#include <stddef.h>

#define TLS_NAMES_KINDS 4 /* of keys that a name may have certificates of, one each */

/* One name, and the certificates for it. */
struct tls_name {
    char *text; /* in small letters, without a wildcard's "*."; owned */
    bool wildcard;
    size_t certificates[TLS_NAMES_KINDS]; /* indices, ascending */
    size_t count;
    void *context; /* the caller's */
};

struct tls_names {
    struct tls_name *list; /* sorted */
    size_t count;
};

/* The names of these certificates: of several for one name, the first of each kind of key. */
void tls_names_make(struct tls_names *names, struct certificate *const *certificates, size_t count);
void tls_names_free(struct tls_names *names);

/* Can a client ask for this certificate? */
bool tls_names_has_any(struct certificate *certificate);

/* The name that this one (in any case, with or without the last dot) matches: an exact one, else a wildcard
 * that stands for its first label. NULL: none. */
const struct tls_name *tls_names_find(const struct tls_names *names, const char *asked);
