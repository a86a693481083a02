/* One record a service with TLS to its instances, and what belongs to it. */
#include "control/upstream_files.h"

#include "base/mem.h"
#include "config/places.h"
#include "control/checked.h"
#include "io/certificate_files.h"
#include "link/keyring.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct upstream_file {
    struct keyring_upstream upstream;
    struct buf authorities;
    struct certificate_files shown; /* empty: none */
};

struct upstream_files {
    struct upstream_file *list;
    size_t count;
};

/* What the system believes, where distributions keep it as one file. */
static const char *system_authorities(void)
{
    static const char *const paths[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
                                        "/etc/ssl/cert.pem"};
    const char *given = getenv("SSL_CERT_FILE");
    if (given != NULL && given[0] != '\0')
        return given;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (access(paths[i], R_OK) == 0)
            return paths[i];
    }
    return NULL;
}

static bool read_authorities(struct buf *text, const char *path, struct err *err)
{
    if (path == NULL)
        return err_set(err, "tls: this system has no file of authorities that it believes; name yours as "
                            "tls.ca_file, or install ca-certificates");
    return certificate_files_authorities(text, path, err);
}

static bool read_service(struct upstream_file *file, const struct config *config,
                         const struct config_service *service, struct checked *checked, struct err *err)
{
    const struct config_upstream_tls *tls = &service->tls;
    file->upstream.minimum = (uint32_t)tls->minimum;
    file->upstream.verify = tls->verify;
    file->upstream.h2 = service->upstream == CONFIG_UPSTREAM_H2;
    strncpy(file->upstream.service, service->name, sizeof file->upstream.service - 1);
    if (tls->server_name != NULL)
        strncpy(file->upstream.server_name, tls->server_name, sizeof file->upstream.server_name - 1);
    if (tls->verify && !read_authorities(&file->authorities,
                                         tls->ca_file != NULL ? tls->ca_file : system_authorities(), err))
        return err_prefix(err, "%s:%u", config->path, places_line(config->places, &tls->ca_file, tls->line));
    if (tls->certificate == NULL ||
        checked_read(checked, &file->shown, tls->certificate, tls->key, NULL, false, err))
        return true;
    return err_prefix(err, "%s:%u", config->path, places_line(config->places, &tls->certificate, tls->line));
}

static size_t count_tls(const struct config *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->service_count; i++)
        count += config->services[i].tls.line != 0;
    return count;
}

struct upstream_files *upstream_files_read(const struct config *config, struct checked *checked,
                                           struct err *err)
{
    struct upstream_files *files = mem_zero(1, sizeof *files);
    files->list = mem_zero(count_tls(config), sizeof *files->list);
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        if (service->tls.line == 0)
            continue;
        if (!read_service(&files->list[files->count++], config, service, checked, err)) {
            upstream_files_wipe(files);
            return NULL;
        }
    }
    return files;
}

void upstream_files_wipe(struct upstream_files *files)
{
    if (files == NULL)
        return;
    for (size_t i = 0; i < files->count; i++) {
        buf_free(&files->list[i].authorities);
        certificate_files_wipe(&files->list[i].shown);
    }
    free(files->list);
    free(files);
}

bool upstream_files_is_empty(const struct upstream_files *files)
{
    return files == NULL || files->count == 0;
}

size_t upstream_files_size(const struct upstream_files *files)
{
    size_t size = 0;
    for (size_t i = 0; files != NULL && i < files->count; i++) {
        const struct upstream_file *file = &files->list[i];
        size += keyring_size(sizeof file->upstream) + keyring_size(file->authorities.n) +
                keyring_size(file->shown.certificate.n) + keyring_size(file->shown.key.n);
    }
    return size;
}

void upstream_files_add(const struct upstream_files *files, struct buf *image)
{
    for (size_t i = 0; files != NULL && i < files->count; i++) {
        const struct upstream_file *file = &files->list[i];
        keyring_add(image, KEYRING_UPSTREAM,
                    (struct str){(const char *)&file->upstream, sizeof file->upstream});
        if (file->authorities.n > 0)
            keyring_add(image, KEYRING_AUTHORITIES, buf_str(&file->authorities));
        if (file->shown.certificate.n == 0)
            continue;
        keyring_add(image, KEYRING_CERTIFICATE, buf_str(&file->shown.certificate));
        keyring_add(image, KEYRING_KEY, buf_str(&file->shown.key));
    }
}
