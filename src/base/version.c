#include "base/version.h"

/* As what(1) looks for it in a file. */
static const char mark[] = "@(#)upswap " PACKAGE_VERSION;
const char *const version_text = mark + sizeof "@(#)upswap " - 1;
