/* The user-mode network, driven by hand-made packets: what a guest's stack says when it comes up, a connection through
 * a forwarded port in both directions, and nonsense. */
#include "dev/net/checksum.h"
#include "dev/net/user.h"
#include "net_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

static struct loop *loop;
static struct test_front front;
static struct net_backend *backend;
static uint16_t forwarded;

/* A port of the host that is free now. */
static uint16_t free_port(int *fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(*fd, 0);
    ck_assert_int_eq(bind(*fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(*fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static void start(bool restricted)
{
    struct net_forward forward;
    char text[64];
    struct error err;
    int fd;

    forwarded = free_port(&fd);
    close(fd);
    snprintf(text, sizeof(text), "tcp:%u:22", forwarded);
    ck_assert_int_eq(net_forward_parse(text, &forward, &err), 0);
    ck_assert_int_eq(loop_create(&loop), 0);
    struct net_user_config config = {.loop = loop, .restricted = restricted, .forwards = &forward, .forward_count = 1};
    ck_assert_msg(net_user_create(&config, &backend, &err) == 0, "%s", err.text);
    front_init(&front, loop, backend);
    ck_assert_int_eq(loop_start(loop), 0);
}

static void set_up(void)
{
    start(false);
}

static void tear_down(void)
{
    loop_stop(loop);
    net_backend_destroy(backend);
    loop_destroy(loop);
    front_fini(&front);
}

/* ---- packets ---- */

struct udp_packet {
    struct ether_header eth;
    struct iphdr ip;
    struct udphdr udp;
    uint8_t data[300];
} __attribute__((packed));

struct tcp_packet {
    struct ether_header eth;
    struct iphdr ip;
    struct tcphdr tcp;
    uint8_t data[65000];
} __attribute__((packed));

static struct iphdr ip_header(uint8_t protocol, size_t len, const char *from, const char *to)
{
    struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = protocol, .tot_len = htons((uint16_t)len)};

    inet_pton(AF_INET, from, &ip.saddr);
    inet_pton(AF_INET, to, &ip.daddr);
    ip.check = (uint16_t)~net_checksum_fold(net_checksum_add(0, &ip, sizeof(ip)));
    return ip;
}

static struct ether_header ethernet(const uint8_t to[6], uint16_t type)
{
    struct ether_header eth = {.ether_type = htons(type)};

    memcpy(eth.ether_dhost, to, 6);
    memcpy(eth.ether_shost, guest_mac, 6);
    return eth;
}

/* RFC 2131, 4.4.1: what a client without an address broadcasts. */
static void send_dhcp_discover(void)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
    struct udp_packet packet = {.eth = ethernet(broadcast, ETHERTYPE_IP)};

    packet.ip = ip_header(IPPROTO_UDP, sizeof(packet) - sizeof(packet.eth), "0.0.0.0", "255.255.255.255");
    packet.udp =
        (struct udphdr){.source = htons(68), .dest = htons(67), .len = htons(sizeof(packet.udp) + sizeof(packet.data))};
    packet.data[0] = 1; /* a request, from Ethernet */
    packet.data[1] = 1;
    packet.data[2] = 6;
    memcpy(packet.data + 4, "\x12\x34\x56\x78", 4);
    memcpy(packet.data + 28, guest_mac, 6);
    memcpy(packet.data + 236, options, sizeof(options));
    ck_assert_int_eq(front_send(&front, (struct net_header){0}, (uint8_t *)&packet, sizeof(packet)), 0);
}

static void expect_dhcp_offer(void)
{
    struct test_frame *frame;

    while ((frame = front_next(&front, NET_TEST_WAIT_S * 1000))) {
        const struct udp_packet *packet = (const struct udp_packet *)frame->bytes;
        if (frame->len >= 14 + 20 + 8 + 244 && packet->eth.ether_type == htons(ETHERTYPE_IP) &&
            packet->ip.protocol == IPPROTO_UDP && packet->udp.dest == htons(68))
            break;
        free(frame);
    }
    ck_assert_msg(frame != NULL, "no answer to DHCP DISCOVER");
    const struct udp_packet *packet = (const struct udp_packet *)frame->bytes;
    ck_assert_uint_eq(frame->header.flags, NET_HEADER_DATA_VALID);
    ck_assert_mem_eq(packet->data + 4, "\x12\x34\x56\x78", 4);
    ck_assert_mem_eq(packet->data + 16, "\x0a\x00\x02\x0f", 4); /* yiaddr */
    ck_assert_mem_eq(packet->data + 236, "\x63\x82\x53\x63\x35\x01\x02", 7);
    free(frame);
}

static void send_arp_request(const char *who)
{
    struct {
        struct ether_header eth;
        struct ether_arp arp;
        uint8_t padding[18];
    } __attribute__((packed)) packet = {
        .eth = ethernet((const uint8_t *)"\xff\xff\xff\xff\xff\xff", ETHERTYPE_ARP),
        .arp.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
                       .ar_pro = htons(ETHERTYPE_IP),
                       .ar_hln = 6,
                       .ar_pln = 4,
                       .ar_op = htons(ARPOP_REQUEST)},
    };

    memcpy(packet.arp.arp_sha, guest_mac, 6);
    memcpy(packet.arp.arp_spa, "\x0a\x00\x02\x0f", 4);
    inet_pton(AF_INET, who, packet.arp.arp_tpa);
    ck_assert_int_eq(front_send(&front, (struct net_header){0}, (uint8_t *)&packet, sizeof(packet)), 0);
}

/* The MAC address in the answer. */
static bool arp_answer(uint8_t mac[6], unsigned ms)
{
    struct test_frame *frame;
    bool found = false;

    while (!found && (frame = front_next(&front, ms))) {
        const struct ether_arp *arp = (const struct ether_arp *)(frame->bytes + 14);
        found = frame->len >= 14 + sizeof(*arp) && !memcmp(frame->bytes + 12, "\x08\x06", 2) &&
                arp->ea_hdr.ar_op == htons(ARPOP_REPLY);
        if (found)
            memcpy(mac, arp->arp_sha, 6);
        free(frame);
    }
    return found;
}

/* ---- the guest's end of one TCP connection ---- */

struct connection {
    uint8_t host_mac[6];
    uint32_t seq, ack;
    uint16_t host_port;
    bool closed; /* by the host */
};

/* The checksum is left to the device, as Linux' driver leaves it. */
static void tcp_send(struct connection *c, uint8_t flags, const uint8_t *data, size_t len)
{
    struct tcp_packet *packet = calloc(1, sizeof(*packet));
    size_t segment = sizeof(packet->tcp) + len;
    struct net_header header = {.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    uint8_t pseudo[12] = {10, 0, 2, 15, 10, 0, 2, 2, 0, IPPROTO_TCP, (uint8_t)(segment >> 8), (uint8_t)segment};

    packet->eth = ethernet(c->host_mac, ETHERTYPE_IP);
    packet->ip = ip_header(IPPROTO_TCP, sizeof(packet->ip) + segment, "10.0.2.15", "10.0.2.2");
    packet->tcp = (struct tcphdr){.source = htons(22),
                                  .dest = c->host_port,
                                  .seq = htonl(c->seq),
                                  .ack_seq = htonl(c->ack),
                                  .doff = 5,
                                  .window = htons(65535)};
    packet->tcp.th_flags = flags;
    packet->tcp.check = net_checksum_fold(net_checksum_add(0, pseudo, sizeof(pseudo)));
    if (len)
        memcpy(packet->data, data, len);
    if (len > 1460) {
        header.gso_type = NET_GSO_TCPV4;
        header.gso_size = 1460;
        header.hdr_len = 54;
    }
    c->seq += (uint32_t)len + ((flags & (TH_SYN | TH_FIN)) != 0);
    ck_assert_int_eq(front_send(&front, header, (uint8_t *)packet, 34 + segment), 0);
    free(packet);
}

/* The next TCP segment for port 22 in order, with its data; false when none came. Answers the host's ARP requests. */
static struct test_frame *tcp_next(struct connection *c, unsigned ms, size_t *offset, uint8_t *flags)
{
    struct test_frame *frame;

    for (; (frame = front_next(&front, ms)); free(frame)) {
        const struct tcp_packet *packet = (const struct tcp_packet *)frame->bytes;
        if (frame->len < 54 || packet->eth.ether_type != htons(ETHERTYPE_IP) || packet->ip.protocol != IPPROTO_TCP)
            continue;
        ck_assert_uint_eq(packet->tcp.dest, htons(22));
        *flags = packet->tcp.th_flags;
        *offset = 34 + (size_t)packet->tcp.doff * 4;
        c->host_port = packet->tcp.source;
        memcpy(c->host_mac, packet->eth.ether_shost, 6);
        if (*flags & TH_SYN)
            c->ack = ntohl(packet->tcp.seq) + 1;
        else if (ntohl(packet->tcp.seq) != c->ack)
            continue;
        else
            c->ack += ntohs(packet->ip.tot_len) - 20u - (uint32_t)packet->tcp.doff * 4;
        c->ack += (*flags & TH_FIN) != 0;
        c->closed |= (*flags & TH_FIN) != 0;
        return frame;
    }
    return NULL;
}

static int connect_to_guest(struct connection *c)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(forwarded)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint8_t mac[6], flags;
    size_t offset;

    ck_assert_int_ge(fd, 0);
    *c = (struct connection){.seq = 1000};
    send_arp_request("10.0.2.2"); /* makes the guest's address known */
    ck_assert(arp_answer(mac, NET_TEST_WAIT_S * 1000));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    struct test_frame *frame = tcp_next(c, NET_TEST_WAIT_S * 1000, &offset, &flags);
    ck_assert_msg(frame != NULL, "no SYN came for the forwarded port");
    ck_assert_uint_eq(flags & (TH_SYN | TH_ACK), TH_SYN);
    free(frame);
    tcp_send(c, TH_SYN | TH_ACK, NULL, 0);
    return fd;
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

struct writer {
    int fd;
    size_t bytes;
};

static void *write_pattern(void *opaque)
{
    struct writer *writer = opaque;
    uint8_t *bytes = malloc(writer->bytes);

    for (size_t i = 0; i < writer->bytes; i++)
        bytes[i] = pattern(i);
    for (size_t at = 0; at < writer->bytes;) {
        ssize_t count = write(writer->fd, bytes + at, writer->bytes - at);
        ck_assert_int_gt(count, 0);
        at += (size_t)count;
    }
    free(bytes);
    return NULL;
}

/* Takes what the host sends until `bytes` have come, and acknowledges it. */
static void guest_receives(struct connection *c, size_t bytes)
{
    uint8_t flags;
    size_t offset, at = 0;

    while (at < bytes) {
        uint32_t before = c->ack;
        struct test_frame *frame = tcp_next(c, NET_TEST_WAIT_S * 1000, &offset, &flags);
        ck_assert_msg(frame != NULL, "%zu of %zu bytes came", at, bytes);
        size_t len = c->ack - before - (c->closed ? 1 : 0);
        for (size_t i = 0; i < len; i++)
            ck_assert_uint_eq(frame->bytes[offset + i], pattern(at + i));
        at += len;
        free(frame);
        if (len)
            tcp_send(c, TH_ACK, NULL, 0);
    }
    ck_assert_uint_eq(at, bytes);
}

/* ---- tests ---- */

START_TEST(dhcp_discover_gets_an_offer)
{
    send_dhcp_discover();
    expect_dhcp_offer();
}
END_TEST

START_TEST(arp_knows_gateway_and_name_server_only)
{
    uint8_t mac[6];

    send_arp_request("10.0.2.2");
    ck_assert(arp_answer(mac, NET_TEST_WAIT_S * 1000));
    send_arp_request("10.0.2.3");
    ck_assert(arp_answer(mac, NET_TEST_WAIT_S * 1000));
    send_arp_request("10.0.2.77");
    ck_assert(!arp_answer(mac, 100));
}
END_TEST

START_TEST(forwarded_connection_carries_bytes_to_the_guest)
{
    struct connection c;
    struct writer writer = {.fd = connect_to_guest(&c), .bytes = 3 << 20};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, write_pattern, &writer), 0);
    guest_receives(&c, writer.bytes);
    pthread_join(thread, NULL);
    close(writer.fd);
}
END_TEST

