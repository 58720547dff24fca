/* Virtqueues: what a driver puts in comes out and goes back, in both formats; rings that break the rules break the
 * queue and nothing else; and a model that knows what every step must give, driven at random. */
#include "dev/iov.h"
#include "dev/virtio/queue.h"
#include "virtq_driver.h"

enum { BASE = VQ_RAM_GPA + 0x100000, DATA = VQ_RAM_GPA + 0x400000 };

#define FORMATS 4
static const uint64_t formats[FORMATS] = {
    VIRTIO_F_INDIRECT_DESC,
    VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX,
    VIRTIO_F_INDIRECT_DESC | VIRTIO_F_RING_PACKED,
    VIRTIO_F_INDIRECT_DESC | VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX,
};

static struct mem *mem;
static struct vq vq;
static struct virtq q;
static struct virtq_chain chain;

/* Both sides of a queue of `size` entries. */
static void make(uint64_t features, uint16_t size)
{
    vq_init(&vq, mem, BASE, size, features);
    q = (struct virtq){.size_max = VIRTQ_SIZE_MAX,
                       .size = size,
                       .desc_gpa = BASE,
                       .driver_gpa = BASE + VQ_DRIVER_OFFSET,
                       .device_gpa = BASE + VQ_DEVICE_OFFSET};
    ck_assert_int_eq(virtq_enable(&q, mem, features), 0);
}

static void set_up(void)
{
    mem = vq_make_mem();
}

static void tear_down(void)
{
    mem_destroy(mem);
}

static int pop(void)
{
    return virtq_pop(&q, &chain);
}

/* ---- what is right ---- */

START_TEST(chain_has_its_buffers_in_order)
{
    const struct vq_buffer buffers[] = {
        {DATA, 16, false}, {DATA + 0x1000, 1, false}, {DATA + 0x2000, 4096, true}, {DATA + 0x5000, 7, true}};

    for (unsigned indirect = 0; indirect <= 4; indirect++) {
        make(formats[_i], 8);
        if (vq.packed && indirect % 4)
            continue;
        int id = vq_add(&vq, buffers, 4, indirect);
        ck_assert_int_eq(pop(), 1);
        ck_assert_int_eq(chain.id, id);
        ck_assert_uint_eq(chain.readable_count, 2);
        ck_assert_uint_eq(chain.writable_count, 2);
        ck_assert_uint_eq(chain.readable_bytes, 17);
        ck_assert_uint_eq(chain.writable_bytes, 4103);
        for (unsigned i = 0; i < 4; i++) {
            ck_assert_ptr_eq(chain.iov[i].iov_base, mem_ram_ptr(mem, buffers[i].gpa, 1));
            ck_assert_uint_eq(chain.iov[i].iov_len, buffers[i].len);
        }
        ck_assert_ptr_eq(virtq_writable(&chain), &chain.iov[2]);
        ck_assert_int_eq(pop(), 0);
    }
}
END_TEST

START_TEST(empty_buffers_add_nothing)
{
    /* Nor need they be anywhere. */
    const struct vq_buffer buffers[] = {{0x10, 0, false}, {DATA, 5, false}, {0, 0, true}};

    make(formats[_i], 4);
    vq_add(&vq, buffers, 3, 0);
    ck_assert_int_eq(pop(), 1);
    ck_assert_uint_eq(chain.readable_count, 1);
    ck_assert_uint_eq(chain.writable_count, 0);
    ck_assert_uint_eq(chain.writable_bytes, 0);
}
END_TEST

START_TEST(indirect_table_may_lie_anywhere)
{
    make(formats[_i], 4);
    struct vq_buffer buffer = {DATA, 5, true};
    vq_add(&vq, &buffer, 1, 1);
    /* Moved by three bytes. */
    uint64_t table = vq_peek64(&vq, vq_desc(&vq, vq.packed ? 0 : vq.free[vq.free_count]));
    memmove(vq_at(&vq, table + 3, 16), vq_at(&vq, table, 16), 16);
    vq_poke64(&vq, vq_desc(&vq, vq.packed ? 0 : vq.free[vq.free_count]), table + 3);
    ck_assert_int_eq(pop(), 1);
    ck_assert_uint_eq(chain.writable_bytes, 5);
}
END_TEST

