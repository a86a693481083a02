#include "config/token.h"

#include "base/file.h"
#include "config/places.h"

#include <string.h>

#define TOKEN_FILE_MAX 4096 /* bytes */

/* What a field's value can hold, without blanks. */
static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f)
            return false;
    }
    return text.n > 0;
}

static bool read_first_line(const char *path, char **token, struct err *err)
{
    struct buf text = BUF_EMPTY;
    struct str rest, line = {"", 0};
    bool ok = file_read(path, TOKEN_FILE_MAX, &text, NULL, err);
    if (ok && text.n > 0) {
        rest = buf_str(&text);
        str_split(&rest, '\n', &line);
    }
    line = str_trim(line);
    if (ok && !is_token(line))
        ok = err_set(err, "the first line of %s is no token; write one there, a long random word in ASCII",
                     path);
    if (ok)
        *token = str_dup(line);
    buf_free(&text);
    return ok;
}

bool token_read(const struct config *config, char **token, struct err *err)
{
    const struct config_admin *admin = &config->admin;
    *token = NULL;
    if (admin->token_file == NULL || read_first_line(admin->token_file, token, err))
        return true;
    return err_prefix(err, "%s:%u: admin.token_file", config->path,
                      places_line(config->places, &admin->token_file, 1));
}
