/* random: cheap random numbers of one worker, for balancing, jitter and request ids. Not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[2];
};

/* From the kernel; once a worker. */
void random_seed(struct random *random);

uint64_t random_next(struct random *random);

/* 0 to below - 1; below is not 0. */
uint32_t random_below(struct random *random, uint32_t below);

#define RANDOM_ID_SIZE 32 /* bytes; no NUL */

/* Writes 128 random bits in hex. */
void random_id(struct random *random, char out[RANDOM_ID_SIZE]);

/* The same with half as many, and never only zeros. */
void random_half_id(struct random *random, char out[RANDOM_ID_SIZE / 2]);
