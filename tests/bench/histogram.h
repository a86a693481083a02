/* histogram: times in ns, counted in cells that are at most a thirty-second of it wide. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_CELLS (64 * 64)

struct histogram {
    uint64_t cells[HISTOGRAM_CELLS];
    uint64_t count, longest;
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* The upper bound of the cell below or in which this share (0 to 1) of all times is. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);
