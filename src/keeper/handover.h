/* handover: what the keeper takes with it through an exec, in a memory file. Beside it go the descriptors
 * that it names, by their numbers. A program refuses one of another layout, before it is executed for good.
 */
#pragma once

#include "base/err.h"
#include "keeper/store.h"
#include "link/message.h"

#include <stdbool.h>
#include <stdint.h>

#define HANDOVER_PATH_MAX 4096
#define HANDOVER_PROXIES 4 /* as many as there are generations of counters */
/* Where the new program finds the number of the memory file. */
#define HANDOVER_VARIABLE "UPSWAP_HANDOVER"
/* What a program says that can take over, in front of its version. */
#define HANDOVER_GREETING "upswapd takes over as "

/* A process and its descriptors; -1: none. */
struct handover_role {
    int32_t pid;     /* 0: does not run */
    int32_t channel; /* the keeper's end */
    uint32_t starts;
    /* Of a proxy: */
    int32_t control_end, proxy_end; /* of the channel between it and control */
    uint32_t generation;
    uint32_t finishes;    /* it is told to */
    uint64_t finished_ms; /* monotonic: when it must have ended; 0: it is not told to */
};

struct handover {
    char version[MESSAGE_RELEASE_MAX];    /* of the program that hands over */
    char program_path[HANDOVER_PATH_MAX]; /* where the next one is looked for */
    int32_t program;                      /* the program that hands over, opened with O_PATH */
    struct message_ready ready;
    struct handover_role control;
    struct handover_role proxies[HANDOVER_PROXIES]; /* the one that accepts, then those that finish */
    uint32_t proxy_count;
    uint32_t is_return;                /* the program that was to take over gives back */
    char sentence[sizeof(struct err)]; /* of a return: why */
};

/* Writes it, and what the store holds. Returns the memory file, or -1. */
int handover_write(const struct handover *handover, const struct store *store, struct err *err) MUST_CHECK;
/* Can this program read it? */
bool handover_check(int fd, struct err *err) MUST_CHECK;
/* The same, and takes it: `store` owns its descriptors from now on. */
bool handover_read(int fd, struct handover *handover, struct store *store, struct err *err) MUST_CHECK;
/* Lets the descriptors that it names pass an exec, or not. */
void handover_keep(const struct handover *handover, const struct store *store, bool keep);