START_TEST(longest_chain_has_1024_buffers)
{
    static struct vq_buffer buffers[VIRTQ_SIZE_MAX];

    for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++)
        buffers[i] = (struct vq_buffer){DATA + i, 1, i >= 1000};
    make(formats[_i], VIRTQ_SIZE_MAX);
    ck_assert_int_ge(vq_add(&vq, buffers, VIRTQ_SIZE_MAX, 0), 0);
    ck_assert_int_eq(pop(), 1);
    ck_assert_uint_eq(chain.readable_count, 1000);
    ck_assert_uint_eq(chain.writable_count, 24);
    virtq_push(&q, &chain, 24);
    uint16_t id;
    uint32_t written;
    ck_assert(vq_next_used(&vq, &id, &written));
    ck_assert_uint_eq(written, 24);
}
END_TEST

START_TEST(unpopped_chain_comes_again)
{
    const struct vq_buffer buffers[] = {{DATA, 5, false}, {DATA + 8, 6, true}};

    make(formats[_i], 8);
    /* Across the ring's end. */
    for (int i = 0; i < 20; i++) {
        int id = vq_add(&vq, buffers, 2, 0);
        ck_assert_int_eq(pop(), 1);
        virtq_unpop(&q, &chain);
        ck_assert(!virtq_is_empty(&q));
        ck_assert_int_eq(pop(), 1);
        ck_assert_int_eq(chain.id, id);
        ck_assert(virtq_is_empty(&q));
        virtq_push(&q, &chain, 6);
        uint16_t used;
        uint32_t written;
        ck_assert(vq_next_used(&vq, &used, &written));
        ck_assert_int_eq(used, id);
    }
}
END_TEST

START_TEST(pushed_bytes_are_dirty_and_others_are_not)
{
    uint64_t words[VQ_RAM_BYTES / MEM_PAGE_BYTES / 64];
    const struct vq_buffer buffers[] = {{DATA, 4096, true}, {DATA + 0x3000, 4096, true}};

    make(formats[_i], 4);
    vq_add(&vq, buffers, 2, 0);
    ck_assert_int_eq(pop(), 1);
    ck_assert_int_eq(mem_dirty_start(mem), 0);
    virtq_push(&q, &chain, 4096);
    ck_assert_int_eq(mem_dirty_fetch(mem, words, VQ_RAM_BYTES / MEM_PAGE_BYTES / 64), 0);
    unsigned data = (DATA - VQ_RAM_GPA) / MEM_PAGE_BYTES, ring = (BASE - VQ_RAM_GPA) / MEM_PAGE_BYTES;
    ring += vq.packed ? 0 : VQ_DEVICE_OFFSET / MEM_PAGE_BYTES;
    ck_assert(words[data / 64] >> data % 64 & 1);
    ck_assert(!(words[(data + 3) / 64] >> (data + 3) % 64 & 1));
    ck_assert(words[ring / 64] >> ring % 64 & 1);
}
END_TEST

START_TEST(packet_over_several_chains_appears_at_once)
{
    static struct virtq_chain chains[3];
    const struct virtq_chain *const all[] = {&chains[0], &chains[1], &chains[2]};
    const uint32_t written[] = {1, 2, 3};
    const struct vq_buffer buffer = {DATA, 8, true};

    make(formats[_i], 4);
    for (int i = 0; i < 3; i++) {
        vq_add(&vq, &buffer, 1, 0);
        ck_assert_int_eq(virtq_pop(&q, &chains[i]), 1);
    }
    virtq_push_many(&q, all, written, 3);
    for (uint32_t i = 0; i < 3; i++) {
        uint16_t id;
        uint32_t got;
        ck_assert(vq_next_used(&vq, &id, &got));
        ck_assert_uint_eq(id, chains[i].id);
        ck_assert_uint_eq(got, written[i]);
    }
}
END_TEST

