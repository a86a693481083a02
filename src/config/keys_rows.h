/* keys_rows: what the tables of keys share: how a row is written, and the sections that stand in files of
 * their own. For keys*.c only. */
#pragma once

#include "config/config.h"
#include "config/section.h"

#define SECOND 1000ULL
#define DAY (86400 * SECOND)
#define WEEK (7 * DAY)
#define TIME_MAX (30 * DAY) /* fits 32 bits of ms, as the proxy keeps them */
#define MANY 10000000
#define RATE_MAX 1000000 /* requests a second; the proxy counts time in steps that fit some of them */

#define FIELD(type, member) .offset = offsetof(struct type, member)
#define RANGE(low, high) .least = (low), .most = (high)
#define LATER(text)                     \
    {                                   \
        .name = text, .kind = KEY_LATER \
    }
/* KEY_SECTIONS puts the count right behind the pointer. */
#define COUNT_FOLLOWS(type, pointer, count) \
    _Static_assert(offsetof(struct type, count) == offsetof(struct type, pointer) + sizeof(void *), "")

extern const struct section_word keys_tls_minimums[];
extern const struct section keys_listener, keys_service;
/* Of a service: */
extern const struct section keys_uptests, keys_shadow, keys_watch, keys_drain, keys_launch, keys_teardown;
