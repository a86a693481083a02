/* The counters' memory: one page of header, then a block a worker, on pages of its own. Sizes are sealed, and
 * what is read from the header is checked and copied once, so a writer gone mad can spoil numbers only. */
#include "link/counters.h"

#include "base/mem.h"
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
#define LAYOUT 9
#define PAGE 4096
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

_Static_assert(COUNTERS_POOLS == SNAPSHOT_POOL_SLOTS, "a snapshot names no slot that is not there");
_Static_assert(COUNTERS_INSTANCES == SNAPSHOT_INSTANCE_SLOTS, "a snapshot names no slot that is not there");
_Static_assert(COUNTERS_LISTENERS == SNAPSHOT_LISTENERS_MAX,
               "a snapshot names no listener that is not there");

struct block {
    struct counters_worker worker;
    struct counters_pool pools[COUNTERS_POOLS];
    struct counters_instance instances[COUNTERS_INSTANCES];
} __attribute__((aligned(PAGE)));

/* At the beginning of the first page. */
struct header {
    uint64_t magic;
    uint64_t layout;
    uint64_t workers;
    uint64_t block_size; /* another build may count other things */
    uint64_t proxy;      /* whose gauges they are: its pid; 0: nobody's yet */
};

struct counters {
    char *memory; /* the mapping */
    struct block *blocks;
    size_t size;
    unsigned workers;
    int fd; /* to find the pages that are in use */
};

const char *const counters_flood_names[COUNTERS_FLOODS] = {
    [COUNTERS_RESETS] = "reset-flood",
    [COUNTERS_PINGS] = "ping-flood",
    [COUNTERS_SETTINGS] = "settings-flood",
    [COUNTERS_PRIORITIES] = "priority-flood",
    [COUNTERS_EMPTY_FRAMES] = "empty-frame-flood",
    [COUNTERS_WINDOW_UPDATES] = "window-flood",
    [COUNTERS_CONTINUATIONS] = "continuation-flood",
    [COUNTERS_HEADER_LIST] = "header-list-flood",
};

const char *const counters_error_names[COUNTERS_ERRORS] = {
    [COUNTERS_CONNECT_REFUSED] = "connect_refused",
    [COUNTERS_CONNECT_TIMEOUT] = "connect_timeout",
    [COUNTERS_CONNECT_OTHER] = "connect_other",
    [COUNTERS_CLOSED_EARLY] = "closed_early",
    [COUNTERS_BAD_RESPONSE] = "bad_response",
    [COUNTERS_FIRST_BYTE_TIMEOUT] = "first_byte_timeout",
    [COUNTERS_STALL] = "stall",
};

const char *const counters_lasting_names[COUNTERS_LASTING] = {
    [COUNTERS_STREAM] = "stream",
    [COUNTERS_WEBSOCKET] = "websocket",
    [COUNTERS_TUNNEL] = "tunnel",
};

const char *const counters_handshake_names[COUNTERS_HANDSHAKES] = {"full", "resumed", "failed"};

const uint16_t counters_refused_codes[COUNTERS_REFUSED] = {400, 404, 408, 413, 429, 431, 501, 503, 0};

unsigned counters_refused(unsigned status)
{
    unsigned cell = 0;
    while (cell < COUNTERS_REFUSED - 1 && counters_refused_codes[cell] != status)
        cell++;
    return cell;
}

static size_t size_for(unsigned workers)
{
    return PAGE + workers * sizeof(struct block);
}

static bool is_worker_count(uint64_t workers)
{
    return workers >= 1 && workers <= COUNTERS_WORKERS_MAX;
}

static bool put_header(int fd, unsigned workers)
{
    const struct header header = {
        .magic = MAGIC, .layout = LAYOUT, .workers = workers, .block_size = sizeof(struct block)};
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
    int fd = memfd_create("upswap-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
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
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    void *memory = own < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    if (memory == MAP_FAILED) {
        err_set(err, "cannot map the counters' %zu bytes: %s", size, strerror(errno));
        if (own >= 0)
            close(own);
        return NULL;
    }
    struct counters *counters = mem_alloc(sizeof *counters);
    *counters = (struct counters){memory, (struct block *)((char *)memory + PAGE), size, workers, own};
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

static struct block *block_of(struct counters *counters, unsigned worker)
{
    assert(worker < counters->workers);
    return counters->blocks + worker;
}

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

void counters_pool_sum(struct counters *counters, uint32_t slot, struct counters_pool *sum)
{
    memset(sum, 0, sizeof *sum);
    for (unsigned i = 0; i < counters->workers; i++)
        add_cells((uint64_t *)sum, (const uint64_t *)counters_pool(counters, i, slot), CELLS(*sum));
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
    for (unsigned i = 0; i < counters->workers; i++)
        add_cells((uint64_t *)sum, (const uint64_t *)counters_instance(counters, i, slot), CELLS(*sum));
}

struct counters_pause counters_pause_sum(struct counters *counters, uint32_t slot)
{
    struct counters_pause sum = {0, 0};
    for (unsigned i = 0; i < counters->workers; i++) {
        const struct counters_pause *cells = &counters_worker(counters, i)->pauses[slot];
        sum.waiting += counters_read(&cells->waiting);
        sum.bytes += counters_read(&cells->bytes);
    }
    return sum;
}

uint64_t counters_pool_begun(struct counters *counters, uint32_t slot)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < counters->workers; i++) {
        const struct counters_pool *pool = counters_pool(counters, i, slot);
        sum += counters_read(&pool->in_flight) + counters_read(&pool->requests);
    }
    return sum;
}

