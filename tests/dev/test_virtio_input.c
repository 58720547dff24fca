/* The input device: what its configuration space says of each kind, and events from a FIFO to the guest. */
#include "dev/virtio/virtio_input.h"
#include "virtq_driver.h"

#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum { RING_STEP = 0x200000, QUEUE_SIZE = 64, EVENTS_GPA = VQ_RAM_GPA + 0x800000, STATUS_GPA = VQ_RAM_GPA + 0x900000 };
enum { NAME = 1, IDS = 3, PROPS = 0x10, BITS = 0x11, ABS_INFO = 0x12 };

struct event {
    uint16_t type, code;
    uint32_t value;
};

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq queues[2];
static uint64_t buffer_of[QUEUE_SIZE];
static char path[64];
static int fifo;

static void make(enum virtio_input_kind kind)
{
    struct error err = {{0}};
    const struct virtio_input_config config = {.mem = mem, .loop = loop, .kind = kind, .path = path};

    ck_assert_msg(virtio_input_create(&config, &dev, &err) == 0, "%s", err.text);
    vq_attach(dev, &interrupts);
    fifo = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fifo, 0);
}

static void set_up(void)
{
    snprintf(path, sizeof(path), "/tmp/tuff-input-%d", getpid());
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    mem = vq_make_mem();
    interrupts = (struct vq_interrupts){0};
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    dev = NULL;
}

static void tear_down(void)
{
    loop_stop(loop);
    if (dev) {
        close(fifo);
        dev->base.ops->destroy(&dev->base);
    }
    loop_destroy(loop);
    mem_destroy(mem);
    unlink(path);
}

static void give_buffer(uint64_t gpa)
{
    const struct vq_buffer buffer = {gpa, sizeof(struct event), true};
    int id = vq_send(dev, 0, &queues[0], &buffer, 1);

    ck_assert_int_ge(id, 0);
    buffer_of[id] = gpa;
}

static void start(unsigned buffers)
{
    ck_assert(vq_negotiate(dev, VIRTIO_F_VERSION_1 | VIRTIO_F_IN_ORDER));
    for (unsigned i = 0; i < 2; i++)
        vq_give(dev, i, &queues[i], VQ_RAM_GPA + i * (uint64_t)RING_STEP, QUEUE_SIZE);
    vq_driver_ok(dev);
    for (uint64_t i = 0; i < buffers; i++)
        give_buffer(EVENTS_GPA + 8 * i);
}

static void put(uint16_t type, uint16_t code, int32_t value)
{
    const struct input_event event = {.type = type, .code = code, .value = value};

    ck_assert_int_eq(write(fifo, &event, sizeof(event)), sizeof(event));
}

static void expect(uint16_t type, uint16_t code, uint32_t value)
{
    uint32_t written;
    uint64_t gpa = buffer_of[vq_wait_used(&queues[0], &written)];
    struct event event;

    ck_assert_uint_eq(written, sizeof(event));
    memcpy(&event, mem_ram_ptr(mem, gpa, sizeof(event)), sizeof(event));
    ck_assert_uint_eq(event.type, type);
    ck_assert_uint_eq(event.code, code);
    ck_assert_uint_eq(event.value, value);
    give_buffer(gpa);
}

/* The size of what is behind a selection, and its bytes. */
static uint8_t selected(uint8_t select, uint8_t subsel, uint8_t data[128])
{
    uint8_t size;

    virtio_config_write(dev, 0, &select, 1);
    virtio_config_write(dev, 1, &subsel, 1);
    virtio_config_read(dev, 2, &size, 1);
    for (uint32_t i = 0; i < 128; i++)
        virtio_config_read(dev, 8 + i, data + i, 1);
    return size;
}

static bool has(uint8_t type, unsigned code)
{
    uint8_t data[128];

    return selected(BITS, type, data) > code / 8 && data[code / 8] >> code % 8 & 1;
}

START_TEST(configuration_describes_the_kind)
{
    uint8_t data[128];
    const enum virtio_input_kind kind = (enum virtio_input_kind)_i;
    static const char *const names[] = {"keyboard", "mouse", "tablet"};
    uint32_t axis[2];

    make(kind);
    uint8_t size = selected(NAME, 0, data);
    ck_assert_ptr_nonnull(memmem(data, size, names[kind], strlen(names[kind])));
    ck_assert_uint_eq(selected(NAME, 1, data), 0);
    ck_assert_uint_eq(selected(IDS, 0, data), 8);
    ck_assert_uint_eq(data[0], BUS_VIRTUAL);
    ck_assert_uint_eq(selected(PROPS, 0, data), 0);
    ck_assert_uint_eq(selected(0, 0, data), 0);
    ck_assert_uint_eq(selected(0xff, 0, data), 0);
    ck_assert_uint_eq(selected(BITS, 0xff, data), 0);
    ck_assert_int_eq(has(EV_KEY, KEY_A), kind == VIRTIO_INPUT_KEYBOARD);
    ck_assert_int_eq(has(EV_KEY, KEY_ESC), kind == VIRTIO_INPUT_KEYBOARD);
    ck_assert(!has(EV_KEY, 0));
    ck_assert_int_eq(has(EV_LED, LED_CAPSL), kind == VIRTIO_INPUT_KEYBOARD);
    ck_assert_int_eq(has(EV_KEY, BTN_LEFT), kind != VIRTIO_INPUT_KEYBOARD);
    ck_assert_int_eq(has(EV_KEY, BTN_TOUCH), kind == VIRTIO_INPUT_TABLET);
    ck_assert_int_eq(has(EV_REL, REL_X), kind == VIRTIO_INPUT_MOUSE);
    ck_assert_int_eq(has(EV_ABS, ABS_Y), kind == VIRTIO_INPUT_TABLET);
    ck_assert_int_eq(selected(BITS, EV_REP, data) != 0, kind == VIRTIO_INPUT_KEYBOARD);
    ck_assert_uint_eq(selected(ABS_INFO, ABS_X, data), kind == VIRTIO_INPUT_TABLET ? 20 : 0);
    memcpy(axis, data, sizeof(axis));
    ck_assert_uint_eq(axis[1], kind == VIRTIO_INPUT_TABLET ? VIRTIO_INPUT_ABS_MAX : 0);
    ck_assert_uint_eq(selected(ABS_INFO, ABS_Z, data), 0);
}
END_TEST

