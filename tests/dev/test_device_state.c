/* Saved sections: round trip, every kind of damage, versions, and hostile values behind a right checksum. */
#include "dev/aclint.h"
#include "dev/goldfish_rtc.h"
#include "dev/ns16550a.h"
#include "dev/plic.h"
#include "dev_test.h"

#include <zlib.h>

/* Two versions of one made-up device: version 2 has a field more. */
struct sample {
    struct device base;
    uint64_t wide;
    uint16_t list[3];
    uint8_t added;
    unsigned resets, restores;
};

static void sample_reset(struct device *dev)
{
    struct sample *s = (struct sample *)dev;

    s->wide = 0;
    memset(s->list, 0, sizeof(s->list));
    s->added = 99;
    s->resets++;
}

static void sample_post_restore(struct device *dev)
{
    ((struct sample *)dev)->restores++;
}

static const struct device_field fields_v1[] = {
    DEVICE_FIELD(struct sample, wide, 1),
    DEVICE_FIELD_ARRAY(struct sample, list, 1),
    {0},
};
static const struct device_field fields_v2[] = {
    DEVICE_FIELD(struct sample, wide, 1),
    DEVICE_FIELD_ARRAY(struct sample, list, 1),
    DEVICE_FIELD(struct sample, added, 2),
    {0},
};
static const struct device_field fields_renamed[] = {
    {"wider", offsetof(struct sample, wide), 8, 1, 1},
    DEVICE_FIELD_ARRAY(struct sample, list, 1),
    {0},
};
static const struct device_field fields_reshaped[] = {
    DEVICE_FIELD(struct sample, wide, 1),
    {"list", offsetof(struct sample, list), 1, 6, 1},
    {0},
};

#define SAMPLE_OPS(device_name, version, table) \
    {.name = device_name,                       \
     .state_version = version,                  \
     .fields = table,                           \
     .reset = sample_reset,                     \
     .post_restore = sample_post_restore}

static const struct device_ops ops_v1 = SAMPLE_OPS("sample", 1, fields_v1);
static const struct device_ops ops_v2 = SAMPLE_OPS("sample", 2, fields_v2);
static const struct device_ops ops_other = SAMPLE_OPS("other", 1, fields_v1);
static const struct device_ops ops_renamed = SAMPLE_OPS("sample", 1, fields_renamed);
static const struct device_ops ops_reshaped = SAMPLE_OPS("sample", 1, fields_reshaped);

static struct sample make_sample(const struct device_ops *ops)
{
    return (struct sample){.base.ops = ops, .wide = UINT64_C(0x0102030405060708), .list = {10, 20, 30}, .added = 7};
}

/* Asserts that the section is refused with a message, and that the device is as before. */
static void expect_refused(const struct device_ops *ops, const uint8_t *buf, size_t len, int expected)
{
    struct sample s = make_sample(ops), before = s;
    struct error err = {{0}};

    ck_assert_int_eq(device_state_load(&s.base, buf, len, &err), expected);
    ck_assert_uint_gt(strlen(err.text), 0);
    ck_assert_mem_eq(&s, &before, sizeof(s));
    ck_assert_int_eq(device_state_load(&s.base, buf, len, NULL), expected);
}

static void fix_crc(uint8_t *buf, size_t len)
{
    uint32_t crc = (uint32_t)crc32_z(0, buf, len - 4);

    memcpy(buf + len - 4, &crc, 4);
}

START_TEST(round_trip_restores_every_field)
{
    struct sample s = make_sample(&ops_v2);
    size_t len;
    uint8_t *buf = save(&s.base, &len);
    struct sample t = {.base.ops = &ops_v2};

    ck_assert_int_eq(device_state_load(&t.base, buf, len, NULL), 0);
    ck_assert_uint_eq(t.wide, s.wide);
    ck_assert_mem_eq(t.list, s.list, sizeof(s.list));
    ck_assert_uint_eq(t.added, 7);
    ck_assert_uint_eq(t.resets, 1);
    ck_assert_uint_eq(t.restores, 1);
    free(buf);
}
END_TEST

START_TEST(older_section_leaves_newer_fields_at_reset)
{
    struct sample s = make_sample(&ops_v1);
    size_t len;
    uint8_t *buf = save(&s.base, &len);
    struct sample t = {.base.ops = &ops_v2};

    ck_assert_int_eq(device_state_load(&t.base, buf, len, NULL), 0);
    ck_assert_uint_eq(t.wide, s.wide);
    ck_assert_uint_eq(t.added, 99);
    free(buf);
}
END_TEST