/* ---- what is wrong ---- */

/* Each makes a ring in which the driver did one thing no driver may do. */
struct wrong {
    const char *name;
    void (*make)(void);
    bool split, packed;
};

static void add_two(void)
{
    const struct vq_buffer buffers[] = {{DATA, 16, false}, {DATA + 64, 16, true}};

    vq_add(&vq, buffers, 2, 0);
}

static void add_table(unsigned count)
{
    struct vq_buffer buffers[8];

    for (unsigned i = 0; i < 8; i++)
        buffers[i] = (struct vq_buffer){DATA + 64 * i, 16, true};
    vq_add(&vq, buffers, count, count);
}

/* Head's descriptor of the only chain, and its flags and length fields. */
static uint64_t head_at(void)
{
    return vq_desc(&vq, vq.packed ? 0 : vq_peek16(&vq, vq_driver_area(&vq) + 4));
}

static uint64_t flags_at(uint64_t desc)
{
    return desc + (vq.packed ? 14 : 12);
}

static void add_flags(uint64_t desc, uint16_t flags)
{
    vq_poke16(&vq, flags_at(desc), vq_peek16(&vq, flags_at(desc)) | flags);
}

static void head_outside(void)
{
    add_two();
    vq_poke16(&vq, vq_driver_area(&vq) + 4, vq.size);
}

static void next_outside(void)
{
    add_two();
    vq_poke16(&vq, head_at() + 14, 0xffff);
}

static void loop_of_one(void)
{
    add_two();
    vq_poke16(&vq, head_at() + 14, vq_peek16(&vq, vq_driver_area(&vq) + 4));
}

static void index_too_far(void)
{
    add_two();
    vq_poke16(&vq, vq_driver_area(&vq) + 2, (uint16_t)(vq.size + 1));
}

static void index_back(void)
{
    vq_poke16(&vq, vq_driver_area(&vq) + 2, 0xffff);
}

static void address_outside(void)
{
    add_two();
    vq_poke64(&vq, head_at(), 0x1000);
}

static void address_wraps(void)
{
    add_two();
    vq_poke64(&vq, head_at(), UINT64_MAX - 7);
}

static void end_outside(void)
{
    add_two();
    vq_poke64(&vq, head_at(), VQ_RAM_GPA + VQ_RAM_BYTES - 15);
}

static void length_huge(void)
{
    add_two();
    vq_poke32(&vq, head_at() + 8, UINT32_MAX);
}

static void readable_after_writable(void)
{
    const struct vq_buffer buffers[] = {{DATA, 16, true}, {DATA + 64, 16, false}};

    vq_add(&vq, buffers, 2, 0);
}

static void table_in_table(void)
{
    add_table(2);
    add_flags(vq_peek64(&vq, head_at()), VQ_INDIRECT);
}

static void table_of_no_size(void)
{
    add_table(2);
    vq_poke32(&vq, head_at() + 8, 0);
}

static void table_of_odd_size(void)
{
    add_table(2);
    vq_poke32(&vq, head_at() + 8, 17);
}

static void table_outside(void)
{
    add_table(2);
    vq_poke64(&vq, head_at(), VQ_RAM_GPA - 16);
}

static void table_huge(void)
{
    add_table(2);
    vq_poke32(&vq, head_at() + 8, UINT32_MAX & ~15u);
}

/* Larger than any chain, inside RAM; of zeroes, so that only its size is wrong. */
static void table_too_long(void)
{
    add_table(1);
    vq_poke64(&vq, head_at(), DATA);
    vq_poke32(&vq, head_at() + 8, 16 * (VIRTQ_CHAIN_SEGMENTS + 1));
}

static void table_loops(void)
{
    add_table(2);
    add_flags(vq_peek64(&vq, head_at()) + 16, VQ_NEXT);
}

static void table_next_outside(void)
{
    add_table(2);
    vq_poke16(&vq, vq_peek64(&vq, head_at()) + 14, 2);
}

