/* The crypto device over its queues, with published test vectors: FIPS 197 and SP 800-38A (AES), FIPS 180 and 202
 * (hashes), RFC 4231 and 4493 (codes), the GCM specification's and RFC 8439's (AEAD). */
#include "dev/virtio/virtio_crypto.h"
#include "virtq_driver.h"

#include <stdio.h>

enum {
    RING_STEP = 0x200000,
    QUEUE_SIZE = 64,
    REQUEST_GPA = VQ_RAM_GPA + 0x800000,
    ANSWER_GPA = VQ_RAM_GPA + 0xa00000,
    DATA = 0,
    CONTROL = 1,
    FIXED = 72,
};
enum { OK, ERR, BADMSG, NOTSUPP, INVSESS, NOSPC };
enum { CIPHER = 0x000, HASH = 0x100, MAC = 0x200, AEAD = 0x300, CREATE = 2, DESTROY = 3 };

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq queues[2];
static uint8_t out[256];

static void start(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1));
    for (unsigned i = 0; i < 2; i++)
        vq_give(dev, i, &queues[i], VQ_RAM_GPA + i * (uint64_t)RING_STEP, QUEUE_SIZE);
    vq_driver_ok(dev);
}

static void set_up(void)
{
    mem = vq_make_mem();
    interrupts = (struct vq_interrupts){0};
    ck_assert_int_eq(loop_create(&loop), 0);
    const struct virtio_crypto_config config = {.mem = mem, .loop = loop};
    ck_assert_int_eq(virtio_crypto_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
}

static void tear_down(void)
{
    dev->base.ops->destroy(&dev->base);
    loop_destroy(loop);
    mem_destroy(mem);
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

/* Bytes from hexadecimal digits; returns how many. */
static uint32_t hex(const char *text, uint8_t *bytes)
{
    uint32_t len = 0;

    for (; *text; text += 2) {
        unsigned value;
        ck_assert_int_eq(sscanf(text, "%2x", &value), 1);
        bytes[len++] = (uint8_t)value;
    }
    return len;
}

/* Sends what lies at REQUEST_GPA, cut at `cut`. Returns the bytes that came back, at ANSWER_GPA. */
static uint32_t send(unsigned queue, uint32_t bytes, uint32_t cut, uint32_t room)
{
    struct vq_buffer buffers[3] = {{REQUEST_GPA, cut, false}};
    unsigned count = 1;
    uint16_t id;
    uint32_t written;

    if (cut < bytes)
        buffers[count++] = (struct vq_buffer){REQUEST_GPA + cut, bytes - cut, false};
    if (room)
        buffers[count++] = (struct vq_buffer){ANSWER_GPA, room, true};
    ck_assert_int_ge(vq_send(dev, queue, &queues[queue], buffers, count), 0);
    vq_turn(dev);
    ck_assert(vq_next_used(&queues[queue], &id, &written));
    return written;
}

static uint8_t *request(void)
{
    return mem_ram_ptr(mem, REQUEST_GPA, 1 << 20);
}

static uint8_t *answer(void)
{
    return mem_ram_ptr(mem, ANSWER_GPA, 1 << 20);
}

/* Returns the status; the session's number in *id. */
static uint32_t create(uint32_t service, uint32_t algo, const char *key, uint32_t result, uint64_t *id)
{
    uint8_t *at = request();
    uint32_t status, key_bytes;

    memset(at, 0, FIXED);
    key_bytes = hex(key, at + FIXED);
    put32(at, service | CREATE);
    put32(at + 4, algo);
    put32(at + 16, algo);
    if (service == CIPHER) {
        put32(at + 20, key_bytes);
        put32(at + 24, 1);
        put32(at + 64, 1);
    } else if (service == AEAD) {
        put32(at + 20, key_bytes);
        put32(at + 24, result);
    } else {
        put32(at + 20, result);
        put32(at + 24, key_bytes);
    }
    ck_assert_uint_eq(send(CONTROL, FIXED + key_bytes, FIXED, 16), 16);
    memcpy(id, answer(), 8);
    memcpy(&status, answer() + 8, 4);
    return status;
}

static uint64_t session(uint32_t service, uint32_t algo, const char *key, uint32_t result)
{
    uint64_t id;

    ck_assert_uint_eq(create(service, algo, key, result, &id), OK);
    return id;
}

static uint8_t destroy(uint32_t service, uint64_t id)
{
    memset(request(), 0, FIXED);
    put32(request(), service | DESTROY);
    memcpy(request() + 16, &id, 8);
    ck_assert_uint_eq(send(CONTROL, FIXED, FIXED, 1), 1);
    return answer()[0];
}

static void begin_data(uint32_t opcode, uint64_t id)
{
    memset(request(), 0, FIXED);
    put32(request(), opcode);
    memcpy(request() + 8, &id, 8);
}

/* The request's parts behind the fixed one have been put; `room` for data and status. */
static uint8_t finish_data(uint32_t bytes, uint32_t room)
{
    ck_assert_uint_eq(send(DATA, bytes, FIXED - 5, room + 1), room + 1);
    memcpy(out, answer(), room < sizeof(out) ? room : sizeof(out));
    return answer()[room];
}

static uint8_t cipher(uint64_t id, bool encrypt, const char *iv, const char *text, const char *want)
{
    uint8_t expected[256];
    uint32_t at = FIXED, iv_bytes, bytes;

    begin_data(CIPHER | !encrypt, id);
    at += iv_bytes = hex(iv, request() + at);
    at += bytes = hex(text, request() + at);
    put32(request() + 24, iv_bytes);
    put32(request() + 28, bytes);
    put32(request() + 32, bytes);
    put32(request() + 64, 1);
    uint8_t status = finish_data(at, bytes);
    if (status == OK)
        ck_assert_mem_eq(out, expected, hex(want, expected));
    return status;
}

static uint8_t digest(uint32_t service, uint64_t id, const char *text, const char *want)
{
    uint8_t expected[256];
    uint32_t bytes = hex(text, request() + FIXED), result = hex(want, expected);

    begin_data(service, id);
    put32(request() + 24, bytes);
    put32(request() + 28, result);
    uint8_t status = finish_data(FIXED + bytes, result);
    if (status == OK)
        ck_assert_mem_eq(out, expected, result);
    return status;
}

static uint8_t aead(uint64_t id, bool encrypt, const char *iv, const char *aad, const char *text, const char *want)
{
    uint8_t expected[256];
    uint32_t at = FIXED, iv_bytes, aad_bytes, bytes, result = hex(want, expected);

    begin_data(AEAD | !encrypt, id);
    at += iv_bytes = hex(iv, request() + at);
    at += bytes = hex(text, request() + at);
    at += aad_bytes = hex(aad, request() + at);
    put32(request() + 24, iv_bytes);
    put32(request() + 28, aad_bytes);
    put32(request() + 32, bytes);
    put32(request() + 36, result);
    uint8_t status = finish_data(at, result);
    if (status == OK)
        ck_assert_mem_eq(out, expected, result);
    return status;
}

static const char aes_key[] = "2b7e151628aed2a6abf7158809cf4f3c";
static const char two_blocks[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
static const char counting_iv[] = "000102030405060708090a0b0c0d0e0f";

static const struct {
    uint32_t algo;
    const char *key, *iv, *plain, *secret;
} ciphers[] = {
    {2, aes_key, "", two_blocks, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"},
    {3, aes_key, counting_iv, two_blocks, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"},
    {3, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", counting_iv, two_blocks,
     "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"},
    {4, aes_key, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", two_blocks,
     "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"},
    {4, aes_key, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "6bc1bee22e409f96e9", "874d6191b620e3261b"},
    /* IEEE 1619, vector 2 */
    {13, "1111111111111111111111111111111122222222222222222222222222222222", "33333333330000000000000000000000",
     "4444444444444444444444444444444444444444444444444444444444444444",
     "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0"},
    /* SP 800-67 */
    {7, "0123456789abcdef23456789abcdef01456789abcdef0123", "", "5468652071756663", "a826fd8ce53b855f"},
};

START_TEST(ciphers_give_what_is_published)
{
    start((_i & 1 ? VIRTIO_F_RING_PACKED : 0) | (_i & 2 ? VIRTIO_F_IN_ORDER : 0));
    for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
        uint64_t id = session(CIPHER, ciphers[i].algo, ciphers[i].key, 0);
        ck_assert_uint_eq(cipher(id, true, ciphers[i].iv, ciphers[i].plain, ciphers[i].secret), OK);
        ck_assert_uint_eq(cipher(id, false, ciphers[i].iv, ciphers[i].secret, ciphers[i].plain), OK);
        ck_assert_uint_eq(destroy(CIPHER, id), OK);
    }
}
END_TEST

static const struct {
    uint32_t service, algo;
    const char *key, *text, *want;
} digests[] = {
    {HASH, 1, "", "616263", "900150983cd24fb0d6963f7d28e17f72"},
    {HASH, 2, "", "616263", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {HASH, 3, "", "616263", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {HASH, 4, "", "616263", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {HASH, 4, "", "", "e3b0c44298fc1c149afbf4c8996fb924"}, /* half of it */
    {HASH, 8, "", "616263", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {HASH, 11, "", "", "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef263cb1eea988004b93103cfb0a"},
    {MAC, 4, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {MAC, 2, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
     "b617318655057264e28bc0b6fb378c8ef146be00"},
    {MAC, 26, aes_key, "6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"},
    {MAC, 26, aes_key, "", "bb1d6929e95937287fa37d129b756746"},
};

START_TEST(hashes_and_codes_give_what_is_published)
{
    start(0);
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        uint32_t service = digests[i].service;
        uint64_t id = session(service, digests[i].algo, digests[i].key, (uint32_t)strlen(digests[i].want) / 2);
        ck_assert_uint_eq(digest(service, id, digests[i].text, digests[i].want), OK);
        ck_assert_uint_eq(destroy(service, id), OK);
    }
}
END_TEST

static const struct {
    uint32_t algo;
    const char *key, *iv, *aad, *plain, *secret;
} aeads[] = {
    {1, "00000000000000000000000000000000", "000000000000000000000000", "", "00000000000000000000000000000000",
     "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
    {1, "00000000000000000000000000000000", "000000000000000000000000", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
    {3, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "070000004041424344454647",
     "50515253c0c1c2c3c4c5c6c7",
     "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666"
     "657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069"
     "742e",
     "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29"
     "05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b"
     "61161ae10b594f09e26a7e902ecbd0600691"},
    /* SP 800-38C, example 1: a tag of 4 bytes */
    {2, "404142434445464748494a4b4c4d4e4f", "10111213141516", "0001020304050607", "20212223", "7162015b4dac255d"},
};

START_TEST(aead_gives_what_is_published_and_finds_forgeries)
{
    start(0);
    for (size_t i = 0; i < sizeof(aeads) / sizeof(aeads[0]); i++) {
        uint32_t tag = (uint32_t)(strlen(aeads[i].secret) - strlen(aeads[i].plain)) / 2;
        uint64_t id = session(AEAD, aeads[i].algo, aeads[i].key, tag);
        char forged[512];
        ck_assert_uint_eq(aead(id, true, aeads[i].iv, aeads[i].aad, aeads[i].plain, aeads[i].secret), OK);
        ck_assert_uint_eq(aead(id, false, aeads[i].iv, aeads[i].aad, aeads[i].secret, aeads[i].plain), OK);
        strcpy(forged, aeads[i].secret);
        forged[0] = forged[0] == '0' ? '1' : '0';
        ck_assert_uint_eq(aead(id, false, aeads[i].iv, aeads[i].aad, forged, aeads[i].plain), BADMSG);
        ck_assert_uint_eq(aead(id, false, aeads[i].iv, "77", aeads[i].secret, aeads[i].plain), BADMSG);
        ck_assert_uint_eq(aead(id, false, aeads[i].iv, "", "00", ""), ERR);
        ck_assert_uint_eq(aead(id, true, "00", "", "00", aeads[i].secret), ERR);
        ck_assert_uint_eq(destroy(AEAD, id), OK);
    }
}
END_TEST

START_TEST(configuration_names_what_is_there)
{
    uint32_t word[14];

    virtio_config_read(dev, 0, word, 8);
    virtio_config_read(dev, 8, word + 2, 8);
    for (uint32_t i = 4; i < 14; i++)
        virtio_config_read(dev, 4 * i, word + i, 4);
    ck_assert_uint_eq(word[0], 1);
    ck_assert_uint_eq(word[1], 1);
    ck_assert_uint_eq(word[2], 15);
    ck_assert_uint_eq(word[3], 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 13);
    ck_assert_uint_eq(word[5], 0x1ffe);
    ck_assert_uint_eq(word[6], 0x600007e);
    ck_assert_uint_eq(word[8], 14);
    ck_assert_uint_eq(word[11], 0);
    ck_assert_uint_eq(word[12], VIRTIO_CRYPTO_DATA_MAX);
}
END_TEST

START_TEST(sessions_that_cannot_be_are_refused)
{
    uint64_t id, first;

    start(0);
    ck_assert_uint_eq(create(CIPHER, 1, "00", 0, &id), NOTSUPP);
    ck_assert_uint_eq(create(CIPHER, 99, aes_key, 0, &id), NOTSUPP);
    ck_assert_uint_eq(create(CIPHER, 3, "0011", 0, &id), ERR);
    ck_assert_uint_eq(create(CIPHER, 3, "", 0, &id), ERR);
    ck_assert_uint_eq(create(HASH, 4, "", 33, &id), ERR);
    ck_assert_uint_eq(create(HASH, 4, "", 0, &id), ERR);
    ck_assert_uint_eq(create(HASH, 13, "", 8, &id), NOTSUPP);
    ck_assert_uint_eq(create(MAC, 4, "", 8, &id), ERR);
    ck_assert_uint_eq(create(MAC, 41, aes_key, 8, &id), NOTSUPP);
    ck_assert_uint_eq(create(AEAD, 1, aes_key, 17, &id), ERR);
    ck_assert_uint_eq(create(AEAD, 2, aes_key, 5, &id), ERR);
    first = session(HASH, 4, "", 32);
    ck_assert_uint_eq(destroy(CIPHER, first), INVSESS);
    ck_assert_uint_eq(destroy(HASH, first + 1), INVSESS);
    ck_assert_uint_eq(destroy(HASH, UINT64_MAX), INVSESS);
    ck_assert_uint_eq(cipher(first, true, counting_iv, two_blocks, ""), INVSESS);
    ck_assert_uint_eq(digest(HASH, first + 1, "", "00"), INVSESS);
    for (unsigned i = 1; i < VIRTIO_CRYPTO_SESSIONS_MAX; i++)
        (void)session(CIPHER, 3, aes_key, 0);
    ck_assert_uint_eq(create(CIPHER, 3, aes_key, 0, &id), NOSPC);
    ck_assert_uint_eq(destroy(HASH, first), OK);
    ck_assert_uint_eq(session(CIPHER, 3, aes_key, 0), first);
}
END_TEST

START_TEST(requests_that_cannot_be_are_refused)
{
    start(0);
    uint64_t cbc = session(CIPHER, 3, aes_key, 0), sha = session(HASH, 4, "", 32);
    ck_assert_uint_eq(cipher(cbc, true, counting_iv, "001122", ""), ERR); /* no whole block */
    ck_assert_uint_eq(cipher(cbc, true, "00", two_blocks, ""), ERR);
    ck_assert_uint_eq(cipher(cbc, true, counting_iv, "", ""), OK);
    begin_data(CIPHER, cbc); /* lengths beyond what came, and beyond all */
    put32(request() + 24, 16);
    put32(request() + 28, 64);
    put32(request() + 32, 64);
    put32(request() + 64, 1);
    ck_assert_uint_eq(finish_data(FIXED + 16 + 63, 64), ERR);
    put32(request() + 28, UINT32_MAX);
    put32(request() + 32, UINT32_MAX);
    ck_assert_uint_eq(finish_data(FIXED + 16 + 64, 64), ERR);
    put32(request() + 24, UINT32_MAX);
    ck_assert_uint_eq(finish_data(FIXED + 16 + 64, 64), ERR);
    put32(request() + 64, 2); /* a chain */
    ck_assert_uint_eq(finish_data(FIXED + 16 + 64, 64), NOTSUPP);
    begin_data(CIPHER | 2, cbc);
    ck_assert_uint_eq(finish_data(FIXED, 0), NOTSUPP);
    begin_data(0x400, cbc);
    ck_assert_uint_eq(finish_data(FIXED, 0), NOTSUPP);
    ck_assert_uint_eq(finish_data(FIXED - 1, 0), ERR);
    begin_data(HASH, sha); /* no room for the result */
    put32(request() + 24, 3);
    put32(request() + 28, 32);
    ck_assert_uint_eq(finish_data(FIXED + 3, 31), ERR);
    ck_assert_uint_eq(send(DATA, FIXED, FIXED, 0), 0);
    ck_assert(!(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
    ck_assert_uint_eq(digest(HASH, sha, "616263", digests[3].want), OK);
}
END_TEST

START_TEST(sessions_are_saved_and_gone_after_a_reset)
{
    start(0);
    uint64_t cbc = session(CIPHER, 3, aes_key, 0);
    save_reset_load(&dev->base);
    ck_assert_uint_eq(cipher(cbc, true, counting_iv, two_blocks, ciphers[1].secret), OK);
    start(0);
    ck_assert_uint_eq(cipher(cbc, true, counting_iv, two_blocks, ""), INVSESS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_crypto");
    TCase *tcase = tcase_create("virtio_crypto");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, ciphers_give_what_is_published, 0, 4);
    tcase_add_test(tcase, hashes_and_codes_give_what_is_published);
    tcase_add_test(tcase, aead_gives_what_is_published_and_finds_forgeries);
    tcase_add_test(tcase, configuration_names_what_is_there);
    tcase_add_test(tcase, sessions_that_cannot_be_are_refused);
    tcase_add_test(tcase, requests_that_cannot_be_are_refused);
    tcase_add_test(tcase, sessions_are_saved_and_gone_after_a_reset);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
