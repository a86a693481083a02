/* What the main thread of a proxy does, and what the thread of a worker would do. */
#include "plane.h"

#include "base/mem.h"
#include "io/listener.h"
#include "io/wheel.h"
#include "plane/h2_tools.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define TURNS_MOST 400 /* till all is settled; each moves the clock by: */
#define TURN_MS 100

static struct worker *worker;
static struct counters *counters;
static uint16_t port;
static int listening[PLANE_INSTANCES];
static struct sockaddr_in addresses[PLANE_INSTANCES];
static uint64_t now_ms = 1000000;
static bool is_starting; /* the worker: no thread is made */
static uint64_t lent;    /* when nothing is under way */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
uint64_t __wrap_clock_mono_ns(void);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    return is_starting ? 0 : __real_pthread_create(thread, attr, run, arg);
}

uint64_t __wrap_clock_mono_ns(void)
{
    return now_ms * 1000000;
}

/* ---- turns ---- */

static void stop_the_loop(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(worker->loop);
}

void plane_turn(void)
{
    struct loop_deferred stopping = {.run = stop_the_loop};
    loop_defer(worker->loop, &stopping);
    loop_run(worker->loop);
}

void plane_advance(uint64_t ms)
{
    now_ms += ms;
    wheel_turn(loop_wheel(worker->loop), now_ms);
    plane_turn();
}

static bool is_idle(void)
{
    for (unsigned i = 0; i < PLANE_INSTANCES; i++) {
        const struct counters_instance *cells = counters_instance(counters, 0, i + 1);
        if (cells->in_flight != 0 || cells->connections != 0)
            return false;
    }
    return worker->client_count == 0 && TAILQ_EMPTY(&worker->exchanges) && worker->buffers->lent == lent;
}

void plane_settle(void)
{
    for (unsigned i = 0; i < TURNS_MOST && !is_idle(); i++) {
        int fd;
        plane_advance(TURN_MS);
        while ((fd = plane_accept(PLANE_HTTP1)) >= 0 || (fd = plane_accept(PLANE_HTTP2)) >= 0)
            plane_close(fd);
    }
    fuzz_check(worker->client_count == 0);
    fuzz_check(TAILQ_EMPTY(&worker->exchanges));
    fuzz_check(worker->buffers->lent == lent);
    fuzz_check(is_idle());
    plane_turn(); /* what was deferred is freed */
}

/* ---- sockets ---- */

void plane_close(int fd)
{
    const struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

int plane_client(void)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fuzz_check(fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

int plane_accept(enum plane_instance which)
{
    return accept4(listening[which], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void listen_as_instance(unsigned i)
{
    struct sockaddr_in *name = &addresses[i];
    socklen_t length = sizeof *name;
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    listening[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    fuzz_check(bind(listening[i], (struct sockaddr *)name, length) == 0 && listen(listening[i], 128) == 0);
    fuzz_check(getsockname(listening[i], (struct sockaddr *)name, &length) == 0);
}

/* ---- the worker and its world ---- */

static void order(const struct order *order)
{
    struct order *copy = mem_alloc(sizeof *copy);
    *copy = *order;
    worker_order(worker, copy);
}

static void *freeze(size_t *size)
{
    static const char *const hosts[PLANE_INSTANCES] = {"a", "b"}, *const root = "/";
    struct snapshot_instance_spec instances[PLANE_INSTANCES];
    struct snapshot_pool_spec pools[PLANE_INSTANCES];
    struct snapshot_service_spec services[PLANE_INSTANCES];
    struct snapshot_listener_spec listener = {.id = 1, .address = "127.0.0.1:0"};
    struct snapshot_spec spec = {.version = 1,
                                 .listeners = &listener,
                                 .listener_count = 1,
                                 .services = services,
                                 .service_count = PLANE_INSTANCES,
                                 .pools = pools,
                                 .pool_count = PLANE_INSTANCES};
    struct err err;
    spec.settings = (struct snapshot_settings){.head_max = 4096,
                                               .fields_max = 64,
                                               .head_ms = 5000,
                                               .idle_ms = 5000,
                                               .body_max = 65536,
                                               .http2 = {.streams = 8,
                                                         .window = 65535,
                                                         .resets = 20,
                                                         .pings = 20,
                                                         .settings = 20,
                                                         .priorities = 20,
                                                         .empty_frames = 20,
                                                         .window_updates = 50,
                                                         .continuations = 4}};
    for (uint32_t i = 0; i < PLANE_INSTANCES; i++) {
        instances[i] = (struct snapshot_instance_spec){.name = hosts[i],
                                                       .address = (struct sockaddr *)&addresses[i],
                                                       .address_length = sizeof addresses[i],
                                                       .id = i + 1,
                                                       .slot = i + 1};
        pools[i] = (struct snapshot_pool_spec){.deployment = hosts[i],
                                               .release = "",
                                               .number = 1,
                                               .slot = i + 1,
                                               .instances = &instances[i],
                                               .instance_count = 1};
        services[i] = (struct snapshot_service_spec){.name = hosts[i],
                                                     .hosts = &hosts[i],
                                                     .host_count = 1,
                                                     .paths = &root,
                                                     .path_count = 1,
                                                     .pool_first = i,
                                                     .pool_count = 1,
                                                     .live = i};
        services[i].rules = (struct snapshot_rules){.connect_ms = 2000,
                                                    .first_byte_ms = 2000,
                                                    .stall_ms = 2000,
                                                    .upstream_idle_ms = 2000,
                                                    .h2 = i == PLANE_HTTP2};
    }
    void *image = snapshot_freeze(&spec, size, &err);
    fuzz_check(image != NULL);
    return image;
}

static void never(struct view *view)
{
    (void)view;
}

static void publish(struct publisher *publisher)
{
    struct err err;
    size_t size;
    void *image = freeze(&size);
    const struct snapshot *snapshot = snapshot_open(image, size, &err);
    fuzz_check(snapshot != NULL);
    publisher_publish(publisher, snapshot, never, NULL);
    order(&(struct order){.type = ORDER_WORLD});
}

static void dropped(void *arg, struct mail *mail)
{
    struct report *report = mem_container(mail, struct report, mail);
    (void)arg;
    free(report);
}

static void start(void)
{
    struct err err;
    struct address address;
    int fd;
    struct worker_options options = {.publisher = publisher_new(1),
                                     .crowd = crowd_new(),
                                     .rate = rate_new(),
                                     .reports = mailbox_new(loop_new(), dropped, NULL)};
    is_starting = true;
    worker = worker_start(&options, &err);
    is_starting = false;
    fuzz_check(worker != NULL);
    fd = counters_create(1, &err);
    counters = counters_map(fd, &err);
    fuzz_check(counters != NULL);
    close(fd);
    counters_use(counters, 0);
    order(&(struct order){.type = ORDER_COUNTERS, .counters = counters});
    fuzz_check(address_parse(STR("127.0.0.1:0"), true, &address, &err) &&
               listener_open(&address, 1, &fd, &err));
    port = address.port;
    order(&(struct order){.type = ORDER_LISTENER, .id = 1, .fd = fd});
    for (unsigned i = 0; i < PLANE_INSTANCES; i++)
        listen_as_instance(i);
    publish(options.publisher);
    for (unsigned i = 0; i < 8; i++)
        plane_turn();
    fuzz_check(worker->snapshot != NULL);
    lent = worker->buffers->lent;
}

struct worker *plane_worker(void)
{
    if (worker == NULL)
        start();
    return worker;
}
