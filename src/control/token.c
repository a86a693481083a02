#include "control/token.h"

#include "config/places.h"
#include "io/file.h"

#include <stdlib.h>

#define TOKEN_MAX 4096

static bool is_printable(struct str token)
{
    for (size_t i = 0; i < token.n; i++) {
        if (token.p[i] <= ' ' || token.p[i] >= 0x7f)
            return false;
    }
    return true;
}

static bool read_first_line(const char *path, char **token, struct err *err)
{
    struct buf text = BUF_EMPTY;
    struct str rest, line = {"", 0};
    if (!file_read(path, TOKEN_MAX, &text, NULL, err))
        return false;
    rest = buf_str(&text);
    if (text.n > 0 && str_split(&rest, '\n', &line))
        line = str_trim(line);
    bool ok = line.n > 0 && is_printable(line);
    if (ok)
        *token = str_dup(line);
    buf_free(&text);
    return ok || err_set(err, "%s: its first line is no token; put a long random word there", path);
}

bool token_read(const struct config *config, char **token, struct err *err)
{
    return read_first_line(config->admin.token_file, token, err) ||
           err_prefix(err, "%s:%u", config->path, places_line(config->places, &config->admin.token_file, 1));
}
