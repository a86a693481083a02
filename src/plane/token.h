/* token: what upswap writes into a client's cookie: a number and when it was given, signed, so that a client
 * can neither make nor change one, nor use one of another service or kind. */
#pragma once

#include "base/str.h"
#include "io/mac.h"
#include "route/snapshot.h"

enum token_kind {
    TOKEN_INSTANCE = 'i', /* the id of an instance */
    TOKEN_POOL = 'p',     /* the number of a pool, its generation */
    TOKEN_CANARY = 'c',   /* of a canary's pool, doubled, and whether the client is of its share */
};

struct token {
    uint64_t number;
    uint64_t issued_s; /* by the steady clock, seconds since 1970 */
    bool is_old;       /* read: signed with the key before the present one */
};

#define TOKEN_SIZE 43 /* bytes as text, base64url without padding; no NUL */

/* Writes a token for a service. */
void token_write(struct mac *mac, const struct snapshot_secrets *secrets, enum token_kind kind,
                 struct str service, const struct token *token, char out[TOKEN_SIZE]);
/* False: it is none of ours, of that kind and for that service. */
bool token_open(struct mac *mac, const struct snapshot_secrets *secrets, enum token_kind kind,
                struct str service, struct str text, struct token *token);
