#include "control/config_text.h"

#include <errno.h>

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
    if (config != NULL && !config_check(config, NULL, err)) {
        config_free(config);
        config = NULL;
    }
    return config;
}
