/* A network device (virtio 1.2, 5.1) behind which 10.0.2.2 answers (--net user): ARP both ways, and packets that are
 * none. */
#include "virtio_driver.h"

enum {
    NETWORK = 1,
    RECEIVE = 0,
    SEND = 1,
    HEADER = 12,
    FRAME = 60,
    F_MAC = 1 << 5,
    FLAG_NEEDS_CSUM = 1,
    GSO_TCPV4 = 1,
    MAC = 6,
    ARP_OPERATION = HEADER + 21,
    ARP_SENDER = HEADER + 28,
};

static uint8_t in[2048], out[HEADER + FRAME];

/* "Who has 10.0.2.2? Tell 10.0.2.15" (RFC 826). */
static void make_question(void)
{
    static const uint8_t arp[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};

    for (unsigned i = 0; i < sizeof(out); i++)
        out[i] = 0;
    for (unsigned i = 0; i < MAC; i++) {
        out[HEADER + i] = 0xff;
        out[HEADER + MAC + i] = *((volatile uint8_t *)driver_reg(DRIVER_CONFIG) + i);
        out[HEADER + 22 + i] = out[HEADER + MAC + i];
    }
    for (unsigned i = 0; i < sizeof(arp); i++)
        out[HEADER + 12 + i] = arp[i];
    out[HEADER + 28] = out[HEADER + 38] = 10;
    out[HEADER + 30] = out[HEADER + 40] = 2;
    out[HEADER + 31] = 15;
    out[HEADER + 41] = 2;
}

static bool is_answer(int64_t bytes)
{
    return bytes >= HEADER + 42 && in[HEADER + 12] == 8 && in[HEADER + 13] == 6 && in[ARP_OPERATION] == 2 &&
           in[ARP_SENDER] == 10 && in[ARP_SENDER + 1] == 0 && in[ARP_SENDER + 2] == 2 && in[ARP_SENDER + 3] == 2;
}

/* Asks, and waits for the answer. What else arrives is passed over. */
static bool ask(void)
{
    make_question();
    driver_offer(RECEIVE, &(struct driver_part){in, sizeof(in), true}, 1);
    if (driver_request(SEND, &(struct driver_part){out, sizeof(out), false}, 1) < 0)
        return false;
    for (unsigned i = 0; i < 20; i++) {
        int64_t bytes = driver_wait(RECEIVE);
        if (bytes < 0)
            return false;
        if (is_answer(bytes))
            return true;
        driver_offer(RECEIVE, &(struct driver_part){in, sizeof(in), true}, 1);
    }
    return false;
}

/* A packet, whatever it is, comes back and leaves the device up or asking for a reset. */
static void try_packet(const char *what, uint32_t bytes)
{
    int64_t back = driver_request(SEND, &(struct driver_part){out, bytes, false}, 1);

    rt_expect(back >= 0 || !driver_is_up(), "a packet %s comes back", what);
    if (!driver_is_up())
        driver_start(F_MAC, 2);
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, NETWORK) && driver_start(F_MAC, 2);

    rt_expect(started, "a network device");
    if (!started)
        return;
    bool answered = ask();
    rt_print("arp: %d", (int64_t)answered);
    rt_expect(answered, "10.0.2.2 says where it is");

    make_question();
    try_packet("without its header", HEADER - 4);
    try_packet("of a header", HEADER);
    try_packet("of a header and a byte", HEADER + 1);
    out[0] = FLAG_NEEDS_CSUM;
    out[6] = 0xff; /* csum_start and csum_offset: far outside */
    out[7] = 0xff;
    out[8] = 0xff;
    out[9] = 0xff;
    try_packet("whose checksum is outside", sizeof(out));
    make_question();
    out[1] = GSO_TCPV4;
    try_packet("that is cut into pieces of no bytes", sizeof(out));
    make_question();
    out[1] = 0x7f;
    try_packet("of unknown pieces", sizeof(out));
    (void)driver_request(SEND, (struct driver_part[]){{out, sizeof(out), false}, {in, sizeof(in), true}}, 2);

    /* Where a packet would go there is too little room. */
    driver_start(F_MAC, 2);
    make_question();
    driver_offer(RECEIVE, &(struct driver_part){in, 4, true}, 1);
    (void)driver_request(SEND, &(struct driver_part){out, sizeof(out), false}, 1);
    driver_start(F_MAC, 2);
    answered = ask();
    rt_print("arp.again: %d", (int64_t)answered);
    rt_expect(answered, "10.0.2.2 still does");
}
