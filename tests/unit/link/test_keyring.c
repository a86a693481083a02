#include "link/keyring.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Records of every length modulo 8, and one without bytes. */
static struct buf make_image(void)
{
    static const char bytes[] = "0123456789abcdef0123456789";
    struct buf image = BUF_EMPTY;
    buf_reserve(&image, 2048);
    for (size_t n = 0; n < sizeof bytes; n += 3)
        keyring_add(&image, (enum keyring_kind)(n / 3 % (KEYRING_KINDS - 1) + 1), (struct str){bytes, n});
    return image;
}

static struct keyring map(const char *bytes, size_t count)
{
    struct keyring keyring;
    struct buf image = BUF_EMPTY;
    struct err err;
    buf_add(&image, bytes, count);
    int fd = keyring_seal(&image, &err);
    assert_true(fd >= 0);
    assert_null(image.p);
    assert_true(keyring_map(&keyring, fd, &err));
    assert_int_equal(keyring.n, count);
    close(fd);
    return keyring;
}

/* How many records there are, all inside the image, up to its end or to the first that is none. */
static size_t walk(const char *bytes, size_t count, bool *whole)
{
    struct keyring keyring = map(bytes, count);
    struct keyring_record record;
    size_t found = 0;
    for (; keyring_next(&keyring, &record); found++) {
        assert_in_range(record.kind, 1, KEYRING_KINDS - 1);
        assert_true(record.bytes.n <= count && record.bytes.p >= keyring.p &&
                    record.bytes.p + record.bytes.n <= keyring.p + count);
        assert_true(keyring.at <= count);
    }
    *whole = keyring.at == keyring.n;
    keyring_unmap(&keyring);
    return found;
}

static void what_was_added_comes_back(void **state)
{
    (void)state;
    struct buf image = make_image();
    struct keyring keyring = map(image.p, image.n);
    struct keyring_record record;
    for (size_t n = 0; n < 27; n += 3) {
        assert_true(keyring_next(&keyring, &record));
        assert_int_equal(record.kind, n / 3 % (KEYRING_KINDS - 1) + 1);
        assert_int_equal(record.bytes.n, n);
        assert_memory_equal(record.bytes.p, "0123456789abcdef0123456789", n);
    }
    assert_false(keyring_next(&keyring, &record));
    assert_int_equal(keyring.at, keyring.n);
    keyring_unmap(&keyring);
    buf_free(&image);
}

static void an_image_that_is_cut_is_whole_only_between_records(void **state)
{
    (void)state;
    struct buf image = make_image();
    size_t ends = 0;
    for (size_t n = 0; n <= image.n; n++) {
        bool whole;
        walk(image.p, n, &whole);
        ends += whole;
        if (n % 8 != 0)
            assert_false(whole);
    }
    assert_int_equal(ends, 9 + 1);
    buf_free(&image);
}

static void a_length_that_leads_out_and_a_kind_that_is_none_end_the_walk(void **state)
{
    (void)state;
    struct buf image = make_image();
    for (size_t at = 0, number = 0; at < image.n; number++) {
        uint32_t head[2], kinds[] = {0, KEYRING_KINDS, UINT32_MAX};
        bool whole;
        memcpy(head, image.p + at, sizeof head);
        uint32_t left = (uint32_t)(image.n - at - sizeof head);
        uint32_t sizes[] = {left + 1, left + 8, INT32_MAX, UINT32_MAX, UINT32_MAX - 6, UINT32_MAX - 7};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            memcpy(image.p + at + 4, &sizes[i], 4);
            assert_int_equal(walk(image.p, image.n, &whole), number);
            assert_false(whole);
        }
        memcpy(image.p + at, head, sizeof head);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            memcpy(image.p + at, &kinds[i], 4);
            assert_int_equal(walk(image.p, image.n, &whole), number);
            assert_false(whole);
        }
        memcpy(image.p + at, head, sizeof head);
        at += keyring_size(head[1]);
    }
    buf_free(&image);
}

static void no_bytes_whatever_lead_out_of_the_image(void **state)
{
    (void)state;
    char bytes[256];
    bool whole;
    srandom(1);
    for (unsigned round = 0; round < 3000; round++) {
        size_t n = (size_t)random() % sizeof bytes;
        for (size_t i = 0; i < n; i++) /* small numbers, so that many are records */
            bytes[i] = (char)(i % 4 == 0 ? random() % 32 : random() % 50 == 0);
        walk(bytes, n, &whole);
    }
}

static void what_could_change_is_refused(void **state)
{
    (void)state;
    struct keyring keyring;
    struct err err;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, "12345678", 8), 8);
    assert_false(keyring_map(&keyring, fd, &err));
    assert_string_equal(err.text, "the keyring does not come in a sealed memory file");
    close(fd);
    assert_false(keyring_map(&keyring, -1, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_comes_back),
        cmocka_unit_test(an_image_that_is_cut_is_whole_only_between_records),
        cmocka_unit_test(a_length_that_leads_out_and_a_kind_that_is_none_end_the_walk),
        cmocka_unit_test(no_bytes_whatever_lead_out_of_the_image),
        cmocka_unit_test(what_could_change_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
