/* Lines of the log in the journal would be the end of it. Paths are compared by what they lead to: the log's
 * is followed once, and of the others it is asked whether they are the same file. */
#include "config/log_place.h"

#include "base/mem.h"
#include "config/places.h"

#include <stdlib.h>
#include <sys/stat.h>

struct place {
    const char *written;
    char *path; /* without links, as far as there are folders */
    bool exists;
    struct stat status;
};

/* Of a file that is not there, its name in the folder in which it would be made; to be freed. */
static char *real_path(const char *path)
{
    char *whole = realpath(path, NULL);
    const char *slash = strrchr(path, '/');
    if (whole != NULL || slash == NULL)
        return whole != NULL ? whole : mem_dup(path);
    char *named = str_dup((struct str){path, (size_t)(slash - path) + 1});
    char *folder = realpath(named, NULL);
    free(named);
    whole =
        folder == NULL ? mem_dup(path) : mem_printf("%s%s", strcmp(folder, "/") == 0 ? "" : folder, slash);
    free(folder);
    return whole;
}

static bool lies_in(const struct place *log, const char *folder)
{
    char *real = real_path(folder);
    bool inside = str_starts_with(str_of(log->path), str_of(real)) && log->path[strlen(real)] == '/';
    free(real);
    return inside;
}

/* Two names of one file, as hard links are, are one file too. */
static bool is_same(const struct place *log, const char *path)
{
    struct stat status;
    return strcmp(log->path, path) == 0 ||
           (log->exists && stat(path, &status) == 0 && status.st_dev == log->status.st_dev &&
            status.st_ino == log->status.st_ino);
}

/* Sets the sentence where the path, which may be NULL, is the log's. */
static bool is_other(const struct place *log, const char *path, const char *key, struct err *err)
{
    return path == NULL || !is_same(log, path) ||
           err_set(
               err,
               "\"%s\" is the file that is named as %s too, and lines would be written into it; name another",
               log->written, key);
}

static bool is_no_identity(const struct place *log, const struct config_identity *identity, struct err *err)
{
    return is_other(log, identity->certificate, "a certificate", err) &&
           is_other(log, identity->key, "a key", err) &&
           is_other(log, identity->ocsp, "an OCSP response", err);
}

static bool is_no_file_of_listeners(const struct place *log, const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_tls *tls = &config->listeners[i].tls;
        for (size_t k = 0; k < config_identity_count(tls); k++) {
            if (!is_no_identity(log, config_identity(tls, k), err))
                return false;
        }
        if (!is_other(log, tls->client_ca, "tls.client_ca", err))
            return false;
    }
    return true;
}

static bool is_no_file_of_services(const struct place *log, const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_upstream_tls *tls = &config->services[i].tls;
        if (!is_other(log, tls->ca_file, "tls.ca_file", err) ||
            !is_other(log, tls->certificate, "a certificate", err) || !is_other(log, tls->key, "a key", err))
            return false;
    }
    for (size_t i = 0; i < config->file_count; i++) {
        if (!is_other(log, config->files[i].path, "a page", err))
            return false;
    }
    return true;
}

/* The socket may be there only later. */
static bool is_no_socket(const struct place *log, const struct config *config, struct err *err)
{
    char *socket = real_path(config->admin.socket);
    bool other = is_other(log, socket, "admin.socket", err);
    free(socket);
    return other;
}

static bool is_free(const struct place *log, const struct config *config, struct err *err)
{
    if (lies_in(log, config->state_directory))
        return err_set(
            err, "\"%s\" lies in state_directory, which is for upswap's own files; name a file elsewhere",
            log->written);
    if (is_same(log, config->path))
        return err_set(err, "\"%s\" is the config itself, and lines would be written into it; name another",
                       log->written);
    return is_no_socket(log, config, err) &&
           is_other(log, config->admin.token_file, "admin.token_file", err) &&
           is_no_file_of_listeners(log, config, err) && is_no_file_of_services(log, config, err);
}

bool log_place_is_free(const struct config *config, struct err *err)
{
    const char *path = config->access_log_path;
    if (path == NULL)
        return true;
    struct place log = {.written = path, .path = real_path(path)};
    log.exists = stat(path, &log.status) == 0;
    bool free_place = is_free(&log, config, err);
    free(log.path);
    return free_place || err_prefix(err, "%s:%u: access_log.path", config->path,
                                    places_line(config->places, &config->access_log_path, 1));
}
