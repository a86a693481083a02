/* The counters' memory: one page of header, then a block a worker of each generation, on pages of its own.
 * Sizes are sealed, and what is read from the header is checked and copied once, so a writer gone mad can
 * spoil numbers only. */
#include "link/counters.h"

#include "base/fault.h"
#include "base/mem.h"
#include "link/shadow.h"
#include "route/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x73746e756f437075ULL /* "upCounts" */
#define LAYOUT 13
#define PAGE 4096
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

_Static_assert(COUNTERS_POOLS == SNAPSHOT_POOL_SLOTS, "a snapshot names no slot that is not there");
_Static_assert(COUNTERS_INSTANCES == SNAPSHOT_INSTANCE_SLOTS, "a snapshot names no slot that is not there");
_Static_assert(COUNTERS_LISTENERS == SNAPSHOT_LISTENERS_MAX,
               "a snapshot names no listener that is not there");
_Static_assert(COUNTERS_POOLS % COUNTERS_GROUP == 0, "each slot is in a group");

struct block {
    struct counters_worker worker;
    struct counters_pool pools[COUNTERS_POOLS];
    struct counters_instance instances[COUNTERS_INSTANCES];
    struct shadow_cells shadows[COUNTERS_POOLS]; /* pages that hardly ever are used, and then few */
} __attribute__((aligned(PAGE)));

/* At the beginning of the first page. */
struct header {
    uint64_t magic;
    uint64_t layout;
    uint64_t workers;
    uint64_t block_size; /* another build may count other things */
    struct {
        uint64_t proxy;  /* whose gauges they are: its pid; 0: nobody's yet */
        uint64_t absent; /* no proxy is there */
        uint64_t unused; /* nobody has ever written there */
    } generations[COUNTERS_GENERATIONS];
    uint64_t last_event; /* 0 in the memory of an older program, which is of this layout too */
};

struct counters {
    char *memory; /* the mapping */
    struct block *blocks;
    size_t size;
    unsigned workers;    /* of a generation */
    unsigned generation; /* whose records are meant */
    int fd;              /* to find the pages that are in use */
};

static size_t size_for(unsigned workers)
{
    return PAGE + (size_t)workers * COUNTERS_GENERATIONS * sizeof(struct block);
}

static bool is_worker_count(uint64_t workers)
{
    return workers >= 1 && workers <= COUNTERS_WORKERS_MAX;
}

static bool put_header(int fd, unsigned workers)
{
    struct header header = {
        .magic = MAGIC, .layout = LAYOUT, .workers = workers, .block_size = sizeof(struct block)};
    for (unsigned i = 1; i < COUNTERS_GENERATIONS; i++)
        header.generations[i].absent = header.generations[i].unused = 1;
    return ftruncate(fd, (off_t)size_for(workers)) == 0 &&
           pwrite(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
           fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) == 0;
}

