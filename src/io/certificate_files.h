/* certificate_files: the files that certificates stand in. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#define CERTIFICATE_FILE_MAX (1024 * 1024) /* bytes */

/* What the files of one pair hold. */
struct certificate_files {
    struct buf certificate, key, ocsp;
};

/* Reads the files. `key` NULL: it stands with the certificate; `ocsp` NULL: none. False: a sentence that
 * names the file. Wipe it either way. */
bool certificate_files_load(struct certificate_files *files, const char *certificate, const char *key,
                            const char *ocsp, struct err *err) MUST_CHECK;
/* Checks what was read from the files of these names as certificate_read and certificate_check_staple do.
 * `by_name`: it is shown to who asks for it alone, so it must have a name. False: a sentence that names the
 * file. */
bool certificate_files_check_pair(const struct certificate_files *files, const char *certificate,
                                  const char *ocsp, bool by_name, struct err *err) MUST_CHECK;
/* Overwrites and frees what was read. */
void certificate_files_wipe(struct certificate_files *files);

/* Reads a file of authorities: at least one certificate in PEM form. */
bool certificate_files_authorities(struct buf *text, const char *path, struct err *err) MUST_CHECK;

/* As loaded and checked, or, where `authorities` is not NULL, as authorities, for who only wants to know. */
bool certificate_files_check(const char *certificate, const char *key, const char *ocsp, bool by_name,
                             const char *authorities, struct err *err);
