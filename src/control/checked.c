/* Invariant: what stands here was found out from the very bytes whose digest it stands under, and would be
 * found out again: nothing that a check looks at changes with time. */
#include "control/checked.h"

#include "base/mem.h"
#include "io/certificate.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

enum kind { PAIR, PAIR_BY_NAME, END };

#define PARTS_MAX 3

struct digest {
    uint8_t kind;
    uint8_t parts[PARTS_MAX][SHA256_DIGEST_LENGTH]; /* zeros: there is none */
};

struct finding {
    struct digest digest;
    int64_t end; /* of an END */
    bool asked_for;
    UT_hash_handle hh;
};

struct checked {
    struct finding *findings; /* by digest */
};

static void add_part(struct digest *digest, unsigned part, struct str bytes)
{
    SHA256((const unsigned char *)bytes.p, bytes.n, digest->parts[part]);
}

static struct finding *find(struct checked *checked, const struct digest *digest)
{
    struct finding *finding;
    HASH_FIND(hh, checked->findings, digest, sizeof *digest, finding);
    if (finding != NULL)
        finding->asked_for = true;
    return finding;
}

static void keep(struct checked *checked, const struct digest *digest, int64_t end)
{
    struct finding *finding = mem_zero(1, sizeof *finding);
    finding->digest = *digest;
    finding->end = end;
    finding->asked_for = true;
    HASH_ADD(hh, checked->findings, digest, sizeof finding->digest, finding);
}

bool checked_read(struct checked *checked, struct certificate_files *files, const char *certificate,
                  const char *key, const char *ocsp, bool by_name, struct err *err)
{
    struct digest digest = {.kind = by_name ? PAIR_BY_NAME : PAIR};
    if (!certificate_files_load(files, certificate, key, ocsp, err))
        return false;
    add_part(&digest, 0, buf_str(&files->certificate));
    add_part(&digest, 1, buf_str(&files->key));
    if (ocsp != NULL)
        add_part(&digest, 2, buf_str(&files->ocsp));
    if (find(checked, &digest) != NULL)
        return true;
    if (!certificate_files_check_pair(files, certificate, ocsp, by_name, err))
        return false;
    keep(checked, &digest, 0);
    return true;
}

int64_t checked_end(struct checked *checked, struct str pem)
{
    struct digest digest = {.kind = END};
    add_part(&digest, 0, pem);
    const struct finding *finding = find(checked, &digest);
    if (finding != NULL)
        return finding->end;
    int64_t end = certificate_end(pem);
    keep(checked, &digest, end);
    return end;
}

void checked_sweep(struct checked *checked)
{
    struct finding *finding, *next;
    HASH_ITER(hh, checked->findings, finding, next)
    {
        if (finding->asked_for) {
            finding->asked_for = false;
            continue;
        }
        HASH_DEL(checked->findings, finding);
        free(finding);
    }
}

struct checked *checked_new(void)
{
    return mem_zero(1, sizeof(struct checked));
}
