#include "io/digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

void digest_sha1_base64(struct str first, struct str second, char out[DIGEST_SHA1_BASE64])
{
    unsigned char hash[EVP_MAX_MD_SIZE], text[DIGEST_SHA1_BASE64 + 1];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || !EVP_DigestInit_ex(context, EVP_sha1(), NULL) ||
        !EVP_DigestUpdate(context, first.p, first.n) || !EVP_DigestUpdate(context, second.p, second.n) ||
        !EVP_DigestFinal_ex(context, hash, NULL)) {
        fputs("upswap: OpenSSL cannot make a SHA-1 digest\n", stderr);
        abort();
    }
    EVP_MD_CTX_free(context);
    EVP_EncodeBlock(text, hash, 20);
    memcpy(out, text, DIGEST_SHA1_BASE64);
}
