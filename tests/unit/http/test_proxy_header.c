#include "http/proxy_header.h"

#include "unit.h"

#include "base/crc32c.h"

#include <stdlib.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static struct proxy_header header;
static char bytes[2 * PROXY_HEADER_MAX];

/* Reads it whole and with every shorter beginning, which must all ask for more. */
static enum http_result reads(const void *from, size_t count)
{
    enum http_result whole = proxy_header_read(&header, from, count);
    struct proxy_header part;
    size_t length = whole == HTTP_DONE ? header.length : 0;
    for (size_t n = 0; n < length; n++) {
        char *exact = malloc(n + 1); /* so that the sanitizers see a byte too far */
        memcpy(exact, from, n);
        assert_int_equal(proxy_header_read(&part, exact, n), HTTP_MORE);
        free(exact);
    }
    return whole;
}

static enum http_result reads_line(const char *line)
{
    return reads(line, strlen(line));
}

/* A header of version 2 with so many bytes behind its head; *all gets its length. */
static char *version_2(uint8_t command, uint8_t family, const void *rest, size_t count, size_t *all)
{
    memcpy(bytes, SIGNATURE, 12);
    bytes[12] = (char)command;
    bytes[13] = (char)family;
    bytes[14] = (char)(count >> 8);
    bytes[15] = (char)count;
    memcpy(bytes + 16, rest, count);
    *all = 16 + count;
    return bytes;
}

static enum http_result reads_2(uint8_t command, uint8_t family, const void *rest, size_t count)
{
    size_t all;
    char *whole = version_2(command, family, rest, count, &all);
    return reads(whole, all);
}

#define TCP4_BLOCK \
    "\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb" /* 192.0.2.1:12345 to 198.51.100.2:443 */

static void assert_ends(const char *source, unsigned source_port, const char *destination, unsigned port)
{
    struct proxy_ends *ends = &header.ends;
    assert_true(header.known);
    assert_memory_equal(ends->source + 12, source, 4);
    assert_memory_equal(ends->destination + 12, destination, 4);
    assert_int_equal(ends->source_port, source_port);
    assert_int_equal(ends->destination_port, port);
}