static void table_and_next(void)
{
    add_table(2);
    add_flags(head_at(), VQ_NEXT);
}

static void table_behind_buffer(void)
{
    add_two();
    vq_poke64(&vq, vq_desc(&vq, 1), DATA);
    add_flags(vq_desc(&vq, 1), VQ_INDIRECT);
}

static void chain_without_end(void)
{
    for (unsigned i = 0; i < vq.size; i++)
        vq_poke_desc(&vq, vq_desc(&vq, i), DATA, 1, VQ_AVAIL | VQ_NEXT, 0);
}

/* The same entry again before it was used. */
static void available_twice(void)
{
    struct vq_buffer buffer = {DATA, 16, true};

    for (unsigned i = 0; i < vq.size; i++) {
        vq_add(&vq, &buffer, 1, 0);
        ck_assert_int_eq(pop(), 1);
    }
    if (vq.packed)
        vq_poke_desc(&vq, vq_desc(&vq, 0), DATA, 16, VQ_USED, 0);
    else
        vq_poke16(&vq, vq_driver_area(&vq) + 2, (uint16_t)(vq.avail + 1));
}

static const struct wrong wrongs[] = {
    {"head_outside", head_outside, true, false},
    {"next_outside", next_outside, true, false},
    {"loop_of_one", loop_of_one, true, false},
    {"index_too_far", index_too_far, true, false},
    {"index_back", index_back, true, false},
    {"address_outside", address_outside, true, true},
    {"address_wraps", address_wraps, true, true},
    {"end_outside", end_outside, true, true},
    {"length_huge", length_huge, true, true},
    {"readable_after_writable", readable_after_writable, true, true},
    {"table_in_table", table_in_table, true, true},
    {"table_of_no_size", table_of_no_size, true, true},
    {"table_of_odd_size", table_of_odd_size, true, true},
    {"table_outside", table_outside, true, true},
    {"table_huge", table_huge, true, true},
    {"table_too_long", table_too_long, false, true},
    {"table_loops", table_loops, true, false},
    {"table_next_outside", table_next_outside, true, false},
    {"table_and_next", table_and_next, true, true},
    {"table_behind_buffer", table_behind_buffer, false, true},
    {"chain_without_end", chain_without_end, false, true},
    {"available_twice", available_twice, true, true},
};

enum { WRONGS = sizeof(wrongs) / sizeof(wrongs[0]) };

START_TEST(wrong_ring_breaks_the_queue)
{
    const struct wrong *wrong = &wrongs[_i];

    for (unsigned format = 0; format < FORMATS; format++) {
        make(formats[format], 4);
        if (vq.packed ? !wrong->packed : !wrong->split)
            continue;
        wrong->make();
        ck_assert_msg(pop() == -EINVAL, "%s in format %u", wrong->name, format);
        /* And from now on there is nothing in it, whatever is asked. */
        ck_assert_int_eq(pop(), 0);
        ck_assert(!virtq_is_empty(&q));
        ck_assert(!virtq_want_kicks(&q, true));
        ck_assert(!virtq_should_interrupt(&q));
        chain = (struct virtq_chain){0};
        virtq_push(&q, &chain, 0);
        virtq_unpop(&q, &chain);
        virtq_reset(&q);
        ck_assert_int_eq(pop(), 0);
    }
}
END_TEST

/* The same without the feature is wrong; with it, it is right. */
START_TEST(table_without_the_feature_breaks_the_queue)
{
    make(formats[_i] & ~VIRTIO_F_INDIRECT_DESC, 4);
    add_table(2);
    ck_assert_int_eq(pop(), -EINVAL);
    make(formats[_i], 4);
    add_table(2);
    ck_assert_int_eq(pop(), 1);
}
END_TEST

