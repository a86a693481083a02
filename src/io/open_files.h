/* open_files: how many descriptors this process may have. The daemon takes all that the hard limit allows.
 * What it starts has the limit that the daemon was started with: programs that use select() fail on numbers
 * above 1023. */
#pragma once

/* Up to the hard limit. */
void open_files_raise(void);
/* Back to what it was; for a fork that starts programs. */
void open_files_restore(void);
