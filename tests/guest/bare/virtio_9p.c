/* A shared directory (virtio 1.2, 5.12 by its number 9; 9P2000.L): a file that bare-test put there is read, another one
 * made and written; names, numbers and messages that are none are refused. */
#include "virtio_driver.h"

enum {
    SHARE = 9,
    MESSAGE = 4096,
    HEAD = 7,
    NO_FID = -1,

    ERROR = 7,
    STATFS = 8,
    LOPEN = 12,
    LCREATE = 14,
    VERSION = 100,
    ATTACH = 104,
    WALK = 110,
    READ = 116,
    WRITE = 118,
    CLUNK = 120,
    NO_MESSAGE = 250,

    ROOT = 0,
    FILE = 1,
    MADE = 2,
    NOT_THERE = 99,
    READ_ONLY = 0,
    READ_WRITE = 2,

    UNSET = 0xff,
};

static uint8_t out[MESSAGE], in[MESSAGE];
static uint32_t length;

static void put(uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[length++] = (uint8_t)(value >> 8 * i);
}

static void put_string(const char *text)
{
    uint32_t bytes = 0;

    while (text[bytes])
        bytes++;
    put(bytes, 2);
    for (uint32_t i = 0; i < bytes; i++)
        out[length++] = (uint8_t)text[i];
}

static uint32_t get32(unsigned at)
{
    return (uint32_t)(in[at] | in[at + 1] << 8 | in[at + 2] << 16) | (uint32_t)in[at + 3] << 24;
}

static void begin(uint8_t type, int64_t fid)
{
    length = 4;
    put(type, 1);
    put(type == VERSION ? 0xffff : 1, 2);
    if (fid != NO_FID)
        put((uint64_t)fid, 4);
}

/* Sends what was put, as `sent` bytes that claim to be `claimed`. Returns the answer's type, UNSET: none. */
static uint8_t send_as(uint32_t sent, uint32_t claimed)
{
    uint32_t all = length;

    length = 0;
    put(claimed, 4);
    length = all;
    in[4] = UNSET;
    int64_t written = driver_request(0, (struct driver_part[]){{out, sent, false}, {in, sizeof(in), true}}, 2);
    return written < HEAD ? UNSET : in[4];
}

static uint8_t send(void)
{
    return send_as(length, length);
}

/* The last answer's error; 0: it was none. */
static int64_t error(void)
{
    return in[4] == ERROR ? (int64_t)get32(HEAD) : 0;
}

static uint8_t walk(uint32_t from, uint32_t to, const char *name)
{
    begin(WALK, from);
    put(to, 4);
    put(name != NULL, 2);
    if (name)
        put_string(name);
    return send();
}

static void session(void)
{
    begin(VERSION, NO_FID);
    put(MESSAGE, 4);
    put_string("9P2000.L");
    uint8_t type = send();
    rt_print("version: %d %d", (int64_t)type, (int64_t)get32(HEAD));
    rt_expect(type == VERSION + 1 && get32(HEAD) == MESSAGE, "a session of 9P2000.L");
    begin(ATTACH, ROOT);
    put(0xffffffff, 4);
    put_string("nobody");
    put_string("");
    put(0, 4);
    type = send();
    rt_print("attach: %d %x", (int64_t)type, (uint64_t)in[HEAD]);
    rt_expect(type == ATTACH + 1 && in[HEAD] == 0x80, "the root is a directory");
}

static void files(void)
{
    static const char text[] = "from the host\n", more[] = "from the guest\n";
    bool same = true;

    rt_expect(walk(ROOT, FILE, "given") == WALK + 1, "what is there is found");
    begin(LOPEN, FILE);
    put(READ_ONLY, 4);
    rt_expect(send() == LOPEN + 1, "and opened");
    begin(READ, FILE);
    put(0, 8);
    put(1000, 4);
    uint8_t type = send();
    for (unsigned i = 0; i < sizeof(text) - 1; i++)
        same = same && in[HEAD + 4 + i] == (uint8_t)text[i];
    rt_print("read: %d %d", (int64_t)type, (int64_t)get32(HEAD));
    rt_expect(type == READ + 1 && get32(HEAD) == sizeof(text) - 1 && same, "and read");

    rt_expect(walk(ROOT, MADE, NULL) == WALK + 1, "a copy of the root");
    begin(LCREATE, MADE);
    put_string("made");
    put(READ_WRITE, 4);
    put(0644, 4);
    put(0, 4);
    rt_expect(send() == LCREATE + 1, "a file is made");
    begin(WRITE, MADE);
    put(0, 8);
    put(sizeof(more) - 1, 4);
    for (unsigned i = 0; i < sizeof(more) - 1; i++)
        out[length++] = (uint8_t)more[i];
    type = send();
    rt_print("write: %d %d", (int64_t)type, (int64_t)get32(HEAD));
    rt_expect(type == WRITE + 1 && get32(HEAD) == sizeof(more) - 1, "and written");
    begin(CLUNK, MADE);
    rt_expect(send() == CLUNK + 1, "and let go");
}

/* After a message that the device wants to be reset for. */
static void recover(void)
{
    if (!driver_is_up())
        driver_start(0, 1);
}

static void wrong(void)
{
    static const char *const names[] = {"a/b", "nothing", "..", ""};

    for (unsigned i = 0; i < RT_COUNT(names); i++) {
        uint8_t type = walk(ROOT, NOT_THERE, names[i]);
        rt_print("wrong.name.%d: %d %d", (int64_t)i, (int64_t)type, error());
        /* Above the root is the root, if anything (intro(5) of 9P). */
        rt_expect(type == ERROR ? error() != 0 : names[i][0] == '.' && type == WALK + 1 && in[HEAD + 2] == 0x80,
                  "'%s' is no file", names[i]);
        if (type == WALK + 1) {
            rt_expect(walk(NOT_THERE, NOT_THERE, "given") == WALK + 1, "'..' of the root is the root");
            begin(CLUNK, NOT_THERE);
            send();
        }
    }
    begin(READ, NOT_THERE);
    put(0, 8);
    put(10, 4);
    send();
    rt_print("wrong.fid: %d", error());
    rt_expect(error() != 0, "there is no fid 99");
    begin(READ, FILE);
    put(0, 8);
    put(0xffffffff, 4);
    uint8_t type = send();
    rt_print("wrong.count: %d", (int64_t)(type == READ + 1 ? get32(HEAD) : 0));
    rt_expect(type == ERROR || get32(HEAD) <= MESSAGE, "no more is read than has room");
    begin(NO_MESSAGE, ROOT);
    type = send();
    rt_expect(type == ERROR && error() != 0, "250 is no message");

    /* Longer and shorter than it says, cut in its head, a string beyond its end: what comes of them is open, but that
     * the device is there after. */
    begin(STATFS, ROOT);
    (void)send_as(length, 0xffffffff);
    recover();
    (void)send_as(length, 3);
    recover();
    (void)send_as(HEAD - 2, HEAD - 2);
    recover();
    begin(WALK, ROOT);
    put(NOT_THERE, 4);
    put(1, 2);
    put(0xffff, 2);
    (void)send();
    recover();
    (void)driver_request(0, &(struct driver_part){out, length, false}, 1);
    recover();
    session();
    files();
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, SHARE) && driver_start(0, 1);

    rt_expect(started, "a shared directory");
    if (!started)
        return;
    session();
    files();
    wrong();
}