START_TEST(events_reach_the_guest_in_order)
{
    make(VIRTIO_INPUT_KEYBOARD);
    put(EV_KEY, KEY_H, 1); /* before there is a driver: it waits */
    put(EV_SYN, SYN_REPORT, 0);
    start(QUEUE_SIZE);
    expect(EV_KEY, KEY_H, 1);
    expect(EV_SYN, SYN_REPORT, 0);
    put(EV_MSC, MSC_SCAN, 7); /* not a keyboard's, as it is described */
    put(EV_REL, REL_X, 5);
    put(EV_SYN, SYN_DROPPED, 0);
    put(EV_KEY, KEY_H, 0);
    put(EV_SYN, SYN_REPORT, 0);
    expect(EV_KEY, KEY_H, 0);
    expect(EV_SYN, SYN_REPORT, 0);
    /* An event in two pieces. */
    const struct input_event event = {.type = EV_KEY, .code = KEY_Z, .value = 2};
    ck_assert_int_eq(write(fifo, &event, 10), 10);
    usleep(2000);
    ck_assert_int_eq(write(fifo, (const char *)&event + 10, sizeof(event) - 10), sizeof(event) - 10);
    expect(EV_KEY, KEY_Z, 2);
}
END_TEST

START_TEST(mouse_moves_may_be_negative)
{
    make(VIRTIO_INPUT_MOUSE);
    start(8);
    put(EV_REL, REL_Y, -3);
    expect(EV_REL, REL_Y, (uint32_t)-3);
}
END_TEST

/* A guest without buffers holds up the stream, and loses nothing. */
START_TEST(events_wait_for_buffers)
{
    make(VIRTIO_INPUT_KEYBOARD);
    start(0);
    for (int32_t i = 0; i < 1000; i++)
        put(EV_KEY, KEY_A, i);
    usleep(5000);
    for (uint64_t i = 0; i < 5; i++)
        give_buffer(EVENTS_GPA + 8 * i);
    for (uint32_t i = 0; i < 1000; i++)
        expect(EV_KEY, KEY_A, i);
}
END_TEST

START_TEST(lamps_are_taken_back_from_the_guest)
{
    const struct event led = {EV_LED, LED_CAPSL, 1};
    const struct vq_buffer buffer = {STATUS_GPA, sizeof(led), false}, cut = {STATUS_GPA, 3, false};
    uint32_t written;

    make(VIRTIO_INPUT_KEYBOARD);
    start(4);
    memcpy(mem_ram_ptr(mem, STATUS_GPA, sizeof(led)), &led, sizeof(led));
    vq_send(dev, 1, &queues[1], &buffer, 1);
    (void)vq_wait_used(&queues[1], &written);
    vq_send(dev, 1, &queues[1], &cut, 1);
    (void)vq_wait_used(&queues[1], &written);
    put(EV_KEY, KEY_A, 1);
    expect(EV_KEY, KEY_A, 1);
}
END_TEST

START_TEST(saved_device_keeps_its_events)
{
    make(VIRTIO_INPUT_KEYBOARD);
    start(0);
    put(EV_KEY, KEY_B, 1);
    for (int i = 0; i < 1000; i++) { /* until it was read */
        int waiting;
        ck_assert_int_eq(ioctl(fifo, FIONREAD, &waiting), 0);
        if (!waiting)
            break;
        usleep(1000);
    }
    loop_stop(loop);
    const uint8_t select = IDS;
    virtio_config_write(dev, 0, &select, 1);
    save_reset_load(&dev->base);
    uint8_t now;
    virtio_config_read(dev, 0, &now, 1);
    ck_assert_uint_eq(now, IDS);
    give_buffer(EVENTS_GPA);
    vq_turn(dev);
    uint16_t id;
    uint32_t written;
    ck_assert(vq_next_used(&queues[0], &id, &written));
    ck_assert_uint_eq(((struct event *)mem_ram_ptr(mem, EVENTS_GPA, 8))->code, KEY_B);
}
END_TEST

START_TEST(other_files_are_refused)
{
    struct error err = {{0}};
    struct virtio_input_config config = {.mem = mem, .loop = loop, .path = "/nonexistent"};
    struct virtio_device *none;

    ck_assert_int_eq(virtio_input_create(&config, &none, &err), -ENOENT);
    config.path = "/proc/self/exe";
    ck_assert_int_lt(virtio_input_create(&config, &none, &err), 0);
    config.path = "/tmp";
    ck_assert_int_lt(virtio_input_create(&config, &none, &err), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_input");
    TCase *tcase = tcase_create("virtio_input");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, configuration_describes_the_kind, 0, VIRTIO_INPUT_KINDS);
    tcase_add_test(tcase, events_reach_the_guest_in_order);
    tcase_add_test(tcase, mouse_moves_may_be_negative);
    tcase_add_test(tcase, events_wait_for_buffers);
    tcase_add_test(tcase, lamps_are_taken_back_from_the_guest);
    tcase_add_test(tcase, saved_device_keeps_its_events);
    tcase_add_test(tcase, other_files_are_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
