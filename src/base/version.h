/* version: which one this program is. */
#pragma once

/* "1.0" */
extern const char *const version_text;