START_TEST(chain_of_more_than_4_gib_breaks_the_queue)
{
    /* The same 16 MiB again and again: 256 times is the limit, exactly. */
    static struct vq_buffer buffers[257];

    for (unsigned i = 0; i < 257; i++)
        buffers[i] = (struct vq_buffer){VQ_RAM_GPA, VQ_RAM_BYTES, true};
    make(formats[_i], 512);
    vq_add(&vq, buffers, 256, 0);
    ck_assert_int_eq(pop(), 1);
    ck_assert_uint_eq(chain.writable_bytes, UINT64_C(1) << 32);
    make(formats[_i], 512);
    vq_add(&vq, buffers, 257, 0);
    ck_assert_int_eq(pop(), -EINVAL);
}
END_TEST

/* ---- setting up ---- */

START_TEST(parts_must_be_aligned_and_in_ram)
{
    struct virtq good;
    bool packed = formats[_i] & VIRTIO_F_RING_PACKED;

    make(formats[_i], 8);
    good = q;
    const struct {
        uint64_t desc, driver, device;
    } bad[] = {
        {BASE + 8, good.driver_gpa, good.device_gpa},
        {BASE, good.driver_gpa + 1, good.device_gpa},
        {BASE, good.driver_gpa, good.device_gpa + 2},
        {0, good.driver_gpa, good.device_gpa},
        {BASE, 0x1000, good.device_gpa},
        {BASE, good.driver_gpa, UINT64_MAX - 3},
        {VQ_RAM_GPA + VQ_RAM_BYTES - 16 * 7, good.driver_gpa, good.device_gpa},
        {BASE, good.driver_gpa, VQ_RAM_GPA + VQ_RAM_BYTES},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        q = good;
        q.desc_gpa = bad[i].desc;
        q.driver_gpa = bad[i].driver;
        q.device_gpa = bad[i].device;
        ck_assert_int_eq(virtq_enable(&q, mem, formats[_i]), -EINVAL);
        ck_assert_int_eq(pop(), 0);
    }
    static const uint16_t sizes[] = {0, VIRTQ_SIZE_MAX + 1, 0xffff, 6};
    for (int i = 0; i < 4; i++) {
        q = good;
        q.size = sizes[i];
        bool right = packed && sizes[i] == 6;
        ck_assert_int_eq(virtq_enable(&q, mem, formats[_i]), right ? 0 : -EINVAL);
    }
}
END_TEST

START_TEST(ring_may_end_where_ram_ends)
{
    make(formats[_i], 8);
    bool packed = vq.packed, event = formats[_i] & VIRTIO_F_EVENT_IDX;
    uint64_t end = VQ_RAM_GPA + VQ_RAM_BYTES;
    unsigned device_bytes = packed ? 4 : 4 + 8 * 8 + (event ? 2 : 0);

    q.device_gpa = (end - device_bytes) & ~UINT64_C(3);
    ck_assert_int_eq(virtq_enable(&q, mem, formats[_i]), 0);
    ck_assert(!virtq_want_kicks(&q, true));
}
END_TEST

START_TEST(overlapping_parts_hurt_only_the_driver)
{
    make(formats[_i], 8);
    q.driver_gpa = q.device_gpa = q.desc_gpa;
    ck_assert_int_eq(virtq_enable(&q, mem, formats[_i]), 0);
    uint32_t state = 1;
    for (int i = 0; i < 20000; i++) {
        state = state * 1664525 + 1013904223;
        vq_poke16(&vq, BASE + (state >> 8) % 64 * 2, (uint16_t)(state >> 20));
        if (pop() == 1)
            virtq_push(&q, &chain, 0);
        (void)virtq_should_interrupt(&q);
        (void)virtq_want_kicks(&q, i & 1);
        if (q.broken)
            ck_assert_int_eq(virtq_enable(&q, mem, formats[_i]), 0);
    }
}
END_TEST

/* ---- saved and loaded ---- */

