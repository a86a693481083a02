/* thread: how threads beside a loop begin. Signals are the loop's: none is delivered to them. SIGXFSZ,
 * blocked too, leaves a plain EFBIG. */
#pragma once

#include <pthread.h>

/* Returns 0 or the error. Who does not wait for its end gives NULL for `thread`: it is detached then. */
int thread_begin(pthread_t *thread, void *(*run)(void *arg), void *arg);
