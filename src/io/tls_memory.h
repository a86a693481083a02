/* tls_memory: where private keys and the keys of tickets stand: in memory that is never written to swap, nor
 * to a core, with pages around it that nobody may touch.
 *
 * OpenSSL puts private keys there, also those of a handshake. It does not put there: the secrets of sessions,
 * what it computes meanwhile, and, once an RSA key has signed, copies of its factors. */
#pragma once

#include "base/err.h"

#include <stddef.h>

/* Once, before OpenSSL is used, and before this process may open no more files: OpenSSL also reads its
 * config, and finds its algorithms. False: that memory cannot be locked (RLIMIT_MEMLOCK), and is used all the
 * same. */
bool tls_memory_open(void) MUST_CHECK;

/* For other keys; zeros. NULL: there is none left. */
void *tls_memory_new(size_t size);
/* Wipes it. NULL is fine. */
void tls_memory_free(void *secret, size_t size);

/* Between the two, whatever OpenSSL gives back on this thread is wiped: it reads keys by way of common
 * memory. */
void tls_memory_begin_wiping(void);
void tls_memory_end_wiping(void);
