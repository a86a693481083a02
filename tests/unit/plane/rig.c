/* The test's side of every channel and socket. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/listener.h"
#include "link/channel.h"
#include "plane/plane.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_MAX 70000

/* Sealed memory that was, or is to be sent. */
struct image {
    int fd; /* -1: none */
    uint64_t version;
    size_t size;
    const char *path; /* the prefix in it */
};

struct rig {
    struct loop *loop; /* the test's own, turned only while it waits for a message */
    struct channel *keeper, *control;
    struct deadline patience;
    enum message_type awaited;
    bool came;
    struct message_hello hello;
    struct message_published published;
    struct message_refused refused;
    struct plane_options options;
    pthread_t thread;
    int status;
    int counters_fd;
    struct counters *counters;
    uint16_t port;
    int listening[RIG_INSTANCES];
    struct sockaddr_in addresses[RIG_INSTANCES];
    uint64_t version;
    struct image whole; /* the last whole one */
    struct rig_world world;
};

static void *run(void *arg)
{
    struct rig *rig = arg;
    rig->status = plane_main(&rig->options);
    return NULL;
}

static void received(void *arg, const struct message *message)
{
    struct rig *rig = arg;
    switch (message->type) {
    case MESSAGE_HELLO:
        memcpy(&rig->hello, message->payload, sizeof rig->hello);
        break;
    case MESSAGE_PUBLISHED:
        memcpy(&rig->published, message->payload, sizeof rig->published);
        break;
    case MESSAGE_REFUSED:
        memcpy(&rig->refused, message->payload, sizeof rig->refused);
        break;
    default:
        fail_msg("the plane sent a message of type %d", (int)message->type);
    }
    if (message->type == rig->awaited) {
        rig->came = true;
        loop_stop(rig->loop);
    }
}

static void closed(void *arg, const char *why)
{
    (void)arg;
    (void)why;
}

