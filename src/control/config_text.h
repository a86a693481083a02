/* config_text: a config from its text, wherever that comes from: the file, or what the keeper holds of the
 * one that was accepted. */
#pragma once

#include "base/buf.h"
#include "config/config.h"

#define CONFIG_TEXT_MAX ((size_t)16 << 20) /* bytes */

/* Reads all of a descriptor that the keeper holds, from its beginning. */
bool config_text_from(int fd, struct buf *text, struct err *err) MUST_CHECK;

/* Reads and checks it, against the machine too. `path` is named in messages. NULL with "PATH:LINE: sentence".
 */
struct config *config_text_parse(struct str text, const char *path, struct err *err) MUST_CHECK;