/* Unsegmented and with the checksum to be computed, as large as IP lets it. */
START_TEST(segments_of_any_size_reach_the_host)
{
    static const size_t sizes[] = {1, 2, 999, 1460, 1461, 30001, 64000};
    struct connection c;
    int fd = connect_to_guest(&c);
    uint8_t *data = malloc(64000), *got = malloc(64000);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t j = 0; j < sizes[i]; j++)
            data[j] = pattern(j + i);
        tcp_send(&c, TH_ACK | TH_PUSH, data, sizes[i]);
        ck_assert_int_eq(recv(fd, got, sizes[i], MSG_WAITALL), sizes[i]);
        ck_assert_mem_eq(got, data, sizes[i]);
    }
    tcp_send(&c, TH_ACK | TH_FIN, NULL, 0);
    ck_assert_int_eq(read(fd, got, 1), 0);
    free(data);
    free(got);
    close(fd);
}
END_TEST

static void make_room(void *opaque)
{
    front.refuses = false;
    backend->ops->room(backend);
}

static void refuse(void *opaque)
{
    front.refuses = true;
    front.was_refused = false;
}

START_TEST(guest_without_room_makes_the_sender_wait_and_loses_nothing)
{
    struct connection c;
    struct writer writer = {.fd = connect_to_guest(&c), .bytes = 1 << 20};
    pthread_t thread;

    on_loop(loop, refuse, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_pattern, &writer), 0);
    front_wait(&front, &front.was_refused, true);
    on_loop(loop, make_room, NULL);
    guest_receives(&c, writer.bytes);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(backend->stats.queued, 0);
    ck_assert_uint_eq(backend->stats.dropped, 0);
    close(writer.fd);
}
END_TEST

