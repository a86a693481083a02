/* PEM text to OpenSSL's objects. Invariant: a certificate that is returned is whole: its key signs for its
 * leaf. */
#include "io/certificate.h"

#include "base/mem.h"
#include "io/tls_memory.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

const char *certificate_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_SYSTEM_ERROR(code) ? NULL : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason != NULL ? reason : "it cannot be used";
}

static BIO *text_bio(struct str text)
{
    BIO *bio = BIO_new_mem_buf(text.n > 0 ? text.p : "", (int)text.n);
    if (bio == NULL)
        abort();
    return bio;
}

/* No end of the text is told from a fault but by the reason. */
static bool is_at_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (at_end)
        ERR_clear_error();
    return at_end;
}

STACK_OF(X509) * certificate_read_all(struct str text, struct err *err)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *bio = text_bio(text);
    X509 *one;
    ERR_clear_error();
    while ((one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
        sk_X509_push(all, one);
    BIO_free(bio);
    int count = sk_X509_num(all);
    if (is_at_end() && count > 0)
        return all;
    sk_X509_pop_free(all, X509_free);
    if (count == 0 && ERR_peek_error() == 0)
        err_set(err, "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    else
        err_set(err, "its certificate number %d cannot be read: %s", count + 1, certificate_reason());
    return NULL;
}

static int64_t end_of(const X509 *certificate)
{
    struct tm end;
    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? (int64_t)timegm(&end) : 0;
}

int64_t certificate_end(struct str text)
{
    struct err err;
    int64_t first = 0;
    STACK_OF(X509) *all = certificate_read_all(text, &err);
    for (int i = 0; all != NULL && i < sk_X509_num(all); i++) {
        int64_t end = end_of(sk_X509_value(all, i));
        if (i == 0 || end < first)
            first = end;
    }
    sk_X509_pop_free(all, X509_free);
    return first;
}

/* The program has nobody to ask. */
static int no_password(char *room, int size, int writing, void *arg)
{
    (void)room;
    (void)size;
    (void)writing;
    *(bool *)arg = true;
    return -1;
}

static EVP_PKEY *read_key(struct str text, struct err *err)
{
    bool encrypted = false;
    BIO *bio = text_bio(text);
    ERR_clear_error();
    tls_memory_begin_wiping();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &encrypted);
    tls_memory_end_wiping();
    BIO_free(bio);
    if (key != NULL)
        return key;
    if (encrypted)
        err_set(err, "the key is encrypted, and nobody is there to type its password; "
                     "write it decrypted (openssl pkey), readable by root alone");
    else if (text.n == 0 || memmem(text.p, text.n, "PRIVATE KEY-----", 16) == NULL)
        err_set(err, "the key's file holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
    else
        err_set(err, "the key cannot be read: %s", certificate_reason());
    ERR_clear_error();
    return NULL;
}

#define RSA_BITS_LEAST 2048

static bool is_spoken_curve(const char *name)
{
    return strcmp(name, SN_X9_62_prime256v1) == 0 || strcmp(name, SN_secp384r1) == 0 ||
           strcmp(name, SN_secp521r1) == 0;
}

/* OpenSSL makes a context with any key that can sign, and each handshake fails. */
static bool is_spoken(const EVP_PKEY *key, struct err *err)
{
    char curve[64] = "";
    const char *kind = EVP_PKEY_get0_type_name(key);
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return EVP_PKEY_get_bits(key) >= RSA_BITS_LEAST ||
               err_set(err, "its RSA key has %d bits, which is too weak; make a new pair, with %d or more",
                       EVP_PKEY_get_bits(key), RSA_BITS_LEAST);
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
        return true;
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL) == 1 && is_spoken_curve(curve))
            return true;
        kind = curve[0] != '\0' ? curve : "EC on a curve without a name";
    }
    return err_set(
        err,
        "its key (%s) is of a kind that no client takes; make a new pair, with a key of EC on P-256, "
        "P-384 or P-521, of Ed25519, or of RSA",
        kind);
}

