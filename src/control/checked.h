/* checked: which certificates and keys have been found good in this process, by digests of their bytes. To
 * check one takes OpenSSL most of a millisecond, and a reload finds most of a thousand as they were. What is
 * kept says nothing about a key to whoever does not have it. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/certificate_files.h"

#include <stdint.h>

struct checked;

/* Lives as long as the process. */
struct checked *checked_new(void);

/* As certificate_files_load and certificate_files_check_pair, the latter only of bytes that are new. */
bool checked_read(struct checked *checked, struct certificate_files *files, const char *certificate,
                  const char *key, const char *ocsp, bool by_name, struct err *err) MUST_CHECK;
/* As certificate_end. */
int64_t checked_end(struct checked *checked, struct str pem);
/* Forgets what nobody has asked for since the last sweep. */
void checked_sweep(struct checked *checked);