START_TEST(restore_makes_held_chains_available_again)
{
    const struct vq_buffer buffers[] = {{DATA, 5, false}, {DATA + 8, 6, true}};

    make(formats[_i], 8);
    int first = vq_add(&vq, buffers, 2, 0);
    ck_assert_int_eq(pop(), 1);
    int second = vq_add(&vq, buffers, 2, 0);
    ck_assert_int_eq(pop(), 1);
    ck_assert_int_eq(chain.id, second);
    q.desc = q.driver = q.device = NULL;
    ck_assert_int_eq(virtq_restore(&q, mem, formats[_i]), 0);
    ck_assert_int_eq(pop(), 1);
    ck_assert_int_eq(chain.id, first);
}
END_TEST

START_TEST(restore_refuses_what_cannot_be)
{
    make(formats[_i], 8);
    const struct virtq good = q;
    const uint16_t avail[] = {good.next_avail + 9, vq.packed ? 8 : 0xfff0, 0x7fff}; /* positions and distances */

    for (int i = 0; i < 3; i++) {
        q = good;
        q.next_avail = avail[i];
        ck_assert_int_eq(virtq_restore(&q, mem, formats[_i]), -EINVAL);
        ck_assert_int_eq(pop(), 0);
    }
    q = good;
    q.desc_gpa = 0;
    ck_assert_int_eq(virtq_restore(&q, mem, formats[_i]), -EINVAL);
    q = good;
    q.size = 0;
    ck_assert_int_eq(virtq_restore(&q, mem, formats[_i]), -EINVAL);
    q = good;
    q.ready = 0xaa;
    q.signalled_valid = 0x55;
    ck_assert_int_eq(virtq_restore(&q, mem, formats[_i]), 0);
    ck_assert_uint_eq(q.ready, 1);
    ck_assert_uint_eq(q.signalled_valid, 1);
}
END_TEST

/* ---- the model ---- */

/* What the model knows of a chain that is out. */
struct known {
    bool out, popped;
    unsigned count;
    struct vq_buffer buffers[8];
    struct virtq_chain taken;
};

static struct known known[VIRTQ_SIZE_MAX];
static uint16_t order[VIRTQ_SIZE_MAX]; /* ids not popped yet, oldest first */
static uint16_t held[VIRTQ_SIZE_MAX];  /* popped and not pushed */
static struct {
    uint16_t id;
    uint32_t written;
} used[VIRTQ_SIZE_MAX]; /* pushed and not seen by the driver */
static unsigned order_count, held_count, used_count;
static uint64_t random_state;

static unsigned dice(unsigned sides)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % sides;
}

static void model_add(void)
{
    struct vq_buffer buffers[8];
    unsigned count = 1 + dice(8), readable = dice(count + 1);

    for (unsigned i = 0; i < count; i++)
        buffers[i] = (struct vq_buffer){DATA + dice(1 << 20), 1 + dice(5000), i >= readable};
    unsigned indirect = dice(2) ? 0 : vq.packed ? count : 1 + dice(count);
    int id = vq_add(&vq, buffers, count, indirect);
    if (id < 0)
        return;
    VQ_EXPECT(!known[id].out);
    known[id] = (struct known){.out = true, .count = count};
    memcpy(known[id].buffers, buffers, sizeof(buffers));
    order[order_count++] = (uint16_t)id;
}

static void check_chain(const struct known *k)
{
    unsigned readable = 0;

    while (readable < k->count && !k->buffers[readable].writable)
        readable++;
    VQ_EXPECT(chain.readable_count == readable);
    VQ_EXPECT(chain.writable_count == k->count - readable);
    for (unsigned i = 0; i < k->count; i++) {
        VQ_EXPECT(chain.iov[i].iov_base == mem_ram_ptr(mem, k->buffers[i].gpa, 1));
        VQ_EXPECT(chain.iov[i].iov_len == k->buffers[i].len);
    }
}

static void model_pop(void)
{
    int rc = pop();

    VQ_EXPECT(rc == (order_count > 0));
    if (!rc)
        return;
    VQ_EXPECT(chain.id == order[0]);
    check_chain(&known[chain.id]);
    if (dice(8) == 0) {
        virtq_unpop(&q, &chain);
        return;
    }
    known[chain.id].popped = true;
    known[chain.id].taken = chain;
    memmove(order, order + 1, --order_count * sizeof(order[0]));
    held[held_count++] = chain.id;
}

