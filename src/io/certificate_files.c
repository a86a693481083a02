/* Files to bytes, checked. Invariant: no copy of a key is left in freed memory, since a file is read where
 * the largest has room from the start, copied to where it fits, and overwritten in both before they are
 * freed. */
#include "io/certificate_files.h"

#include "io/certificate.h"
#include "io/file.h"
#include "io/tls_names.h"

#include <string.h>

/* Only what was written: to overwrite the rest would make the kernel find memory for it first. */
static void wipe(struct buf *buf)
{
    if (buf->p != NULL)
        explicit_bzero(buf->p, buf->n);
    buf_free(buf);
}

static bool read_file(const char *path, struct buf *out, struct err *err)
{
    struct buf room = BUF_EMPTY;
    buf_reserve(&room, CERTIFICATE_FILE_MAX + 1);
    bool good = file_read(path, CERTIFICATE_FILE_MAX, &room, NULL, err);
    if (good)
        buf_add_str(out, buf_str(&room));
    wipe(&room);
    return good;
}

static bool can_be_asked_for(struct certificate *certificate, struct err *err)
{
    return tls_names_has_any(certificate) ||
           err_set(err,
                   "no client is ever shown the certificate: it has a subjectAltName without a DNS name, or "
                   "neither that nor a common name; get one with the names that it is for");
}

bool certificate_files_check_pair(const struct certificate_files *files, const char *certificate_path,
                                  const char *ocsp_path, bool by_name, struct err *err)
{
    time_t until;
    struct certificate *certificate =
        certificate_read(buf_str(&files->certificate), buf_str(&files->key), err);
    if (certificate == NULL)
        return err_prefix(err, "%s", certificate_path);
    if (by_name && !can_be_asked_for(certificate, err)) {
        certificate_free(certificate);
        return err_prefix(err, "%s", certificate_path);
    }
    bool good = ocsp_path == NULL ||
                certificate_check_staple(certificate, buf_str(&files->ocsp), &until, err) ||
                err_prefix(err, "%s", ocsp_path);
    certificate_free(certificate);
    return good;
}

bool certificate_files_load(struct certificate_files *files, const char *certificate, const char *key,
                            const char *ocsp, struct err *err)
{
    *files = (struct certificate_files){BUF_EMPTY, BUF_EMPTY, BUF_EMPTY};
    return read_file(certificate, &files->certificate, err) &&
           read_file(key != NULL ? key : certificate, &files->key, err) &&
           (ocsp == NULL || read_file(ocsp, &files->ocsp, err));
}

void certificate_files_wipe(struct certificate_files *files)
{
    wipe(&files->certificate);
    wipe(&files->key);
    wipe(&files->ocsp);
}

bool certificate_files_authorities(struct buf *text, const char *path, struct err *err)
{
    if (!file_read(path, CERTIFICATE_FILE_MAX, text, NULL, err))
        return false;
    STACK_OF(X509) *all = certificate_read_all(buf_str(text), err);
    if (all == NULL)
        return err_prefix(err, "%s", path);
    sk_X509_pop_free(all, X509_free);
    return true;
}

bool certificate_files_check(const char *certificate, const char *key, const char *ocsp, bool by_name,
                             const char *authorities, struct err *err)
{
    struct certificate_files files = {BUF_EMPTY, BUF_EMPTY, BUF_EMPTY};
    bool good = authorities != NULL
                    ? certificate_files_authorities(&files.certificate, authorities, err)
                    : certificate_files_load(&files, certificate, key, ocsp, err) &&
                          certificate_files_check_pair(&files, certificate, ocsp, by_name, err);
    certificate_files_wipe(&files);
    return good;
}