int counters_create(unsigned workers, struct err *err)
{
    if (!is_worker_count(workers)) {
        err_set(err, "counters for %u workers are not possible: from 1 to %d are", workers,
                COUNTERS_WORKERS_MAX);
        return -1;
    }
    int fd =
        FAULTY("counters.memfd", EMFILE, memfd_create("upswap-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd >= 0 && put_header(fd, workers))
        return fd;
    err_set(err, "cannot make the shared memory for counters of %u workers: %s", workers, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* The number of workers, or 0 and a sentence. Sealed first, so that what is checked stays true. */
static unsigned check_memory(int fd, struct err *err)
{
    struct stat status;
    struct header header;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) != 0) {
        err_set(err, "the counters' descriptor is no memory of fixed size");
        return 0;
    }
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header || header.magic != MAGIC ||
        header.layout != LAYOUT || header.block_size != sizeof(struct block)) {
        err_set(err, "the counters' memory has another layout than this program's: make it anew");
        return 0;
    }
    if (!is_worker_count(header.workers) || (uint64_t)status.st_size != size_for((unsigned)header.workers)) {
        err_set(err, "the counters' memory has %lld bytes, which is not what %llu workers need",
                (long long)status.st_size, (unsigned long long)header.workers);
        return 0;
    }
    return (unsigned)header.workers;
}

struct counters *counters_map(int fd, struct err *err)
{
    unsigned workers = check_memory(fd, err);
    if (workers == 0)
        return NULL;
    size_t size = size_for(workers);
    int own = FAULTY("counters.dup", EMFILE, fcntl(fd, F_DUPFD_CLOEXEC, 0));
    void *memory = own < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    if (memory == MAP_FAILED) {
        err_set(err, "cannot map the counters' %zu bytes: %s%s", size, strerror(errno),
                own < 0 ? "; raise the limit of open files"
                : errno == ENOMEM
                    ? "; raise the limit of address space (ulimit -v): what is not used takes no memory"
                    : "");
        if (own >= 0)
            close(own);
        return NULL;
    }
    struct counters *counters = mem_alloc(sizeof *counters);
    *counters = (struct counters){.memory = memory,
                                  .blocks = (struct block *)((char *)memory + PAGE),
                                  .size = size,
                                  .workers = workers,
                                  .fd = own};
    return counters;
}

void counters_unmap(struct counters *counters)
{
    munmap(counters->memory, counters->size);
    close(counters->fd);
    free(counters);
}

unsigned counters_workers(const struct counters *counters)
{
    return counters->workers;
}

void counters_use(struct counters *counters, unsigned generation)
{
    assert(generation < COUNTERS_GENERATIONS);
    counters->generation = generation;
}

static struct block *block_of(struct counters *counters, unsigned worker)
{
    assert(worker < counters->workers);
    return counters->blocks + counters->generation * counters->workers + worker;
}

static struct header *header_of(const struct counters *counters)
{
    return (struct header *)counters->memory;
}

uint64_t *counters_last_event(struct counters *counters)
{
    return &header_of(counters)->last_event;
}

/* The first block from this one on that anybody has ever written in; NULL: none. The others are holes, and to
 * read them would take memory. */
static struct block *used_from(const struct counters *counters, struct block *block)
{
    size_t at = (size_t)(block - counters->blocks);
    while (at < (size_t)counters->workers * COUNTERS_GENERATIONS) {
        size_t generation = at / counters->workers;
        if (counters_read(&header_of(counters)->generations[generation].unused) == 0)
            return counters->blocks + at;
        at = (generation + 1) * counters->workers;
    }
    return NULL;
}

#define FOREACH_USED(block, counters)                                                    \
    for (struct block *block = used_from(counters, (counters)->blocks); (block) != NULL; \
         (block) = used_from(counters, (block) + 1))

struct counters_worker *counters_worker(struct counters *counters, unsigned worker)
{
    return &block_of(counters, worker)->worker;
}

struct counters_pool *counters_pool(struct counters *counters, unsigned worker, uint32_t slot)
{
    assert(slot < COUNTERS_POOLS);
    return block_of(counters, worker)->pools + slot;
}

struct counters_instance *counters_instance(struct counters *counters, unsigned worker, uint32_t slot)
{
    assert(slot < COUNTERS_INSTANCES);
    return block_of(counters, worker)->instances + slot;
}

struct shadow_cells *counters_shadow(struct counters *counters, unsigned worker, uint32_t slot)
{
    assert(slot < COUNTERS_POOLS);
    return block_of(counters, worker)->shadows + slot;
}

/* An octave begins at each power of two from 2^FIRST_OCTAVE on and has 2^STEP_BITS buckets. */
#define FIRST_OCTAVE 7
#define STEP_BITS 2
#define STEPS (1U << STEP_BITS)

unsigned counters_bucket(uint64_t us)
{
    if (us >> FIRST_OCTAVE == 0)
        return 0;
    unsigned octave = 63 - (unsigned)__builtin_clzll(us);
    unsigned step = (unsigned)(us >> (octave - STEP_BITS)) % STEPS;
    unsigned bucket = (octave - FIRST_OCTAVE) * STEPS + step + 1;
    return bucket < COUNTERS_BUCKETS ? bucket : COUNTERS_BUCKETS - 1;
}

uint64_t counters_bucket_us(unsigned bucket)
{
    assert(bucket < COUNTERS_BUCKETS);
    if (bucket == COUNTERS_BUCKETS - 1)
        return UINT64_MAX;
    return (uint64_t)(STEPS + bucket % STEPS) << (FIRST_OCTAVE - STEP_BITS + bucket / STEPS);
}

/* Records are nothing but cells, so they are summed and cleared as such. */
#define CELLS(record) (sizeof(record) / sizeof(uint64_t))

static void add_cells(uint64_t *sum, const uint64_t *cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += counters_read(cells + i);
}

static void clear_cells(uint64_t *cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        __atomic_store_n(cells + i, 0, __ATOMIC_RELAXED);
}

/* The cells from `*at` to `*end` that lie on pages which were ever written to: sets both to the first run of
 * them. False: none is left. Others are 0, and to read or clear them would take memory for a hole. */
static bool next_used(const struct counters *counters, const char **at, const char **end)
{
    off_t data = lseek(counters->fd, *at - counters->memory, SEEK_DATA);
    if (data < 0 || data >= *end - counters->memory)
        return false;
    off_t hole = lseek(counters->fd, data, SEEK_HOLE);
    *at = counters->memory + data;
    if (hole > data && hole < *end - counters->memory)
        *end = counters->memory + hole;
    return true;
}

/* Calls `run` for each such run of cells of a pool's record; `first`: the number of its first cell there. */
static void each_used(const struct counters *counters, struct counters_pool *pool,
                      void (*run)(void *arg, uint64_t *cells, size_t first, size_t count), void *arg)
{
    const char *begin = (const char *)pool, *end = (const char *)(pool + 1);
    for (const char *at = begin, *until = end; next_used(counters, &at, &until); at = until, until = end) {
        size_t first = (size_t)(at - begin) / sizeof(uint64_t);
        run(arg, (uint64_t *)pool + first, first, (size_t)(until - at) / sizeof(uint64_t));
    }
}

static void add_run(void *arg, uint64_t *cells, size_t first, size_t count)
{
    add_cells((uint64_t *)arg + first, cells, count);
}

static void clear_run(void *arg, uint64_t *cells, size_t first, size_t count)
{
    (void)arg;
    (void)first;
    clear_cells(cells, count);
}

void counters_worker_sum(struct counters *counters, struct counters_worker *sum)
{
    memset(sum, 0, sizeof *sum);
    FOREACH_USED (block, counters)
        add_cells((uint64_t *)sum, (const uint64_t *)&block->worker, CELLS(*sum));
}

void counters_shadow_each(struct counters *counters, uint32_t slot,
                          void (*each)(void *arg, const struct shadow_cells *cells), void *arg)
{
    assert(slot < COUNTERS_POOLS);
    FOREACH_USED (block, counters)
        each(arg, &block->shadows[slot]);
}

void counters_pool_sum(struct counters *counters, uint32_t slot, struct counters_pool *sum)
{
    memset(sum, 0, sizeof *sum);
    assert(slot < COUNTERS_POOLS);
    FOREACH_USED (block, counters)
        each_used(counters, &block->pools[slot], add_run, sum);
}

uint64_t counters_pool_brief(const struct counters_pool *sum)
{
    uint64_t lasting = 0;
    for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
        lasting += sum->lasting[class];
    return sum->in_flight > lasting ? sum->in_flight - lasting : 0;
}

void counters_instance_sum(struct counters *counters, uint32_t slot, struct counters_instance *sum)
{
    memset(sum, 0, sizeof *sum);
    assert(slot < COUNTERS_INSTANCES);
    FOREACH_USED (block, counters)
        add_cells((uint64_t *)sum, (const uint64_t *)&block->instances[slot], CELLS(*sum));
}

struct counters_pause counters_pause_sum(struct counters *counters, uint32_t slot)
{
    struct counters_pause sum = {0, 0};
    FOREACH_USED (block, counters) {
        const struct counters_pause *cells = &block->worker.pauses[slot];
        sum.waiting += counters_read(&cells->waiting);
        sum.bytes += counters_read(&cells->bytes);
    }
    return sum;
}

void counters_groups_ended(struct counters *counters, uint64_t sums[COUNTERS_GROUPS])
{
    memset(sums, 0, COUNTERS_GROUPS * sizeof *sums);
    FOREACH_USED (block, counters)
        add_cells(sums, block->worker.ended, COUNTERS_GROUPS);
}

uint64_t counters_pool_ended(struct counters *counters, uint32_t slot)
{
    uint64_t sum = 0;
    FOREACH_USED (block, counters)
        sum += counters_read(&block->pools[slot].requests);
    return sum;
}

/* The sum of the pool's cell at this offset. */
static uint64_t pool_gauge(struct counters *counters, uint32_t slot, size_t offset)
{
    uint64_t sum = 0;
    assert(slot < COUNTERS_POOLS);
    FOREACH_USED (block, counters)
        sum += counters_read((const uint64_t *)(const void *)((const char *)&block->pools[slot] + offset));
    return sum;
}

/* What becomes lasting is counted as such after it was in flight, and ends as such before: so the one that
 * is read first may be too low, and a request is not overlooked. */
uint64_t counters_pool_in_requests(struct counters *counters, uint32_t slot)
{
    uint64_t lasting = 0;
    FOREACH_USED (block, counters) {
        for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
            lasting += counters_read(&block->pools[slot].lasting[class]);
    }
    uint64_t in_flight = counters_pool_in_flight(counters, slot);
    return in_flight > lasting ? in_flight - lasting : 0;
}

uint64_t counters_pool_in_flight(struct counters *counters, uint32_t slot)
{
    return pool_gauge(counters, slot, offsetof(struct counters_pool, in_flight));
}

uint64_t counters_pool_warming(struct counters *counters, uint32_t slot)
{
    return pool_gauge(counters, slot, offsetof(struct counters_pool, warming));
}

uint64_t counters_pool_choosing(struct counters *counters, uint32_t slot)
{
    return pool_gauge(counters, slot, offsetof(struct counters_pool, choosing));
}

uint64_t counters_instance_in_flight(struct counters *counters, uint32_t slot)
{
    uint64_t sum = 0;
    assert(slot < COUNTERS_INSTANCES);
    FOREACH_USED (block, counters)
        sum += counters_read(&block->instances[slot].in_flight);
    return sum;
}

uint64_t counters_instance_ejected_until_ms(struct counters *counters, uint32_t slot)
{
    uint64_t latest = 0;
    assert(slot < COUNTERS_INSTANCES);
    FOREACH_USED (block, counters) {
        uint64_t until = counters_read(&block->instances[slot].ejected_until_ms);
        latest = until > latest ? until : latest;
    }
    return latest;
}

/* The oldest and the newest version of workers that are there. One that has ended, while others of its proxy
 * finish, has no oldest. */
static void versions(const struct counters *counters, uint64_t *oldest, uint64_t *newest)
{
    const struct header *header = header_of(counters);
    *oldest = UINT64_MAX;
    *newest = 0;
    for (unsigned i = 0; i < counters->workers * COUNTERS_GENERATIONS; i++) {
        if (counters_read(&header->generations[i / counters->workers].absent) != 0)
            continue;
        uint64_t version = counters_read(&counters->blocks[i].worker.version);
        *oldest = version < *oldest ? version : *oldest;
        *newest = version > *newest && version != COUNTERS_ENDED ? version : *newest;
    }
}

uint64_t counters_version(struct counters *counters)
{
    uint64_t oldest, newest;
    versions(counters, &oldest, &newest);
    return oldest;
}

uint64_t counters_newest(struct counters *counters)
{
    uint64_t oldest, newest;
    versions(counters, &oldest, &newest);
    return newest;
}

bool counters_pool_is_busy(struct counters *counters, uint32_t slot)
{
    assert(slot < COUNTERS_POOLS);
    FOREACH_USED (block, counters) {
        const uint64_t *in_flight = &block->pools[slot].in_flight;
        const char *at = (const char *)in_flight, *end = (const char *)(in_flight + 1);
        if (next_used(counters, &at, &end) &&
            (counters_read(in_flight) > 0 || counters_read(&block->pools[slot].warming) > 0))
            return true;
    }
    return false;
}

bool counters_instance_is_busy(struct counters *counters, uint32_t slot)
{
    assert(slot < COUNTERS_INSTANCES);
    FOREACH_USED (block, counters) {
        const struct counters_instance *cells = &block->instances[slot];
        if (counters_read(&cells->in_flight) > 0 || counters_read(&cells->connections) > 0)
            return true;
    }
    return false;
}

void counters_clear_pool(struct counters *counters, uint32_t slot)
{
    assert(slot < COUNTERS_POOLS);
    FOREACH_USED (block, counters)
        each_used(counters, &block->pools[slot], clear_run, NULL);
}

void counters_clear_instance(struct counters *counters, uint32_t slot)
{
    assert(slot < COUNTERS_INSTANCES);
    FOREACH_USED (block, counters)
        clear_cells((uint64_t *)&block->instances[slot], CELLS(struct counters_instance));
}

static void reset_pool(void *record)
{
    struct counters_pool *pool = record;
    clear_cells(&pool->in_flight, 1);
    clear_cells(&pool->choosing, 1);
    clear_cells(pool->lasting, COUNTERS_LASTING);
    clear_cells(&pool->queued, 1);
    clear_cells(&pool->warming, 1);
}

static void reset_instance(void *record)
{
    struct counters_instance *instance = record;
    clear_cells(&instance->in_flight, 1);
    clear_cells(&instance->connections, 1);
    clear_cells(&instance->ejected_until_ms, 1);
}

_Static_assert(offsetof(struct counters_pool, warming) + sizeof(uint64_t) <= 64,
               "a pool's gauges lie in one page");
_Static_assert(sizeof(struct counters_instance) == 64, "an instance's gauges lie in one page");

/* Only pages that were ever used are touched: reading a hole of shared memory would take a page for it. A
 * record whose beginning, where its gauges are, lies in a hole has none to reset. */
static void reset_used(struct counters *counters, void *records, size_t size, size_t count,
                       void (*reset)(void *record))
{
    off_t start = (char *)records - counters->memory;
    off_t end = start + (off_t)(size * count), data = start, hole;
    while ((data = lseek(counters->fd, data, SEEK_DATA)) >= 0 && data < end) {
        hole = lseek(counters->fd, data, SEEK_HOLE);
        assert(hole > data);
        for (size_t i = ((size_t)(data - start) + size - 1) / size;
             i < count && start + (off_t)(i * size) < hole; i++)
            reset((char *)records + i * size);
        data = hole;
    }
}

static void reset_gauges(struct counters *counters, unsigned generation)
{
    for (unsigned i = 0; i < counters->workers; i++) {
        struct block *block = counters->blocks + generation * counters->workers + i;
        clear_cells(&block->worker.version, 1);
        clear_cells(block->worker.connections, COUNTERS_LISTENERS);
        clear_cells(&block->worker.pauses[0].waiting, COUNTERS_PAUSES * CELLS(struct counters_pause));
        reset_used(counters, block->pools, sizeof *block->pools, COUNTERS_POOLS, reset_pool);
        reset_used(counters, block->instances, sizeof *block->instances, COUNTERS_INSTANCES, reset_instance);
    }
}

/* It is there before it is called present: a version of 0 holds up whoever asks. */
void counters_give(struct counters *counters, unsigned generation, int32_t proxy)
{
    assert(generation < COUNTERS_GENERATIONS);
    struct header *header = header_of(counters);
    if (header->generations[generation].proxy == (uint64_t)proxy)
        return;
    reset_gauges(counters, generation);
    header->generations[generation].proxy = (uint64_t)proxy;
    __atomic_store_n(&header->generations[generation].unused, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&header->generations[generation].absent, 0, __ATOMIC_RELEASE);
}

void counters_end(struct counters *counters, unsigned generation)
{
    assert(generation < COUNTERS_GENERATIONS);
    struct header *header = header_of(counters);
    if (header->generations[generation].unused != 0)
        return;
    header->generations[generation].proxy = 0;
    reset_gauges(counters, generation);
    __atomic_store_n(&header->generations[generation].absent, 1, __ATOMIC_RELEASE);
}