/* Pushes up to three of those held, in any order. Returns how many. */
static unsigned model_push(void)
{
    const struct virtq_chain *chains[3];
    uint32_t written[3];
    unsigned count = 1 + dice(3);

    if (count > held_count)
        count = held_count;
    for (unsigned i = 0; i < count; i++) {
        VQ_EXPECT(held_count);
        unsigned which = dice(held_count);
        uint16_t id = held[which];
        chains[i] = &known[id].taken;
        written[i] = dice((unsigned)chains[i]->writable_bytes + 1);
        held[which] = held[--held_count];
        used[used_count].id = id;
        used[used_count++].written = written[i];
    }
    if (count == 1 && dice(2))
        virtq_push(&q, chains[0], written[0]);
    else
        virtq_push_many(&q, chains, written, count);
    return count;
}

static void model_take_used(void)
{
    uint16_t id;
    uint32_t written;
    bool got = vq_next_used(&vq, &id, &written);

    VQ_EXPECT(got == (used_count > 0));
    if (!got)
        return;
    VQ_EXPECT(id == used[0].id);
    VQ_EXPECT(written == used[0].written);
    known[id].out = false;
    memmove(used, used + 1, --used_count * sizeof(used[0]));
}

/* The notifications, counted without wrapping. The driver asks for an interrupt at `asked` (the buffer of that number;
 * entry in a packed ring), the device has used `used_total`; likewise for kicks. */
struct notifications {
    bool interrupts; /* wanted: with the event index from buffer `unseen` on */
    uint64_t unseen; /* used chains when the driver asked */
    uint64_t used_total, signalled;
    bool kicks; /* the device asked when it had seen all */
    bool kick_due;
};

static void model_round(struct notifications *n)
{
    unsigned before;

    switch (dice(8)) {
    case 0:
    case 1:
        before = order_count;
        model_add();
        if (order_count > before) {
            bool must = vq_must_kick(&vq);
            /* The first after the device found nothing and asked. What it did not ask for may come or not. */
            VQ_EXPECT(!n->kick_due || must);
            n->kick_due = false;
        }
        return;
    case 2:
    case 3:
        model_pop();
        if (order_count == 0) {
            VQ_EXPECT(!virtq_want_kicks(&q, true));
            n->kick_due = true;
        }
        return;
    case 4:
    case 5:
        n->used_total += model_push();
        if (dice(2)) {
            bool any = n->used_total > n->signalled;
            bool due = n->interrupts && any;
            if (due && vq.event_idx) /* only when the buffer asked for is among the new ones */
                due = n->unseen >= n->signalled && n->unseen < n->used_total;
            bool got = virtq_should_interrupt(&q);
            VQ_EXPECT(got || !due); /* else one was lost */
            /* None that nobody wants, but where the position asked for is so old that it is ahead
               again. */
            bool fresh = !vq.event_idx || (n->interrupts && n->used_total - n->unseen < vq.size / 8);
            VQ_EXPECT(due || !got || !fresh);
            n->signalled = n->used_total;
        }
        return;
    case 6:
        model_take_used();
        return;
    default:
        n->interrupts = dice(3) != 0;
        /* A driver asks for the next one that it has not seen. */
        vq_want_interrupts(&vq, n->interrupts);
        n->unseen = n->used_total - used_count;
    }
}

START_TEST(random_operations_agree_with_the_model)
{
    static const uint16_t split_sizes[] = {1, 2, 8, 256, VIRTQ_SIZE_MAX};
    static const uint16_t packed_sizes[] = {1, 3, 7, 256, VIRTQ_SIZE_MAX};
    struct notifications n = {.interrupts = true};

    random_state = (uint64_t)_i + 1;
    make(formats[_i % FORMATS], (_i % FORMATS >= 2 ? packed_sizes : split_sizes)[_i / FORMATS]);
    memset(known, 0, sizeof(known));
    order_count = held_count = used_count = 0;
    for (int i = 0; i < 100000; i++)
        model_round(&n);
    VQ_EXPECT(n.used_total > 2500);
    VQ_EXPECT(!q.broken);
}
END_TEST

