/* A sound card (virtio 1.2, 5.14) with one stream out: a tenth of a second of a tone is played, which bare-test finds
 * in the WAV file; commands out of order, of no stream, and cut off are refused. */
#include "virtio_driver.h"

enum {
    SOUND = 25,
    CONTROL = 0,
    OUTPUT = 2,
    QUEUES = 4,
    STREAMS = 4, /* in the configuration */

    PCM_INFO = 0x0100,
    SET_PARAMS = 0x0101,
    PREPARE = 0x0102,
    RELEASE = 0x0103,
    START = 0x0104,
    STOP = 0x0105,
    NO_COMMAND = 0x0999,
    OK = 0x8000,
    BAD_MSG = 0x8001,
    S16 = 5,
    RATES = 14,
    PERIOD = 4096,
    PERIODS = 5,
};

static struct {
    uint32_t code, start, count, size;
} query = {PCM_INFO, 0, 1, 32};

static struct {
    uint32_t status;
    struct {
        uint32_t nid, features;
        uint64_t formats, rates;
        uint8_t direction, channels_min, channels_max, padding[5];
    } __attribute__((packed)) info;
} __attribute__((packed)) described;

static struct {
    uint32_t code, stream, buffer_bytes, period_bytes, features;
    uint8_t channels, format, rate, padding;
} params;

static uint32_t answer;
static uint8_t sound[PERIOD];

static uint32_t control(const void *message, uint32_t bytes)
{
    answer = 0;
    driver_request(CONTROL, (struct driver_part[]){{message, bytes, false}, {&answer, sizeof(answer), true}}, 2);
    return answer;
}

static uint32_t command(uint32_t code, uint32_t stream)
{
    uint32_t message[2] = {code, stream};
    return control(message, sizeof(message));
}

static uint32_t set(uint32_t stream, uint8_t channels, uint8_t format, uint8_t rate)
{
    params.code = SET_PARAMS;
    params.stream = stream;
    params.buffer_bytes = PERIODS * PERIOD;
    params.period_bytes = PERIOD;
    params.channels = channels;
    params.format = format;
    params.rate = rate;
    return control(&params, sizeof(params));
}

/* A period of samples, all of one value. Returns the status that comes back. */
static uint32_t play(uint32_t stream, uint8_t low, uint8_t high)
{
    static uint32_t head, tail[2];

    head = stream;
    tail[0] = 0;
    for (unsigned i = 0; i < PERIOD; i += 2) {
        sound[i] = low;
        sound[i + 1] = high;
    }
    driver_request(OUTPUT,
                   (struct driver_part[]){{&head, 4, false}, {sound, PERIOD, false}, {tail, sizeof(tail), true}}, 3);
    return tail[0];
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, SOUND) && driver_start(0, QUEUES);

    rt_expect(started, "a sound card");
    if (!started)
        return;
    rt_print("streams: %d", (int64_t)*driver_reg(DRIVER_CONFIG + STREAMS));
    rt_expect(*driver_reg(DRIVER_CONFIG + STREAMS) == 1, "one stream");
    driver_request(CONTROL,
                   (struct driver_part[]){{&query, sizeof(query), false}, {&described, sizeof(described), true}}, 2);
    rt_expect(described.status == OK && described.info.direction == 0 && described.info.formats & 1 << S16 &&
                  described.info.rates,
              "it plays 16-bit samples");
    unsigned rate = (unsigned)__builtin_ctzll(described.info.rates | 1 << RATES),
             channels = described.info.channels_min;

    rt_print("early: %x", (uint64_t)command(START, 0));
    rt_expect(answer == BAD_MSG, "it starts no sooner than it is prepared");
    rt_expect(set(0, (uint8_t)channels, 99, (uint8_t)rate) != OK && answer, "there is no format 99");
    rt_expect(set(0, (uint8_t)channels, S16, 99) != OK && answer, "nor a rate 99");
    rt_expect(set(0, 0, S16, (uint8_t)rate) != OK && answer, "nor no channel");
    rt_expect(set(1, (uint8_t)channels, S16, (uint8_t)rate) == BAD_MSG, "nor a second stream");
    rt_expect(command(START, 0xffffffff) == BAD_MSG, "nor one of 2^32 - 1");
    rt_expect(command(NO_COMMAND, 0) != OK && answer, "nor that command");
    uint32_t code = PREPARE;
    (void)control(&code, 3);
    (void)driver_request(CONTROL, &(struct driver_part){&code, sizeof(code), false}, 1);
    if (!driver_is_up())
        driver_start(0, QUEUES);

    rt_expect(set(0, (uint8_t)channels, S16, (uint8_t)rate) == OK, "parameters that can be");
    rt_expect(command(PREPARE, 0) == OK && command(START, 0) == OK, "it is prepared and starts");
    for (unsigned i = 0; i < PERIODS; i++)
        rt_expect(play(0, 0x34, 0x12) == OK, "a period is played");
    rt_expect(play(9, 0, 0) == BAD_MSG, "one for no stream is not");
    (void)driver_request(OUTPUT, &(struct driver_part){sound, 2, false}, 1);
    if (driver_is_up())
        rt_expect(command(STOP, 0) == OK && command(RELEASE, 0) == OK, "it stops");
    rt_print("played: %d", (int64_t)PERIODS);
}
