/* What one process says to another. The first byte chooses: packets over a channel (each: two bytes of
 * length, then a byte whose lowest bit adds a descriptor), a keyring, what a keeper hands over, what the
 * proxy says of a shadow in shared memory. Nothing of another shape gets through, no descriptor is lost, and
 * what is handed on lies inside what came. */
#include "fuzz.h"

#include "keeper/handover.h"
#include "link/channel.h"
#include "link/keyring.h"
#include "link/shadow.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* The lowest number that is free: the same again when every descriptor has been given back. */
static int free_number(void)
{
    int fd = dup(STDIN_FILENO);
    fuzz_check(fd >= 0);
    close(fd);
    return fd;
}

/* ---- packets ---- */

struct receiver {
    struct channel *channel;
    struct loop *loop;
    unsigned closed, received;
};

static void received(void *arg, const struct message *message)
{
    struct receiver *receiver = arg;
    struct err err;
    fuzz_check(receiver->closed == 0);
    fuzz_check(message_check(message, &err));
    fuzz_check(strcmp(message_type_name(message->type), "unknown") != 0);
    receiver->received++;
    if (message->fd >= 0)
        close(message->fd);
}

static void closed(void *arg, const char *why)
{
    struct receiver *receiver = arg;
    fuzz_check(why[0] != '\0' && receiver->closed++ == 0);
    channel_close(receiver->channel);
    loop_stop(receiver->loop);
}

static void send_packet(int socket, struct str bytes, int fd)
{
    struct iovec part = {(char *)bytes.p, bytes.n};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    if (fd >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof control;
    }
    (void)!sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void take_packets(struct fuzz_reader *reader)
{
    static const struct channel_callbacks callbacks = {received, closed};
    int before = free_number(), fds[2];
    struct receiver receiver = {.loop = loop_new()};
    struct err err;
    fuzz_check(channel_pair(fds, &err));
    receiver.channel = channel_open(receiver.loop, fds[0], &callbacks, &receiver);
    while (reader->left > 0) {
        size_t length = fuzz_byte(reader);
        length |= (size_t)fuzz_byte(reader) << 8;
        bool has_fd = fuzz_byte(reader) & 1;
        send_packet(fds[1], fuzz_take(reader, length), has_fd ? fds[1] : -1);
    }
    close(fds[1]);
    loop_run(receiver.loop);
    fuzz_check(receiver.closed == 1);
    loop_free(receiver.loop);
    fuzz_check(free_number() == before);
}

/* ---- memory files ---- */

static int memory_file(struct str bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    fuzz_check(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
    return fd;
}

static void take_keyring(struct fuzz_reader *reader)
{
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    struct keyring keyring;
    struct keyring_record record;
    struct err err;
    struct buf again = BUF_EMPTY;
    struct str bytes = fuzz_take(reader, SIZE_MAX);
    int fd = memory_file(bytes);
    fuzz_check(!keyring_map(&keyring, fd, &err));
    fuzz_check(fcntl(fd, F_ADD_SEALS, seals) == 0 && keyring_map(&keyring, fd, &err));
    buf_reserve(&again, bytes.n + 64);
    while (keyring_next(&keyring, &record)) {
        fuzz_check(record.kind >= KEYRING_TICKETS && record.kind < KEYRING_KINDS);
        fuzz_check(fuzz_lies_in(record.bytes, keyring.p, keyring.n));
        fuzz_check(keyring.at <= keyring.n);
        keyring_add(&again, record.kind, record.bytes);
        fuzz_check(again.n == keyring.at);
    }
    buf_free(&again);
    keyring_unmap(&keyring);
    close(fd);
}

/* Descriptors are taken by their numbers, so only a handover without any is read to its end. */
static void take_handover(struct fuzz_reader *reader)
{
    static struct handover handover;
    struct err err = {.text = ""};
    struct str bytes = fuzz_take(reader, SIZE_MAX);
    uint64_t words[5] = {0};
    memcpy(words, bytes.p, bytes.n < sizeof words ? bytes.n : sizeof words);
    int fd = memory_file(bytes);
    bool fits = handover_check(fd, &err);
    fuzz_check(fits || err.text[0] != '\0');
    struct store *store = store_new();
    if (words[4] == 0 && handover_read(fd, &handover, store, &err)) {
        fuzz_check(fits && store_count(store) == 0);
        fuzz_check(handover.proxy_count >= 1 && handover.proxy_count <= HANDOVER_PROXIES);
        fuzz_check(strlen(handover.version) < sizeof handover.version);
        fuzz_check(strlen(handover.sentence) < sizeof handover.sentence);
    }
    store_free(store);
    close(fd);
}

/* ---- shared memory ---- */

static void check_findings(const struct shadow_sum *sum, enum shadow_kind kind)
{
    fuzz_check(sum->finding_count[kind] <= SHADOW_FINDINGS);
    for (size_t i = 0; i < sum->finding_count[kind]; i++) {
        const struct shadow_finding *finding = &sum->findings[kind][i];
        size_t n = strnlen(finding->path, sizeof finding->path);
        fuzz_check(n < sizeof finding->path && finding->live <= 5 && finding->staged <= 5);
        for (size_t k = 0; k < n; k++)
            fuzz_check(finding->path[k] > ' ' && finding->path[k] < 0x7f);
        fuzz_check(i == 0 || finding->count <= finding[-1].count);
    }
}

static void take_shadow(struct fuzz_reader *reader)
{
    static struct counters *counters;
    static struct shadow_sum sum;
    struct err err;
    if (counters == NULL) {
        int fd = counters_create(1, &err);
        counters = counters_map(fd, &err);
        close(fd);
        fuzz_check(counters != NULL);
    }
    struct shadow_cells *cells = counters_shadow(counters, 0, 3);
    struct str bytes = fuzz_take(reader, sizeof *cells);
    memset(cells, 0, sizeof *cells);
    memcpy(cells, bytes.p, bytes.n);
    shadow_sum(counters, 3, cells->run, &sum);
    check_findings(&sum, SHADOW_DIFFERS);
    check_findings(&sum, SHADOW_SLOWER);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct fuzz_reader reader = {bytes, count};
    switch (fuzz_byte(&reader) % 4) {
    case 0:
        take_packets(&reader);
        break;
    case 1:
        take_keyring(&reader);
        break;
    case 2:
        take_handover(&reader);
        break;
    default:
        take_shadow(&reader);
    }
    return 0;
}