static void out_of_patience(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

static void await(struct rig *rig, enum message_type type)
{
    rig->awaited = type;
    rig->came = false;
    deadline_set(&rig->patience, RIG_SECONDS * 1000);
    loop_run(rig->loop);
    deadline_clear(&rig->patience);
    assert_true(rig->came);
}

static void open_channels(struct rig *rig)
{
    static const struct channel_callbacks callbacks = {received, closed};
    struct err err;
    int keeper[2], control[2];
    assert_true(channel_pair(keeper, &err));
    assert_true(channel_pair(control, &err));
    rig->options.keeper_fd = keeper[1];
    rig->options.control_fd = control[1];
    rig->keeper = channel_open(rig->loop, keeper[0], &callbacks, rig);
    rig->control = channel_open(rig->loop, control[0], &callbacks, rig);
}

static void send_counters(struct rig *rig)
{
    struct err err;
    rig->counters_fd = counters_create(rig->options.workers, &err);
    assert_true(rig->counters_fd >= 0);
    rig->counters = counters_map(rig->counters_fd, &err);
    assert_non_null(rig->counters);
    channel_send(rig->control, MESSAGE_COUNTERS, NULL, 0, rig->counters_fd);
}

static void send_listeners(struct rig *rig)
{
    struct err err;
    struct address address;
    int fds[COUNTERS_WORKERS_MAX];
    assert_true(address_parse(STR("127.0.0.1:0"), true, &address, &err));
    assert_true(listener_open(&address, rig->options.workers, fds, &err));
    rig->port = address.port;
    for (unsigned i = 0; i < rig->options.workers; i++) {
        struct message_listener listener = {.id = 1, .worker = i};
        channel_send(rig->control, MESSAGE_LISTENER, &listener, sizeof listener, fds[i]);
        close(fds[i]);
    }
}

static void open_instance(struct rig *rig, unsigned i)
{
    struct sockaddr_in *name = &rig->addresses[i];
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    rig->listening[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(rig->listening[i], (struct sockaddr *)name, sizeof *name), 0);
    assert_int_equal(listen(rig->listening[i], 128), 0);
    assert_int_equal(getsockname(rig->listening[i], (struct sockaddr *)name, &(socklen_t){sizeof *name}), 0);
}

static struct rig_world first_world(void)
{
    return (struct rig_world){
        .settings = {.head_max = 32768,
                     .fields_max = 100,
                     .head_ms = 60000,
                     .idle_ms = 60000,
                     .http2 = {.streams = 100,
                               .window = 65535,
                               .resets = 200,
                               .pings = 600,
                               .settings = 60,
                               .priorities = 1000,
                               .empty_frames = 100,
                               .window_updates = 1000,
                               .continuations = 8}},
        .rules = {.retries_attempts = 3,
                  .connect_ms = 60000,
                  .first_byte_ms = 60000,
                  .stall_ms = 60000,
                  .upstream_idle_ms = 60000,
                  .drain_requests_ms = 5000,
                  .drain_streams_ms = 5000,
                  .drain_websockets_ms = 5000,
                  .drain_tunnels_ms = 5000},
        .path = "/",
        .instances = RIG_INSTANCES,
        .pool = 1,
        .draining = SNAPSHOT_NONE,
        .listens = true,
    };
}

struct rig *rig_start(unsigned workers)
{
    struct rig *rig = mem_zero(1, sizeof *rig);
    rig->options.workers = workers;
    rig->whole.fd = -1;
    rig->loop = loop_new();
    deadline_init(&rig->patience, rig->loop, out_of_patience);
    open_channels(rig);
    assert_int_equal(pthread_create(&rig->thread, NULL, run, rig), 0);
    await(rig, MESSAGE_HELLO);
    send_counters(rig);
    send_listeners(rig);
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        open_instance(rig, i);
    rig->world = first_world();
    rig_publish(rig);
    return rig;
}

struct rig *rig_start_with_one(void)
{
    struct rig *rig = rig_start(1);
    rig_world(rig)->instances = 1;
    rig_publish(rig);
    return rig;
}

static void release(struct rig *rig)
{
    for (unsigned i = 0; i < RIG_INSTANCES; i++) {
        if (rig->listening[i] >= 0)
            close(rig->listening[i]);
    }
    if (rig->whole.fd >= 0)
        close(rig->whole.fd);
    channel_close(rig->keeper);
    channel_close(rig->control);
    counters_unmap(rig->counters);
    close(rig->counters_fd);
    deadline_clear(&rig->patience);
    loop_free(rig->loop);
    free(rig);
}

void rig_say_stop(struct rig *rig)
{
    channel_send(rig->keeper, MESSAGE_STOP, NULL, 0, -1);
}

int rig_join(struct rig *rig)
{
    assert_int_equal(pthread_join(rig->thread, NULL), 0);
    int status = rig->status;
    release(rig);
    return status;
}

int rig_stop(struct rig *rig)
{
    rig_say_stop(rig);
    return rig_join(rig);
}

int rig_lose_keeper(struct rig *rig)
{
    channel_close(rig->keeper);
    rig->keeper = NULL;
    return rig_join(rig);
}

void rig_lose_control(struct rig *rig)
{
    channel_close(rig->control);
    rig->control = NULL;
}

struct rig_world *rig_world(struct rig *rig)
{
    return &rig->world;
}

/* Routes are those of the whole image. */
static bool can_amend(const struct rig *rig)
{
    return rig->whole.fd >= 0 && strcmp(rig->world.path, rig->whole.path) == 0;
}

static void *freeze(struct rig *rig, size_t *size)
{
    const struct rig_world *world = &rig->world;
    struct snapshot_instance_spec instances[RIG_INSTANCES];
    char names[RIG_INSTANCES][32];
    struct err err;
    for (uint32_t i = 0; i < RIG_INSTANCES; i++) {
        snprintf(names[i], sizeof names[i], "127.0.0.1:%u", ntohs(rig->addresses[i].sin_port));
        instances[i] = (struct snapshot_instance_spec){.name = names[i],
                                                       .address = (struct sockaddr *)&rig->addresses[i],
                                                       .address_length = sizeof rig->addresses[i],
                                                       .id = i + 1,
                                                       .slot = i + 1,
                                                       .drained = world->drained[i]};
    }
    struct snapshot_pool_spec pools[3];
    size_t count = 0;
    if (world->pool != SNAPSHOT_NONE)
        pools[count++] = (struct snapshot_pool_spec){.deployment = "web-1",
                                                     .release = "v1",
                                                     .number = world->pool,
                                                     .slot = world->pool,
                                                     .instances = instances,
                                                     .instance_count = world->instances};
    if (world->draining != SNAPSHOT_NONE)
        pools[count++] = (struct snapshot_pool_spec){.deployment = "web-0",
                                                     .release = "v0",
                                                     .number = world->draining,
                                                     .slot = world->draining,
                                                     .drain = world->drain,
                                                     .instances = instances,
                                                     .instance_count = RIG_INSTANCES};
    if (world->candidate != 0)
        pools[count++] = (struct snapshot_pool_spec){.deployment = "web-2",
                                                     .release = "v2",
                                                     .number = world->candidate,
                                                     .slot = world->candidate,
                                                     .candidate = true,
                                                     .canary_share = world->share,
                                                     .warms = world->warms,
                                                     .instances = instances,
                                                     .instance_count = RIG_INSTANCES};
    struct snapshot_service_spec service = {.name = "web",
                                            .paths = &world->path,
                                            .path_count = 1,
                                            .rules = world->rules,
                                            .texts = {[SNAPSHOT_CANONICAL_HOST] = world->canonical_host,
                                                      [SNAPSHOT_PREVIEW_FIELD] = world->preview_field,
                                                      [SNAPSHOT_PREVIEW_SECRET] = world->preview_secret},
                                            .canary_cookie = world->canary_cookie,
                                            .affinity_cookie = world->affinity_cookie,
                                            .pin_cookie = world->pin_cookie,
                                            .pool_count = (uint32_t)count,
                                            .live = world->pool != SNAPSHOT_NONE ? 0 : SNAPSHOT_NONE};
    struct snapshot_listener_spec listener = {.id = 1,
                                              .address = "127.0.0.1:0",
                                              .door = {.tls = world->door_speaks_tls,
                                                       .redirect = world->door_redirects,
                                                       .staged = world->door_is_staged}};
    struct snapshot_spec spec = {.version = rig->version,
                                 .settings = world->settings,
                                 .trusted = world->trusted,
                                 .trusted_count = world->trusted != NULL,
                                 .listeners = &listener,
                                 .listener_count = world->listens,
                                 .ground_version = can_amend(rig) ? rig->whole.version : 0,
                                 .ground_services = 1,
                                 .amended = &(uint32_t){0},
                                 .services = &service,
                                 .service_count = 1,
                                 .pools = pools,
                                 .pool_count = count};
    void *image = snapshot_freeze(&spec, size, &err);
    assert_non_null(image);
    return image;
}

static int memory_of(const void *bytes, size_t size, bool sealed)
{
    int fd = memfd_create("world", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    if (sealed)
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
}

static void send_image(struct rig *rig, enum message_type type, const struct image *image)
{
    struct message_world told = {
        .version = image->version, .decided_ns = clock_mono_ns(), .size = image->size};
    channel_send(rig->control, type, &told, sizeof told, image->fd);
}

/* Like control: a whole image for other routes, else one that amends that. */
static struct image make_image(struct rig *rig)
{
    struct image image = {.version = rig->version, .path = rig->world.path};
    void *bytes = freeze(rig, &image.size);
    image.fd = memory_of(bytes, image.size, true);
    free(bytes);
    return image;
}

static void keep_whole(struct rig *rig, const struct image *image)
{
    if (rig->whole.fd >= 0)
        close(rig->whole.fd);
    rig->whole = *image;
}

void rig_publish(struct rig *rig)
{
    bool is_whole = !can_amend(rig);
    rig->version++;
    struct image image = make_image(rig);
    if (!is_whole)
        send_image(rig, MESSAGE_GROUND, &rig->whole);
    send_image(rig, MESSAGE_WORLD, &image);
    if (is_whole)
        keep_whole(rig, &image);
    else
        close(image.fd);
    await(rig, MESSAGE_PUBLISHED);
    assert_int_equal(rig->published.version, rig->version);
    rig_until(counters_version(rig->counters) == rig->version);
}

static const char *publish_refused(struct rig *rig, const struct image *image)
{
    send_image(rig, MESSAGE_WORLD, image);
    await(rig, MESSAGE_REFUSED);
    assert_int_equal(rig->refused.version, rig->version);
    rig->version--;
    return rig->refused.sentence;
}

const char *rig_publish_bytes(struct rig *rig, const void *bytes, size_t size, bool sealed)
{
    struct image image = {.version = ++rig->version, .size = size};
    image.fd = memory_of(bytes, size, sealed);
    const char *sentence = publish_refused(rig, &image);
    close(image.fd);
    return sentence;
}

const char *rig_publish_baseless(struct rig *rig)
{
    assert_true(can_amend(rig));
    rig->whole.version++;
    rig->version++;
    struct image image = make_image(rig);
    rig->whole.version--;
    const char *sentence = publish_refused(rig, &image);
    close(image.fd);
    return sentence;
}

void rig_send_ground(struct rig *rig)
{
    keep_whole(rig, &(struct image){.fd = -1});
    rig->version++;
    struct image image = make_image(rig);
    send_image(rig, MESSAGE_GROUND, &image);
    keep_whole(rig, &image);
}

struct message_hello rig_who(struct rig *rig)
{
    channel_send(rig->control, MESSAGE_WHO, NULL, 0, -1);
    await(rig, MESSAGE_HELLO);
    return rig->hello;
}

void rig_keyring(struct rig *rig, int fd)
{
    channel_send(rig->control, MESSAGE_KEYRING, NULL, 0, fd);
}

void rig_log_to(struct rig *rig, int fd)
{
    channel_send(rig->control, MESSAGE_ACCESS_LOG, NULL, 0, fd);
}

struct counters *rig_counters(struct rig *rig)
{
    return rig->counters;
}

uint16_t rig_port(const struct rig *rig)
{
    return rig->port;
}

/* ---- sockets ---- */

static void be_patient(int fd)
{
    struct timeval time = {.tv_sec = RIG_SECONDS};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time), 0);
}

