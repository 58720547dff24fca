/* The socket between two virtual machines and tap interfaces: frames as they are, loss only where there is nobody. */
#include "dev/net/checksum.h"
#include "dev/net/socket.h"
#include "dev/net/tap.h"
#include "net_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct loop *loop;
static char dir[64], path[128];

static void set_up(void)
{
    strcpy(dir, "/tmp/tuff-net-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/wire", dir);
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
}

static void tear_down(void)
{
    char lock[160];

    loop_destroy(loop);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    unlink(lock);
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void destroy_backend(void *backend)
{
    net_backend_destroy(backend);
}

struct end {
    struct test_front front;
    struct net_backend *backend;
};

static void create_end(void *opaque)
{
    struct end *end = opaque;
    struct net_socket_config config = {.loop = loop, .path = path};
    struct error err;

    ck_assert_msg(net_socket_create(&config, &end->backend, &err) == 0, "%s", err.text);
    front_init(&end->front, loop, end->backend);
}

static void make_end(struct end *end)
{
    on_loop(loop, create_end, end);
}

static void drop_end(struct end *end)
{
    on_loop(loop, destroy_backend, end->backend);
    front_fini(&end->front);
}

static void fill(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 13 + seed);
}

static void expect_frame(struct end *end, const uint8_t *bytes, size_t len, uint8_t flags)
{
    struct test_frame *frame = front_next(&end->front, NET_TEST_WAIT_S * 1000);

    ck_assert_ptr_nonnull(frame);
    ck_assert_uint_eq(frame->len, len);
    ck_assert_mem_eq(frame->bytes, bytes, len);
    ck_assert_uint_eq(frame->header.flags, flags);
    ck_assert_uint_eq(frame->header.gso_type, NET_GSO_NONE);
    free(frame);
}

START_TEST(frames_of_every_size_arrive_whole_in_both_directions)
{
    static const size_t sizes[] = {NET_FRAME_MIN_BYTES, 15, 60, 1514, 9014, NET_MTU_MAX + 14, NET_FRAME_MAX_BYTES};
    uint8_t *bytes = malloc(NET_FRAME_MAX_BYTES);
    struct end a, b;

    make_end(&a);
    make_end(&b);
    front_wait(&a.front, &a.front.up, true);
    front_wait(&b.front, &b.front.up, true);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fill(bytes, sizes[i], i);
        ck_assert_int_eq(front_send(&a.front, (struct net_header){0}, bytes, sizes[i]), 0);
        expect_frame(&b, bytes, sizes[i], 0);
        ck_assert_int_eq(front_send(&b.front, (struct net_header){.flags = NET_HEADER_DATA_VALID}, bytes, sizes[i]), 0);
        expect_frame(&a, bytes, sizes[i], NET_HEADER_DATA_VALID);
    }
    drop_end(&a);
    drop_end(&b);
    free(bytes);
}
END_TEST

START_TEST(checksum_left_to_the_device_is_computed_on_the_way)
{
    struct net_header header = {.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 34};
    uint8_t bytes[301];
    struct end a, b;

    make_end(&a);
    make_end(&b);
    front_wait(&a.front, &a.front.up, true);
    front_wait(&b.front, &b.front.up, true);
    /* The field in the first piece of three, across two, and in the last place there is. */
    for (header.csum_offset = 16; header.csum_offset <= (uint16_t)(sizeof(bytes) - 36); header.csum_offset++) {
        fill(bytes, sizeof(bytes), 5);
        ck_assert_int_eq(front_send(&a.front, header, bytes, sizeof(bytes)), 0);
        struct iovec iov = {bytes, sizeof(bytes)};
        uint16_t sum = net_checksum_finish(&header, &iov, 1);
        memcpy(bytes + 34 + header.csum_offset, &sum, 2);
        expect_frame(&b, bytes, sizeof(bytes), NET_HEADER_DATA_VALID);
    }
    drop_end(&a);
    drop_end(&b);
}
END_TEST

static void fetch(void *opaque)
{
    struct end *end = opaque;

    end->front.refuses = false;
    front_fetch(&end->front);
}

START_TEST(receiver_that_does_not_read_makes_the_sender_wait)
{
    uint8_t bytes[9000];
    unsigned sent = 0, got = 0;
    struct end a, b;

    make_end(&a);
    make_end(&b);
    front_wait(&a.front, &a.front.up, true);
    front_wait(&b.front, &b.front.up, true);
    b.front.refuses = true;
    for (;; sent++) {
        fill(bytes, sizeof(bytes), sent);
        if (front_send(&a.front, (struct net_header){0}, bytes, sizeof(bytes)))
            break;
        ck_assert_uint_lt(sent, 10000);
    }
    ck_assert_uint_gt(sent, 2);
    on_loop(loop, fetch, &b);
    front_wait(&a.front, &a.front.writable, true);
    ck_assert_int_eq(front_send(&a.front, (struct net_header){0}, bytes, sizeof(bytes)), 0);
    for (; got <= sent; got++) {
        fill(bytes, sizeof(bytes), got);
        expect_frame(&b, bytes, sizeof(bytes), 0);
    }
    ck_assert_uint_eq(a.backend->stats.dropped, 0);
    drop_end(&a);
    drop_end(&b);
}
END_TEST

START_TEST(link_follows_the_other_side_whichever_ends)
{
    uint8_t bytes[60] = {0};
    struct end ends[2];

    make_end(&ends[0]);
    ck_assert_int_eq(front_send(&ends[0].front, (struct net_header){0}, bytes, sizeof(bytes)), 0); /* nobody there */
    ck_assert_uint_eq(ends[0].backend->stats.dropped, 1);
    make_end(&ends[1]);
    for (unsigned i = 0; i < 4; i++) {
        struct end *goes = &ends[i & 1], *stays = &ends[~i & 1];
        front_wait(&stays->front, &stays->front.up, true);
        front_wait(&goes->front, &goes->front.up, true);
        drop_end(goes);
        front_wait(&stays->front, &stays->front.up, false);
        make_end(goes);
    }
    drop_end(&ends[0]);
    drop_end(&ends[1]);
}
END_TEST

