/* token: the secret that clients of admin.listen show. */
#pragma once

#include "config/config.h"

/* Reads the first line of admin.token_file into *token (to be freed); NULL: the config names none. False with
 * "PATH:LINE: sentence": it cannot be read, is empty, or holds what no header can. */
bool token_read(const struct config *config, char **token, struct err *err) MUST_CHECK;
