/* The commands of a SCSI disk; see scsi_unit.h. Section numbers are those of SPC-4 and SBC-3. */
#include "dev/scsi/scsi_unit.h"

#include <string.h>

enum {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    READ_6 = 0x08,
    WRITE_6 = 0x0a,
    INQUIRY = 0x12,
    MODE_SENSE_6 = 0x1a,
    START_STOP_UNIT = 0x1b,
    READ_CAPACITY_10 = 0x25,
    READ_10 = 0x28,
    WRITE_10 = 0x2a,
    VERIFY_10 = 0x2f,
    SYNCHRONIZE_CACHE_10 = 0x35,
    WRITE_SAME_10 = 0x41,
    UNMAP = 0x42,
    MODE_SENSE_10 = 0x5a,
    READ_16 = 0x88,
    WRITE_16 = 0x8a,
    VERIFY_16 = 0x8f,
    SYNCHRONIZE_CACHE_16 = 0x91,
    WRITE_SAME_16 = 0x93,
    SERVICE_ACTION_IN_16 = 0x9e,
    REPORT_LUNS = 0xa0,
    READ_12 = 0xa8,
    WRITE_12 = 0xaa,

    SA_READ_CAPACITY_16 = 0x10,
    PHYSICAL_BLOCK_BYTES = 4096,
    FUA = 0x08,
    NO_DATA_OUT = 0x01,
    SAME_UNMAP = 0x08,
    SAME_ANCHOR = 0x10,
    UNMAP_HEADER = 8,
    UNMAP_DESCRIPTOR = 16,
};

/* ---- numbers are big-endian ---- */

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes--)
        value = value << 8 | *at++;
    return value;
}

