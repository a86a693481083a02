#include "base/clock.h"

#include "base/fault.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define NS_PER_SECOND 1000000000ULL
#define NS_PER_MS 1000000ULL
#define NOISE_NS 100000000 /* between the wall and the steady clock */

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* ---- the wall clock ---- */

#ifdef FAULT_POINTS
#define DAY_NS (86400 * NS_PER_SECOND)

static _Atomic uint64_t was_set_by_ns;

void clock_may_be_set(void)
{
    if (fault_fails("clock.forward", 0))
        was_set_by_ns += DAY_NS;
    if (fault_fails("clock.back", 0))
        was_set_by_ns -= DAY_NS;
}
#else
#define was_set_by_ns 0
#endif

uint64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME) + was_set_by_ns;
}

/* ---- the steady clock ---- */

static _Atomic uint64_t steady_ahead_ns; /* 0: not known yet */

void clock_steady_set(uint64_t ahead_ns)
{
    steady_ahead_ns = ahead_ns;
}

uint64_t clock_steady_ahead_ns(void)
{
    if (steady_ahead_ns == 0) {
        uint64_t wall_ns = clock_wall_ns(), mono_ns = clock_mono_ns();
        steady_ahead_ns = wall_ns > mono_ns ? wall_ns - mono_ns : 1; /* a machine may believe it is 1970 */
    }
    return steady_ahead_ns;
}

uint64_t clock_steady_ns(void)
{
    return clock_mono_ns() + clock_steady_ahead_ns();
}

int64_t clock_set_by_ns(void)
{
    static _Atomic int64_t set_by_ns; /* stays for small differences, so that it does not tremble */
    int64_t apart_ns = (int64_t)(clock_wall_ns() - clock_steady_ns()), more_ns = apart_ns - set_by_ns;
    if (more_ns > NOISE_NS || more_ns < -NOISE_NS)
        set_by_ns = apart_ns - apart_ns % (int64_t)NS_PER_MS;
    return set_by_ns;
}

/* ---- as text ---- */

char *clock_text(uint64_t wall_ns, char out[CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)(wall_ns / NS_PER_SECOND);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_TEXT_SIZE - n, ".%03uZ", (unsigned)(wall_ns % NS_PER_SECOND / NS_PER_MS));
    return out;
}

bool clock_parse(struct str text, uint64_t *wall_ns)
{
    if (text.n != CLOCK_TEXT_SIZE - 1)
        return false;
    char copy[CLOCK_TEXT_SIZE];
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    struct tm tm = {0};
    const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    uint64_t ms;
    if (rest == NULL || rest[0] != '.' || rest[4] != 'Z' || !str_to_u64((struct str){rest + 1, 3}, &ms))
        return false;
    *wall_ns = (uint64_t)timegm(&tm) * NS_PER_SECOND + ms * NS_PER_MS;
    return true;
}
