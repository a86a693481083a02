/* mac: HMAC-SHA256 (RFC 2104) of short texts, over and over, by one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAC_KEY_SIZE 32
#define MAC_SIZE 32

struct mac;

/* Never NULL: without SHA-256 the process ends. */
struct mac *mac_new(void);
void mac_free(struct mac *mac);

void mac_sum(struct mac *mac, const uint8_t key[MAC_KEY_SIZE], const void *bytes, size_t n,
             uint8_t sum[MAC_SIZE]);

/* Are they equal? Takes as long for every answer. */
bool mac_is_equal(const void *a, const void *b, size_t n);
