/* The crypto device (virtio 1.2, 5.9): AES-128 in CBC mode with the numbers of NIST SP 800-38A, F.2.1 and F.2.2,
 * sessions that cannot be, that are not there, and requests that are cut off. */
#include "virtio_driver.h"

enum {
    CRYPTO = 20,
    DATA = 0,
    CONTROL = 1,
    QUEUES = 2,
    BLOCK = 16,

    CREATE = 0x0002,
    DESTROY = 0x0003,
    ENCRYPT = 0x0000,
    DECRYPT = 0x0001,
    AES_CBC = 3,
    NO_ALGORITHM = 63,
    CIPHER_ALONE = 1,
    TO_ENCRYPT = 1,
    TO_DECRYPT = 2,

    OK = 0,
    INVALID_SESSION = 4,
    UNSET = 0xff,
};

static const uint8_t key[BLOCK] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                   0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
static const uint8_t iv[BLOCK] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const uint8_t plain[BLOCK] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
                                     0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a};
static const uint8_t cipher[BLOCK] = {0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46,
                                      0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9, 0x19, 0x7d};

/* 5.9.7.2 and 5.9.7.4: both have 72 bytes in front of what has no fixed size. */
static struct {
    uint32_t opcode, algorithm, flag, queue;
    union {
        struct {
            uint32_t algorithm, key_len, op, padding;
            uint8_t rest[32];
            uint32_t type, padding2;
        } create;
        uint64_t session;
        uint8_t all[56];
    } u;
} control;

static struct {
    uint32_t opcode, algorithm;
    uint64_t session;
    uint32_t flag, padding;
    uint32_t iv_len, from_len, to_len, padding2;
    uint8_t rest[24];
    uint32_t type, padding3;
} request;

_Static_assert(sizeof(control) == 72 && sizeof(request) == 72, "5.9.7");

static struct {
    uint64_t id;
    uint32_t status, padding;
} session;

static uint8_t result[BLOCK];
static volatile uint8_t status;

/* A session; its status. */
static uint32_t create(uint32_t algorithm, uint32_t op, uint32_t key_len)
{
    control.opcode = CREATE;
    control.algorithm = algorithm;
    control.u.create.algorithm = algorithm;
    control.u.create.key_len = key_len;
    control.u.create.op = op;
    control.u.create.type = CIPHER_ALONE;
    session.status = UNSET;
    driver_request(CONTROL,
                   (struct driver_part[]){{&control, sizeof(control), false},
                                          {key, sizeof(key), false},
                                          {&session, sizeof(session), true}},
                   3);
    return session.status;
}

static uint8_t destroy(uint64_t id)
{
    control.opcode = DESTROY;
    control.u.session = id;
    status = UNSET;
    driver_request(CONTROL, (struct driver_part[]){{&control, sizeof(control), false}, {&status, 1, true}}, 2);
    return status;
}

static uint8_t work(uint32_t opcode, uint64_t id, const uint8_t *from, uint32_t from_len)
{
    request.opcode = opcode;
    request.session = id;
    request.iv_len = BLOCK;
    request.from_len = from_len;
    request.to_len = from_len;
    request.type = CIPHER_ALONE;
    status = UNSET;
    for (unsigned i = 0; i < BLOCK; i++)
        result[i] = 0;
    driver_request(DATA,
                   (struct driver_part[]){{&request, sizeof(request), false},
                                          {iv, BLOCK, false},
                                          {from, BLOCK, false},
                                          {result, BLOCK, true},
                                          {&status, 1, true}},
                   5);
    return status;
}

static bool is(const uint8_t *expected)
{
    bool same = true;

    for (unsigned i = 0; i < BLOCK; i++)
        same = same && result[i] == expected[i];
    return same;
}

static void right(void)
{
    rt_expect(create(AES_CBC, TO_ENCRYPT, BLOCK) == OK, "a session that encrypts");
    uint64_t encrypts = session.id;
    rt_expect(create(AES_CBC, TO_DECRYPT, BLOCK) == OK && session.id != encrypts, "another one that decrypts");
    uint64_t decrypts = session.id;
    bool well = work(ENCRYPT, encrypts, plain, BLOCK) == OK && is(cipher);
    rt_print("encrypted: %d", (int64_t)well);
    rt_expect(well, "a block is encrypted");
    well = work(DECRYPT, decrypts, cipher, BLOCK) == OK && is(plain);
    rt_print("decrypted: %d", (int64_t)well);
    rt_expect(well, "and decrypted");
    rt_expect(destroy(encrypts) == OK && destroy(decrypts) == OK, "the sessions end");
    status = work(ENCRYPT, encrypts, plain, BLOCK);
    rt_print("over: %d", (int64_t)status);
    rt_expect(status == INVALID_SESSION, "a session that is over is none");
}

static void wrong(void)
{
    uint32_t made = create(NO_ALGORITHM, TO_ENCRYPT, BLOCK);

    rt_print("wrong.algorithm: %d", (int64_t)made);
    rt_expect(made != OK && made != UNSET, "63 is no algorithm");
    made = create(AES_CBC, TO_ENCRYPT, 15);
    rt_expect(made != OK && made != UNSET, "AES has no key of 15 bytes");
    made = create(AES_CBC, TO_ENCRYPT, 0xffffffff);
    rt_expect(made != OK && made != UNSET, "nor of 2^32 - 1");
    rt_expect(destroy(0xffffffffffff) != OK && status != UNSET, "there is no such session to end");
    rt_expect(create(AES_CBC, TO_ENCRYPT, BLOCK) == OK, "a session");
    uint64_t id = session.id;
    uint8_t came = work(ENCRYPT, id, plain, 0xfffffff0);
    rt_print("wrong.length: %d", (int64_t)came);
    rt_expect(came != OK && came != UNSET, "more than there is");
    came = work(ENCRYPT, id, plain, 7);
    rt_expect(came != OK && came != UNSET, "part of a block");
    (void)driver_request(DATA, (struct driver_part[]){{&request, 5, false}, {&status, 1, true}}, 2);
    (void)driver_request(DATA, &(struct driver_part){&request, sizeof(request), false}, 1);
    (void)driver_request(CONTROL, &(struct driver_part){&control, 9, false}, 1);
    if (!driver_is_up())
        driver_start(0, QUEUES);
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, CRYPTO) && driver_start(0, QUEUES);

    rt_expect(started, "a crypto device");
    if (!started)
        return;
    right();
    wrong();
    right();
}
