/* Certificates made on the spot, as PEM. Freed with free(). */
#pragma once

#include "base/mem.h"
#include "unit.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static char *bio_text(BIO *bio)
{
    char *bytes;
    long n = BIO_get_mem_data(bio, &bytes);
    char *text = str_dup((struct str){bytes, (size_t)n});
    BIO_free(bio);
    return text;
}

struct issued {
    char *certificate, *key; /* PEM */
};

/* Self-signed, for this subjectAltName ("DNS:example.com"; NULL: none), with this key, which is freed; its
 * common name is "test". */
static struct issued issue_with(EVP_PKEY *key, const EVP_MD *digest, const char *names)
{
    X509 *x509 = X509_new();
    X509V3_CTX context;
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -60);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC, (const unsigned char *)"test",
                               -1, -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(x509));
    X509_set_pubkey(x509, key);
    X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
    if (names != NULL) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, names);
        X509_add_ext(x509, extension, -1);
        X509_EXTENSION_free(extension);
    }
    assert_true(X509_sign(x509, key, digest) > 0);

    BIO *certificate_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate_bio, x509);
    PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
    X509_free(x509);
    EVP_PKEY_free(key);
    return (struct issued){bio_text(certificate_bio), bio_text(key_bio)};
}

/* With an RSA or a P-256 key. */
static struct issued issue(const char *names, bool rsa)
{
    return issue_with(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"), EVP_sha256(), names);
}

static void issued_free(struct issued *issued)
{
    free(issued->certificate);
    free(issued->key);
}