/* OpenSSL's own checks, which else would first speak when a context is made. */
static bool fits(const struct certificate *certificate, struct err *err)
{
    if (X509_check_private_key(certificate->leaf, certificate->key) != 1) {
        ERR_clear_error();
        return err_set(err,
                       "the key does not belong to the certificate; give the pair that was made together, "
                       "and in the chain the server's own certificate first");
    }
    if (!is_spoken(certificate->key, err))
        return err_prefix(err, "the certificate cannot be used");
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    bool good = context != NULL && SSL_CTX_use_cert_and_key(context, certificate->leaf, certificate->key,
                                                            certificate->chain, 1) == 1;
    SSL_CTX_free(context);
    return good || err_set(err, "the certificate cannot be used: %s", certificate_reason());
}

struct certificate *certificate_read(struct str chain, struct str key, struct err *err)
{
    STACK_OF(X509) *all = certificate_read_all(chain, err);
    if (all == NULL) {
        err_prefix(err, "the certificate cannot be used");
        return NULL;
    }
    struct certificate *certificate = mem_zero(1, sizeof *certificate);
    certificate->leaf = sk_X509_shift(all);
    certificate->chain = all;
    certificate->key = read_key(key, err);
    if (certificate->key != NULL && fits(certificate, err))
        return certificate;
    certificate_free(certificate);
    return NULL;
}

/* The answer about this certificate; the issuer's name and key are compared where the issuer is known. */
static OCSP_SINGLERESP *find_answer(OCSP_BASICRESP *basic, const struct certificate *certificate)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(single);
        ASN1_OBJECT *digest;
        ASN1_INTEGER *serial;
        OCSP_id_get0_info(NULL, &digest, NULL, &serial, (OCSP_CERTID *)id);
        if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate->leaf)) != 0)
            continue;
        const X509 *issuer =
            sk_X509_num(certificate->chain) > 0 ? sk_X509_value(certificate->chain, 0) : NULL;
        if (issuer == NULL)
            return single;
        OCSP_CERTID *own = OCSP_cert_to_id(EVP_get_digestbyobj(digest), certificate->leaf, issuer);
        bool same = own != NULL && OCSP_id_cmp(own, id) == 0;
        OCSP_CERTID_free(own);
        if (same)
            return single;
    }
    return NULL;
}

static bool check_answer(OCSP_SINGLERESP *single, time_t *until, struct err *err)
{
    ASN1_GENERALIZEDTIME *next = NULL;
    struct tm tm;
    if (OCSP_single_get0_status(single, NULL, NULL, NULL, &next) != V_OCSP_CERTSTATUS_GOOD)
        return err_set(err,
                       "the OCSP response says that the certificate is not good; get another certificate");
    *until = next != NULL && ASN1_TIME_to_tm(next, &tm) == 1 ? timegm(&tm) : INT64_MAX;
    return true;
}

bool certificate_check_staple(const struct certificate *certificate, struct str response, time_t *until,
                              struct err *err)
{
    const unsigned char *at = (const unsigned char *)response.p;
    OCSP_RESPONSE *whole = d2i_OCSP_RESPONSE(NULL, &at, (long)response.n);
    OCSP_BASICRESP *basic = whole == NULL ? NULL : OCSP_response_get1_basic(whole);
    OCSP_SINGLERESP *single = basic == NULL ? NULL : find_answer(basic, certificate);
    bool good = false;
    if (whole == NULL)
        err_set(err, "the OCSP response is none in DER form (openssl ocsp -respout writes one)");
    else if (OCSP_response_status(whole) != OCSP_RESPONSE_STATUS_SUCCESSFUL || basic == NULL)
        err_set(err, "the OCSP response is a refusal (%s); ask the responder again",
                OCSP_response_status_str(OCSP_response_status(whole)));
    else if (single == NULL)
        err_set(err, "the OCSP response is about another certificate");
    else
        good = check_answer(single, until, err);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(whole);
    ERR_clear_error();
    return good;
}

void certificate_free(struct certificate *certificate)
{
    X509_free(certificate->leaf);
    sk_X509_pop_free(certificate->chain, X509_free);
    EVP_PKEY_free(certificate->key);
    free(certificate);
}
