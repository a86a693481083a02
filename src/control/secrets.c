/* A line a key: its name, then its bytes in hex. Invariant: what secrets_get gives is in the file. */
#include "control/secrets.h"

#include "base/mem.h"
#include "io/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FILE_MODE 0600
#define FILE_MAX 4096

struct secrets {
    char *path;
    struct snapshot_secrets keys;
};

static bool make_key(void *key, size_t size, struct err *err)
{
    return getrandom(key, size, 0) == (ssize_t)size ||
           err_set(err, "the kernel gives no random bytes: %s", strerror(errno));
}

/* ---- the file ---- */

static void write_key(struct buf *text, const char *name, const void *key, size_t size)
{
    const uint8_t *bytes = key;
    buf_printf(text, "%s ", name);
    for (size_t i = 0; i < size; i++)
        buf_printf(text, "%02x", bytes[i]);
    buf_printf(text, "\n");
}

static bool store(const struct secrets *secrets, struct err *err)
{
    struct buf text = BUF_EMPTY;
    write_key(&text, "hash", secrets->keys.hash, sizeof secrets->keys.hash);
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

static bool read_key(struct str text, void *key, size_t size)
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

static bool read_lines(struct secrets *secrets, struct str text)
{
    struct str line, name;
    return str_split(&text, '\n', &line) && str_split(&line, ' ', &name) && str_equal(name, STR("hash")) &&
           line.p != NULL && read_key(line, secrets->keys.hash, sizeof secrets->keys.hash) &&
           text.p != NULL && text.n == 0;
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

static bool make_keys(struct secrets *secrets, struct err *err)
{
    return make_key(secrets->keys.hash, sizeof secrets->keys.hash, err) && store(secrets, err);
}

struct secrets *secrets_open(const char *directory, struct err *err)
{
    struct secrets *secrets = mem_zero(1, sizeof *secrets);
    bool missing = false;
    secrets->path = mem_printf("%s/secrets", directory);
    if (load(secrets, &missing, err) || (missing && make_keys(secrets, err)))
        return secrets;
    secrets_free(secrets);
    return NULL;
}

void secrets_free(struct secrets *secrets)
{
    explicit_bzero(&secrets->keys, sizeof secrets->keys);
    free(secrets->path);
    free(secrets);
}

const struct snapshot_secrets *secrets_get(const struct secrets *secrets)
{
    return &secrets->keys;
}
