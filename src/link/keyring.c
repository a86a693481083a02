/* Records behind each other, each with a head of kind and length and padded to 8 bytes. Invariant: a reader
 * believes no length that leads out of the image. */
#include "link/keyring.h"

#include "base/fault.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct head {
    uint32_t kind, size;
};

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

size_t keyring_size(size_t bytes)
{
    return sizeof(struct head) + padded(bytes);
}

void keyring_add(struct buf *image, enum keyring_kind kind, struct str bytes)
{
    struct head head = {kind, (uint32_t)bytes.n};
    static const char zeros[8];
    assert(image->cap - image->n > keyring_size(bytes.n));
    buf_add(image, &head, sizeof head);
    buf_add_str(image, bytes);
    buf_add(image, zeros, padded(bytes.n) - bytes.n);
}

static bool put(int fd, const struct buf *image)
{
    for (size_t done = 0; done < image->n;) {
        ssize_t n = write(fd, image->p + done, image->n - done);
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return fcntl(fd, F_ADD_SEALS, SEALS) == 0;
}

int keyring_seal(struct buf *image, struct err *err)
{
    int fd = FAULTY("keyring.memfd", EMFILE, memfd_create("upswap-keyring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd >= 0 && !put(fd, image)) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        err_set(err, "no memory file of %zu bytes can be had: %s", image->n, strerror(errno));
    if (image->p != NULL)
        explicit_bzero(image->p, image->n);
    buf_free(image);
    return fd;
}

bool keyring_map(struct keyring *keyring, int fd, struct err *err)
{
    struct stat status;
    *keyring = (struct keyring){NULL, 0, 0};
    if (fstat(fd, &status) != 0 || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
        return err_set(err, "the keyring does not come in a sealed memory file");
    if (status.st_size == 0)
        return true;
    void *p = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_set(err, "the keyring cannot be mapped: %s", strerror(errno));
    (void)mlock(p, (size_t)status.st_size); /* where the limit lets us: for as long as it is mapped */
    *keyring = (struct keyring){.p = p, .n = (size_t)status.st_size};
    return true;
}

bool keyring_next(struct keyring *keyring, struct keyring_record *record)
{
    struct head head;
    size_t left = keyring->n - keyring->at;
    if (left < sizeof head)
        return false;
    memcpy(&head, keyring->p + keyring->at, sizeof head);
    left -= sizeof head;
    if (head.kind == 0 || head.kind >= KEYRING_KINDS || head.size > left || padded(head.size) > left)
        return false;
    *record = (struct keyring_record){(enum keyring_kind)head.kind,
                                      {keyring->p + keyring->at + sizeof head, head.size}};
    keyring->at += keyring_size(head.size);
    return true;
}

void keyring_unmap(struct keyring *keyring)
{
    if (keyring->p != NULL)
        munmap((void *)keyring->p, keyring->n);
    *keyring = (struct keyring){NULL, 0, 0};
}