START_TEST(third_end_waits_until_the_wire_is_free)
{
    struct end a, b, c;

    make_end(&a);
    make_end(&b);
    front_wait(&b.front, &b.front.up, true);
    make_end(&c);
    usleep(50000);
    ck_assert(b.front.up);
    drop_end(&b);
    front_wait(&c.front, &c.front.up, true);
    drop_end(&a);
    drop_end(&c);
}
END_TEST

START_TEST(messages_that_are_no_frames_are_dropped)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    uint8_t *bytes = calloc(1, 1 << 17);
    struct end a;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0), room = 1 << 18;

    ck_assert_int_ge(fd, 0);
    make_end(&a);
    strcpy(at.sun_path, path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    front_wait(&a.front, &a.front.up, true);
    for (size_t len = 1; len <= NET_FRAME_MIN_BYTES; len++)
        ck_assert_int_eq(send(fd, bytes, len, 0), len);
    bytes[0] = 0xff; /* flags that only a device may set */
    fill(bytes + 1, 60, 1);
    ck_assert_int_eq(send(fd, bytes, 61, 0), 61);
    expect_frame(&a, bytes + 1, 60, NET_HEADER_DATA_VALID);
    ck_assert_uint_eq(a.backend->stats.dropped, NET_FRAME_MIN_BYTES);
    close(fd);
    front_wait(&a.front, &a.front.up, false);
    drop_end(&a);
    free(bytes);
}
END_TEST

START_TEST(paths_that_cannot_be_are_reported)
{
    char longest[300];
    struct net_backend *backend;
    struct error err;

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    const char *const paths[] = {"/nonexistent/wire", "", longest};
    for (size_t i = 0; i < 3; i++) {
        struct net_socket_config config = {.loop = loop, .path = paths[i]};
        ck_assert_int_lt(net_socket_create(&config, &backend, &err), 0);
        ck_assert_uint_gt(strlen(err.text), 0);
    }
}
END_TEST

/* ---- tap ---- */

static void create_tap(void *opaque)
{
    struct end *end = opaque;
    struct net_tap_config config = {.loop = loop};
    struct error err;

    end->backend = NULL;
    if (net_tap_create(&config, &end->backend, &err) == 0)
        front_init(&end->front, loop, end->backend);
    else
        fprintf(stderr, "skip: %s\n", err.text);
}

/* A packet socket on the interface, which is up then. */
static int other_side(const char *name)
{
    struct ifreq request = {0};
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(0x88b5)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));

    if (fd < 0)
        return -1;
    strcpy(request.ifr_name, name);
    ck_assert_int_eq(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags |= IFF_UP;
    ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    at.sll_ifindex = (int)if_nametoindex(name);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

START_TEST(tap_frames_pass_between_guest_and_host)
{
    uint8_t bytes[200], got[2000];
    struct end end;
    int fd;

    on_loop(loop, create_tap, &end);
    if (!end.backend)
        return;
    fd = other_side(net_tap_name(end.backend));
    if (fd >= 0) {
        fill(bytes, sizeof(bytes), 3);
        static const uint8_t header[14] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52,
                                           0x54, 0,    0x12, 0x34, 0x56, 0x88, 0xb5};
        memcpy(bytes, header, sizeof(header));
        ck_assert_int_eq(front_send(&end.front, (struct net_header){0}, bytes, sizeof(bytes)), 0);
        ck_assert_int_eq(recv(fd, got, sizeof(got), 0), sizeof(bytes));
        ck_assert_mem_eq(got, bytes, sizeof(bytes));
        on_loop(loop, fetch, &end);
        ck_assert_int_eq(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
        for (;;) { /* the host's own stack says things too */
            struct test_frame *frame = front_next(&end.front, NET_TEST_WAIT_S * 1000);
            ck_assert_ptr_nonnull(frame);
            bool ours = frame->len == sizeof(bytes) && !memcmp(frame->bytes, bytes, sizeof(bytes));
            free(frame);
            if (ours)
                break;
        }
        close(fd);
    }
    drop_end(&end);
}
END_TEST

START_TEST(tap_says_what_cannot_be)
{
    static const char *const names[] = {"", "a-name-that-is-too-long", "lo"};
    struct net_backend *backend;
    struct error err;

    for (size_t i = 0; i < 3; i++) {
        struct net_tap_config config = {.loop = loop, .name = names[i]};
        ck_assert_int_lt(net_tap_create(&config, &backend, &err), 0);
        ck_assert_uint_gt(strlen(err.text), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_wires");
    TCase *tcase = tcase_create("net_wires");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, frames_of_every_size_arrive_whole_in_both_directions);
    tcase_add_test(tcase, checksum_left_to_the_device_is_computed_on_the_way);
    tcase_add_test(tcase, receiver_that_does_not_read_makes_the_sender_wait);
    tcase_add_test(tcase, link_follows_the_other_side_whichever_ends);
    tcase_add_test(tcase, third_end_waits_until_the_wire_is_free);
    tcase_add_test(tcase, messages_that_are_no_frames_are_dropped);
    tcase_add_test(tcase, paths_that_cannot_be_are_reported);
    tcase_add_test(tcase, tap_frames_pass_between_guest_and_host);
    tcase_add_test(tcase, tap_says_what_cannot_be);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