/* ---- iovecs ---- */

START_TEST(iovecs_are_cut_and_copied_across_their_borders)
{
    char a[3] = "abc", b[4] = "defg", c[2] = "hi", buf[16] = {0};
    const struct iovec iov[] = {{a, 3}, {b, 4}, {c, 2}};
    struct iovec out[3];

    ck_assert_uint_eq(iov_to_buf(iov, 3, 0, buf, 16), 9);
    ck_assert_str_eq(buf, "abcdefghi");
    ck_assert_uint_eq(iov_to_buf(iov, 3, 2, buf, 4), 4);
    ck_assert_int_eq(memcmp(buf, "cdef", 4), 0);
    ck_assert_uint_eq(iov_to_buf(iov, 3, 9, buf, 4), 0);
    ck_assert_uint_eq(iov_from_buf(iov, 3, 6, "XYZ!", 4), 3);
    ck_assert_int_eq(b[3], 'X');
    ck_assert_int_eq(memcmp(c, "YZ", 2), 0);
    ck_assert_uint_eq(iov_slice(iov, 3, 1, 7, out, 3), 3);
    ck_assert_ptr_eq(out[0].iov_base, a + 1);
    ck_assert_uint_eq(out[0].iov_len, 2);
    ck_assert_uint_eq(out[1].iov_len, 4);
    ck_assert_uint_eq(out[2].iov_len, 1);
    ck_assert_uint_eq(iov_slice(iov, 3, 1, 9, out, 3), 0);
    ck_assert_uint_eq(iov_slice(iov, 3, 1, 7, out, 2), 0);
    ck_assert_uint_eq(iov_slice(iov, 3, 3, 4, out, 1), 1);
    ck_assert_uint_eq(iov_slice(iov, 3, SIZE_MAX, 4, out, 1), 0);
}
END_TEST

/* ---- */

static TCase *make_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("virtq");
    TCase *right = make_case(suite, "right");
    TCase *wrong = make_case(suite, "wrong");
    TCase *setup = make_case(suite, "setup");
    TCase *model = make_case(suite, "model");

    tcase_add_loop_test(right, chain_has_its_buffers_in_order, 0, FORMATS);
    tcase_add_loop_test(right, empty_buffers_add_nothing, 0, FORMATS);
    tcase_add_loop_test(right, indirect_table_may_lie_anywhere, 0, FORMATS);
    tcase_add_loop_test(right, longest_chain_has_1024_buffers, 0, FORMATS);
    tcase_add_loop_test(right, unpopped_chain_comes_again, 0, FORMATS);
    tcase_add_loop_test(right, pushed_bytes_are_dirty_and_others_are_not, 0, FORMATS);
    tcase_add_loop_test(right, packet_over_several_chains_appears_at_once, 0, FORMATS);
    tcase_add_test(right, iovecs_are_cut_and_copied_across_their_borders);
    tcase_add_loop_test(wrong, wrong_ring_breaks_the_queue, 0, WRONGS);
    tcase_add_loop_test(wrong, table_without_the_feature_breaks_the_queue, 0, FORMATS);
    tcase_add_loop_test(wrong, chain_of_more_than_4_gib_breaks_the_queue, 0, FORMATS);
    tcase_add_loop_test(wrong, overlapping_parts_hurt_only_the_driver, 0, FORMATS);
    tcase_add_loop_test(setup, parts_must_be_aligned_and_in_ram, 0, FORMATS);
    tcase_add_loop_test(setup, ring_may_end_where_ram_ends, 0, FORMATS);
    tcase_add_loop_test(setup, restore_makes_held_chains_available_again, 0, FORMATS);
    tcase_add_loop_test(setup, restore_refuses_what_cannot_be, 0, FORMATS);
    tcase_add_loop_test(model, random_operations_agree_with_the_model, 0, 5 * FORMATS);
    return run_suite(suite);
}
