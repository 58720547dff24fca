/* The address space: which ranges are taken, what an access reaches, what a device is asked. */
#include "mem/huge.h"
#include "mem/lazy.h"
#include "mem/mirror.h"
#include "mem_test.h"

#include <sys/mman.h>
#include <unistd.h>

struct probe {
    unsigned reads, writes;
    uint64_t offset, value;
    unsigned size_bytes;
    int answer;
};

static int probe_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct probe *p = opaque;

    p->reads++;
    p->offset = offset;
    p->size_bytes = size_bytes;
    *value = p->value;
    return p->answer;
}

static int probe_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct probe *p = opaque;

    p->writes++;
    p->offset = offset;
    p->size_bytes = size_bytes;
    p->value = value;
    return p->answer;
}

static const struct mem_ops probe_ops = {"probe", probe_read, probe_write, 2, 4};

START_TEST(ranges_that_are_not_pages_are_refused)
{
    struct mem *empty;

    ck_assert_int_eq(mem_create(&empty), 0);
    ck_assert_uint_eq(mem_ram_bytes(empty), 0);
    ck_assert_int_eq(mem_add_ram(empty, RAM_GPA + 8, MEM_PAGE_BYTES), -EINVAL);
    ck_assert_int_eq(mem_add_ram(empty, RAM_GPA, MEM_PAGE_BYTES + 8), -EINVAL);
    ck_assert_int_eq(mem_add_ram(empty, RAM_GPA, 0), -EINVAL);
    ck_assert_int_eq(mem_add_ram(empty, -(uint64_t)MEM_PAGE_BYTES, 2 * (uint64_t)MEM_PAGE_BYTES), -EINVAL);
    ck_assert_int_eq(mem_add_mmio(empty, -(uint64_t)MEM_PAGE_BYTES, MEM_PAGE_BYTES, &probe_ops, NULL), 0);
    ck_assert_int_eq(mem_add_ram(empty, RAM_GPA, MEM_PAGE_BYTES), 0);
    mem_destroy(empty);
}
END_TEST

START_TEST(ranges_that_overlap_are_refused)
{
    ck_assert_int_eq(mem_add_ram(mem, 0, MEM_PAGE_BYTES), -EEXIST);
    ck_assert_int_eq(mem_add_mmio(mem, RAM_GPA - MEM_PAGE_BYTES, 2 * MEM_PAGE_BYTES, &probe_ops, NULL), -EEXIST);
    ck_assert_int_eq(mem_add_mmio(mem, RAM_GPA + RAM_BYTES - MEM_PAGE_BYTES, MEM_PAGE_BYTES, &probe_ops, NULL),
                     -EEXIST);
    ck_assert_int_eq(mem_add_mmio(mem, 0, UINT64_C(0x100000000), &probe_ops, NULL), -EEXIST);
    ck_assert_int_eq(mem_add_mmio(mem, RAM_GPA - MEM_PAGE_BYTES, MEM_PAGE_BYTES, &probe_ops, NULL), 0);
    ck_assert_int_eq(mem_add_mmio(mem, RAM_GPA + RAM_BYTES, MEM_PAGE_BYTES, &probe_ops, NULL), 0);
}
END_TEST

START_TEST(too_many_ranges_are_refused)
{
    int rc = 0;
    unsigned taken = 0;

    for (uint64_t gpa = 0; rc == 0 && gpa < RAM_GPA; gpa += 2 * MEM_PAGE_BYTES) {
        rc = mem_add_mmio(mem, gpa, MEM_PAGE_BYTES, &probe_ops, NULL);
        taken += rc == 0;
    }
    ck_assert_int_eq(rc, -ENOMEM);
    ck_assert_uint_ge(taken, 32);
}
END_TEST

