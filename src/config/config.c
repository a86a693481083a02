/* From the file to the struct: libconfig reads, the tables fill, then what concerns several values at once is
 * made and checked. Invariant: a struct that is given out has passed every check that needs no machine. */
#include "config/config.h"

#include "base/buf.h"
#include "base/mem.h"
#include "config/derive.h"
#include "config/keys.h"
#include "config/pages.h"
#include "config/places.h"
#include "config/source.h"
#include "config/whole.h"

#include <errno.h>
#include <stdlib.h>

static int last_line(const struct buf *source)
{
    int lines = 0;
    for (size_t i = 0; i < source->n; i++)
        lines += source->p[i] == '\n';
    return lines > 0 ? lines : 1;
}

/* What is missing at the end is found behind the last line, where there is none. libconfig's own words are
 * short; these say what to look for. */
static bool syntax_fault(const config_t *parsed, const struct buf *source, const char *path, struct err *err)
{
    const char *text = config_error_text(parsed), *advice = "";
    int line = config_error_line(parsed), last = last_line(source);
    if (strcmp(text, "duplicate setting name") == 0)
        text = "this key is written twice in its section", advice = "; keep one of them";
    else if (source_explain(buf_str(source), path, (unsigned)line, err))
        return false;
    else if (strcmp(text, "syntax error") == 0)
        advice = "; look for a missing \";\", quote or bracket here and on the line before";
    return err_set(err, "%s:%d: %s%s", path, line < last ? line : last, text, advice);
}

static bool fill(struct config *config, const config_t *parsed, struct err *err)
{
    const config_setting_t *root = config_root_setting(parsed);
    struct reader reader = {.path = config->path, .root = &keys_file, .places = config->places};
    reader.defaults = config_setting_get_member(root, "defaults");
    if (!section_read(&reader, &keys_file, root, config, err))
        return false;
    config_derive(config);
    return config_check_whole(config, err);
}

static struct config *new_config(const char *path)
{
    struct config *config = mem_alloc(sizeof *config);
    section_fill(&keys_file, config);
    config->path = mem_dup(path);
    config->places = places_new();
    return config;
}

static struct config *parse_text(const struct buf *text, const char *path, struct err *err)
{
    if (!source_check(buf_str(text), path, err))
        return NULL;
    config_t parsed;
    config_init(&parsed);
    struct config *config = new_config(path);
    bool parses =
        config_read_string(&parsed, text->p) == CONFIG_TRUE || syntax_fault(&parsed, text, path, err);
    if (!parses || !fill(config, &parsed, err)) {
        config_free(config);
        config = NULL;
    }
    config_destroy(&parsed);
    return config;
}

struct config *config_parse(FILE *file, const char *path, struct err *err)
{
    struct buf text = BUF_EMPTY;
    struct config *config = NULL;
    if (source_read(file, path, &text, err))
        config = parse_text(&text, path, err);
    buf_free(&text);
    return config;
}

struct config *config_load(const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    struct config *config = config_parse(file, path, err);
    fclose(file);
    return config;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->listener_count; i++)
        free(config->listeners[i].proxies);
    for (size_t i = 0; i < config->service_count; i++) {
        free(config->services[i].weights);
        free(config->services[i].maintenance.allowed);
    }
    section_release(&keys_file, config);
    pages_release(config);
    free(config->trusted_proxies);
    free(config->by_name);
    places_free(config->places);
    free(config->path);
    free(config);
}

static int compare(const void *key, const void *item)
{
    const struct str *name = key;
    const struct config_service *const *service = item;
    struct str other = str_of((*service)->name);
    int order = memcmp(name->p, other.p, name->n < other.n ? name->n : other.n);
    return order != 0 ? order : (name->n > other.n) - (name->n < other.n);
}

const struct config_service *config_service(const struct config *config, struct str name)
{
    const struct config_service **found = name.n == 0 ? NULL
                                                      : bsearch(&name, config->by_name, config->service_count,
                                                                sizeof *config->by_name, compare);
    return found == NULL ? NULL : *found;
}
