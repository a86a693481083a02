#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define NS_PER_SECOND 1000000000ULL
#define NS_PER_MS 1000000ULL

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

uint64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

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
