/* The SCSI host bus adapter (virtio 1.2, 5.6) with one disk, whose sectors hold the letter A: commands of SPC and SBC,
 * what is no command, no unit, no memory for an answer, and task management. */
#include "virtio_driver.h"

enum {
    ADAPTER = 8,
    CONTROL = 0,
    REQUESTS = 2,
    BLOCK = 512,
    SENSE = 96,
    COMMAND = 32,

    TEST_UNIT_READY = 0x00,
    INQUIRY = 0x12,
    READ_CAPACITY = 0x25,
    READ = 0x28,
    WRITE = 0x2a,
    NO_COMMAND = 0xff,

    GOOD = 0,
    CHECK_CONDITION = 2,
    ILLEGAL_REQUEST = 5,
    BAD_OPCODE = 0x20,
    OUT_OF_RANGE = 0x21,
    BAD_TARGET = 3,
    LUN_RESET = 5,
    UNSET = 0xff,
};

static struct {
    uint8_t lun[8];
    uint64_t id;
    uint8_t attribute, priority, crn, command[COMMAND];
} __attribute__((packed)) request;

static struct {
    uint32_t sense_len, residual;
    uint16_t qualifier;
    uint8_t status, response, sense[SENSE];
} answer;

static uint8_t data[BLOCK];

/* A command with a block address and a length, of units or bytes, in the places that the 10-byte ones have. */
static int64_t command(uint8_t opcode, uint32_t block, uint16_t length)
{
    struct driver_part parts[] = {
        {&request, sizeof(request), false}, {&answer, sizeof(answer), true}, {data, BLOCK, true}};

    for (unsigned i = 0; i < COMMAND; i++)
        request.command[i] = 0;
    request.command[0] = opcode;
    request.command[2] = (uint8_t)(block >> 24);
    request.command[3] = (uint8_t)(block >> 16);
    request.command[4] = opcode == INQUIRY ? (uint8_t)length : (uint8_t)(block >> 8);
    request.command[5] = (uint8_t)block;
    request.command[8] = opcode == INQUIRY ? 0 : (uint8_t)length;
    request.id++;
    answer.status = UNSET;
    answer.response = UNSET;
    if (opcode == WRITE) {
        parts[2] = parts[1];
        parts[1] = (struct driver_part){data, BLOCK, false};
    }
    return driver_request(REQUESTS, parts, opcode == TEST_UNIT_READY ? 2 : 3);
}

static void unit(uint8_t target)
{
    request.lun[0] = 1;
    request.lun[1] = target;
    request.lun[2] = 0x40;
    request.lun[3] = 0;
}

static void show(const char *name)
{
    rt_print("%s: response=%d status=%d key=%d asc=%x", name, (int64_t)answer.response, (int64_t)answer.status,
             (int64_t)(answer.status == CHECK_CONDITION ? answer.sense[2] & 15 : 0),
             (uint64_t)(answer.status == CHECK_CONDITION ? answer.sense[12] : 0));
}

static bool went_well(void)
{
    return answer.response == 0 && answer.status == GOOD;
}

static bool refused(uint8_t asc)
{
    return answer.response == 0 && answer.status == CHECK_CONDITION && (answer.sense[2] & 15) == ILLEGAL_REQUEST &&
           answer.sense[12] == asc;
}

static void right(void)
{
    bool all_a = true;

    /* Only the first one may be told of what has happened to the unit (SAM, unit attention). */
    command(TEST_UNIT_READY, 0, 0);
    command(TEST_UNIT_READY, 0, 0);
    show("ready");
    rt_expect(went_well(), "the unit is ready");
    command(INQUIRY, 0, 36);
    show("inquiry");
    rt_print("inquiry.type: %d", (int64_t)data[0]);
    rt_expect(went_well() && data[0] == 0, "a disk answers an inquiry");
    command(READ_CAPACITY, 0, 0);
    uint64_t last = (uint64_t)data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
    rt_print("capacity: %d %d", (int64_t)last, (int64_t)(data[6] << 8 | data[7]));
    rt_expect(went_well() && last == 127 && (data[6] << 8 | data[7]) == BLOCK, "128 blocks");
    command(READ, 5, 1);
    for (unsigned i = 0; i < BLOCK; i++)
        all_a = all_a && data[i] == 'A';
    show("read");
    rt_expect(went_well() && all_a, "a block is read");
    for (unsigned i = 0; i < BLOCK; i++)
        data[i] = (uint8_t)(i * 3);
    command(WRITE, 127, 1);
    show("write");
    rt_expect(went_well(), "the last block is written");
    for (unsigned i = 0; i < BLOCK; i++)
        data[i] = 0;
    command(READ, 127, 1);
    bool same = true;
    for (unsigned i = 0; i < BLOCK; i++)
        same = same && data[i] == (uint8_t)(i * 3);
    rt_expect(went_well() && same, "and read again");
}

static void wrong(void)
{
    command(NO_COMMAND, 0, 0);
    show("wrong.opcode");
    rt_expect(refused(BAD_OPCODE), "0xff is no command");
    command(READ, 128, 1);
    show("wrong.block");
    rt_expect(refused(OUT_OF_RANGE), "there is no block 128");
    command(WRITE, 0xffffffff, 1);
    rt_expect(refused(OUT_OF_RANGE), "nor 2^32 - 1");
    unit(77);
    command(TEST_UNIT_READY, 0, 0);
    show("wrong.target");
    rt_expect(answer.response == BAD_TARGET, "there is no target 77");
    unit(0);

    /* Less than a request, and no room for an answer: what comes of it is open, but that the adapter is there after. */
    driver_request(REQUESTS, &(struct driver_part){&request, 4, false}, 1);
    driver_request(REQUESTS, (struct driver_part[]){{&request, sizeof(request), false}, {&answer, 3, true}}, 2);
    driver_request(CONTROL, &(struct driver_part){&request, 1, false}, 1);
    if (!driver_is_up())
        driver_start(0, 3);
    command(TEST_UNIT_READY, 0, 0);
    command(TEST_UNIT_READY, 0, 0);
    rt_expect(went_well(), "the unit is ready after requests that were none");
}

static void manage(void)
{
    static struct {
        uint32_t type, subtype;
        uint8_t lun[8];
        uint64_t id;
    } management = {.subtype = LUN_RESET, .lun = {1, 0, 0x40, 0}};
    static volatile uint8_t response;
    const struct driver_part parts[] = {{&management, sizeof(management), false}, {&response, 1, true}};

    response = UNSET;
    int64_t written = driver_request(CONTROL, parts, 2);
    rt_print("reset_unit: %d", (int64_t)response);
    rt_expect(written == 1 && response == 0, "the unit is reset");
    command(TEST_UNIT_READY, 0, 0);
    show("reset_unit.told");
    rt_expect(answer.status == CHECK_CONDITION && (answer.sense[2] & 15) == 6 && answer.sense[12] == 0x29,
              "and tells of it (SAM, unit attention)");
    command(TEST_UNIT_READY, 0, 0);
    rt_expect(went_well(), "once");
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, ADAPTER) && driver_start(0, 3);

    rt_expect(started, "an adapter");
    if (!started)
        return;
    unit(0);
    right();
    wrong();
    manage();
}
