/* The socket device over its queues, and UNIX sockets on the other side: connections from both ends, credit, shutdowns,
 * packets that no driver sends. */
#include "dev/virtio/virtio_vsock.h"
#include "virtq_driver.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    CID = 42,
    RING_STEP = 0x200000,
    QUEUE_SIZE = 64,
    RECEIVE_GPA = VQ_RAM_GPA + 0x800000, /* QUEUE_SIZE buffers */
    RECEIVE_BYTES = 4096,
    SEND_GPA = VQ_RAM_GPA + 0xa00000,
    EVENT_GPA = VQ_RAM_GPA + 0xb00000,
    HEADER = 44,
    TO_GUEST = 0,
    FROM_GUEST = 1,
    EVENTS = 2,
};
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
    const uint8_t *data;
};

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq queues[3];
static uint64_t buffer_of[QUEUE_SIZE];
static char folder[64], path[96];
static uint32_t alloc, freed; /* the guest's credit */

static void set_up(void)
{
    struct error err = {{0}};

    strcpy(folder, "/tmp/tuff-vsock-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/v", folder);
    mem = vq_make_mem();
    interrupts = (struct vq_interrupts){0};
    alloc = 1 << 20;
    freed = 0;
    ck_assert_int_eq(loop_create(&loop), 0);
    const struct virtio_vsock_config config = {.mem = mem, .loop = loop, .cid = CID, .path = path};
    ck_assert_msg(virtio_vsock_create(&config, &dev, &err) == 0, "%s", err.text);
    vq_attach(dev, &interrupts);
    ck_assert_int_eq(loop_start(loop), 0);
}

static void tear_down(void)
{
    char name[128];

    loop_stop(loop);
    dev->base.ops->destroy(&dev->base);
    loop_destroy(loop);
    mem_destroy(mem);
    ck_assert_int_ne(access(path, F_OK), 0);
    snprintf(name, sizeof(name), "%s_1234", path);
    unlink(name);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void give_receive_buffer(uint64_t gpa)
{
    const struct vq_buffer buffer = {gpa, RECEIVE_BYTES, true};
    int id = vq_send(dev, TO_GUEST, &queues[TO_GUEST], &buffer, 1);

    ck_assert_int_ge(id, 0);
    buffer_of[id] = gpa;
}

static void start(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1));
    for (unsigned i = 0; i < 3; i++)
        vq_give(dev, i, &queues[i], VQ_RAM_GPA + i * (uint64_t)RING_STEP, QUEUE_SIZE);
    vq_driver_ok(dev);
    for (uint64_t i = 0; i < QUEUE_SIZE; i++)
        give_receive_buffer(RECEIVE_GPA + i * RECEIVE_BYTES);
}

static void send_raw(const void *bytes, uint32_t len)
{
    uint32_t written;
    const struct vq_buffer buffer = {SEND_GPA, len, false};

    memcpy(mem_ram_ptr(mem, SEND_GPA, len), bytes, len);
    ck_assert_int_ge(vq_send(dev, FROM_GUEST, &queues[FROM_GUEST], &buffer, 1), 0);
    (void)vq_wait_used(&queues[FROM_GUEST], &written);
    ck_assert_uint_eq(written, 0);
}

static void send_packet(uint16_t op, uint32_t guest_port, uint32_t host_port, uint32_t flags, const void *data,
                        uint32_t len)
{
    static uint8_t bytes[HEADER + (64 << 10)];
    const struct packet packet = {.src_cid = CID,
                                  .dst_cid = 2,
                                  .src_port = guest_port,
                                  .dst_port = host_port,
                                  .len = len,
                                  .type = 1,
                                  .op = op,
                                  .flags = flags,
                                  .buf_alloc = alloc,
                                  .fwd_cnt = freed};

    memcpy(bytes, &packet, HEADER);
    if (len)
        memcpy(bytes + HEADER, data, len);
    send_raw(bytes, HEADER + len);
}

/* The next packet for the guest, whose buffer is given back by done_with(). */
static struct packet next_packet(uint64_t *buffer)
{
    struct packet packet;
    uint32_t written;

    *buffer = buffer_of[vq_wait_used(&queues[TO_GUEST], &written)];
    memcpy(&packet, mem_ram_ptr(mem, *buffer, HEADER), HEADER);
    packet.data = (const uint8_t *)mem_ram_ptr(mem, *buffer, RECEIVE_BYTES) + HEADER;
    ck_assert_uint_eq(packet.src_cid, 2);
    ck_assert_uint_eq(packet.dst_cid, CID);
    ck_assert_uint_eq(packet.type, 1);
    ck_assert_uint_eq(written, HEADER + packet.len);
    return packet;
}

