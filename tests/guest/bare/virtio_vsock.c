/* Sockets (virtio 1.2, 5.10): a connection to a program of the host's, which sends back what it gets; one that nobody
 * waits for; packets that are none. The guest's number is 3, bare-test listens on ports 1024 and 1025, for one
 * connection each. */
#include "virtio_driver.h"

enum {
    SOCKETS = 19,
    RECEIVE = 0,
    SEND = 1,
    QUEUES = 3,
    HEADER = 44,
    GUEST = 3,
    HOST = 2,
    PORT = 1024,
    OWN_PORT = 5000,
    STREAM = 1,

    REQUEST = 1,
    RESPONSE = 2,
    RST = 3,
    SHUTDOWN = 4,
    RW = 5,
    CREDIT_UPDATE = 6,
    NO_OPERATION = 77,
    ROOM = 65536,
};

struct packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
    uint8_t data[4096];
} __attribute__((packed));

static struct packet in, out;

static void offer_room(void)
{
    driver_offer(RECEIVE, &(struct driver_part){&in, sizeof(in), true}, 1);
}

static void send(uint16_t op, uint32_t port, uint32_t len)
{
    out.src_cid = GUEST;
    out.dst_cid = HOST;
    out.src_port = OWN_PORT;
    out.dst_port = port;
    out.len = len;
    out.type = STREAM;
    out.op = op;
    out.flags = op == SHUTDOWN ? 3 : 0;
    out.buf_alloc = ROOM;
    rt_expect(driver_request(SEND, &(struct driver_part){&out, HEADER + len, false}, 1) >= 0, "a packet is taken");
}

/* The next packet that is no news of credit; 0: none. */
static uint16_t next(void)
{
    for (unsigned i = 0; i < 20; i++) {
        if (driver_wait(RECEIVE) < HEADER)
            return 0;
        if (in.op != CREDIT_UPDATE)
            return in.op;
        offer_room();
    }
    return 0;
}

static void connect_and_talk(const char *name, uint32_t port)
{
    static const char text[] = "there and back";
    bool same = true;

    out.fwd_cnt = 0;
    offer_room();
    send(REQUEST, port, 0);
    uint16_t op = next();
    rt_print("%s.connect: %d", name, (int64_t)op);
    rt_expect(op == RESPONSE && in.src_cid == HOST && in.dst_cid == GUEST && in.src_port == port &&
                  in.dst_port == OWN_PORT && in.buf_alloc > 0,
              "the host's program answers");
    offer_room();
    for (unsigned i = 0; i < sizeof(text); i++)
        out.data[i] = (uint8_t)text[i];
    send(RW, port, sizeof(text));
    op = next();
    for (unsigned i = 0; i < sizeof(text); i++)
        same = same && in.data[i] == (uint8_t)text[i];
    rt_print("%s.echo: %d %d", name, (int64_t)op, (int64_t)in.len);
    rt_expect(op == RW && in.len == sizeof(text) && same, "what was sent comes back");
    offer_room();
    out.fwd_cnt += in.len;
    send(SHUTDOWN, port, 0);
    op = next();
    if (op == SHUTDOWN) {
        offer_room();
        send(RST, port, 0);
    }
    rt_print("%s.end: %d", name, (int64_t)(op == RST || op == SHUTDOWN));
    rt_expect(op == RST || op == SHUTDOWN, "the connection ends");
}

static void restart(void)
{
    rt_expect(driver_start(0, QUEUES), "the device starts");
    out.fwd_cnt = 0;
}

static void refused(const char *what, uint16_t op, uint32_t port)
{
    offer_room();
    send(op, port, 0);
    uint16_t came = next();
    rt_print("refused.%d.%d: %d", (int64_t)op, (int64_t)port, (int64_t)came);
    rt_expect(came == RST, "%s is refused", what);
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, SOCKETS) && driver_start(0, QUEUES);

    rt_expect(started, "a socket device");
    if (!started)
        return;
    rt_print("cid: %d", (int64_t)*driver_reg(DRIVER_CONFIG));
    rt_expect(*driver_reg(DRIVER_CONFIG) == GUEST, "the guest's number");
    connect_and_talk("first", PORT);
    restart();
    refused("a connection that nobody waits for", REQUEST, PORT + 2);
    refused("data for no connection", RW, PORT);
    refused("an operation that is none", NO_OPERATION, PORT);

    /* Another sender's, another kind's, cut in the header, longer than it is: nothing but a refusal may come of them.
     */
    restart();
    offer_room();
    out.type = 7;
    (void)driver_request(SEND, &(struct driver_part){&out, HEADER, false}, 1);
    out.type = STREAM;
    out.src_cid = 12345;
    (void)driver_request(SEND, &(struct driver_part){&out, HEADER, false}, 1);
    (void)driver_request(SEND, &(struct driver_part){&out, 10, false}, 1);
    out.src_cid = GUEST;
    out.op = RW;
    out.len = 0xffffffff;
    (void)driver_request(SEND, &(struct driver_part){&out, HEADER, false}, 1);
    (void)driver_request(SEND, &(struct driver_part){&in, HEADER, true}, 1);
    restart();
    connect_and_talk("again", PORT + 1);
}