START_TEST(ram_is_zeroed_and_ends_where_it_ends)
{
    const uint8_t *host = mem_ram_ptr(mem, RAM_GPA, RAM_BYTES);
    uint8_t byte = 1;

    ck_assert_ptr_nonnull(host);
    for (uint64_t i = 0; i < RAM_BYTES; i += 509)
        ck_assert_uint_eq(host[i], 0);
    ck_assert_uint_eq(mem_ram_base(mem), RAM_GPA);
    ck_assert_uint_eq(mem_ram_bytes(mem), RAM_BYTES);
    ck_assert_ptr_eq(mem_ram_ptr(mem, RAM_GPA + RAM_BYTES - 1, 1), host + RAM_BYTES - 1);
    ck_assert_ptr_null(mem_ram_ptr(mem, RAM_GPA + RAM_BYTES - 1, 2));
    ck_assert_ptr_null(mem_ram_ptr(mem, RAM_GPA + RAM_BYTES, 1));
    ck_assert_ptr_null(mem_ram_ptr(mem, RAM_GPA - 1, 2));
    ck_assert_ptr_null(mem_ram_ptr(mem, RAM_GPA, UINT64_MAX));
    ck_assert_uint_eq(mem_host_to_gpa(mem, host + 12345), RAM_GPA + 12345);
    ck_assert_int_eq(mem_read(mem, RAM_GPA + RAM_BYTES - 1, &byte, 1), 0);
    ck_assert_uint_eq(byte, 0);
}
END_TEST

START_TEST(copies_are_all_or_nothing)
{
    uint8_t in[16], out[16];

    for (unsigned i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i + 1);
    ck_assert_int_eq(mem_write(mem, RAM_GPA + MEM_PAGE_BYTES - 7, in, sizeof(in)), 0);
    ck_assert_int_eq(mem_read(mem, RAM_GPA + MEM_PAGE_BYTES - 7, out, sizeof(out)), 0);
    ck_assert_mem_eq(in, out, sizeof(in));
    ck_assert_int_eq(mem_write(mem, RAM_GPA + RAM_BYTES - 8, in, sizeof(in)), -EFAULT);
    memset(out, 0xee, sizeof(out));
    ck_assert_int_eq(mem_read(mem, RAM_GPA + RAM_BYTES - 8, out, sizeof(out)), -EFAULT);
    ck_assert_uint_eq(out[0], 0xee);
    ck_assert_int_eq(mem_read(mem, RAM_GPA + RAM_BYTES - 8, out, 8), 0);
    ck_assert_uint_eq(out[0], 0);
}
END_TEST

/* Pages given back are zero, dirty, and nobody else's bytes change. */
START_TEST(discarded_pages_are_zero_and_dirty)
{
    struct mem *ram;
    uint64_t word;

    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_ram(ram, RAM_GPA, 64 * (uint64_t)MEM_PAGE_BYTES), 0);
    uint8_t *host = mem_ram_ptr(ram, RAM_GPA, 64 * (uint64_t)MEM_PAGE_BYTES);
    memset(host, 7, 64 * (size_t)MEM_PAGE_BYTES);
    ck_assert_int_eq(mem_dirty_start(ram), 0);
    ck_assert_int_eq(mem_discard(ram, RAM_GPA + 2 * MEM_PAGE_BYTES, 3 * (uint64_t)MEM_PAGE_BYTES), 0);
    ck_assert_int_eq(mem_dirty_fetch(ram, &word, 1), 0);
    ck_assert_uint_eq(word, 7u << 2);
    for (size_t i = 0; i < 64; i++)
        ck_assert_uint_eq(host[i * MEM_PAGE_BYTES], i >= 2 && i < 5 ? 0 : 7);
    ck_assert_int_eq(mem_discard(ram, RAM_GPA + 8, MEM_PAGE_BYTES), -EFAULT);
    ck_assert_int_eq(mem_discard(ram, RAM_GPA, MEM_PAGE_BYTES + 8), -EFAULT);
    ck_assert_int_eq(mem_discard(ram, RAM_GPA + 63 * MEM_PAGE_BYTES, 2 * (uint64_t)MEM_PAGE_BYTES), -EFAULT);
    ck_assert_int_eq(mem_discard(ram, 0, MEM_PAGE_BYTES), -EFAULT);
    ck_assert_int_eq(mem_discard(ram, RAM_GPA, -(uint64_t)MEM_PAGE_BYTES), -EFAULT);
    mem_destroy(ram);
}
END_TEST