static void a_line_of_version_1_names_both_ends(void **state)
{
    (void)state;
    const char *line = "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nGET / HTTP/1.1\r\n";
    assert_int_equal(reads_line(line), HTTP_DONE);
    assert_int_equal(header.length, strcspn(line, "\n") + 1);
    assert_ends("\xc0\x00\x02\x01", 12345, "\xc6\x33\x64\x02", 443);
    assert_memory_equal(header.ends.source, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
    assert_int_equal(reads_line("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), HTTP_DONE);
    assert_true(header.known);
    assert_memory_equal(header.ends.source, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    assert_int_equal(header.ends.source_port, 65535);
    assert_int_equal(header.ends.destination_port, 0);
}

static void an_unknown_client_leaves_the_connections_own_ends(void **state)
{
    (void)state;
    assert_int_equal(reads_line("PROXY UNKNOWN\r\n"), HTTP_DONE);
    assert_false(header.known);
    assert_int_equal(reads_line("PROXY UNKNOWN whatever 1 2 3 \n x\r\n"), HTTP_DONE);
    assert_false(header.known);
    char longest[108];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "PROXY UNKNOWN ", 14);
    memcpy(longest + 105, "\r\n", 3);
    assert_int_equal(reads(longest, 107), HTTP_DONE);
    memcpy(longest + 105, "x\r\n", 3);
    assert_int_equal(reads(longest, 108), HTTP_BAD);
}

static void what_is_no_line_of_version_1_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "POST / HTTP/1.1\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.400 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP6 ::1::1 ::1 1 2\r\n",
        "PROXY TCP5 ::1 ::1 1 2\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(reads_line(wrong[i]), HTTP_BAD);
    /* The first byte that cannot be is enough. */
    assert_int_equal(reads_line("PROXZ"), HTTP_BAD);
    assert_int_equal(reads_line("G"), HTTP_BAD);
    assert_int_equal(reads_line("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), HTTP_MORE);
    assert_int_equal(reads("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", 34), HTTP_BAD);
}

static void a_header_of_version_2_names_both_ends(void **state)
{
    (void)state;
    assert_int_equal(reads_2(0x21, 0x11, TCP4_BLOCK, 12), HTTP_DONE);
    assert_int_equal(header.length, 28);
    assert_ends("\xc0\x00\x02\x01", 12345, "\xc6\x33\x64\x02", 443);
    uint8_t block[36] = {0x20, 0x01, [15] = 1, [16] = 0x20, [31] = 2, [33] = 80, [34] = 1, [35] = 0xbb};
    assert_int_equal(reads_2(0x21, 0x21, block, 36), HTTP_DONE);
    assert_true(header.known);
    assert_memory_equal(header.ends.source, block, 16);
    assert_memory_equal(header.ends.destination, block + 16, 16);
    assert_int_equal(header.ends.source_port, 80);
    assert_int_equal(header.ends.destination_port, 443);
}

static void local_and_other_families_leave_the_connections_own_ends(void **state)
{
    (void)state;
    static const char nothing[216];
    assert_int_equal(reads_2(0x20, 0x00, "", 0), HTTP_DONE);
    assert_false(header.known);
    assert_int_equal(reads_2(0x20, 0x11, TCP4_BLOCK, 12), HTTP_DONE);
    assert_false(header.known);
    assert_int_equal(reads_2(0x20, 0xff, "abc", 3), HTTP_DONE);
    assert_int_equal(header.length, 19);
    assert_int_equal(reads_2(0x21, 0x00, "abc", 3), HTTP_DONE);
    assert_false(header.known);
    assert_int_equal(reads_2(0x21, 0x31, nothing, 216), HTTP_DONE);
    assert_false(header.known);
    assert_int_equal(reads_2(0x21, 0x12, TCP4_BLOCK, 12), HTTP_DONE); /* UDP over a stream */
    assert_false(header.known);
}

static void what_is_no_header_of_version_2_is_refused(void **state)
{
    (void)state;
    static const char nothing[PROXY_HEADER_MAX];
    assert_int_equal(reads_2(0x11, 0x11, TCP4_BLOCK, 12), HTTP_BAD);
    assert_int_equal(reads_2(0x31, 0x11, TCP4_BLOCK, 12), HTTP_BAD);
    assert_int_equal(reads_2(0x22, 0x11, TCP4_BLOCK, 12), HTTP_BAD);
    assert_int_equal(reads_2(0x21, 0x13, TCP4_BLOCK, 12), HTTP_BAD);
    assert_int_equal(reads_2(0x21, 0x41, TCP4_BLOCK, 12), HTTP_BAD);
    assert_int_equal(reads_2(0x21, 0x11, TCP4_BLOCK, 11), HTTP_BAD);
    assert_int_equal(reads_2(0x21, 0x21, nothing, 35), HTTP_BAD);
    assert_int_equal(reads_2(0x21, 0x31, nothing, 215), HTTP_BAD);
    assert_int_equal(reads(SIGNATURE "\x11", 13), HTTP_BAD);
    assert_int_equal(reads("\r\n\r\n\0\r\nQUIX", 11), HTTP_BAD);
    /* A length beyond the limit is refused before anything of it has come. */
    assert_int_equal(reads_2(0x20, 0x00, nothing, PROXY_HEADER_MAX - 16), HTTP_DONE);
    size_t all;
    assert_int_equal(proxy_header_read(&header, version_2(0x20, 0, nothing, PROXY_HEADER_MAX - 15, &all), 16),
                     HTTP_BAD);
}

/* TCP4 with these TLVs. */
static enum http_result reads_tlvs(const void *tlvs, size_t count)
{
    char block[300] = TCP4_BLOCK;
    memcpy(block + 12, tlvs, count);
    return reads_2(0x21, 0x11, block, 12 + count);
}

static void tlvs_are_passed_over_and_their_frames_must_fit(void **state)
{
    (void)state;
    assert_int_equal(reads_tlvs("\x04\0\0\x20\0\x05\1\2\3\4\5\xee\0\1x", 15), HTTP_DONE);
    assert_ends("\xc0\x00\x02\x01", 12345, "\xc6\x33\x64\x02", 443);
    assert_int_equal(reads_tlvs("\x04\0", 2), HTTP_BAD);
    assert_int_equal(reads_tlvs("\x04\0\1", 3), HTTP_BAD);
    assert_int_equal(reads_tlvs("\x04\xff\xff"
                                "abc",
                                6),
                     HTTP_BAD);
    assert_int_equal(reads_tlvs("\x03\0\3abc", 6), HTTP_BAD);
}

static void a_checksum_must_be_right(void **state)
{
    (void)state;
    char block[12 + 7 + 4] = TCP4_BLOCK "\x03\0\4\0\0\0\0\x04\0\1x";
    size_t all;
    uint32_t sum = crc32c(version_2(0x21, 0x11, block, sizeof block, &all), 16 + sizeof block);
    for (int i = 0; i < 4; i++)
        block[15 + i] = (char)(sum >> (24 - 8 * i));
    assert_int_equal(reads_2(0x21, 0x11, block, sizeof block), HTTP_DONE);
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] ^= 0x10;
        bool passed_over = i == 12 || i == 19; /* another type of TLV; the first is then no checksum */
        assert_true(passed_over || reads_2(0x21, 0x11, block, sizeof block) == HTTP_BAD);
        block[i] ^= 0x10;
    }
}

static struct proxy_ends ends_of(const char *source, const char *destination)
{
    struct proxy_ends ends = {.source_port = 12345, .destination_port = 443};
    memcpy(ends.source, source, 16);
    memcpy(ends.destination, destination, 16);
    return ends;
}

#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    const char *ip4 = MAPPED "\xc0\0\2\1", *ip6 = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    const char *all_ones = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    struct proxy_ends made[] = {ends_of(ip4, ip4), ends_of(ip6, ip6), ends_of(ip4, ip6), ends_of(ip6, ip4),
                                ends_of(all_ones, all_ones)};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        for (unsigned version = 1; version <= 2; version++) {
            char out[PROXY_HEADER_ROOM];
            size_t n = proxy_header_write(version, &made[i], out);
            assert_int_equal(reads(out, n), HTTP_DONE);
            assert_int_equal(header.length, n);
            assert_true(header.known);
            assert_memory_equal(&header.ends, &made[i], sizeof header.ends);
        }
    }
}

