/* A line a key: its name, when it was made where that matters, then its bytes in hex. Invariant: what
 * secrets_get gives is in the file. */
#include "control/secrets.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FILE_MODE 0600
#define FILE_MAX 4096

struct secrets {
    char *path;
    struct snapshot_secrets keys;
    uint64_t made_s; /* when the key was made that signs cookies; steady, seconds since 1970 */
};

static bool make_key(void *key, size_t size, struct err *err)
{
    return getrandom(key, size, 0) == (ssize_t)size ||
           err_set(err, "the kernel gives no random bytes: %s", strerror(errno));
}

/* ---- the file ---- */

static void write_hex(struct buf *text, const void *key, size_t size)
{
    const uint8_t *bytes = key;
    for (size_t i = 0; i < size; i++)
        buf_printf(text, "%02x", bytes[i]);
    buf_printf(text, "\n");
}

static bool store(const struct secrets *secrets, struct err *err)
{
    struct buf text = BUF_EMPTY;
    const struct snapshot_secrets *keys = &secrets->keys;
    buf_printf(&text, "hash ");
    write_hex(&text, keys->hash, sizeof keys->hash);
    buf_printf(&text, "cookie %" PRIu64 " ", secrets->made_s);
    write_hex(&text, keys->cookie[0], sizeof keys->cookie[0]);
    buf_printf(&text, "before ");
    write_hex(&text, keys->cookie[1], sizeof keys->cookie[1]);
    bool ok = file_replace(secrets->path, buf_str(&text), FILE_MODE, err);
    explicit_bzero(text.p, text.n);
    buf_free(&text);
    return ok;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct str text, void *key, size_t size)
{
    uint8_t *bytes = key;
    if (text.n != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex(text.p[2 * i]), low = hex(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* The next line, without its name. */
static bool next_line(struct str *text, struct str name, struct str *line)
{
    struct str found;
    return str_split(text, '\n', line) && str_split(line, ' ', &found) && str_equal(found, name) &&
           line->p != NULL;
}

static bool read_lines(struct secrets *secrets, struct str text)
{
    struct snapshot_secrets *keys = &secrets->keys;
    struct str line, made;
    return next_line(&text, STR("hash"), &line) && read_hex(line, keys->hash, sizeof keys->hash) &&
           next_line(&text, STR("cookie"), &line) && str_split(&line, ' ', &made) &&
           str_to_u64(made, &secrets->made_s) && line.p != NULL &&
           read_hex(line, keys->cookie[0], sizeof keys->cookie[0]) &&
           next_line(&text, STR("before"), &line) &&
           read_hex(line, keys->cookie[1], sizeof keys->cookie[1]) && text.p != NULL && text.n == 0;
}

static bool load(struct secrets *secrets, bool *missing, struct err *err)
{
    struct buf text = BUF_EMPTY;
    if (!file_read(secrets->path, FILE_MAX, &text, missing, err))
        return false;
    bool ok = read_lines(secrets, buf_str(&text));
    explicit_bzero(text.p, text.n);
    buf_free(&text);
    return ok ||
           err_set(err,
                   "%s is not what upswap writes; restore it, or remove it: then new keys are made, and "
                   "clients are spread over the instances anew",
                   secrets->path);
}

/* ---- the outside ---- */

/* There is no key before the first one; another that nobody knows stands for it. */
static bool make_keys(struct secrets *secrets, uint64_t now_s, struct err *err)
{
    secrets->made_s = now_s;
    return make_key(secrets->keys.hash, sizeof secrets->keys.hash, err) &&
           make_key(secrets->keys.cookie, sizeof secrets->keys.cookie, err) && store(secrets, err);
}

/* Its clock was wrong when the key was made, and if it was years ahead the key would never turn: its time
 * begins now. */
static void make_past(struct secrets *secrets, uint64_t now_s)
{
    struct err err;
    if (secrets->made_s <= now_s)
        return;
    secrets->made_s = now_s;
    if (!store(secrets, &err))
        log_warn("the time of the key that signs cookies begins anew with each start: %s", err.text);
}

struct secrets *secrets_open(const char *directory, uint64_t now_s, struct err *err)
{
    struct secrets *secrets = mem_zero(1, sizeof *secrets);
    bool missing = false;
    secrets->path = mem_printf("%s/secrets", directory);
    if (load(secrets, &missing, err) || (missing && make_keys(secrets, now_s, err))) {
        make_past(secrets, now_s);
        (void)secrets_turn(secrets, now_s);
        return secrets;
    }
    secrets_free(secrets);
    return NULL;
}

bool secrets_turn(struct secrets *secrets, uint64_t now_s)
{
    struct secrets next = *secrets;
    struct err err;
    if (now_s < secrets->made_s + SECRETS_TURN_S)
        return false;
    next.made_s = now_s;
    memcpy(next.keys.cookie[1], secrets->keys.cookie[0], sizeof next.keys.cookie[1]);
    bool ok = make_key(next.keys.cookie[0], sizeof next.keys.cookie[0], &err) && store(&next, &err);
    if (ok)
        *secrets = next;
    else
        log_error("the key that signs cookies stays, though it has had its time: %s", err.text);
    explicit_bzero(&next, sizeof next);
    return ok;
}

void secrets_free(struct secrets *secrets)
{
    free(secrets->path);
    explicit_bzero(secrets, sizeof *secrets);
    free(secrets);
}

const struct snapshot_secrets *secrets_get(const struct secrets *secrets)
{
    return &secrets->keys;
}
