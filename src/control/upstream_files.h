/* upstream_files: what the files hold that services name for TLS to their instances: whom to believe, and the
 * certificate to show. Part of the credentials. */
#pragma once

#include "base/buf.h"
#include "config/config.h"

struct checked;
struct upstream_files;

/* Reads and checks all files of the config. NULL with "PATH:LINE: sentence". */
struct upstream_files *upstream_files_read(const struct config *config, struct checked *checked,
                                           struct err *err) MUST_CHECK;
/* Overwrites and frees what was read; NULL is fine. */
void upstream_files_wipe(struct upstream_files *files);

bool upstream_files_is_empty(const struct upstream_files *files);
/* Bytes of their records in a keyring. */
size_t upstream_files_size(const struct upstream_files *files);
void upstream_files_add(const struct upstream_files *files, struct buf *image);
