/* credentials: the certificates and keys of all listeners, what services need for TLS to their instances, and
 * the keys of tickets: read when a config is
 * taken up, kept as a sealed memfd by the keeper too, so that a control or a proxy that is started again has
 * what was in force, whatever the files say meanwhile. Never on disk, and not in this process's memory once
 * sealed, but for what the checks of instances show (control/health.c). */
#pragma once

#include "config/config.h"
#include "control/sockets.h"
#include "io/loop.h"
#include "link/channel.h"

struct credentials;

/* `changed` is called with the descriptor (which stays the credentials') when there is something new for the
 * proxy; from credentials_commit too. Lives as long as the process. */
struct credentials *credentials_new(struct loop *loop, struct channel *keeper,
                                    void (*changed)(void *arg, int fd), void *arg);

/* What an earlier control left with the keeper under CREDENTIALS_NAME; owned from now on. The next config is
 * taken up with it, without a look at the files, if it is the one that it was made for: a control may have
 * died between storing the two. */
#define CREDENTIALS_NAME "keyring"
void credentials_restore(struct credentials *credentials, int fd);

/* When the first certificate of a listener that is in force expires, in seconds since 1970; 0: it has none.
 */
int64_t credentials_end(const struct credentials *credentials, unsigned listener);

/* Reads and checks what the config names. False with "PATH:LINE: sentence": nothing is changed. */
bool credentials_prepare(struct credentials *credentials, const struct config *config,
                         struct err *err) MUST_CHECK;
/* Wipes what was prepared: another config stays in force. */
void credentials_discard(struct credentials *credentials);
/* The config is in force, which was read from this text, and these are its sockets: what was prepared is
 * too. */
void credentials_commit(struct credentials *credentials, const struct config *config, struct str text,
                        const struct sockets *sockets);
