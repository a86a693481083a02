#include "io/certificate_files.h"

#include "issue.h"
#include "unit.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64], path[96];
static struct issued site;
static char secret[33]; /* of the key: letters that nothing else has */
static unsigned left;   /* pieces that were freed with it */

/* ---- instead of the C library's ---- */

void __real_free(void *p);
void __wrap_free(void *p);

void __wrap_free(void *p)
{
    if (p != NULL && secret[0] != '\0' && memmem(p, malloc_usable_size(p), secret, strlen(secret)) != NULL)
        left++;
    __real_free(p);
}

/* ---- the files ---- */

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/upswap-files-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/site.pem", folder);
    site = issue("DNS:example.com", false);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s%s", site.certificate, site.key);
    fclose(file);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    issued_free(&site);
    unlink(path);
    return rmdir(folder);
}

static void a_pair_takes_the_memory_that_its_files_need(void **state)
{
    (void)state;
    struct certificate_files files;
    struct err err;
    size_t size = strlen(site.certificate) + strlen(site.key);
    assert_true(certificate_files_load(&files, path, NULL, NULL, &err));
    assert_true(certificate_files_check_pair(&files, path, NULL, false, &err));
    assert_int_equal(files.certificate.n, size);
    assert_int_equal(files.key.n, size);
    assert_true(files.certificate.cap < 4 * size);
    assert_true(files.key.cap < 4 * size);
    certificate_files_wipe(&files);
}

static void nothing_that_is_freed_holds_the_key(void **state)
{
    (void)state;
    struct certificate_files files;
    struct err err;
    memcpy(secret, strchr(site.key, '\n') + 1, sizeof secret - 1);
    assert_true(certificate_files_load(&files, path, NULL, NULL, &err));
    assert_true(certificate_files_check_pair(&files, path, NULL, false, &err));
    assert_non_null(strstr(files.key.p, secret));
    certificate_files_wipe(&files);
    secret[0] = '\0';
    assert_int_equal(left, 0);
}

/* Is a certificate for this key, which is freed, good? */
static bool is_taken(EVP_PKEY *key, const EVP_MD *digest, struct err *err)
{
    struct issued made = issue_with(key, digest, "DNS:example.com");
    struct certificate_files files = {
        .certificate = {made.certificate, strlen(made.certificate), 0},
        .key = {made.key, strlen(made.key), 0},
    };
    bool good = certificate_files_check_pair(&files, "site.pem", NULL, true, err);
    issued_free(&made);
    return good;
}

static void assert_refused(EVP_PKEY *key, const char *sentence)
{
    struct err err = {""};
    if (is_taken(key, EVP_sha256(), &err) || strncmp(err.text, sentence, strlen(sentence)) != 0)
        fail_msg("want: %s\ngot:  %s", sentence, err.text);
}

static EVP_PKEY *dsa_key(void)
{
    EVP_PKEY *parameters = NULL, *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "DSA", NULL);
    assert_int_equal(EVP_PKEY_paramgen_init(context), 1);
    assert_int_equal(EVP_PKEY_CTX_set_dsa_paramgen_bits(context, 1024), 1);
    assert_int_equal(EVP_PKEY_paramgen(context, &parameters), 1);
    EVP_PKEY_CTX_free(context);
    context = EVP_PKEY_CTX_new_from_pkey(NULL, parameters, NULL);
    assert_int_equal(EVP_PKEY_keygen_init(context), 1);
    assert_int_equal(EVP_PKEY_keygen(context, &key), 1);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(parameters);
    return key;
}

static EVP_PKEY *rsa_pss_key(void)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    assert_int_equal(EVP_PKEY_keygen_init(context), 1);
    assert_int_equal(EVP_PKEY_keygen(context, &key), 1);
    EVP_PKEY_CTX_free(context);
    return key;
}

static void keys_that_no_client_takes_are_refused_with_a_remedy(void **state)
{
    (void)state;
    assert_refused(
        EVP_EC_gen("secp256k1"),
        "site.pem: the certificate cannot be used: its key (secp256k1) is of a kind that no client "
        "takes; make a new pair");
    assert_refused(EVP_EC_gen("brainpoolP256r1"),
                   "site.pem: the certificate cannot be used: its key (brainpoolP256r1) is");
    assert_refused(dsa_key(), "site.pem: the certificate cannot be used: its key (DSA) is");
    assert_refused(EVP_RSA_gen(1024),
                   "site.pem: the certificate cannot be used: its RSA key has 1024 bits, which is too weak; "
                   "make a new pair, with 2048 or more");
}

static void keys_that_clients_take_are_taken(void **state)
{
    (void)state;
    struct err err = {""};
    bool good = is_taken(EVP_EC_gen("P-256"), EVP_sha256(), &err) &&
                is_taken(EVP_EC_gen("P-384"), EVP_sha256(), &err) &&
                is_taken(EVP_EC_gen("P-521"), EVP_sha256(), &err) &&
                is_taken(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL, &err) &&
                is_taken(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), NULL, &err) &&
                is_taken(rsa_pss_key(), EVP_sha256(), &err);
    if (!good)
        fail_msg("%s", err.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_takes_the_memory_that_its_files_need),
        cmocka_unit_test(nothing_that_is_freed_holds_the_key),
        cmocka_unit_test(keys_that_no_client_takes_are_refused_with_a_remedy),
        cmocka_unit_test(keys_that_clients_take_are_taken),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
