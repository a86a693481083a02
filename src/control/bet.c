/* Logarithms of capitals, so that years of losses and days of gains both fit. Invariant: nothing is ever
 * added but the stakes and what a fair game pays; every other rule takes something away. */
#include "control/bet.h"

#include <math.h>

/* f of each game: the first is best where every request fails, the last where one in a hundred does, in
 * slices of few requests. */
static const double fractions[BETS] = {0.9, 0.45, 0.225, 0.1125, 0.05625, 0.028125};

/* What may be won at once, and each second, in nats. To get from nothing to 11.5 takes 2.7 s then. */
#define BET_JUMP 2.0
#define BET_RATE 3.5

/* log(exp(a) + exp(b)) */
static double add(double a, double b)
{
    double most = fmax(a, b), least = fmin(a, b);
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

static double gain(unsigned game, const struct bet_slice *slice)
{
    double pays = slice->weight * (slice->share / slice->limit - 1);
    return log1p(fractions[game] * pays) / slice->clump;
}

void bet_begin(struct bet *bet, double stake)
{
    for (unsigned i = 0; i < BETS; i++)
        bet->ceiling[i] = BET_JUMP + (bet->nats[i] = log(stake / BETS));
}

static void win(struct bet *bet, unsigned game, double nats, double seconds)
{
    double ceiling = fmin(bet->ceiling[game], bet->nats[game] + BET_JUMP) + BET_RATE * seconds;
    bet->nats[game] = fmin(bet->nats[game] + nats, ceiling);
    bet->ceiling[game] = ceiling;
}

void bet_take(struct bet *bet, const struct bet_slice *slice, double stake)
{
    for (unsigned i = 0; i < BETS; i++) {
        bet->nats[i] = add(bet->nats[i], log(stake / BETS));
        win(bet, i, gain(i, slice), slice->seconds);
    }
}

double bet_evidence(const struct bet *bet)
{
    double sum = -INFINITY;
    for (unsigned i = 0; i < BETS; i++)
        sum = add(sum, bet->nats[i]);
    return sum;
}
