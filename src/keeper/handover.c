/* Flat structs behind a header that says of which layout they are. Invariant: nothing is taken from a file
 * whose header, size and texts have not been checked. */
#include "keeper/handover.h"

#include "base/fault.h"
#include "base/version.h"

#include "link/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x7265766f64706e75ULL
#define LAYOUT 1

_Static_assert(HANDOVER_PROXIES == COUNTERS_GENERATIONS, "each proxy has a generation");

/* The first two words are the same in all layouts. */
struct header {
    uint64_t magic;
    uint64_t layout;
    uint64_t protocol; /* of messages: the roles outlive the exec */
    uint64_t size;     /* of struct handover */
    uint64_t stored;   /* struct row that follow it */
};

struct row {
    struct message_name name;
    int32_t fd;
};

struct writer {
    int fd;
    bool ok;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    writer->ok =
        writer->ok && FAULTY("handover.write", ENOMEM, write(writer->fd, bytes, size)) == (ssize_t)size;
}

static void put_row(void *arg, const char *name, int fd)
{
    struct row row = {.fd = fd};
    strncpy(row.name.name, name, sizeof row.name.name - 1);
    put(arg, &row, sizeof row);
}

int handover_write(const struct handover *handover, const struct store *store, struct err *err)
{
    const struct header header = {MAGIC, LAYOUT, MESSAGE_PROTOCOL, sizeof *handover, store_count(store)};
    struct writer writer = {FAULTY("handover.memfd", EMFILE, memfd_create("upswap-handover", MFD_CLOEXEC)),
                            true};
    put(&writer, &header, sizeof header);
    put(&writer, handover, sizeof *handover);
    store_each(store, put_row, &writer);
    if (writer.fd >= 0 && writer.ok)
        return writer.fd;
    err_set(err, "what is to be handed over cannot be written: %s", strerror(errno));
    if (writer.fd >= 0)
        close(writer.fd);
    return -1;
}

static bool check_header(int fd, struct header *header, struct err *err)
{
    struct stat status;
    if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header || header->magic != MAGIC)
        return err_set(err, "what the running upswapd hands over is no state of an upswapd");
    if (header->layout != LAYOUT || header->size != sizeof(struct handover))
        return err_set(err,
                       "the running upswapd hands its state over in layout %llu, but version %s knows layout "
                       "%d; restart the service instead",
                       (unsigned long long)header->layout, version_text, LAYOUT);
    if (header->protocol != MESSAGE_PROTOCOL)
        return err_set(err,
                       "the running upswapd speaks protocol %llu between its processes, but version %s "
                       "speaks %d; restart the service instead",
                       (unsigned long long)header->protocol, version_text, MESSAGE_PROTOCOL);
    if (fstat(fd, &status) != 0 || header->stored > (uint64_t)status.st_size / sizeof(struct row) ||
        (uint64_t)status.st_size != sizeof *header + header->size + header->stored * sizeof(struct row))
        return err_set(err, "what the running upswapd hands over has not the size that it says");
    return true;
}

bool handover_check(int fd, struct err *err)
{
    struct header header;
    return check_header(fd, &header, err);
}

static bool is_text(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool check_body(const struct handover *handover)
{
    return is_text(handover->version, sizeof handover->version) &&
           is_text(handover->program_path, sizeof handover->program_path) &&
           is_text(handover->sentence, sizeof handover->sentence) && handover->proxy_count >= 1 &&
           handover->proxy_count <= HANDOVER_PROXIES;
}

bool handover_read(int fd, struct handover *handover, struct store *store, struct err *err)
{
    struct header header;
    off_t at = sizeof header + sizeof *handover;
    if (!check_header(fd, &header, err))
        return false;
    if (pread(fd, handover, sizeof *handover, sizeof header) != (ssize_t)sizeof *handover ||
        !check_body(handover))
        return err_set(err, "what the running upswapd hands over makes no sense");
    for (uint64_t i = 0; i < header.stored; i++, at += (off_t)sizeof(struct row)) {
        struct row row;
        if (pread(fd, &row, sizeof row, at) != (ssize_t)sizeof row ||
            !is_text(row.name.name, sizeof row.name.name) || fcntl(row.fd, F_GETFD) < 0)
            return err_set(err, "a descriptor that the running upswapd hands over is not there");
        store_put(store, row.name.name, row.fd);
    }
    return true;
}

/* ---- descriptors ---- */

static void keep_one(int fd, bool keep)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static void keep_stored(void *arg, const char *name, int fd)
{
    (void)name;
    keep_one(fd, *(bool *)arg);
}

void handover_keep(const struct handover *handover, const struct store *store, bool keep)
{
    keep_one(handover->program, keep);
    keep_one(handover->control.channel, keep);
    for (uint32_t i = 0; i < handover->proxy_count; i++) {
        keep_one(handover->proxies[i].channel, keep);
        keep_one(handover->proxies[i].control_end, keep);
        keep_one(handover->proxies[i].proxy_end, keep);
    }
    store_each(store, keep_stored, &keep);
}
