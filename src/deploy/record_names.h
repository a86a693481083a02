/* record_names: what record.c and record_decode.c spell alike. */
#pragma once

#include "deploy/record.h"

extern const char *const record_type_names[RECORD_TYPES];