static void what_is_written_has_the_shape_of_the_document(void **state)
{
    (void)state;
    char out[PROXY_HEADER_ROOM];
    struct proxy_ends ends = ends_of(MAPPED "\xc0\0\2\1", MAPPED "\xc6\x33\x64\2");
    assert_int_equal(proxy_header_write(2, &ends, out), 28);
    assert_memory_equal(out, SIGNATURE "\x21\x11\0\x0c" TCP4_BLOCK, 28);
    size_t n = proxy_header_write(1, &ends, out);
    assert_str_equal(((struct str){out, n}), "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n");
    n = proxy_header_write(1, NULL, out);
    assert_str_equal(((struct str){out, n}), "PROXY UNKNOWN\r\n");
    assert_int_equal(proxy_header_write(2, NULL, out), 16);
    assert_memory_equal(out, SIGNATURE "\x20\0\0\0", 16);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

/* Random bytes behind a beginning that is right: whatever is said, nothing beyond `count` is touched (the
 * copies are exact), a length lies within what came, and more bytes never undo a verdict. */
static void noise_is_never_followed(void **state)
{
    (void)state;
    uint32_t seed = 20261126;
    static const char *const starts[] = {"", "PROXY ", "PROXY TCP4 ", "PROXY UNKNOWN "};
    for (unsigned round = 0; round < 200000; round++) {
        size_t count = next_random(&seed) % 300, at = 0;
        char *noise = malloc(count + 1);
        for (size_t i = 0; i < count; i++)
            noise[i] = (char)next_random(&seed);
        const char *start = starts[next_random(&seed) % 4];
        if (round % 2 == 0)
            for (; at < count && start[at] != '\0'; at++)
                noise[at] = start[at];
        else if (count >= 16) {
            memcpy(noise, SIGNATURE "\x21\x11", 14);
            noise[13] = (char)(0x11 * (1 + next_random(&seed) % 3) + next_random(&seed) % 3);
            noise[14] = 0;
        }
        enum http_result result = proxy_header_read(&header, noise, count);
        if (result == HTTP_DONE)
            assert_in_range(header.length, 15, count);
        if (count > 1) {
            enum http_result before = proxy_header_read(&header, noise, count - 1);
            assert_true(before == HTTP_MORE || before == result);
        }
        free(noise);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_version_1_names_both_ends),
        cmocka_unit_test(an_unknown_client_leaves_the_connections_own_ends),
        cmocka_unit_test(what_is_no_line_of_version_1_is_refused),
        cmocka_unit_test(a_header_of_version_2_names_both_ends),
        cmocka_unit_test(local_and_other_families_leave_the_connections_own_ends),
        cmocka_unit_test(what_is_no_header_of_version_2_is_refused),
        cmocka_unit_test(tlvs_are_passed_over_and_their_frames_must_fit),
        cmocka_unit_test(a_checksum_must_be_right),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(what_is_written_has_the_shape_of_the_document),
        cmocka_unit_test(noise_is_never_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