START_TEST(newer_section_is_refused_as_such)
{
    struct sample s = make_sample(&ops_v2);
    size_t len;
    uint8_t *buf = save(&s.base, &len);

    expect_refused(&ops_v1, buf, len, -ENOTSUP);
    free(buf);
}
END_TEST

START_TEST(section_of_another_device_is_refused)
{
    struct sample s = make_sample(&ops_v1);
    size_t len;
    uint8_t *buf = save(&s.base, &len);

    expect_refused(&ops_other, buf, len, -EINVAL);
    free(buf);
}
END_TEST

START_TEST(fields_of_other_name_or_shape_are_refused)
{
    struct sample s = make_sample(&ops_v1);
    size_t len;
    uint8_t *buf = save(&s.base, &len);

    expect_refused(&ops_reshaped, buf, len, -EINVAL);
    expect_refused(&ops_renamed, buf, len, -EINVAL);
    free(buf);
}
END_TEST

START_TEST(every_flipped_bit_is_refused)
{
    struct sample s = make_sample(&ops_v2);
    size_t len;
    uint8_t *buf = save(&s.base, &len);

    for (size_t bit = 0; bit < len * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect_refused(&ops_v2, buf, len, -EINVAL);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(buf);
}
END_TEST

START_TEST(every_truncation_and_any_extension_is_refused)
{
    struct sample s = make_sample(&ops_v2);
    size_t len;
    uint8_t *buf = save(&s.base, &len);

    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); /* exact size: asan sees any byte read beyond */
        memcpy(part, buf, cut);
        expect_refused(&ops_v2, part, cut, -EINVAL);
        if (cut >= 4) {
            fix_crc(part, cut);
            expect_refused(&ops_v2, part, cut, -EINVAL);
        }
        free(part);
    }
    uint8_t *longer = calloc(1, len + 16);
    memcpy(longer, buf, len);
    fix_crc(longer, len + 16);
    expect_refused(&ops_v2, longer, len + 16, -EINVAL);
    free(longer);
    free(buf);
}
END_TEST

START_TEST(impossible_version_and_counts_with_a_right_checksum_are_refused)
{
    static const uint32_t values[] = {0, 4, 0x7fffffff, 0xffffffff};
    struct sample s = make_sample(&ops_v2);
    size_t len;
    uint8_t *buf = save(&s.base, &len);
    uint8_t *copy = malloc(len);

    for (unsigned i = 0; i < 4; i++) {
        for (size_t at = 8; at <= 12; at += 4) { /* state_version, field_count */
            memcpy(copy, buf, len);
            memcpy(copy + at, &values[i], 4);
            fix_crc(copy, len);
            expect_refused(&ops_v2, copy, len, at == 8 && values[i] > 2 ? -ENOTSUP : -EINVAL);
        }
        for (size_t at = 80; at <= 84; at += 4) { /* first field's element_bytes, count */
            memcpy(copy, buf, len);
            memcpy(copy + at, &values[i], 4);
            fix_crc(copy, len);
            expect_refused(&ops_v2, copy, len, -EINVAL);
        }
    }
    free(copy);
    free(buf);
}
END_TEST

START_TEST(save_into_too_small_a_buffer_is_refused)
{
    struct sample s = make_sample(&ops_v2);
    size_t len = device_state_size(&s.base);
    uint8_t *buf = malloc(len);

    ck_assert_int_eq(device_state_save(&s.base, buf, len - 1), -ENOSPC);
    ck_assert_int_eq(device_state_save(&s.base, buf, len), 0);
    free(buf);
}
END_TEST

/* A section whose checksum is right and whose values are all bits: loads, and the device works on. */
static void load_all_ones(struct device *dev)
{
    size_t len;
    uint8_t *buf = save(dev, &len);
    size_t at = 48;

    for (const struct device_field *f = dev->ops->fields; f->name; f++) {
        at += 40;
        memset(buf + at, 0xff, (size_t)f->element_bytes * f->count);
        at += (size_t)f->element_bytes * f->count;
    }
    fix_crc(buf, len);
    ck_assert_int_eq(device_state_load(dev, buf, len, NULL), 0);
    free(buf);
}