/* What becomes lasting is counted as such after it was in flight, and ends as such before: so the one that
 * is read first may be too low, and a request is not overlooked. */
uint64_t counters_pool_in_requests(struct counters *counters, uint32_t slot)
{
    uint64_t lasting = 0;
    for (unsigned i = 0; i < counters->workers; i++) {
        for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
            lasting += counters_read(&counters_pool(counters, i, slot)->lasting[class]);
    }
    uint64_t in_flight = counters_pool_in_flight(counters, slot);
    return in_flight > lasting ? in_flight - lasting : 0;
}

uint64_t counters_pool_in_flight(struct counters *counters, uint32_t slot)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < counters->workers; i++)
        sum += counters_read(&counters_pool(counters, i, slot)->in_flight);
    return sum;
}

uint64_t counters_pool_choosing(struct counters *counters, uint32_t slot)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < counters->workers; i++)
        sum += counters_read(&counters_pool(counters, i, slot)->choosing);
    return sum;
}

uint64_t counters_instance_in_flight(struct counters *counters, uint32_t slot)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < counters->workers; i++)
        sum += counters_read(&counters_instance(counters, i, slot)->in_flight);
    return sum;
}

uint64_t counters_instance_ejected_until_ms(struct counters *counters, uint32_t slot)
{
    uint64_t latest = 0;
    for (unsigned i = 0; i < counters->workers; i++) {
        uint64_t until = counters_read(&counters_instance(counters, i, slot)->ejected_until_ms);
        latest = until > latest ? until : latest;
    }
    return latest;
}

uint64_t counters_version(struct counters *counters)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned i = 0; i < counters->workers; i++) {
        uint64_t version = counters_read(&counters_worker(counters, i)->version);
        oldest = version < oldest ? version : oldest;
    }
    return oldest;
}

void counters_clear_pool(struct counters *counters, uint32_t slot)
{
    for (unsigned i = 0; i < counters->workers; i++)
        clear_cells((uint64_t *)counters_pool(counters, i, slot), CELLS(struct counters_pool));
}

void counters_clear_instance(struct counters *counters, uint32_t slot)
{
    for (unsigned i = 0; i < counters->workers; i++)
        clear_cells((uint64_t *)counters_instance(counters, i, slot), CELLS(struct counters_instance));
}

static void reset_pool(void *record)
{
    struct counters_pool *pool = record;
    clear_cells(&pool->in_flight, 1);
    clear_cells(&pool->choosing, 1);
    clear_cells(pool->lasting, COUNTERS_LASTING);
    clear_cells(&pool->queued, 1);
}

static void reset_instance(void *record)
{
    struct counters_instance *instance = record;
    clear_cells(&instance->in_flight, 1);
    clear_cells(&instance->connections, 1);
    clear_cells(&instance->ejected_until_ms, 1);
}

_Static_assert(offsetof(struct counters_pool, lasting) + sizeof(uint64_t[COUNTERS_LASTING]) <= 64,
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

static void reset_gauges(struct counters *counters)
{
    for (unsigned i = 0; i < counters->workers; i++) {
        struct block *block = counters->blocks + i;
        clear_cells(&block->worker.version, 1);
        clear_cells(block->worker.connections, COUNTERS_LISTENERS);
        clear_cells(&block->worker.pauses[0].waiting, COUNTERS_PAUSES * CELLS(struct counters_pause));
        reset_used(counters, block->pools, sizeof *block->pools, COUNTERS_POOLS, reset_pool);
        reset_used(counters, block->instances, sizeof *block->instances, COUNTERS_INSTANCES, reset_instance);
    }
}

void counters_give(struct counters *counters, int32_t proxy)
{
    struct header *header = (struct header *)counters->memory;
    if (header->proxy == (uint64_t)proxy)
        return;
    reset_gauges(counters);
    header->proxy = (uint64_t)proxy;
}
