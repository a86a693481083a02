/* bet: a test of the claim "on average, at most this share of the requests is bad", which may be looked at as
 * often as one likes. Pure.
 *
 * It is a game that pays fairly as long as the claim is true: before each slice of requests a part of the
 * capital is put on "the share in this slice is above the limit", so a slice with the share X multiplies it
 * by 1 + f * (X / limit - 1). Who plays a game that is at best fair has, with probability 1 - 1/K, never in
 * the whole game K times his first capital (Ville's inequality). So a capital of K is evidence against the
 * claim, no matter when it is reached. See Waudby-Smith and Ramdas, "Estimating means of bounded random
 * variables by betting" (JRSS B, 2024). Only the average of X matters, not how its requests hang together: a
 * burst of errors within a slice breaks nothing. And it is the average over requests, not over slices: of a
 * slice with half as many requests as slices have at most, half as much is put on.
 *
 * Several such games with different f run side by side on equal parts of the capital, since the best f
 * depends on what is to be found. And no game's capital may grow faster than by BET_RATE nats a second (see
 * bet.c): what lasts a second or two is an accident, not a release. */
#pragma once

#define BETS 6

struct bet {
    double nats[BETS];    /* natural logarithm of the capital; the whole that is ever put in is 1 */
    double ceiling[BETS]; /* what it may not exceed */
};

/* Begins with this share of the capital, above 0. */
void bet_begin(struct bet *bet, double stake);

/* What is bet on. */
struct bet_slice {
    double share;   /* of its requests that was bad */
    double limit;   /* of the claim, above 0 */
    double weight;  /* 1: what it has of requests is the most that a slice has; half of it: 0.5 */
    double clump;   /* so many slices in a row may hang together (1: none do); gains and losses are divided by
                     * it, which is fair again by Hoelder's inequality */
    double seconds; /* since the slice before */
};

/* One more slice, and what is put in before it, so that evidence can also begin here. */
void bet_take(struct bet *bet, const struct bet_slice *slice, double stake);

/* The evidence in nats: logarithm of the whole capital. While the claim is true, and all stakes come to at
 * most 1, it ever reaches x with a probability of at most exp(-x). */
double bet_evidence(const struct bet *bet);