START_TEST(hostile_uart_values_are_brought_into_range)
{
    struct mem *mem = make_mem();
    struct device *dev;
    const struct ns16550a_config config = {.mem = mem, .gpa = 0x10000000};

    ck_assert_int_eq(ns16550a_create(&config, &dev), 0);
    load_all_ones(dev);
    mmio_write(mem, 0x10000003, 1, 0x03);
    for (int i = 0; i < 16; i++) {
        ck_assert_uint_eq(mmio_read(mem, 0x10000005, 1) & 1, 1);
        mmio_read(mem, 0x10000000, 1);
    }
    ck_assert_uint_eq(mmio_read(mem, 0x10000005, 1) & 1, 0);
    ck_assert_uint_eq(mmio_read(mem, 0x10000001, 1), 0x0f);
    mem_destroy(mem);
    dev->ops->destroy(dev);
}
END_TEST

START_TEST(hostile_plic_values_are_brought_into_range)
{
    struct mem *mem = make_mem();
    struct line_log lines[2] = {{0}};
    const struct irq_line mei = line_to(lines, 0), sei = line_to(lines, 1);
    const uint32_t phandle = 1;
    const struct plic_config config = {
        .mem = mem, .gpa = 0xc000000, .hart_count = 1, .mei = &mei, .sei = &sei, .intc_phandles = &phandle};
    struct device *dev;

    ck_assert_int_eq(plic_create(&config, &dev), 0);
    load_all_ones(dev);
    ck_assert_uint_eq(mmio_read(mem, 0xc000000, 4), 0);
    ck_assert_uint_eq(mmio_read(mem, 0xc000004, 4), 7);
    ck_assert_uint_eq(mmio_read(mem, 0xc200000, 4), 7);
    ck_assert_uint_eq(mmio_read(mem, 0xc002000, 4), 0xfffffffe);
    ck_assert_uint_eq(mmio_read(mem, 0xc200004, 4), 0); /* everything is in service */
    mmio_write(mem, 0xc200004, 4, 95);
    ck_assert_uint_eq(mmio_read(mem, 0xc200004, 4), 95);
    mem_destroy(mem);
    dev->ops->destroy(dev);
}
END_TEST

static uint64_t fixed_time(void *opaque)
{
    return 1000;
}

START_TEST(hostile_aclint_values_are_brought_into_range)
{
    struct mem *mem = make_mem();
    struct line_log lines[2] = {{0}};
    const struct irq_line msi = line_to(lines, 0), mti = line_to(lines, 1);
    const struct aclint_config config = {
        .mem = mem, .gpa = 0x2000000, .hart_count = 1, .msi = &msi, .mti = &mti, .time_now = fixed_time};
    struct device *dev;

    ck_assert_int_eq(aclint_create(&config, &dev), 0);
    load_all_ones(dev);
    ck_assert(lines[0].level);
    ck_assert(!lines[1].level);
    ck_assert_uint_eq(mmio_read(mem, 0x2000000, 4), 1);
    mem_destroy(mem);
    dev->ops->destroy(dev);
}
END_TEST

START_TEST(hostile_rtc_values_are_brought_into_range)
{
    struct mem *mem = make_mem();
    struct line_log line = {0};
    const struct goldfish_rtc_config config = {
        .mem = mem, .gpa = 0x101000, .irq = line_to(&line, 0), .epoch_now_ns = fixed_time};
    struct device *dev;

    ck_assert_int_eq(goldfish_rtc_create(&config, &dev), 0);
    load_all_ones(dev);
    ck_assert(line.level);
    ck_assert_uint_eq(mmio_read(mem, 0x101010, 4), 1);
    ck_assert_uint_eq(mmio_read(mem, 0x101018, 4), 1);
    mmio_write(mem, 0x10101c, 4, 0);
    ck_assert(!line.level);
    mem_destroy(mem);
    dev->ops->destroy(dev);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device_state");
    TCase *tc = tcase_create("sections");

    tcase_add_test(tc, round_trip_restores_every_field);
    tcase_add_test(tc, older_section_leaves_newer_fields_at_reset);
    tcase_add_test(tc, newer_section_is_refused_as_such);
    tcase_add_test(tc, section_of_another_device_is_refused);
    tcase_add_test(tc, fields_of_other_name_or_shape_are_refused);
    tcase_add_test(tc, every_flipped_bit_is_refused);
    tcase_add_test(tc, every_truncation_and_any_extension_is_refused);
    tcase_add_test(tc, impossible_version_and_counts_with_a_right_checksum_are_refused);
    tcase_add_test(tc, save_into_too_small_a_buffer_is_refused);
    tcase_add_test(tc, hostile_uart_values_are_brought_into_range);
    tcase_add_test(tc, hostile_plic_values_are_brought_into_range);
    tcase_add_test(tc, hostile_aclint_values_are_brought_into_range);
    tcase_add_test(tc, hostile_rtc_values_are_brought_into_range);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
