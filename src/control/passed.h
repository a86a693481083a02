/* passed: the listening sockets that the service manager has passed to the daemon, and goes on holding. They
 * are matched with what the config listens on by their address. */
#pragma once

#include "base/err.h"
#include "config/config.h"

struct passed;

struct passed *passed_new(void);
/* One more, with the name that the service manager gives it; fd is owned from now on. */
void passed_add(struct passed *passed, struct str name, int fd);

/* Can each of them be used, and does the config listen on its address? Nobody would accept on one that it
 * does not name, and its clients would wait in vain. */
bool passed_check(const struct passed *passed, const struct config *config, struct err *err) MUST_CHECK;

/* Is there one with this address ("IP:PORT" or "unix:PATH")? */
bool passed_has(const struct passed *passed, const char *address);
/* Duplicates those with this address, of which there is one, for `count` who accept, one descriptor each;
 * where there are fewer sockets, some share one. On failure none is left open. */
bool passed_dup(const struct passed *passed, const char *address, unsigned count, int *fds,
                struct err *err) MUST_CHECK;