static void set(uint8_t *at, unsigned bytes, uint64_t value)
{
    while (bytes--) {
        at[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

void scsi_sense(uint8_t key, uint16_t code, uint8_t sense[SCSI_SENSE_BYTES])
{
    memset(sense, 0, SCSI_SENSE_BYTES);
    sense[0] = 0x70;
    sense[2] = key;
    sense[7] = SCSI_SENSE_BYTES - 8;
    set(sense + 12, 2, code);
}

static void fail(struct scsi_plan *plan, uint8_t key, uint16_t code)
{
    plan->action = SCSI_RESPOND;
    plan->status = SCSI_CHECK_CONDITION;
    plan->key = key;
    plan->code = code;
    plan->data_bytes = 0;
}

static void refuse(struct scsi_plan *plan, uint16_t code)
{
    fail(plan, SCSI_ILLEGAL_REQUEST, code);
}

/* Answers with the first `bytes` of plan->data, as many as the initiator has room for. */
static void respond(struct scsi_plan *plan, uint32_t bytes, uint64_t allocated)
{
    plan->data_bytes = bytes < allocated ? bytes : (uint32_t)allocated;
}

/* ---- what the disk is ---- */

static void put_text(uint8_t *at, size_t bytes, const char *text)
{
    memset(at, ' ', bytes);
    memcpy(at, text, strnlen(text, bytes));
}

static uint32_t page_supported(const struct scsi_unit *unit, uint8_t *data)
{
    static const uint8_t pages[] = {0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};

    memcpy(data + 4, pages, sizeof(pages));
    return sizeof(pages);
}

static uint32_t page_serial(const struct scsi_unit *unit, uint8_t *data)
{
    size_t len = strnlen(unit->serial, SCSI_SERIAL_BYTES);

    memcpy(data + 4, unit->serial, len);
    return (uint32_t)len;
}

/* A T10 vendor identification: unique as far as the serial number is. */
static uint32_t page_identification(const struct scsi_unit *unit, uint8_t *data)
{
    uint8_t *at = data + 4;
    size_t len = 8 + strnlen(unit->serial, SCSI_SERIAL_BYTES);

    at[0] = 0x02; /* ASCII */
    at[1] = 0x01;
    put_text(at + 4, 8, "TUFF");
    memcpy(at + 12, unit->serial, len - 8);
    if (len == 8) { /* none was given: the number tells units apart */
        at[12] = (uint8_t)('0' + unit->number % 10);
        len++;
    }
    at[3] = (uint8_t)len;
    return (uint32_t)(4 + len);
}

static uint32_t page_block_limits(const struct scsi_unit *unit, uint8_t *data)
{
    uint64_t cluster = unit->cluster_bytes > PHYSICAL_BLOCK_BYTES ? unit->cluster_bytes : PHYSICAL_BLOCK_BYTES;

    set(data + 6, 2, PHYSICAL_BLOCK_BYTES / unit->block_bytes); /* optimal granularity */
    set(data + 8, 4, SCSI_BLOCKS_MAX);
    if (!unit->read_only) {
        set(data + 20, 4, SCSI_SAME_BLOCKS_MAX); /* of an UNMAP in all */
        set(data + 24, 4, SCSI_RANGES_MAX);
        set(data + 28, 4, cluster / unit->block_bytes);
        set(data + 36, 8, SCSI_SAME_BLOCKS_MAX);
    }
    return 60;
}

static uint32_t page_characteristics(const struct scsi_unit *unit, uint8_t *data)
{
    set(data + 4, 2, 1); /* it does not turn */
    return 60;
}

static uint32_t page_provisioning(const struct scsi_unit *unit, uint8_t *data)
{
    data[5] = unit->read_only ? 0 : 0xe0; /* UNMAP, WRITE SAME (16) and (10) give space back */
    data[6] = 2;                          /* thin */
    return 4;
}

static const struct page {
    uint8_t code;
    uint32_t (*fill)(const struct scsi_unit *unit, uint8_t *data); /* returns the bytes behind the fourth */
} pages[] = {
    {0x00, page_supported},    {0x80, page_serial},          {0x83, page_identification},
    {0xb0, page_block_limits}, {0xb1, page_characteristics}, {0xb2, page_provisioning},
};

/* SPC-4, 6.6. `unit` NULL: the answer for a number that there is no unit of. */
static void inquiry(const struct scsi_unit *unit, const uint8_t *cdb, struct scsi_plan *plan)
{
    uint8_t *data = plan->data;
    uint64_t allocated = get(cdb + 3, 2);

    data[0] = unit ? 0 : 0x7f;
    if (cdb[1] & 1) {
        for (size_t i = 0; unit && i < sizeof(pages) / sizeof(pages[0]); i++) {
            if (pages[i].code == cdb[2]) {
                uint32_t bytes = pages[i].fill(unit, data);
                data[1] = cdb[2];
                set(data + 2, 2, bytes);
                respond(plan, 4 + bytes, allocated);
                return;
            }
        }
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    if (cdb[2]) {
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    data[2] = 6; /* SPC-4 */
    data[3] = 2;
    data[4] = 36 - 5;
    data[7] = 0x02; /* commands are queued */
    put_text(data + 8, 8, "TUFF");
    put_text(data + 16, 16, "Virtual disk");
    put_text(data + 32, 4, "1");
    respond(plan, 36, allocated);
}

/* Mode pages (SPC-4, 7.5; SBC-3, 6.5) behind `data`; `changeable`: of what can be changed, which is nothing. */
static uint32_t caching_page(uint8_t *data, bool changeable)
{
    data[0] = 0x08;
    data[1] = 18;
    if (!changeable)
        data[2] = 0x04; /* the write cache is on */
    return 20;
}

static uint32_t control_page(uint8_t *data, bool changeable)
{
    data[0] = 0x0a;
    data[1] = 10;
    if (!changeable)
        data[3] = 0x10; /* commands may be done in another order */
    return 12;
}

static void mode_sense(const struct scsi_unit *unit, const uint8_t *cdb, struct scsi_plan *plan)
{
    bool ten = cdb[0] == MODE_SENSE_10, changeable = (cdb[2] >> 6) == 1;
    uint8_t page = cdb[2] & 0x3f, subpage = cdb[3], *data = plan->data;
    uint32_t header = ten ? 8 : 4, at = header;

    if ((cdb[2] >> 6) == 3) {
        refuse(plan, SCSI_NO_SAVING);
        return;
    }
    if ((page != 0x08 && page != 0x0a && page != 0x3f) || (subpage && subpage != 0xff)) {
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    if (!(cdb[1] & 0x08)) { /* a block descriptor */
        set(data + at, 4, unit->blocks > UINT32_MAX ? UINT32_MAX : unit->blocks);
        set(data + at + 4, 4, unit->block_bytes);
        at += 8;
    }
    data[ten ? 7 : 3] = (uint8_t)(at - header);
    data[ten ? 3 : 2] = (uint8_t)((unit->read_only ? 0x80 : 0) | 0x10); /* FUA is understood */
    if (page != 0x0a)
        at += caching_page(data + at, changeable);
    if (page != 0x08)
        at += control_page(data + at, changeable);
    set(data, ten ? 2 : 1, at - (ten ? 2 : 1));
    respond(plan, at, ten ? get(cdb + 7, 2) : cdb[4]);
}

static void read_capacity_10(const struct scsi_unit *unit, struct scsi_plan *plan)
{
    uint64_t last = unit->blocks - 1;

    set(plan->data, 4, last > UINT32_MAX ? UINT32_MAX : last);
    set(plan->data + 4, 4, unit->block_bytes);
    respond(plan, 8, 8);
}

static void read_capacity_16(const struct scsi_unit *unit, const uint8_t *cdb, struct scsi_plan *plan)
{
    set(plan->data, 8, unit->blocks - 1);
    set(plan->data + 8, 4, unit->block_bytes);
    plan->data[13] = (uint8_t)__builtin_ctz(PHYSICAL_BLOCK_BYTES / unit->block_bytes);
    plan->data[14] = unit->read_only ? 0 : 0x80; /* space can be given back */
    respond(plan, 32, get(cdb + 10, 4));
}

static void report_luns(unsigned count, const uint8_t *cdb, struct scsi_plan *plan)
{
    if (cdb[2] > 2) {
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    if (cdb[2] == 1) /* well-known ones: there are none */
        count = 0;
    set(plan->data, 4, 8 * count);
    for (unsigned i = 0; i < count; i++)
        plan->data[8 + 8 * i + 1] = (uint8_t)i;
    respond(plan, 8 + 8 * count, get(cdb + 6, 4));
}

/* ---- blocks ---- */

struct extent {
    uint64_t first;
    uint32_t count;
};

/* By the size that an operation code has for ever (SPC-4, 4.2.5). */
static struct extent extent_of(const uint8_t *cdb)
{
    switch (cdb[0] >> 5) {
    case 0:
        return (struct extent){get(cdb + 1, 3) & 0x1fffff, cdb[4] ? cdb[4] : 256};
    case 4:
        return (struct extent){get(cdb + 2, 8), (uint32_t)get(cdb + 10, 4)};
    case 5:
        return (struct extent){get(cdb + 2, 4), (uint32_t)get(cdb + 6, 4)};
    default:
        return (struct extent){get(cdb + 2, 4), (uint32_t)get(cdb + 7, 2)};
    }
}

static bool is_inside(const struct scsi_unit *unit, struct extent extent)
{
    return extent.first <= unit->blocks && extent.count <= unit->blocks - extent.first;
}

static void add_range(const struct scsi_unit *unit, struct extent extent, struct scsi_plan *plan)
{
    if (extent.count)
        plan->ranges[plan->range_count++] = (struct scsi_range){.offset = extent.first * unit->block_bytes,
                                                                .bytes = (uint64_t)extent.count * unit->block_bytes};
}

/* Is `extent` one that a command may have? `changes`: it writes. */
static bool check_extent(const struct scsi_unit *unit, struct extent extent, uint32_t most, bool changes,
                         struct scsi_plan *plan)
{
    if (changes && unit->read_only)
        fail(plan, SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED);
    else if (!is_inside(unit, extent))
        refuse(plan, SCSI_OUT_OF_RANGE);
    else if (extent.count > most)
        refuse(plan, SCSI_INVALID_FIELD);
    else
        return true;
    return false;
}

static void transfer(const struct scsi_unit *unit, const uint8_t *cdb, bool write, struct scsi_plan *plan)
{
    struct extent extent = extent_of(cdb);

    if (cdb[0] >> 5 && cdb[1] & 0xe0) { /* protection information */
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    if (!check_extent(unit, extent, SCSI_BLOCKS_MAX, write, plan) || !extent.count)
        return;
    add_range(unit, extent, plan);
    plan->action = write ? SCSI_WRITE : SCSI_READ;
    plan->flush = write && cdb[0] >> 5 && cdb[1] & FUA;
}

static void verify(const struct scsi_unit *unit, const uint8_t *cdb, struct scsi_plan *plan)
{
    if (cdb[1] & 0x06) /* to be compared with what came along */
        refuse(plan, SCSI_INVALID_FIELD);
    else
        (void)check_extent(unit, extent_of(cdb), UINT32_MAX, false, plan);
}

static void synchronize(const struct scsi_unit *unit, const uint8_t *cdb, struct scsi_plan *plan)
{
    if (check_extent(unit, extent_of(cdb), UINT32_MAX, false, plan))
        plan->action = SCSI_FLUSH;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, len - 1);
}

/* SBC-3, 5.42: a count of 0 means to the end. */
static void write_same(const struct scsi_unit *unit, const uint8_t *cdb, const uint8_t *out, size_t out_len,
                       struct scsi_plan *plan)
{
    struct extent extent = extent_of(cdb);
    bool no_data = cdb[0] == WRITE_SAME_16 && cdb[1] & NO_DATA_OUT;

    if (cdb[1] & (0xe0 | SAME_ANCHOR | (cdb[0] == WRITE_SAME_10 ? NO_DATA_OUT : 0) | 0x06)) {
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    if (!extent.count && extent.first <= unit->blocks) {
        uint64_t rest = unit->blocks - extent.first;
        extent.count = rest > UINT32_MAX ? UINT32_MAX : (uint32_t)rest;
    }
    if (!check_extent(unit, extent, SCSI_SAME_BLOCKS_MAX, true, plan) || !extent.count)
        return;
    if (!no_data && out_len < unit->block_bytes) {
        refuse(plan, SCSI_PARAMETER_LENGTH);
        return;
    }
    add_range(unit, extent, plan);
    plan->may_unmap = cdb[1] & SAME_UNMAP;
    plan->action = no_data || all_zero(out, unit->block_bytes) ? SCSI_ZERO : SCSI_FILL;
}

/* SBC-3, 5.28: everything is checked before anything is done. */
static void unmap(const struct scsi_unit *unit, const uint8_t *cdb, const uint8_t *out, size_t out_len,
                  struct scsi_plan *plan)
{
    size_t bytes = get(cdb + 7, 2), list;
    uint64_t all = 0;

    if (unit->read_only) {
        fail(plan, SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED);
        return;
    }
    if (cdb[1] & 1) {
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    if (!bytes)
        return;
    bytes = bytes < out_len ? bytes : out_len;
    if (bytes < UNMAP_HEADER) {
        refuse(plan, SCSI_PARAMETER_LENGTH);
        return;
    }
    list = get(out + 2, 2);
    if (list > bytes - UNMAP_HEADER || list / UNMAP_DESCRIPTOR > SCSI_RANGES_MAX) {
        refuse(plan, SCSI_INVALID_PARAMETER);
        return;
    }
    for (size_t i = 0; i < list / UNMAP_DESCRIPTOR; i++) {
        const uint8_t *at = out + UNMAP_HEADER + i * UNMAP_DESCRIPTOR;
        struct extent extent = {get(at, 8), (uint32_t)get(at + 8, 4)};
        all += extent.count;
        if (!is_inside(unit, extent) || all > SCSI_SAME_BLOCKS_MAX) {
            refuse(plan, is_inside(unit, extent) ? SCSI_INVALID_PARAMETER : SCSI_OUT_OF_RANGE);
            return;
        }
        add_range(unit, extent, plan);
    }
    if (plan->range_count)
        plan->action = SCSI_UNMAP;
}

/* ---- commands ---- */

size_t scsi_parameter_bytes(const struct scsi_unit *unit, const uint8_t cdb[SCSI_CDB_BYTES])
{
    size_t bytes = 0;

    if (unit && cdb[0] == UNMAP)
        bytes = get(cdb + 7, 2);
    else if (unit && (cdb[0] == WRITE_SAME_10 || (cdb[0] == WRITE_SAME_16 && !(cdb[1] & NO_DATA_OUT))))
        bytes = unit->block_bytes;
    return bytes < SCSI_OUT_BYTES ? bytes : SCSI_OUT_BYTES;
}

/* Sense data as data (SPC-4, 6.39): a pending attention, which is over then. */
static void request_sense(struct scsi_unit *unit, const uint8_t *cdb, struct scsi_plan *plan)
{
    uint8_t key = SCSI_NO_SENSE;
    uint16_t code = 0;

    if (cdb[1] & 1) { /* the other format */
        refuse(plan, SCSI_INVALID_FIELD);
        return;
    }
    if (!unit) {
        key = SCSI_ILLEGAL_REQUEST;
        code = SCSI_NO_UNIT;
    } else if (unit->attention) {
        key = SCSI_UNIT_ATTENTION;
        code = SCSI_POWER_ON;
        unit->attention = 0;
    }
    scsi_sense(key, code, plan->data);
    respond(plan, SCSI_SENSE_BYTES, cdb[4]);
}

static void plan_blocks(const struct scsi_unit *unit, const uint8_t *cdb, const uint8_t *out, size_t out_len,
                        struct scsi_plan *plan)
{
    switch (cdb[0]) {
    case READ_6:
    case READ_10:
    case READ_12:
    case READ_16:
        transfer(unit, cdb, false, plan);
        return;
    case WRITE_6:
    case WRITE_10:
    case WRITE_12:
    case WRITE_16:
        transfer(unit, cdb, true, plan);
        return;
    case VERIFY_10:
    case VERIFY_16:
        verify(unit, cdb, plan);
        return;
    case SYNCHRONIZE_CACHE_10:
    case SYNCHRONIZE_CACHE_16:
        synchronize(unit, cdb, plan);
        return;
    case WRITE_SAME_10:
    case WRITE_SAME_16:
        write_same(unit, cdb, out, out_len, plan);
        return;
    case UNMAP:
        unmap(unit, cdb, out, out_len, plan);
        return;
    default:
        refuse(plan, SCSI_INVALID_OPCODE);
        return;
    }
}

void scsi_plan(struct scsi_unit *unit, unsigned count, const uint8_t cdb[SCSI_CDB_BYTES], const uint8_t *out,
               size_t out_len, struct scsi_plan *plan)
{
    memset(plan, 0, offsetof(struct scsi_plan, ranges));
    switch (cdb[0]) { /* those that no attention keeps from being done (SAM-5, 5.14) */
    case INQUIRY:
        inquiry(unit, cdb, plan);
        return;
    case REPORT_LUNS:
        report_luns(count, cdb, plan);
        return;
    case REQUEST_SENSE:
        request_sense(unit, cdb, plan);
        return;
    default:
        break;
    }
    if (!unit) {
        refuse(plan, SCSI_NO_UNIT);
        return;
    }
    if (unit->attention) {
        unit->attention = 0;
        fail(plan, SCSI_UNIT_ATTENTION, SCSI_POWER_ON);
        return;
    }
    switch (cdb[0]) {
    case TEST_UNIT_READY:
    case START_STOP_UNIT:
        return;
    case MODE_SENSE_6:
    case MODE_SENSE_10:
        mode_sense(unit, cdb, plan);
        return;
    case READ_CAPACITY_10:
        read_capacity_10(unit, plan);
        return;
    case SERVICE_ACTION_IN_16:
        if ((cdb[1] & 0x1f) == SA_READ_CAPACITY_16)
            read_capacity_16(unit, cdb, plan);
        else
            refuse(plan, SCSI_INVALID_FIELD);
        return;
    default:
        plan_blocks(unit, cdb, out, out_len, plan);
        return;
    }
}