START_TEST(ram_goes_around_its_hole)
{
    const uint64_t hole = 64 * (uint64_t)MEM_PAGE_BYTES, high = 3 * hole;
    struct mem_ram_config config = {.size_bytes = hole + 2 * MEM_PAGE_BYTES, .hole_gpa = hole, .hole_bytes = 2 * hole};
    struct mem *ram;
    uint64_t words[2], value = 1;

    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_mmio(ram, high + MEM_PAGE_BYTES, MEM_PAGE_BYTES, &probe_ops, NULL), 0);
    ck_assert_int_eq(mem_add_ram_as(ram, &config), -EEXIST);
    config.hole_bytes += MEM_PAGE_BYTES; /* not words of the dirty log */
    ck_assert_int_eq(mem_add_ram_as(ram, &config), -EINVAL);
    mem_destroy(ram);
    config.hole_bytes = 2 * hole;
    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_ram_as(ram, &config), 0);
    ck_assert_int_eq(mem_add_mmio(ram, hole, 2 * hole, &probe_ops, NULL), 0);
    ck_assert_uint_eq(mem_ram_bytes(ram), config.size_bytes);
    ck_assert_uint_eq(mem_ram_low_bytes(ram), hole);
    ck_assert_uint_eq(mem_ram_high_base(ram), high);

    uint8_t *host = mem_ram_ptr(ram, 0, hole);
    ck_assert_ptr_nonnull(host);
    ck_assert_ptr_null(mem_ram_ptr(ram, hole - 1, 2));
    ck_assert_ptr_null(mem_ram_ptr(ram, hole, 1));
    ck_assert_ptr_null(mem_ram_ptr(ram, high - 1, 2));
    ck_assert_ptr_eq(mem_ram_ptr(ram, high, 2 * MEM_PAGE_BYTES), host + hole);
    ck_assert_ptr_null(mem_ram_ptr(ram, high, 2 * MEM_PAGE_BYTES + 1));
    ck_assert_uint_eq(mem_host_to_gpa(ram, host + hole - 1), hole - 1);
    ck_assert_uint_eq(mem_host_to_gpa(ram, host + hole + 5), high + 5);

    ck_assert_int_eq(mem_dirty_start(ram), 0);
    ck_assert_int_eq(mem_write(ram, high + MEM_PAGE_BYTES, &value, sizeof(value)), 0);
    ck_assert_int_eq(mem_write(ram, 8, &value, sizeof(value)), 0);
    ck_assert_int_eq(mem_dirty_fetch(ram, words, 2), 0);
    ck_assert_uint_eq(words[0], 1);
    ck_assert_uint_eq(words[1], 2);
    ck_assert_int_eq(mem_discard(ram, high + MEM_PAGE_BYTES, MEM_PAGE_BYTES), 0);
    ck_assert_uint_eq(host[hole + MEM_PAGE_BYTES], 0);
    ck_assert_uint_eq(host[8], 1);
    mem_destroy(ram);
}
END_TEST

START_TEST(ram_that_ends_before_the_hole_has_none)
{
    const struct mem_ram_config config = {
        .size_bytes = 8 * MEM_PAGE_BYTES, .hole_gpa = 8 * MEM_PAGE_BYTES, .hole_bytes = MEM_PAGE_BYTES};
    struct mem *ram;

    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_ram_as(ram, &config), 0);
    ck_assert_uint_eq(mem_ram_low_bytes(ram), config.size_bytes);
    ck_assert_ptr_null(mem_ram_ptr(ram, config.hole_gpa + config.hole_bytes, 1));
    mem_destroy(ram);
}
END_TEST

