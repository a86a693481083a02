/* siphash: a hash of bytes that nobody can steer who does not know its key (SipHash-2-4, Aumasson and
 * Bernstein 2012). For tables whose keys come from the network. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *bytes, size_t count);
