/* The Internet checksum against the definition, word by word, over every way of cutting the bytes. */
#include "dev/net/checksum.h"
#include "run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { PACKET_BYTES = 97 };

static uint8_t packet[PACKET_BYTES];

static void set_up(void)
{
    srandom(7);
    for (size_t i = 0; i < sizeof(packet); i++)
        packet[i] = (uint8_t)random();
}

/* RFC 1071, 1: 16-bit words in network order, padded by a zero. Returns the sum in network order. */
static uint16_t by_definition(const uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i += 2)
        sum += (uint32_t)bytes[i] << 8 | (i + 1 < len ? bytes[i + 1] : 0);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static uint16_t swapped(uint16_t value)
{
    return (uint16_t)(value << 8 | value >> 8);
}

START_TEST(sum_of_the_rfcs_example)
{
    /* RFC 1071, 3: 00 01 f2 03 f4 f5 f6 f7 gives ddf2. */
    static const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    ck_assert_uint_eq(swapped(net_checksum_fold(net_checksum_add(0, bytes, sizeof(bytes)))), 0xddf2);
}
END_TEST

START_TEST(any_length_and_alignment_agrees_with_the_definition)
{
    for (size_t from = 0; from < 8; from++) {
        for (size_t len = 0; from + len <= sizeof(packet); len++)
            ck_assert_uint_eq(swapped(net_checksum_fold(net_checksum_add(0, packet + from, len))),
                              by_definition(packet + from, len));
    }
}
END_TEST

START_TEST(cutting_into_buffers_changes_nothing)
{
    for (size_t a = 0; a <= 40; a++) {
        for (size_t b = a; b <= 44; b++) {
            struct iovec iov[] = {{packet, a}, {packet + a, b - a}, {packet, 0}, {packet + b, sizeof(packet) - b}};
            for (size_t offset = 0; offset < 50; offset += 7)
                ck_assert_uint_eq(swapped(net_checksum_fold(net_checksum_iov(iov, 4, offset))),
                                  by_definition(packet + offset, sizeof(packet) - offset));
        }
    }
}
END_TEST

START_TEST(sums_of_many_large_parts_do_not_overflow)
{
    size_t len = 65536 + 2;
    uint8_t *ones = malloc(len);
    struct iovec iov[64];

    ck_assert_ptr_nonnull(ones);
    memset(ones, 0xff, len);
    for (size_t i = 0; i < 64; i++)
        iov[i] = (struct iovec){ones, len};
    ck_assert_uint_eq(net_checksum_fold(net_checksum_iov(iov, 64, 0)), 0xffff);
    free(ones);
}
END_TEST

/* A TCP segment as a driver leaves it: the field has the pseudo header's sum. */
START_TEST(finished_checksum_verifies)
{
    struct net_header header = {.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    uint16_t pseudo = swapped(by_definition((const uint8_t *)"\x0a\x00\x02\x0f\x0a\x00\x02\x02\x00\x06\x00\x3f", 12));
    struct iovec iov[] = {{packet, 33}, {packet + 33, 20}, {packet + 53, sizeof(packet) - 53}};

    memcpy(packet + 34 + 16, &pseudo, 2);
    ck_assert(net_header_is_valid(&header, sizeof(packet)));
    uint16_t sum = net_checksum_finish(&header, iov, 3);
    memcpy(packet + 34 + 16, &sum, 2);
    /* Over segment and pseudo header together all ones. */
    uint32_t total = (uint32_t)by_definition(packet + 34, sizeof(packet) - 34) + swapped(pseudo);
    ck_assert_uint_eq((total & 0xffff) + (total >> 16), 0xffff);
}
END_TEST

START_TEST(checksum_of_zero_is_sent_as_all_ones)
{
    uint8_t bytes[] = {0xff, 0xff, 0, 0};
    struct iovec iov = {bytes, sizeof(bytes)};
    struct net_header header = {.flags = NET_HEADER_NEEDS_CSUM, .csum_offset = 2};

    ck_assert_uint_eq(net_checksum_finish(&header, &iov, 1), 0xffff);
}
END_TEST

START_TEST(headers_that_point_outside_are_refused)
{
    struct net_header header = {.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};

    ck_assert(net_header_is_valid(&header, 52));
    ck_assert(!net_header_is_valid(&header, 51));
    header.csum_start = header.csum_offset = 0xffff;
    ck_assert(!net_header_is_valid(&header, 65536));
    header = (struct net_header){.gso_type = NET_GSO_TCPV4, .gso_size = 1460};
    ck_assert(!net_header_is_valid(&header, 3000)); /* no checksum left to the device */
    header.flags = NET_HEADER_NEEDS_CSUM;
    ck_assert(net_header_is_valid(&header, 3000));
    header.hdr_len = 3001;
    ck_assert(!net_header_is_valid(&header, 3000));
    header.hdr_len = 54;
    header.gso_size = 0;
    ck_assert(!net_header_is_valid(&header, 3000));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_checksum");
    TCase *tcase = tcase_create("net_checksum");

    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, sum_of_the_rfcs_example);
    tcase_add_test(tcase, any_length_and_alignment_agrees_with_the_definition);
    tcase_add_test(tcase, cutting_into_buffers_changes_nothing);
    tcase_add_test(tcase, sums_of_many_large_parts_do_not_overflow);
    tcase_add_test(tcase, finished_checksum_verifies);
    tcase_add_test(tcase, checksum_of_zero_is_sent_as_all_ones);
    tcase_add_test(tcase, headers_that_point_outside_are_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