/* The host's pool is mostly empty: then RAM is refused, and nothing stays of it. */
START_TEST(reserved_huge_pages_are_all_there_or_refused)
{
    struct mem_ram_config config = {.gpa = RAM_GPA, .size_bytes = 2 * MEM_HUGE_PAGE_BYTES, .pages = MEM_PAGES_RESERVED};
    struct mirror *mirror;
    struct mem *ram;

    ck_assert_int_eq(mem_create(&ram), 0);
    config.size_bytes += MEM_PAGE_BYTES;
    ck_assert_int_eq(mem_add_ram_as(ram, &config), -EINVAL);
    config.size_bytes -= MEM_PAGE_BYTES;
    int rc = mem_add_ram_as(ram, &config);
    if (rc) {
        ck_assert_msg(rc == -ENOMEM || rc == -ENOSYS || rc == -EOPNOTSUPP || rc == -ENOENT, "%s", strerror(-rc));
        ck_assert_uint_eq(mem_ram_bytes(ram), 0);
        config.pages = MEM_PAGES_SMALL;
        ck_assert_int_eq(mem_add_ram_as(ram, &config), 0);
        ck_assert_int_eq(mem_ram_huge_bytes(ram), 0);
    } else {
        uint8_t *host = mem_ram_ptr(ram, RAM_GPA, config.size_bytes);
        memset(host, 7, MEM_HUGE_PAGE_BYTES + 1);
        ck_assert_int_eq(mem_ram_huge_bytes(ram), 2 * MEM_HUGE_PAGE_BYTES);
        ck_assert_int_eq(mem_discard(ram, RAM_GPA + MEM_PAGE_BYTES, MEM_PAGE_BYTES), 0);
        ck_assert_uint_eq(host[MEM_PAGE_BYTES - 1], 7);
        ck_assert_uint_eq(host[MEM_PAGE_BYTES], 0);
        ck_assert_uint_eq(host[2 * MEM_PAGE_BYTES], 7);
        ck_assert_int_eq(mirror_create(ram, &mirror), -ENOTSUP);
        ck_assert_int_eq(mem_lazy_start(ram, &(struct mem_lazy_first){0}, NULL, NULL, NULL), -ENOTSUP);
    }
    mem_destroy(ram);
}
END_TEST

