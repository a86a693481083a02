#include "control/config_text.h"

#include "io/child.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

bool config_text_from(int fd, struct buf *text, struct err *err)
{
    ssize_t n;
    while ((n = pread(fd, buf_reserve(text, 65536), 65536, (off_t)text->n)) > 0)
        text->n += (size_t)n;
    return n == 0 ||
           err_set(err, "the config that is kept for a restart cannot be read: %s", strerror(errno));
}

struct config *config_text_parse(struct str text, const char *path, struct err *err)
{
    /* fmemopen takes no empty buffer. */
    struct str bytes = text.n == 0 ? STR("\n") : text;
    FILE *file = fmemopen((void *)bytes.p, bytes.n, "r");
    if (file == NULL) {
        err_set(err, "%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    struct config *config = config_parse(file, path, err);
    fclose(file);
    if (config != NULL &&
        (!config_check(config, NULL, err) || !config_check_users(config, child_user_check, err))) {
        config_free(config);
        config = NULL;
    }
    return config;
}
