#include "histogram.h"

/* The six bits from the highest one on: below 64 ns a cell is 1 ns wide. */
static unsigned cell_of(uint64_t ns)
{
    unsigned octave = ns < 64 ? 0 : 58 - (unsigned)__builtin_clzll(ns);
    return octave * 64 + (unsigned)(ns >> octave);
}

static uint64_t bound_of(unsigned cell)
{
    return ((uint64_t)(cell % 64) + 1) << cell / 64;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->cells[cell_of(ns)]++;
    histogram->count++;
    if (ns > histogram->longest)
        histogram->longest = ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;
    unsigned cell = 0;
    while (cell < HISTOGRAM_CELLS - 1 && (seen += histogram->cells[cell]) <= wanted)
        cell++;
    uint64_t bound = bound_of(cell);
    return bound < histogram->longest ? bound : histogram->longest;
}
