/* record: one line of the journal: what was decided. A JSON object with its number, its time and a checksum
 * over all that stands before it: {"seq":7,"time":"...",...,"crc":"89abcdef"}. */
#pragma once

#include "base/str.h"
#include "deploy/registry.h"

enum record_type {
    RECORD_POOL,  /* a pool in whatever state: staged, the first one of a service, or kept by a compaction */
    RECORD_EVENT, /* something happened to a deployment */
    RECORD_ADDED, /* a launch has printed an instance */
    RECORD_ROTATED,   /* live instances were taken out of rotation or back in */
    RECORD_RETIRED,   /* instances of a draining pool get nothing any more: teardown follows */
    RECORD_TORN_DOWN, /* and has ended */
    RECORD_MODE,      /* a service is served from now on, or not */
    RECORD_WORLD,     /* a version of the world was used for something else: a start, a reload */
    RECORD_TYPES
};

struct record {
    enum record_type type;
    uint64_t seq;
    uint64_t time_ns;   /* wall */
    uint64_t steady_ns; /* the same moment by the steady clock (base/clock.h); 0: it shows the same time */
    uint64_t world;     /* the version that is published after it; 0: none */
    char *pool;         /* name; for RECORD_POOL: NULL */

    struct pool *fresh; /* RECORD_POOL; the registry takes it and leaves NULL */
    char *service;      /* RECORD_POOL, RECORD_MODE */
    struct mode mode;   /* RECORD_MODE; its asker is the record's, its since_ns 0 the record's moment */

    enum deployment_event event; /* RECORD_EVENT */
    char *why;                   /* RECORD_EVENT, RECORD_WORLD: a sentence, or NULL */
    struct drain_times drain;    /* RECORD_EVENT with a world: of the pool that leaves with it, if any */
    struct asker asker;          /* RECORD_ROTATED and what was asked for by hand; uid -1, user "": nobody */

    struct instance *added; /* RECORD_ADDED; the registry takes what it holds */

    uint32_t *instances; /* by index: ROTATED, RETIRED, TORN_DOWN */
    size_t instance_count;
    bool out;              /* ROTATED: out of rotation */
    bool forced;           /* RETIRED */
    bool left;             /* RETIRED: and left alone, so that no teardown follows */
    enum teardown_end end; /* TORN_DOWN */
};

/* Starts a record; free with record_free. `pool` may be NULL. */
void record_init(struct record *record, enum record_type type, const char *pool);
void record_add_instance(struct record *record, size_t index);
/* For RECORD_ADDED: the instance, zeroed, to be filled in. */
struct instance *record_added(struct record *record);
/* Frees what it holds, not itself. */
void record_free(struct record *record);

/* The moment from which lengths of time are measured: by the steady clock. */
uint64_t record_moment_ns(const struct record *record);

/* The line, with its line end, to be freed. */
char *record_encode(const struct record *record, size_t *size);
/* Reads a line (without line end). False with a sentence if it is not exactly what record_encode writes. */
bool record_decode(struct str line, struct record *record, struct err *err) MUST_CHECK;

/* Is the line (without line end) as it was written, whatever stands in it? */
bool record_is_whole(struct str line);

/* The name's parts: "web-17" -> "web", 17. */
bool pool_name_parse(struct str name, struct str *service, uint64_t *number);