/* The next packet, which has no data. */
static struct packet expect_packet(uint16_t op, uint32_t guest_port)
{
    uint64_t buffer;
    struct packet packet = next_packet(&buffer);

    give_receive_buffer(buffer);
    ck_assert_uint_eq(packet.op, op);
    ck_assert_uint_eq(packet.dst_port, guest_port);
    ck_assert_uint_eq(packet.len, 0);
    return packet;
}

static void expect_data(uint32_t guest_port, const char *text)
{
    char all[256] = "";
    size_t len = 0;

    while (len < strlen(text)) {
        uint64_t buffer;
        struct packet packet = next_packet(&buffer);
        ck_assert_uint_eq(packet.op, RW);
        ck_assert_uint_eq(packet.dst_port, guest_port);
        ck_assert_uint_lt(len + packet.len, sizeof(all));
        memcpy(all + len, packet.data, packet.len);
        len += packet.len;
        freed += packet.len;
        give_receive_buffer(buffer);
    }
    ck_assert_mem_eq(all, text, len + 1);
}

static int host_socket(const char *name, bool listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, name);
    if (listens) {
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fd, 8), 0);
    } else {
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    }
    return fd;
}

static int host_listens(void)
{
    char name[128];

    snprintf(name, sizeof(name), "%s_1234", path);
    return host_socket(name, true);
}