/* Does the host make huge pages of shared memory when it is asked to? */
static bool host_collapses(void)
{
    enum { BYTES = 2 * MEM_HUGE_PAGE_BYTES };
    int fd = memfd_create("test", MFD_CLOEXEC);

    ck_assert_int_eq(ftruncate(fd, BYTES), 0);
    uint8_t *room = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(room != MAP_FAILED); // NOLINT(performance-no-int-to-ptr)
    size_t before = -(uintptr_t)room & (MEM_HUGE_PAGE_BYTES - 1);
    uint8_t *at = mmap(room + before, MEM_HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    ck_assert(at != MAP_FAILED); // NOLINT(performance-no-int-to-ptr)
    *at = 1;
    bool can = madvise(at, MEM_HUGE_PAGE_BYTES, 25 /* MADV_COLLAPSE */) == 0;
    munmap(room, BYTES);
    close(fd);
    return can;
}

/* Uses the piece at `gpa` like a hart until it is huge or a while has passed. */
static bool becomes_huge(struct mem *ram, uint64_t gpa, unsigned milliseconds)
{
    volatile uint8_t *host = mem_ram_ptr(ram, gpa, 1);
    int64_t before = mem_ram_huge_bytes(ram);

    for (unsigned i = 0; i < milliseconds; i++) {
        for (unsigned n = 0; n < 20; n++)
            mem_huge_note(ram, gpa + n * MEM_PAGE_BYTES);
        (void)*host;
        if (mem_ram_huge_bytes(ram) > before)
            return true;
        usleep(1000);
    }
    return false;
}

START_TEST(pieces_that_harts_use_become_huge_pages)
{
    static const uint8_t text[] = "written before it was huge";
    const struct mem_ram_config config = {.gpa = RAM_GPA, .size_bytes = 8 * MEM_HUGE_PAGE_BYTES + MEM_PAGE_BYTES};
    uint64_t second = RAM_GPA + MEM_HUGE_PAGE_BYTES;
    bool can = host_collapses();
    struct mem *ram;

    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_ram_as(ram, &config), 0);
    uint8_t *host = mem_ram_ptr(ram, second, MEM_HUGE_PAGE_BYTES);
    ck_assert_int_eq(mem_write(ram, second + 70000, text, sizeof(text)), 0);
    mem_huge_note(ram, second);
    mem_huge_note(ram, RAM_GPA + 8 * MEM_HUGE_PAGE_BYTES); /* no whole piece */
    ck_assert_int_eq(becomes_huge(ram, second, can ? 20000 : 20), can);
    ck_assert_mem_eq(host + 70000, text, sizeof(text));
    /* As a whole it may come back. */
    ck_assert_int_eq(mem_discard(ram, second, MEM_HUGE_PAGE_BYTES), 0);
    ck_assert_uint_eq(host[70000], 0);
    ck_assert_int_eq(mem_ram_huge_bytes(ram), 0);
    ck_assert_int_eq(becomes_huge(ram, second, can ? 20000 : 20), can);
    /* What a balloon takes page by page stays away. */
    host[0] = 3;
    ck_assert_int_eq(mem_discard(ram, second + 5 * MEM_PAGE_BYTES, MEM_PAGE_BYTES), 0);
    ck_assert_uint_eq(host[0], 3);
    ck_assert_int_eq(mem_ram_huge_bytes(ram), 0);
    ck_assert(!becomes_huge(ram, second, 20));
    mem_destroy(ram);
}
END_TEST

/* A kernel that is loaded, say. */
START_TEST(pieces_that_are_filled_become_huge_pages)
{
    const struct mem_ram_config config = {.gpa = RAM_GPA, .size_bytes = 8 * MEM_HUGE_PAGE_BYTES};
    size_t len = 3 * MEM_HUGE_PAGE_BYTES;
    uint8_t *bytes = malloc(len);
    bool can = host_collapses();
    struct mem *ram;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 12));
    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_ram_as(ram, &config), 0);
    /* From the middle of the second piece to the middle of the fifth: four that are half full or more. The kernel may
     * say that it could not just now. */
    uint64_t gpa = RAM_GPA + MEM_HUGE_PAGE_BYTES + MEM_HUGE_PAGE_BYTES / 2;
    int64_t wanted = can ? 4 * MEM_HUGE_PAGE_BYTES : 0;
    for (unsigned i = 0; i < 100 && (i == 0 || mem_ram_huge_bytes(ram) != wanted); i++) {
        ck_assert_int_eq(mem_discard(ram, RAM_GPA, config.size_bytes), 0);
        ck_assert_int_eq(mem_write(ram, gpa, bytes, len), 0);
    }
    ck_assert_int_eq(mem_ram_huge_bytes(ram), wanted);
    ck_assert_mem_eq(mem_ram_ptr(ram, gpa, len), bytes, len);
    free(bytes);
    mem_destroy(ram);
}
END_TEST