START_TEST(answers_a_guest_does_not_take_are_bounded)
{
    /* ARP requests without reading the answers: a guest that asks and never takes. */
    on_loop(loop, refuse, NULL);
    for (int i = 0; i < 2000; i++)
        send_arp_request("10.0.2.2");
    on_loop(loop, make_room, NULL);
    uint8_t mac[6];
    ck_assert(arp_answer(mac, NET_TEST_WAIT_S * 1000));
    ck_assert_uint_ge(backend->stats.queued, 2000);
}
END_TEST

START_TEST(nonsense_of_every_length_is_survived)
{
    enum { LARGEST = NET_FRAME_MAX_BYTES };
    uint8_t *frame = malloc(LARGEST);

    srandom(11);
    for (int i = 0; i < 2000; i++) {
        size_t len =
            i < 200 ? (size_t)i + NET_FRAME_MIN_BYTES : 14 + (size_t)random() % (i % 100 ? 1600 : LARGEST - 14);
        for (size_t j = 0; j < len; j++)
            frame[j] = (uint8_t)random();
        static const uint16_t types[] = {ETHERTYPE_IP, ETHERTYPE_IPV6, ETHERTYPE_ARP, 0x88cc, 0x22f0};
        uint16_t type = htons(types[i % 5]);
        memcpy(frame + 12, &type, 2);
        if (i % 5 == 0 && len >= 34) { /* a header that is accepted, and what is behind it is not */
            struct iphdr ip = ip_header((uint8_t[]){1, 6, 17, 2, 41}[i / 5 % 5], (size_t)random() % 65536, "10.0.2.15",
                                        i % 2 ? "10.0.2.2" : "255.255.255.255");
            memcpy(frame + 14, &ip, sizeof(ip));
        }
        if (i % 5 == 1 && len >= 54) {
            frame[14] = 0x60;
            frame[20] = (uint8_t[]){6, 17, 58, 0}[i / 5 % 4];
        }
        ck_assert_int_eq(front_send(&front, (struct net_header){0}, frame, len), 0);
    }
    free(frame);
    send_dhcp_discover();
    expect_dhcp_offer();
}
END_TEST

