/* Reads the pages that clients may get. Invariant: a file that several services name is there once, so that
 * all show the same.
 */
#include "config/pages.h"

#include "base/mem.h"
#include "config/places.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool read_bytes(const char *path, struct config_file *file, struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return err_set(err, "the page \"%s\" cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return err_set(err, "the page \"%s\" is no file; name one", path);
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return err_set(err, "the page \"%s\" cannot be read: %s", path, strerror(errno));
    file->bytes = mem_alloc(PAGE_MAX_BYTES + 1);
    file->size = fread(file->bytes, 1, PAGE_MAX_BYTES + 1, stream);
    bool failed = ferror(stream) != 0;
    fclose(stream);
    return !failed || err_set(err, "the page \"%s\" cannot be read", path);
}

static size_t count_marks(const struct config_file *file)
{
    size_t count = 0;
    const char *at = file->bytes, *end = at + file->size;
    while ((at = memmem(at, (size_t)(end - at), "%{", 2)) != NULL) {
        count++;
        at += 2;
    }
    return count;
}

static bool check(const struct config_file *file, struct err *err)
{
    if (file->size == 0)
        return err_set(err, "the page \"%s\" is empty; write it, or remove the key", file->path);
    if (file->size > PAGE_MAX_BYTES)
        return err_set(err, "the page \"%s\" has more than %d bytes; shorten it", file->path, PAGE_MAX_BYTES);
    return count_marks(file) <= PAGE_MARKS_MAX ||
           err_set(err, "the page \"%s\" has more than %d places with %%{", file->path, PAGE_MARKS_MAX);
}

const struct config_file *config_file(const struct config *config, const char *path)
{
    for (size_t i = 0; i < config->file_count; i++) {
        if (strcmp(config->files[i].path, path) == 0)
            return &config->files[i];
    }
    return NULL;
}

/* `line` is of the section, where the path's own is not known. */
static bool load(struct config *config, char *const *path, unsigned line, struct err *err)
{
    if (*path == NULL || config_file(config, *path) != NULL)
        return true;
    config->files = mem_resize(config->files, config->file_count + 1, sizeof *config->files);
    struct config_file *file = &config->files[config->file_count++];
    *file = (struct config_file){.path = mem_dup(*path)};
    if (read_bytes(*path, file, err) && check(file, err))
        return true;
    return err_prefix(err, "%s:%u", config->path, places_line(config->places, path, line));
}

bool pages_load(struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        for (size_t k = 0; k < service->page_count; k++) {
            const struct config_page *page = &service->pages[k];
            if (page->html == NULL && page->json == NULL)
                return err_set(err, "%s:%u: an error page needs \"html\" or \"json\", the file to send",
                               config->path, page->line);
            if (!load(config, &page->html, page->line, err) || !load(config, &page->json, page->line, err))
                return false;
        }
        const struct config_maintenance *maintenance = &service->maintenance;
        if (!load(config, &maintenance->html, maintenance->line, err) ||
            !load(config, &maintenance->json, maintenance->line, err))
            return false;
    }
    return true;
}

void pages_release(struct config *config)
{
    for (size_t i = 0; i < config->file_count; i++) {
        free(config->files[i].path);
        free(config->files[i].bytes);
    }
    free(config->files);
    config->files = NULL;
    config->file_count = 0;
}
