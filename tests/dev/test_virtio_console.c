/* The console: output through its ring, input with and without room, control messages as Linux's virtio_console sends
 * them, sizes. */
#include "dev/virtio/virtio_console.h"
#include "virtq_driver.h"

#include <stdio.h>

enum {
    BASE = VQ_RAM_GPA + 0x100000,
    RING_STEP = 0x120000,
    DATA = VQ_RAM_GPA + 0xa00000,
    QUEUES = 6,
    IN0 = 0,
    OUT0 = 1,
    CONTROL_IN = 2,
    CONTROL_OUT = 3,
    IN1 = 4,
    OUT1 = 5,
};

static const uint64_t SIZE = 1, MULTIPORT = 2;

/* The host's side of both ports. */
struct host {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed; /* write() waits */
    char text[1 << 18];
    size_t len;
    _Atomic unsigned can_receive;
};

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq queues[QUEUES];
static struct host hosts[2];

static void on_write(void *opaque, const uint8_t *bytes, size_t len)
{
    struct host *host = opaque;

    pthread_mutex_lock(&host->lock);
    while (host->closed)
        pthread_cond_wait(&host->changed, &host->lock);
    ck_assert_uint_le(host->len + len, sizeof(host->text));
    memcpy(host->text + host->len, bytes, len);
    host->len += len;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

static void on_can_receive(void *opaque)
{
    ((struct host *)opaque)->can_receive++;
}

static void set_closed(struct host *host, bool closed)
{
    pthread_mutex_lock(&host->lock);
    host->closed = closed;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

static void wait_text(struct host *host, const char *text, size_t len)
{
    for (int i = 0; i < 100000; i++) {
        pthread_mutex_lock(&host->lock);
        bool done = host->len >= len;
        pthread_mutex_unlock(&host->lock);
        if (done)
            break;
        usleep(100);
    }
    pthread_mutex_lock(&host->lock);
    ck_assert_uint_eq(host->len, len);
    ck_assert_int_eq(memcmp(host->text, text, len), 0);
    pthread_mutex_unlock(&host->lock);
}

static void set_up(void)
{
    struct virtio_console_port_config ports[2] = {{0}, {.name = "org.tuff.1"}};

    mem = vq_make_mem();
    interrupts = (struct vq_interrupts){0};
    for (int i = 0; i < 2; i++) {
        hosts[i].len = hosts[i].can_receive = 0;
        hosts[i].closed = false;
        pthread_mutex_init(&hosts[i].lock, NULL);
        pthread_cond_init(&hosts[i].changed, NULL);
        ports[i].backend =
            (struct serial_backend){.write = on_write, .can_receive = on_can_receive, .opaque = &hosts[i]};
    }
    ck_assert_int_eq(loop_create(&loop), 0);
    const struct virtio_console_config config = {
        .mem = mem, .loop = loop, .ports = ports, .port_count = 2, .columns = 80, .rows = 25};
    ck_assert_int_eq(virtio_console_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
    ck_assert_int_eq(virtio_console_start(dev), 0);
    ck_assert_int_eq(loop_start(loop), 0);
}

static void tear_down(void)
{
    set_closed(&hosts[0], false);
    set_closed(&hosts[1], false);
    loop_stop(loop);
    dev->base.ops->destroy(&dev->base);
    loop_destroy(loop);
    mem_destroy(mem);
}

static void start(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1));
    for (unsigned i = 0; i < ((features & MULTIPORT) ? QUEUES : 2); i++)
        vq_give(dev, i, &queues[i], BASE + i * (uint64_t)RING_STEP, 16);
    vq_driver_ok(dev);
}

static uint64_t slot(unsigned queue)
{
    return DATA + queue * UINT64_C(0x20000);
}

static void say(unsigned queue, const void *bytes, uint32_t len)
{
    const struct vq_buffer buffer = {slot(queue), len, false};
    uint32_t written;

    memcpy(mem_ram_ptr(mem, slot(queue), len), bytes, len);
    ck_assert_int_ge(vq_send(dev, queue, &queues[queue], &buffer, 1), 0);
    vq_wait_used(&queues[queue], &written);
    ck_assert_uint_eq(written, 0);
}

static void give_buffer(unsigned queue, uint32_t len)
{
    const struct vq_buffer buffer = {slot(queue), len, true};

    ck_assert_int_ge(vq_send(dev, queue, &queues[queue], &buffer, 1), 0);
}

struct control {
    uint32_t port;
    uint16_t event, value;
};

static void send_control(uint32_t port, uint16_t event, uint16_t value)
{
    const struct control control = {port, event, value};

    say(CONTROL_OUT, &control, sizeof(control));
}

/* Waits for the next message, gives the buffer again, and compares. `text` is what follows the head. */
static void expect_control(uint32_t port, uint16_t event, uint16_t value, const void *text, uint32_t len)
{
    const struct control expected = {port, event, value};
    uint32_t written;

    vq_wait_used(&queues[CONTROL_IN], &written);
    ck_assert_uint_eq(written, sizeof(expected) + len);
    const uint8_t *got = mem_ram_ptr(mem, slot(CONTROL_IN), written);
    const struct control *head = (const struct control *)got;
    ck_assert_msg(memcmp(got, &expected, sizeof(expected)) == 0, "event %u of port %u came, not %u of %u", head->event,
                  head->port, event, port);
    ck_assert(!len || memcmp(got + sizeof(expected), text, len) == 0);
    give_buffer(CONTROL_IN, 128);
}

START_TEST(output_goes_to_the_host)
{
    start(0);
    say(OUT0, "hello ", 6);
    say(OUT0, "world\n", 6);
    say(OUT0, "", 0);
    wait_text(&hosts[0], "hello world\n", 12);
}
END_TEST

/* A host that does not read: the ring fills, the rest of the buffer waits, the device goes on, nothing is lost. */
START_TEST(output_waits_for_a_slow_host_and_nobody_else_does)
{
    static uint8_t bytes[100000];
    const struct vq_buffer buffer = {slot(OUT0), sizeof(bytes), false};
    uint16_t id;
    uint32_t written;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    start(MULTIPORT);
    set_closed(&hosts[0], true);
    memcpy(mem_ram_ptr(mem, slot(OUT0), sizeof(bytes)), bytes, sizeof(bytes));
    vq_send(dev, OUT0, &queues[OUT0], &buffer, 1);
    usleep(50000);
    ck_assert(!vq_next_used(&queues[OUT0], &id, &written));
    ck_assert_uint_eq(virtio_status(dev), 15);
    send_control(0, 3, 1); /* the loop is not held up */
    set_closed(&hosts[0], false);
    vq_wait_used(&queues[OUT0], &written);
    wait_text(&hosts[0], (const char *)bytes, sizeof(bytes));
}
END_TEST

START_TEST(reset_does_not_wait_for_a_slow_host)
{
    static uint8_t bytes[100000];
    const struct vq_buffer buffer = {slot(OUT0), sizeof(bytes), false};

    start(0);
    set_closed(&hosts[0], true);
    vq_send(dev, OUT0, &queues[OUT0], &buffer, 1);
    usleep(20000);
    virtio_reset(dev);
    start(0);
    set_closed(&hosts[0], false);
    say(OUT0, "x", 1);
}
END_TEST

START_TEST(stop_hands_over_what_is_left)
{
    start(0);
    set_closed(&hosts[0], true);
    for (int i = 0; i < 5; i++)
        say(OUT0, "0123456789", 10);
    set_closed(&hosts[0], false);
    loop_stop(loop);
    virtio_console_stop(dev);
    wait_text(&hosts[0], "01234567890123456789012345678901234567890123456789", 50);
}
END_TEST

START_TEST(input_comes_as_far_as_there_are_buffers)
{
    uint32_t written;

    ck_assert(!virtio_console_is_open(dev, 0));
    ck_assert_uint_eq(virtio_console_receive(dev, 0, (const uint8_t *)"early", 5), 0);
    start(0);
    ck_assert(virtio_console_is_open(dev, 0));
    ck_assert_uint_eq(hosts[0].can_receive, 1);
    give_buffer(IN0, 4);
    give_buffer(IN0, 4);
    usleep(10000);
    ck_assert_uint_eq(virtio_console_receive(dev, 0, (const uint8_t *)"0123456789", 10), 8);
    vq_wait_used(&queues[IN0], &written);
    ck_assert_uint_eq(written, 4);
    vq_wait_used(&queues[IN0], &written);
    ck_assert_int_eq(memcmp(mem_ram_ptr(mem, slot(IN0), 4), "4567", 4), 0);
    unsigned before = hosts[0].can_receive;
    give_buffer(IN0, 100);
    for (int i = 0; i < 10000 && hosts[0].can_receive == before; i++)
        usleep(100);
    ck_assert_uint_eq(hosts[0].can_receive, before + 1);
    ck_assert_uint_eq(virtio_console_receive(dev, 0, (const uint8_t *)"89", 2), 2);
    vq_wait_used(&queues[IN0], &written);
    ck_assert_uint_eq(written, 2);
}
END_TEST

START_TEST(ports_are_announced_as_linux_asks)
{
    const uint16_t size[] = {25, 80}; /* rows, columns */

    start(MULTIPORT | SIZE);
    send_control(UINT32_MAX, 0, 1);
    /* Asked before there is a buffer to answer into. */
    give_buffer(CONTROL_IN, 128);
    expect_control(0, 1, 1, NULL, 0);
    expect_control(1, 1, 1, NULL, 0);
    send_control(0, 3, 1);
    expect_control(0, 4, 1, NULL, 0);
    expect_control(0, 5, 0, size, 4);
    expect_control(0, 6, 1, NULL, 0);
    send_control(1, 3, 1);
    expect_control(1, 6, 1, NULL, 0);
    expect_control(1, 7, 1, "org.tuff.1", 10);
    /* Neither is open until the driver says so. */
    ck_assert(!virtio_console_is_open(dev, 1));
    ck_assert_uint_eq(virtio_console_receive(dev, 1, (const uint8_t *)"a", 1), 0);
    send_control(1, 6, 1);
    ck_assert(virtio_console_is_open(dev, 1));
    ck_assert_uint_eq(hosts[1].can_receive, 1);
    give_buffer(IN1, 16);
    usleep(10000);
    ck_assert_uint_eq(virtio_console_receive(dev, 1, (const uint8_t *)"a", 1), 1);
    say(OUT1, "to the channel", 14);
    wait_text(&hosts[1], "to the channel", 14);
    ck_assert_uint_eq(hosts[0].len, 0);
    send_control(1, 6, 0);
    ck_assert(!virtio_console_is_open(dev, 1));
}
END_TEST

START_TEST(wrong_control_messages_do_nothing)
{
    start(MULTIPORT);
    for (uint16_t event = 0; event < 10; event++) {
        send_control(2, event, 1);
        send_control(UINT32_MAX, event, 7);
        send_control(0, event, 0);
    }
    say(CONTROL_OUT, "abc", 3);
    ck_assert_uint_eq(virtio_status(dev), 15);
    ck_assert(!virtio_console_is_open(dev, 2));
    ck_assert(!virtio_console_is_open(dev, UINT32_MAX));
}
END_TEST

START_TEST(size_changes_are_told)
{
    uint16_t config[2];
    const uint16_t size[] = {50, 132};

    start(SIZE);
    virtio_config_read(dev, 0, config, 4);
    ck_assert_uint_eq(config[0], 80);
    ck_assert_uint_eq(config[1], 25);
    virtio_console_resize(dev, 132, 50);
    virtio_console_resize(dev, 132, 50);
    ck_assert_uint_eq(interrupts.config, 1);
    virtio_config_read(dev, 0, config, 4);
    ck_assert_uint_eq(config[0], 132);
    virtio_console_resize(dev, 80, 25);
    start(SIZE | MULTIPORT);
    send_control(0, 6, 1);
    virtio_console_resize(dev, 132, 50);
    give_buffer(CONTROL_IN, 128);
    expect_control(0, 5, 0, size, 4);
}
END_TEST

START_TEST(emergency_characters_need_no_queue)
{
    const char text[] = "panic";
    uint32_t ports;

    virtio_config_read(dev, 4, &ports, 4);
    ck_assert_uint_eq(ports, 2);
    for (int i = 0; i < 5; i++) {
        uint32_t value = (uint32_t)text[i];
        virtio_config_write(dev, 8, &value, 4);
    }
    wait_text(&hosts[0], "panic", 5);
}
END_TEST

START_TEST(saved_console_keeps_its_ports)
{
    size_t len;

    start(MULTIPORT);
    send_control(1, 6, 1);
    loop_stop(loop); /* a device is saved while nothing runs; turns are made here from now on */
    uint8_t *saved = save(&dev->base, &len);
    virtio_reset(dev);
    ck_assert(!virtio_console_is_open(dev, 1));
    ck_assert_int_eq(device_state_load(&dev->base, saved, len, NULL), 0);
    ck_assert(virtio_console_is_open(dev, 1));
    const struct vq_buffer buffer = {slot(OUT1), 5, false};
    memcpy(mem_ram_ptr(mem, slot(OUT1), 5), "again", 5);
    vq_send(dev, OUT1, &queues[OUT1], &buffer, 1);
    vq_turn(dev);
    wait_text(&hosts[1], "again", 5);
    free(saved);
}
END_TEST

START_TEST(wrong_configurations_are_refused)
{
    struct virtio_console_port_config ports[VIRTIO_CONSOLE_PORTS_MAX + 1] = {{0}};
    struct virtio_console_config config = {.mem = mem, .loop = loop, .ports = ports};
    struct virtio_device *other;
    char name[VIRTIO_CONSOLE_NAME_BYTES + 1];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(virtio_console_create(&config, &other), -EINVAL);
    config.port_count = VIRTIO_CONSOLE_PORTS_MAX + 1;
    ck_assert_int_eq(virtio_console_create(&config, &other), -EINVAL);
    config.port_count = 2;
    ports[1].name = name;
    ck_assert_int_eq(virtio_console_create(&config, &other), -EINVAL);
    ports[1].name = "";
    ck_assert_int_eq(virtio_console_create(&config, &other), -EINVAL);
    ports[1].name = name + 1;
    ck_assert_int_eq(virtio_console_create(&config, &other), 0);
    other->base.ops->destroy(&other->base);
    ports[0].name = "first";
    ck_assert_int_eq(virtio_console_create(&config, &other), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_console");
    TCase *tcase = tcase_create("virtio_console");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, output_goes_to_the_host);
    tcase_add_test(tcase, output_waits_for_a_slow_host_and_nobody_else_does);
    tcase_add_test(tcase, reset_does_not_wait_for_a_slow_host);
    tcase_add_test(tcase, stop_hands_over_what_is_left);
    tcase_add_test(tcase, input_comes_as_far_as_there_are_buffers);
    tcase_add_test(tcase, ports_are_announced_as_linux_asks);
    tcase_add_test(tcase, wrong_control_messages_do_nothing);
    tcase_add_test(tcase, size_changes_are_told);
    tcase_add_test(tcase, emergency_characters_need_no_queue);
    tcase_add_test(tcase, saved_console_keeps_its_ports);
    tcase_add_test(tcase, wrong_configurations_are_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
