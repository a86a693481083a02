/* pages: the files of a config's error pages, read once each. */
#pragma once

#include "config/config.h"

#define PAGE_MAX_BYTES 65536
#define PAGE_MARKS_MAX 64 /* places where something is put in */

/* Reads every file that a service names. The fault as "PATH:LINE: sentence". */
bool pages_load(struct config *config, struct err *err) MUST_CHECK;
void pages_release(struct config *config);