/* The guest's port 7 connected with port 1234 of the host. Returns the host's end. */
static int connect_from_guest(int listener)
{
    send_packet(REQUEST, 7, 1234, 0, NULL, 0);
    ck_assert_uint_eq(expect_packet(RESPONSE, 7).src_port, 1234);
    int fd = accept(listener, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void expect_read(int fd, const char *text)
{
    char got[256] = "";
    size_t len = 0;

    while (len < strlen(text)) {
        ssize_t n = read(fd, got + len, strlen(text) - len);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
    }
    ck_assert_str_eq(got, text);
}

static void expect_end(int fd)
{
    char byte;

    ck_assert_int_eq(read(fd, &byte, 1), 0);
}

static void put(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(guest_reaches_what_listens_on_the_host)
{
    uint64_t cid;
    int listener = host_listens(), fd;

    start((_i & 1 ? VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX : 0) | (_i & 2 ? VIRTIO_F_IN_ORDER : 0));
    virtio_config_read(dev, 0, &cid, 8);
    ck_assert_uint_eq(cid, CID);
    fd = connect_from_guest(listener);
    send_packet(RW, 7, 1234, 0, "from the guest", 14);
    expect_read(fd, "from the guest");
    put(fd, "from the host");
    expect_data(7, "from the host");
    /* Half closed by the guest: what the host sends still comes. */
    send_packet(SHUTDOWN, 7, 1234, 2, NULL, 0);
    expect_end(fd);
    put(fd, "more");
    expect_data(7, "more");
    send_packet(SHUTDOWN, 7, 1234, 3, NULL, 0);
    (void)expect_packet(RST, 7);
    close(fd);
    /* The ports are free again. */
    fd = connect_from_guest(listener);
    send_packet(RST, 7, 1234, 0, NULL, 0);
    expect_end(fd);
    close(fd);
    close(listener);
}
END_TEST

START_TEST(hosts_close_shuts_down_after_its_last_bytes)
{
    int listener = host_listens(), fd;

    start(0);
    fd = connect_from_guest(listener);
    put(fd, "last words");
    shutdown(fd, SHUT_WR);
    expect_data(7, "last words");
    ck_assert_uint_eq(expect_packet(SHUTDOWN, 7).flags, 2);
    send_packet(RW, 7, 1234, 0, "still here", 10);
    expect_read(fd, "still here");
    close(fd);
    ck_assert_uint_eq(expect_packet(SHUTDOWN, 7).flags, 3);
    send_packet(SHUTDOWN, 7, 1234, 3, NULL, 0);
    (void)expect_packet(RST, 7);
    close(listener);
}
END_TEST

START_TEST(connection_to_nobody_is_refused)
{
    start(0);
    send_packet(REQUEST, 7, 1234, 0, NULL, 0);
    ck_assert_uint_eq(expect_packet(RST, 7).src_port, 1234);
    for (unsigned op = RESPONSE; op <= 9; op++) { /* of no connection */
        if (op == RST)
            continue;
        send_packet((uint16_t)op, 8, 1234, 0, "x", op == RW);
        (void)expect_packet(RST, 8);
    }
}
END_TEST

START_TEST(host_reaches_what_listens_in_the_guest)
{
    char want[32];

    start(0);
    int fd = host_socket(path, false), other = host_socket(path, false);
    put(fd, "CONN");
    put(other, "CONNECT 4294967295\n");
    uint32_t other_port = expect_packet(REQUEST, UINT32_MAX).src_port;
    send_packet(RST, UINT32_MAX, other_port, 0, NULL, 0);
    expect_end(other);
    close(other);
    put(fd, "ECT 77\nfirst"); /* what follows the line is the guest's */
    uint32_t port = expect_packet(REQUEST, 77).src_port;
    ck_assert_uint_ge(port, 1u << 30);
    ck_assert_uint_ne(port, other_port);
    send_packet(RESPONSE, 77, port, 0, NULL, 0);
    snprintf(want, sizeof(want), "OK %u\n", port);
    expect_read(fd, want);
    expect_data(77, "first");
    send_packet(RW, 77, port, 0, "answer", 6);
    expect_read(fd, "answer");
    close(fd);
    ck_assert_uint_eq(expect_packet(SHUTDOWN, 77).flags, 3);
    send_packet(RST, 77, port, 0, NULL, 0);
}
END_TEST

START_TEST(other_greetings_are_hung_up_on)
{
    static const char *const lines[] = {"GET / HTTP/1.1\r\n",
                                        "CONNECT\n",
                                        "CONNECT x\n",
                                        "CONNECT 4294967296\n",
                                        "CONNECT -1\n",
                                        "CONNECT 1 2\n",
                                        "\n",
                                        "connect 5\n",
                                        "CONNECT  5\n",
                                        "CONNECT 99999999999999999999999",
                                        "CONNECT 12345",
                                        "CONNECT 0x10\n"};

    start(0);
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        int fd = host_socket(path, false);
        put(fd, lines[i]);
        shutdown(fd, SHUT_WR);
        char byte;
        ssize_t got = read(fd, &byte, 1);
        ck_assert_msg(got == 0 || (got < 0 && errno == ECONNRESET), "%s", lines[i]);
        close(fd);
    }
    uint16_t id;
    uint32_t written;
    ck_assert(!vq_next_used(&queues[TO_GUEST], &id, &written));
}
END_TEST

START_TEST(guest_gets_no_more_than_its_credit)
{
    int listener = host_listens(), fd;

    start(0);
    alloc = 10;
    fd = connect_from_guest(listener);
    put(fd, "0123456789abcdefghijklmno");
    expect_data(7, "0123456789");
    (void)expect_packet(CREDIT_REQUEST, 7);
    send_packet(CREDIT_UPDATE, 7, 1234, 0, NULL, 0);
    expect_data(7, "abcdefghij");
    (void)expect_packet(CREDIT_REQUEST, 7);
    freed += 1000; /* more than it ever got: no credit */
    send_packet(CREDIT_UPDATE, 7, 1234, 0, NULL, 0);
    (void)expect_packet(CREDIT_REQUEST, 7);
    freed -= 1000;
    send_packet(CREDIT_UPDATE, 7, 1234, 0, NULL, 0);
    expect_data(7, "klmno");
    close(fd);
    close(listener);
}
END_TEST

/* What came for the guest: how many bytes of its own are said to be taken. */
static void take_credit_updates(uint64_t sent, uint64_t *told, unsigned *seen)
{
    uint16_t id;
    uint32_t written;

    while (vq_next_used(&queues[TO_GUEST], &id, &written)) {
        struct packet packet;
        memcpy(&packet, mem_ram_ptr(mem, buffer_of[id], HEADER), HEADER);
        ck_assert_uint_eq(packet.op, CREDIT_UPDATE);
        ck_assert_uint_eq(packet.buf_alloc, VIRTIO_VSOCK_BUFFER_BYTES);
        ck_assert_uint_ge(packet.fwd_cnt, *told);
        ck_assert_uint_le(packet.fwd_cnt, sent);
        *told = packet.fwd_cnt;
        (*seen)++;
        give_receive_buffer(buffer_of[id]);
    }
}

/* A stream that is larger than what the device keeps arrives whole, and one that does not keep to its credit ends. */
START_TEST(guest_gives_no_more_than_its_credit)
{
    static uint8_t block[32 << 10], got[24 << 10];
    const uint64_t all = 200 * sizeof(block);
    int listener = host_listens(), fd;
    uint64_t sent = 0, taken = 0, told = 0;
    unsigned seen = 0;

    start(0);
    fd = connect_from_guest(listener);
    for (unsigned i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)(i * 7 + i / 256);
    while (taken < all) {
        take_credit_updates(sent, &told, &seen);
        for (; sent < all && sent - told + sizeof(block) <= VIRTIO_VSOCK_BUFFER_BYTES; sent += sizeof(block))
            send_packet(RW, 7, 1234, 0, block, sizeof(block));
        ssize_t len = recv(fd, got, sizeof(got), MSG_DONTWAIT);
        ck_assert(len > 0 || (len < 0 && errno == EAGAIN));
        for (ssize_t i = 0; i < len; i++, taken++)
            VQ_EXPECT(got[i] == block[taken % sizeof(block)]);
    }
    ck_assert_uint_gt(seen, 10);
    for (unsigned i = 0; i < 64; i++)
        send_packet(RW, 7, 1234, 0, block, sizeof(block));
    for (uint64_t buffer;;) {
        struct packet packet = next_packet(&buffer);
        if (packet.op == RST)
            break;
        ck_assert_uint_eq(packet.op, CREDIT_UPDATE);
    }
    close(fd);
    close(listener);
}
END_TEST

START_TEST(credit_is_told_when_asked_for)
{
    int listener = host_listens(), fd;

    start(0);
    fd = connect_from_guest(listener);
    send_packet(RW, 7, 1234, 0, "12345", 5);
    send_packet(CREDIT_REQUEST, 7, 1234, 0, NULL, 0);
    struct packet packet = expect_packet(CREDIT_UPDATE, 7);
    ck_assert_uint_eq(packet.fwd_cnt, 5);
    ck_assert_uint_eq(packet.buf_alloc, VIRTIO_VSOCK_BUFFER_BYTES);
    close(fd);
    close(listener);
}
END_TEST

START_TEST(strange_packets_are_refused_or_ignored)
{
    uint8_t bytes[HEADER + 8] = {0};
    struct packet packet = {.src_cid = CID, .dst_cid = 2, .src_port = 7, .dst_port = 1234, .type = 1, .op = REQUEST};
    int listener = host_listens(), fd;

    start(0);
    packet.src_cid = CID + 1;
    memcpy(bytes, &packet, HEADER);
    send_raw(bytes, HEADER);
    (void)expect_packet(RST, 7);
    packet.src_cid = CID;
    packet.dst_cid = 1;
    memcpy(bytes, &packet, HEADER);
    send_raw(bytes, HEADER);
    (void)expect_packet(RST, 7);
    packet.dst_cid = 2;
    packet.type = 2;
    memcpy(bytes, &packet, HEADER);
    send_raw(bytes, HEADER);
    (void)expect_packet(RST, 7);
    packet.type = 1;
    send_raw(bytes, 20); /* cut off */
    packet.op = RW;
    packet.len = 9; /* of which 8 are there */
    memcpy(bytes, &packet, HEADER);
    send_raw(bytes, sizeof(bytes));
    fd = connect_from_guest(listener);
    /* A second request for the same ports ends the first. */
    send_packet(REQUEST, 7, 1234, 0, NULL, 0);
    (void)expect_packet(RST, 7);
    expect_end(fd);
    close(fd);
    close(listener);
    ck_assert(!(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
}
END_TEST

START_TEST(receive_buffer_without_room_fails_the_device)
{
    const struct vq_buffer small = {RECEIVE_GPA, HEADER - 1, true};

    ck_assert(vq_negotiate(dev, VIRTIO_F_VERSION_1));
    for (unsigned i = 0; i < 3; i++)
        vq_give(dev, i, &queues[i], VQ_RAM_GPA + i * (uint64_t)RING_STEP, QUEUE_SIZE);
    vq_driver_ok(dev);
    vq_send(dev, TO_GUEST, &queues[TO_GUEST], &small, 1);
    send_packet(REQUEST, 7, 1234, 0, NULL, 0);
    for (int i = 0; i < 100000 && !(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET); i++)
        usleep(100);
    ck_assert(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
}
END_TEST

/* Without receive buffers refusals wait, and then packets do; nothing is lost. */
START_TEST(refusals_wait_for_buffers)
{
    unsigned refused = 0;
    uint32_t written;

    ck_assert(vq_negotiate(dev, VIRTIO_F_VERSION_1));
    for (unsigned i = 0; i < 3; i++)
        vq_give(dev, i, &queues[i], VQ_RAM_GPA + i * (uint64_t)RING_STEP, QUEUE_SIZE);
    vq_driver_ok(dev);
    for (unsigned i = 0; i < 64; i++)
        send_packet(REQUEST, i, 1234, 0, NULL, 0);
    struct packet packet = {.src_cid = CID, .dst_cid = 2, .src_port = 99, .dst_port = 1, .type = 1, .op = RW};
    const struct vq_buffer buffer = {SEND_GPA, HEADER, false};
    memcpy(mem_ram_ptr(mem, SEND_GPA, HEADER), &packet, HEADER);
    ck_assert_int_ge(vq_send(dev, FROM_GUEST, &queues[FROM_GUEST], &buffer, 1), 0);
    for (uint64_t i = 0; i < QUEUE_SIZE; i++)
        give_receive_buffer(RECEIVE_GPA + i * RECEIVE_BYTES);
    for (; refused < 65; refused++) {
        uint64_t at;
        ck_assert_uint_eq(next_packet(&at).op, RST);
        give_receive_buffer(at);
    }
    (void)vq_wait_used(&queues[FROM_GUEST], &written);
}
END_TEST

START_TEST(reset_ends_connections_and_a_loaded_state_says_so)
{
    int listener = host_listens(), fd;
    const struct vq_buffer event = {EVENT_GPA, 4, true};
    uint32_t written;

    start(0);
    fd = connect_from_guest(listener);
    virtio_reset(dev);
    expect_end(fd);
    close(fd);
    start(0);
    fd = connect_from_guest(listener);
    memset(mem_ram_ptr(mem, EVENT_GPA, 4), 0xff, 4);
    vq_send(dev, EVENTS, &queues[EVENTS], &event, 1);
    vq_settle(loop);
    save_reset_load(&dev->base);
    expect_end(fd);
    (void)vq_wait_used(&queues[EVENTS], &written);
    ck_assert_uint_eq(written, 4);
    ck_assert_uint_eq(*(uint32_t *)mem_ram_ptr(mem, EVENT_GPA, 4), 0); /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET */
    send_packet(RW, 7, 1234, 0, "x", 1);
    (void)expect_packet(RST, 7);
    close(fd);
    fd = connect_from_guest(listener);
    close(fd);
    close(listener);
}
END_TEST

/* Before there is a driver nobody answers; a second device cannot have the path; a dead one's is taken over. */
START_TEST(path_belongs_to_one_device)
{
    struct virtio_device *second;
    struct error err = {{0}};
    struct virtio_vsock_config config = {.mem = mem, .loop = loop, .cid = CID, .path = path};
    char name[128];
    int fd = host_socket(path, false);

    expect_end(fd);
    close(fd);
    ck_assert_int_eq(virtio_vsock_create(&config, &second, &err), -EADDRINUSE);
    snprintf(name, sizeof(name), "%s_1234", path);
    close(host_socket(name, true)); /* stale now */
    config.path = name;
    ck_assert_int_eq(virtio_vsock_create(&config, &second, &err), 0);
    second->base.ops->destroy(&second->base);
    FILE *file = fopen(name, "w");
    fclose(file);
    ck_assert_int_eq(virtio_vsock_create(&config, &second, &err), -EADDRINUSE); /* somebody's file */
    ck_assert_int_eq(access(name, F_OK), 0);
    config.path = "";
    ck_assert_int_eq(virtio_vsock_create(&config, &second, &err), -ENAMETOOLONG);
    config.path = name;
    config.cid = 2;
    ck_assert_int_eq(virtio_vsock_create(&config, &second, &err), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_vsock");
    TCase *tcase = tcase_create("virtio_vsock");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, guest_reaches_what_listens_on_the_host, 0, 4);
    tcase_add_test(tcase, hosts_close_shuts_down_after_its_last_bytes);
    tcase_add_test(tcase, connection_to_nobody_is_refused);
    tcase_add_test(tcase, host_reaches_what_listens_in_the_guest);
    tcase_add_test(tcase, other_greetings_are_hung_up_on);
    tcase_add_test(tcase, guest_gets_no_more_than_its_credit);
    tcase_add_test(tcase, guest_gives_no_more_than_its_credit);
    tcase_add_test(tcase, credit_is_told_when_asked_for);
    tcase_add_test(tcase, strange_packets_are_refused_or_ignored);
    tcase_add_test(tcase, receive_buffer_without_room_fails_the_device);
    tcase_add_test(tcase, refusals_wait_for_buffers);
    tcase_add_test(tcase, reset_ends_connections_and_a_loaded_state_says_so);
    tcase_add_test(tcase, path_belongs_to_one_device);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
