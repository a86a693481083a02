/* A sorted list of names. Invariant: no two entries have both the same text and the same kind (exact or
 * wildcard). */
#include "io/tls_names.h"

#include "base/mem.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 255

static int compare(const void *left, const void *right)
{
    const struct tls_name *a = left, *b = right;
    if (a->wildcard != b->wildcard)
        return a->wildcard ? 1 : -1;
    return strcmp(a->text, b->text);
}

static bool has_kind(const struct tls_name *name, struct certificate *const *certificates, int kind)
{
    for (size_t i = 0; i < name->count; i++) {
        if (EVP_PKEY_get_base_id(certificates[name->certificates[i]]->key) == kind)
            return true;
    }
    return false;
}

static struct tls_name *find_or_add(struct tls_names *names, const struct tls_name *key)
{
    for (size_t i = 0; i < names->count; i++) {
        if (compare(&names->list[i], key) == 0)
            return &names->list[i];
    }
    names->list = mem_resize(names->list, names->count + 1, sizeof *names->list);
    struct tls_name *name = &names->list[names->count++];
    *name = (struct tls_name){.text = mem_dup(key->text), .wildcard = key->wildcard};
    return name;
}

static void lower(char *text)
{
    for (; *text != '\0'; text++)
        *text = (char)(*text >= 'A' && *text <= 'Z' ? *text + ('a' - 'A') : *text);
}

static void add(struct tls_names *names, struct certificate *const *certificates, size_t index,
                const ASN1_STRING *text)
{
    char bytes[NAME_MAX_BYTES + 1];
    size_t n = (size_t)ASN1_STRING_length(text);
    if (n == 0 || n > NAME_MAX_BYTES || memchr(ASN1_STRING_get0_data(text), '\0', n) != NULL)
        return;
    memcpy(bytes, ASN1_STRING_get0_data(text), n);
    bytes[n] = '\0';
    lower(bytes);
    bool wildcard = strncmp(bytes, "*.", 2) == 0;
    struct tls_name key = {.text = bytes + (wildcard ? 2 : 0), .wildcard = wildcard};
    struct tls_name *name = find_or_add(names, &key);
    int kind = EVP_PKEY_get_base_id(certificates[index]->key);
    if (name->count < TLS_NAMES_KINDS && !has_kind(name, certificates, kind))
        name->certificates[name->count++] = index;
}

/* The common name counts only where no name stands where names belong (RFC 6125 section 6.4.4). */
static void add_common_name(struct tls_names *names, struct certificate *const *certificates, size_t index)
{
    X509_NAME *subject = X509_get_subject_name(certificates[index]->leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0)
        add(names, certificates, index, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static void add_all(struct tls_names *names, struct certificate *const *certificates, size_t index)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(certificates[index]->leaf, NID_subject_alt_name, NULL, NULL);
    if (all == NULL) {
        add_common_name(names, certificates, index);
        return;
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        int type;
        void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all, i), &type);
        if (type == GEN_DNS)
            add(names, certificates, index, value);
    }
    GENERAL_NAMES_free(all);
}

void tls_names_make(struct tls_names *names, struct certificate *const *certificates, size_t count)
{
    *names = (struct tls_names){NULL, 0};
    for (size_t i = 0; i < count; i++)
        add_all(names, certificates, i);
    if (names->count > 0)
        qsort(names->list, names->count, sizeof *names->list, compare);
}

void tls_names_free(struct tls_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i].text);
    free(names->list);
}

bool tls_names_has_any(struct certificate *certificate)
{
    struct tls_names names;
    tls_names_make(&names, &certificate, 1);
    tls_names_free(&names);
    return names.count > 0;
}

static const struct tls_name *look_up(const struct tls_names *names, char *text, bool wildcard)
{
    struct tls_name key = {.text = text, .wildcard = wildcard};
    return names->count == 0 ? NULL : bsearch(&key, names->list, names->count, sizeof *names->list, compare);
}

const struct tls_name *tls_names_find(const struct tls_names *names, const char *asked)
{
    char text[NAME_MAX_BYTES + 1];
    size_t n = strlen(asked);
    if (n > 0 && asked[n - 1] == '.')
        n--;
    if (n == 0 || n > NAME_MAX_BYTES)
        return NULL;
    memcpy(text, asked, n);
    text[n] = '\0';
    lower(text);
    const struct tls_name *name = look_up(names, text, false);
    char *dot = strchr(text, '.');
    return name != NULL || dot == NULL || dot == text ? name : look_up(names, dot + 1, true);
}