static int connect_client(struct rig *rig)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(rig->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    be_patient(fd);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    assert_true(errno == ECONNREFUSED || errno == ECONNRESET);
    close(fd);
    return -1;
}

int rig_client(struct rig *rig)
{
    int fd = connect_client(rig);
    assert_true(fd >= 0);
    return fd;
}

bool rig_is_deaf(struct rig *rig)
{
    /* One refusal may be that of a single worker on its way out: the others still accept. */
    for (int i = 0; i < 64; i++) {
        int fd = connect_client(rig);
        if (fd < 0)
            continue;
        close(fd);
        return false;
    }
    return true;
}

bool rig_is_called(struct rig *rig, unsigned instance)
{
    struct pollfd wait = {.fd = rig->listening[instance], .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

int rig_accept(struct rig *rig, unsigned instance)
{
    struct pollfd wait = {.fd = rig->listening[instance], .events = POLLIN};
    assert_int_equal(poll(&wait, 1, RIG_SECONDS * 1000), 1);
    int fd = accept4(rig->listening[instance], NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    be_patient(fd);
    return fd;
}

void rig_refuse(struct rig *rig, unsigned instance)
{
    close(rig->listening[instance]);
    rig->listening[instance] = -1;
}

int rig_choke(struct rig *rig, unsigned instance)
{
    const struct sockaddr_in *name = &rig->addresses[instance];
    int filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(rig->listening[instance], 0), 0); /* there is room for one that is not accepted */
    assert_int_equal(connect(filler, (const struct sockaddr *)name, sizeof *name), 0);
    return filler;
}

void rig_say(int fd, const char *text)
{
    size_t size = strlen(text);
    assert_int_equal(send(fd, text, size, MSG_NOSIGNAL), size);
}

static char text[TEXT_MAX];

const char *rig_head(int fd)
{
    size_t n = 0;
    while (n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0) {
        assert_true(n < TEXT_MAX - 1);
        assert_int_equal(recv(fd, text + n, 1, 0), 1);
        n++;
    }
    text[n] = '\0';
    return text;
}

/* The instance that is called, or RIG_INSTANCES. */
static unsigned called(struct rig *rig)
{
    unsigned i = 0;
    while (i < RIG_INSTANCES && !rig_is_called(rig, i))
        i++;
    return i;
}

int rig_ask(struct rig *rig, int client, const char *request)
{
    rig_say(client, request);
    rig_until(called(rig) < RIG_INSTANCES);
    int instance = rig_accept(rig, called(rig));
    rig_head(instance);
    return instance;
}

void rig_swap(struct rig *rig, uint64_t requests_ms, uint64_t others_ms)
{
    uint64_t now_ms = clock_mono_ms();
    struct rig_world *world = rig_world(rig);
    world->pool = 2;
    world->draining = 1;
    world->drain.requests_until_ms = now_ms + requests_ms;
    world->drain.streams_until_ms = world->drain.websockets_until_ms = world->drain.tunnels_until_ms =
        now_ms + others_ms;
    rig_publish(rig);
}

const char *rig_bytes(int fd, size_t count)
{
    assert_true(count < TEXT_MAX);
    if (count > 0)
        assert_int_equal(recv(fd, text, count, MSG_WAITALL), count);
    text[count] = '\0';
    return text;
}

const char *rig_rest(int fd, bool *reset)
{
    size_t n = 0;
    ssize_t got;
    while ((got = recv(fd, text + n, TEXT_MAX - 1 - n, 0)) > 0)
        n += (size_t)got;
    if (reset != NULL)
        *reset = got < 0 && errno == ECONNRESET;
    assert_true(got == 0 || errno == ECONNRESET);
    text[n] = '\0';
    return text;
}

const char *rig_field(const char *head, const char *name)
{
    static char value[1024];
    char sought[128];
    snprintf(sought, sizeof sought, "\r\n%s: ", name);
    const char *at = strcasestr(head, sought);
    if (at == NULL)
        return NULL;
    at += strlen(sought);
    size_t n = strcspn(at, "\r");
    assert_true(n < sizeof value);
    memcpy(value, at, n);
    value[n] = '\0';
    return value;
}

void rig_reset(int fd)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}
