/* 32 bytes: number and time, 8 each and big-endian, and half of an HMAC-SHA256. Invariant: there is exactly
 * one text for a token. */
#include "plane/token.h"

#include <endian.h>
#include <string.h>

#define CLAIM 16  /* bytes that are signed */
#define SIGNED 16 /* bytes of the signature that are kept */
#define BYTES (CLAIM + SIGNED)
#define SERVICE_MAX 63

_Static_assert(TOKEN_SIZE == (BYTES * 8 + 5) / 6, "six bits a letter");
_Static_assert(SNAPSHOT_COOKIE_KEY_SIZE == MAC_KEY_SIZE, "");

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* RFC 4648 section 5, without padding. */
static void encode(const uint8_t bytes[BYTES], char out[TOKEN_SIZE])
{
    for (unsigned i = 0; i < TOKEN_SIZE; i++) {
        unsigned at = i * 6 / 8, shift = i * 6 % 8;
        unsigned pair = (unsigned)bytes[at] << 8 | (at + 1 < BYTES ? bytes[at + 1] : 0U);
        out[i] = letters[pair >> (10 - shift) & 63];
    }
}

static bool decode(struct str text, uint8_t bytes[BYTES])
{
    unsigned bits = 0, count = 0, at = 0;
    if (text.n != TOKEN_SIZE)
        return false;
    for (unsigned i = 0; i < TOKEN_SIZE; i++) {
        const char *letter = text.p[i] == '\0' ? NULL : strchr(letters, text.p[i]);
        if (letter == NULL)
            return false;
        bits = (bits << 6 | (unsigned)(letter - letters)) & 0xffff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[at++] = (uint8_t)(bits >> count);
        }
    }
    return (bits & ((1U << count) - 1)) == 0;
}

static void sign(struct mac *mac, const uint8_t *key, enum token_kind kind, struct str service,
                 const uint8_t claim[CLAIM], uint8_t sum[MAC_SIZE])
{
    uint8_t text[1 + CLAIM + SERVICE_MAX];
    size_t n = service.n < SERVICE_MAX ? service.n : SERVICE_MAX;
    text[0] = (uint8_t)kind;
    memcpy(text + 1, claim, CLAIM);
    memcpy(text + 1 + CLAIM, service.p, n);
    mac_sum(mac, key, text, 1 + CLAIM + n, sum);
}

void token_write(struct mac *mac, const struct snapshot_secrets *secrets, enum token_kind kind,
                 struct str service, const struct token *token, char out[TOKEN_SIZE])
{
    uint8_t bytes[BYTES], sum[MAC_SIZE];
    uint64_t words[2] = {htobe64(token->number), htobe64(token->issued_s)};
    memcpy(bytes, words, CLAIM);
    sign(mac, secrets->cookie[0], kind, service, bytes, sum);
    memcpy(bytes + CLAIM, sum, SIGNED);
    encode(bytes, out);
}

bool token_open(struct mac *mac, const struct snapshot_secrets *secrets, enum token_kind kind,
                struct str service, struct str text, struct token *token)
{
    uint8_t bytes[BYTES], sum[MAC_SIZE];
    uint64_t words[2];
    if (!decode(text, bytes))
        return false;
    for (unsigned key = 0; key < 2; key++) {
        sign(mac, secrets->cookie[key], kind, service, bytes, sum);
        if (!mac_is_equal(sum, bytes + CLAIM, SIGNED))
            continue;
        memcpy(words, bytes, CLAIM);
        *token = (struct token){be64toh(words[0]), be64toh(words[1]), key == 1};
        return true;
    }
    return false;
}