START_TEST(restricted_network_reaches_no_host)
{
    uint8_t mac[6], flags;
    size_t offset;
    struct connection c = {.seq = 5};
    int listener;

    tear_down();
    start(true);
    send_arp_request("10.0.2.2");
    ck_assert(arp_answer(mac, NET_TEST_WAIT_S * 1000));
    uint16_t port = free_port(&listener);
    ck_assert_int_eq(listen(listener, 1), 0);
    memcpy(c.host_mac, mac, 6);
    c.host_port = htons(port);
    tcp_send(&c, TH_SYN, NULL, 0);
    struct test_frame *frame = tcp_next(&c, 200, &offset, &flags);
    ck_assert(!frame || (flags & TH_RST));
    free(frame);
    ck_assert_int_eq(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(accept(listener, NULL, NULL), -1);
    close(listener);
    close(connect_to_guest(&c)); /* forwarded ports are there all the same */
}
END_TEST

START_TEST(taken_port_is_reported)
{
    struct net_forward forward = {.host_addr.s_addr = htonl(INADDR_LOOPBACK), .guest_port = 22};
    struct net_user_config config = {.loop = loop, .forwards = &forward, .forward_count = 1};
    struct net_backend *second;
    struct error err;
    char port[16];
    int fd;

    forward.host_port = free_port(&fd);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(net_user_create(&config, &second, &err), -EADDRINUSE);
    snprintf(port, sizeof(port), "%u", forward.host_port);
    ck_assert_msg(strstr(err.text, port) != NULL, "%s", err.text);
    close(fd);
}
END_TEST

START_TEST(forwards_are_parsed_strictly)
{
    static const char *const bad[] = {"",
                                      "tcp",
                                      "tcp:22",
                                      "tcp:22:",
                                      "tcp::22",
                                      "sctp:1:2",
                                      "tcp:0:22",
                                      "tcp:22:65536",
                                      "tcp:22:22x",
                                      "tcp: 22:22",
                                      "tcp:+22:22",
                                      "tcp:localhost:22:22",
                                      "tcp:1.2.3:22:22",
                                      "tcp:127.0.0.1:22:10.0.2.15:22:1",
                                      "tcp:1:2:3",
                                      "TCP:1:2"};
    struct net_forward forward;
    struct error err;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(net_forward_parse(bad[i], &forward, &err) == -EINVAL, "'%s'", bad[i]);
        ck_assert_ptr_nonnull(strstr(err.text, bad[i]));
    }
    ck_assert_int_eq(net_forward_parse("udp:0.0.0.0:53:10.0.2.99:5353", &forward, &err), 0);
    ck_assert(forward.udp);
    ck_assert_uint_eq(forward.host_addr.s_addr, 0);
    ck_assert_uint_eq(forward.host_port, 53);
    ck_assert_uint_eq(forward.guest_addr.s_addr, htonl(0x0a000263));
    ck_assert_uint_eq(forward.guest_port, 5353);
    ck_assert_int_eq(net_forward_parse("tcp:2222:22", &forward, &err), 0);
    ck_assert_uint_eq(forward.host_addr.s_addr, htonl(INADDR_LOOPBACK));
    ck_assert_uint_eq(forward.guest_addr.s_addr, htonl(0x0a00020f));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_user");
    TCase *tcase = tcase_create("net_user");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, dhcp_discover_gets_an_offer);
    tcase_add_test(tcase, arp_knows_gateway_and_name_server_only);
    tcase_add_test(tcase, forwarded_connection_carries_bytes_to_the_guest);
    tcase_add_test(tcase, segments_of_any_size_reach_the_host);
    tcase_add_test(tcase, guest_without_room_makes_the_sender_wait_and_loses_nothing);
    tcase_add_test(tcase, answers_a_guest_does_not_take_are_bounded);
    tcase_add_test(tcase, nonsense_of_every_length_is_survived);
    tcase_add_test(tcase, restricted_network_reaches_no_host);
    tcase_add_test(tcase, taken_port_is_reported);
    tcase_add_test(tcase, forwards_are_parsed_strictly);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