START_TEST(devices_get_offset_size_and_value)
{
    struct probe p = {.value = 0x1234};
    uint64_t value = 0;

    ck_assert_int_eq(mem_add_mmio(mem, 0x10000000, MEM_PAGE_BYTES, &probe_ops, &p), 0);
    ck_assert_int_eq(mem_mmio_read(mem, 0x10000ffe, 2, &value), 0);
    ck_assert_uint_eq(value, 0x1234);
    ck_assert_uint_eq(p.offset, 0xffe);
    ck_assert_uint_eq(p.size_bytes, 2);
    ck_assert_int_eq(mem_mmio_write(mem, 0x10000004, 4, 0xabcdef01), 0);
    ck_assert_uint_eq(p.value, 0xabcdef01);
    ck_assert_uint_eq(p.offset, 4);
    p.answer = -EFAULT;
    ck_assert_int_eq(mem_mmio_read(mem, 0x10000000, 4, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(mem, 0x10000000, 4, 0), -EFAULT);
    ck_assert_uint_eq(p.reads, 2);
    ck_assert_uint_eq(p.writes, 2);
}
END_TEST

START_TEST(devices_are_not_asked_for_what_they_refuse)
{
    struct probe p = {0};
    uint64_t value = 0;

    ck_assert_int_eq(mem_add_mmio(mem, 0x10000000, MEM_PAGE_BYTES, &probe_ops, &p), 0);
    ck_assert_int_eq(mem_mmio_read(mem, 0x10000000, 1, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_read(mem, 0x10000000, 8, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_read(mem, 0x10000002, 4, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(mem, 0x10000001, 2, 0), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(mem, 0x10001000, 4, 0), -EFAULT);
    ck_assert_int_eq(mem_mmio_read(mem, 0x0ffffffc, 4, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_read(mem, RAM_GPA, 4, &value), -EFAULT);
    ck_assert_uint_eq(p.reads + p.writes, 0);
}
END_TEST

/* Ranges are found by bisection: each of many is reached at both of its ends, and nothing between them. */
START_TEST(every_range_is_found)
{
    enum { COUNT = 40 };
    static struct probe probes[COUNT];
    uint64_t value;

    for (unsigned i = 0; i < COUNT; i++) {
        unsigned place = i * 17 % COUNT; /* added out of order */
        ck_assert_int_eq(mem_add_mmio(mem, 0x1000000 + place * 0x4000u, 0x2000, &probe_ops, &probes[place]), 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t gpa = 0x1000000 + i * 0x4000u;
        ck_assert_int_eq(mem_mmio_read(mem, gpa, 4, &value), 0);
        ck_assert_int_eq(mem_mmio_read(mem, gpa + 0x1ffc, 4, &value), 0);
        ck_assert_uint_eq(probes[i].reads, 2);
        ck_assert_uint_eq(probes[i].offset, 0x1ffc);
        ck_assert_int_eq(mem_mmio_read(mem, gpa + 0x2000, 4, &value), -EFAULT);
    }
}
END_TEST

static unsigned watched;
static uint64_t watched_gpa;

static void watch(void *opaque, uint64_t gpa, unsigned len_bytes)
{
    ck_assert_ptr_eq(opaque, &watched);
    ck_assert_uint_eq(len_bytes, 8);
    watched++;
    watched_gpa = gpa;
}

START_TEST(stores_to_the_watched_page_are_reported)
{
    uint64_t value = 1;

    mem_watch_stores(mem, RAM_GPA + 0x3010, watch, &watched);
    ck_assert_int_eq(mem_write(mem, RAM_GPA + 0x2ff8, &value, 8), 0);
    ck_assert_uint_eq(watched, 0);
    ck_assert_int_eq(mem_write(mem, RAM_GPA + 0x3010, &value, 8), 0);
    ck_assert_uint_eq(watched, 1);
    ck_assert_uint_eq(watched_gpa, RAM_GPA + 0x3010);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        ranges_that_are_not_pages_are_refused,
        ranges_that_overlap_are_refused,
        too_many_ranges_are_refused,
        ram_is_zeroed_and_ends_where_it_ends,
        copies_are_all_or_nothing,
        discarded_pages_are_zero_and_dirty,
        ram_goes_around_its_hole,
        ram_that_ends_before_the_hole_has_none,
        reserved_huge_pages_are_all_there_or_refused,
        pieces_that_harts_use_become_huge_pages,
        pieces_that_are_filled_become_huge_pages,
        devices_get_offset_size_and_value,
        devices_are_not_asked_for_what_they_refuse,
        every_range_is_found,
        stores_to_the_watched_page_are_reported,
    };

    return run_tests("mem", tests, TUFF_ARRAY_LEN(tests), setup, teardown);
}
