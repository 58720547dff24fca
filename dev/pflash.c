/* Parallel flash with Intel's command set; see pflash.h.
 *
 * A bank is in one of four read modes and in a phase of the command at hand. Commands of one cycle change the mode;
 * those of several (program, erase, buffered program, lock) leave the mode at "status", whose bit 7 says at once that
 * they are done, and bits 1, 4 and 5 what went wrong until the guest clears them. A sequence that is not completed as
 * the datasheet has it sets bits 4 and 5. */
#include "dev/pflash.h"

#include "base/log.h"
#include "dev/fdt_node.h"
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUS_BYTES = 4, CHIPS = 2, BUFFER_BYTES = 4096, CFI_BYTES = 0x40 };

enum mode { MODE_ARRAY, MODE_ID, MODE_CFI, MODE_STATUS, MODE_COUNT };
enum phase { PHASE_COMMAND, PHASE_PROGRAM, PHASE_ERASE, PHASE_COUNT, PHASE_DATA, PHASE_CONFIRM, PHASE_LOCK, PHASES };

enum {
    CMD_PROGRAM_ALTERNATE = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_READ_CFI = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_BUFFERED_PROGRAM = 0xe8,
    CMD_READ_ARRAY = 0xff,
};

enum {
    STATUS_PROTECTED = 0x02,
    STATUS_PROGRAM_ERROR = 0x10,
    STATUS_ERASE_ERROR = 0x20,
    STATUS_SEQUENCE_ERROR = STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR,
    STATUS_READY = 0x80,
    STATUS_BITS = STATUS_READY | STATUS_SEQUENCE_ERROR | STATUS_PROTECTED,
};

/* One chip's identification: every field as the other chip's, too. */
static const uint8_t cfi_table[CFI_BYTES] = {
    [0x10] = 'Q',
    'R',
    'Y',
    0x01,
    0x00,
    0x31,
    0x00,
    0,
    0,
    0,
    0, /* Intel extended command set, its table at 0x31 */
    [0x1b] = 0x45,
    0x55,
    0,
    0, /* volts */
    [0x1f] = 0x07,
    0x07,
    0x0a,
    0,
    0x04,
    0x04,
    0x04,
    0,           /* times as powers of 2; nothing takes any */
    [0x27] = 24, /* 16 MiB a chip */
    [0x28] = 0x02,
    0x00, /* x8 and x16 */
    [0x2a] = 0x0b,
    0x00,          /* half the buffer */
    [0x2c] = 0x01, /* one region of blocks */
    [0x2d] = (PFLASH_BANK_BYTES / PFLASH_BLOCK_BYTES) - 1,
    0,
    (PFLASH_BLOCK_BYTES / CHIPS >> 8) & 0xff,
    PFLASH_BLOCK_BYTES / CHIPS >> 16,
    [0x31] = 'P',
    'R',
    'I',
    '1',
    '0',
};

enum { ID_MANUFACTURER = 0x89, ID_DEVICE = 0x18 };

struct bank {
    uint8_t *bytes;
    uint64_t gpa;
    bool read_only;
    unsigned number;
};

struct pflash {
    struct device base;
    pthread_mutex_t lock; /* guards what follows and the banks' bytes */
    uint8_t mode[PFLASH_BANKS], phase[PFLASH_BANKS], status[PFLASH_BANKS];
    uint32_t left[PFLASH_BANKS];   /* PHASE_DATA: writes to come */
    uint32_t window[PFLASH_BANKS]; /* where the buffer lies; UINT32_MAX: no data yet */
    uint8_t buffer[PFLASH_BANKS * BUFFER_BYTES];

    struct bank banks[PFLASH_BANKS]; /* constant, from here on */
    struct bank_ref {
        struct pflash *flash;
        unsigned number;
    } refs[PFLASH_BANKS];
    struct pflash_config config;
};

static const struct device_field pflash_fields[] = {
    DEVICE_FIELD_ARRAY(struct pflash, mode, 1),
    DEVICE_FIELD_ARRAY(struct pflash, phase, 1),
    DEVICE_FIELD_ARRAY(struct pflash, status, 1),
    DEVICE_FIELD_ARRAY(struct pflash, left, 1),
    DEVICE_FIELD_ARRAY(struct pflash, window, 1),
    DEVICE_FIELD_ARRAY(struct pflash, buffer, 1),
    {0},
};

static void set_mode(struct pflash *f, unsigned n, enum mode mode)
{
    f->mode[n] = mode;
    mem_rom_hide(f->config.mem, f->banks[n].gpa, mode != MODE_ARRAY);
}

/* ---- reads ---- */

/* What the bus shows in a word, both chips beside each other. */
static uint32_t word(const struct pflash *f, unsigned n, uint64_t offset)
{
    uint32_t index = (uint32_t)(offset / BUS_BYTES), value = 0;

    switch (f->mode[n]) {
    case MODE_ARRAY:
        memcpy(&value, f->banks[n].bytes + offset / BUS_BYTES * BUS_BYTES, sizeof(value));
        return value;
    case MODE_ID: /* for each block; 2 and up: not locked */
        index %= PFLASH_BLOCK_BYTES / BUS_BYTES;
        value = index == 0 ? ID_MANUFACTURER : index == 1 ? ID_DEVICE : 0;
        break;
    case MODE_CFI:
        value = index < CFI_BYTES ? cfi_table[index] : 0;
        break;
    default:
        value = f->status[n];
        break;
    }
    return value | value << 16;
}

static int pflash_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct bank_ref *ref = opaque;
    struct pflash *f = ref->flash;

    pthread_mutex_lock(&f->lock);
    uint64_t low = word(f, ref->number, offset);
    uint64_t high = size_bytes == 8 ? word(f, ref->number, offset + BUS_BYTES) : 0;
    pthread_mutex_unlock(&f->lock);
    *value = (low | high << 32) >> 8 * (offset % BUS_BYTES);
    if (size_bytes < 8)
        *value &= (1ull << 8 * size_bytes) - 1;
    return 0;
}

/* ---- what changes the contents ---- */

/* Harts read and run these bytes meanwhile. */
static void put(uint8_t *at, uint8_t byte)
{
    __atomic_store_n(at, byte, __ATOMIC_RELAXED);
}

/* After a change: translations of the bytes, and the file. */
static void changed(struct pflash *f, unsigned n, uint32_t offset, uint32_t len, uint8_t error)
{
    const uint8_t *bytes = f->banks[n].bytes + offset;

    mem_rom_note_write(f->config.mem, bytes, len);
    if (f->config.changed && f->config.changed(f->config.opaque, n, offset, bytes, len) != 0)
        f->status[n] |= error;
}

static bool may_change(struct pflash *f, unsigned n, uint8_t error)
{
    if (f->banks[n].read_only)
        f->status[n] |= error | STATUS_PROTECTED;
    return !f->banks[n].read_only;
}

/* Programming clears bits and sets none. */
static void program(struct pflash *f, unsigned n, uint32_t offset, const uint8_t *bytes, uint32_t len)
{
    if (!may_change(f, n, STATUS_PROGRAM_ERROR))
        return;
    for (uint32_t i = 0; i < len; i++)
        put(f->banks[n].bytes + offset + i, f->banks[n].bytes[offset + i] & bytes[i]);
    changed(f, n, offset, len, STATUS_PROGRAM_ERROR);
}

static void erase(struct pflash *f, unsigned n, uint64_t offset)
{
    uint32_t start = (uint32_t)offset & ~(PFLASH_BLOCK_BYTES - 1u);

    if (!may_change(f, n, STATUS_ERASE_ERROR))
        return;
    for (uint32_t i = 0; i < PFLASH_BLOCK_BYTES; i++)
        put(f->banks[n].bytes + start + i, 0xff);
    changed(f, n, start, PFLASH_BLOCK_BYTES, STATUS_ERASE_ERROR);
}

/* ---- commands ---- */

static void to_phase(struct pflash *f, unsigned n, enum phase phase)
{
    f->phase[n] = phase;
    set_mode(f, n, MODE_STATUS);
}

static void command(struct pflash *f, unsigned n, uint8_t byte)
{
    switch (byte) {
    case CMD_READ_ARRAY:
        set_mode(f, n, MODE_ARRAY);
        return;
    case CMD_READ_ID:
        set_mode(f, n, MODE_ID);
        return;
    case CMD_READ_CFI:
        set_mode(f, n, MODE_CFI);
        return;
    case CMD_READ_STATUS:
        set_mode(f, n, MODE_STATUS);
        return;
    case CMD_CLEAR_STATUS:
        f->status[n] = STATUS_READY;
        return;
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALTERNATE:
        to_phase(f, n, PHASE_PROGRAM);
        return;
    case CMD_ERASE:
        to_phase(f, n, PHASE_ERASE);
        return;
    case CMD_BUFFERED_PROGRAM:
        to_phase(f, n, PHASE_COUNT);
        return;
    case CMD_LOCK:
        to_phase(f, n, PHASE_LOCK);
        return;
    default: /* AMD's reset, 0xf0, is tried by drivers that look for either kind */
        log_guest_error("pflash: unknown command 0x%x", byte);
        set_mode(f, n, MODE_ARRAY);
        return;
    }
}

/* A word for the buffer: all lie in one window of its size. */
static void buffer_write(struct pflash *f, unsigned n, uint32_t offset, const uint8_t *bytes, unsigned len)
{
    uint8_t *buffer = f->buffer + (size_t)n * BUFFER_BYTES;
    uint32_t window = offset & ~(BUFFER_BYTES - 1u);

    if (f->window[n] == UINT32_MAX) {
        f->window[n] = window;
        memset(buffer, 0xff, BUFFER_BYTES);
    }
    if (window != f->window[n]) {
        f->status[n] |= STATUS_SEQUENCE_ERROR;
        f->phase[n] = PHASE_COMMAND;
        return;
    }
    memcpy(buffer + offset % BUFFER_BYTES, bytes, len);
    if (--f->left[n] == 0)
        f->phase[n] = PHASE_CONFIRM;
}

static void buffer_count(struct pflash *f, unsigned n, uint32_t words)
{
    f->left[n] = words + 1;
    f->window[n] = UINT32_MAX;
    f->phase[n] = PHASE_DATA;
    if (f->left[n] > BUFFER_BYTES / BUS_BYTES) {
        f->status[n] |= STATUS_SEQUENCE_ERROR;
        f->phase[n] = PHASE_COMMAND;
    }
}

/* The second cycle and those after it. */
static void go_on(struct pflash *f, unsigned n, uint32_t offset, uint32_t value, unsigned size_bytes)
{
    uint8_t byte = (uint8_t)value, bytes[sizeof(value)];
    enum phase phase = f->phase[n];

    memcpy(bytes, &value, sizeof(value));
    if (phase == PHASE_DATA) {
        buffer_write(f, n, offset, bytes, size_bytes);
        return;
    }
    if (phase == PHASE_COUNT) {
        buffer_count(f, n, value & 0xffff);
        return;
    }
    f->phase[n] = PHASE_COMMAND;
    if (phase == PHASE_PROGRAM)
        program(f, n, offset, bytes, size_bytes);
    else if (phase == PHASE_LOCK) /* blocks are neither locked nor unlocked, which reads as done */
        return;
    else if (byte != CMD_CONFIRM)
        f->status[n] |= STATUS_SEQUENCE_ERROR;
    else if (phase == PHASE_ERASE)
        erase(f, n, offset);
    else
        program(f, n, f->window[n], f->buffer + (size_t)n * BUFFER_BYTES, BUFFER_BYTES);
}

static int pflash_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct bank_ref *ref = opaque;
    struct pflash *f = ref->flash;

    pthread_mutex_lock(&f->lock);
    /* 64 bits are two cycles of the bus. */
    for (unsigned done = 0; done < size_bytes; done += BUS_BYTES, value >>= 32) {
        if (f->phase[ref->number] == PHASE_COMMAND)
            command(f, ref->number, (uint8_t)value);
        else
            go_on(f, ref->number, (uint32_t)offset + done, (uint32_t)value,
                  size_bytes < BUS_BYTES ? size_bytes : BUS_BYTES);
    }
    pthread_mutex_unlock(&f->lock);
    return 0;
}

static const struct mem_ops pflash_mem_ops = {
    .name = "pflash", .read = pflash_read, .write = pflash_write, .min_access_bytes = 1, .max_access_bytes = 8};

/* ---- device ---- */

static void pflash_reset(struct device *dev)
{
    struct pflash *f = (struct pflash *)dev;

    pthread_mutex_lock(&f->lock);
    for (unsigned n = 0; n < PFLASH_BANKS; n++) {
        f->phase[n] = PHASE_COMMAND;
        f->status[n] = STATUS_READY;
        f->left[n] = 0;
        f->window[n] = UINT32_MAX;
        set_mode(f, n, MODE_ARRAY);
    }
    memset(f->buffer, 0xff, sizeof(f->buffer));
    pthread_mutex_unlock(&f->lock);
}

static void pflash_post_restore(struct device *dev)
{
    struct pflash *f = (struct pflash *)dev;

    pthread_mutex_lock(&f->lock);
    for (unsigned n = 0; n < PFLASH_BANKS; n++) {
        f->phase[n] %= PHASES;
        f->status[n] = (f->status[n] & STATUS_BITS) | STATUS_READY;
        if (f->left[n] == 0 || f->left[n] > BUFFER_BYTES / BUS_BYTES)
            f->left[n] = 1;
        bool inside = f->window[n] < PFLASH_BANK_BYTES && f->window[n] % BUFFER_BYTES == 0;
        if (!inside)
            f->window[n] = UINT32_MAX;
        if (f->phase[n] == PHASE_CONFIRM && !inside)
            f->phase[n] = PHASE_COMMAND;
        set_mode(f, n, (enum mode)(f->mode[n] % MODE_COUNT));
    }
    pthread_mutex_unlock(&f->lock);
}

static void pflash_destroy(struct device *dev)
{
    struct pflash *f = (struct pflash *)dev;

    pthread_mutex_destroy(&f->lock);
    free(f);
}

static int pflash_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"cfi-flash", NULL};
    const struct pflash *f = (const struct pflash *)dev;
    fdt64_t reg[2 * PFLASH_BANKS];
    int node = fdt_node_add(fdt, "flash", f->config.gpa, PFLASH_BANK_BYTES, compatible);

    if (node < 0)
        return node;
    for (unsigned n = 0; n < PFLASH_BANKS; n++) {
        reg[2 * n] = cpu_to_fdt64(f->banks[n].gpa);
        reg[2 * n + 1] = cpu_to_fdt64(PFLASH_BANK_BYTES);
    }
    int rc = fdt_setprop(fdt, node, "reg", reg, sizeof(reg));
    return rc ? rc : fdt_setprop_u32(fdt, node, "bank-width", BUS_BYTES);
}

static const struct device_ops pflash_ops = {
    .name = "pflash",
    .state_version = 1,
    .fields = pflash_fields,
    .reset = pflash_reset,
    .destroy = pflash_destroy,
    .fdt = pflash_fdt,
    .post_restore = pflash_post_restore,
};

uint8_t *pflash_bank(struct device *dev, unsigned bank)
{
    return ((struct pflash *)dev)->banks[bank].bytes;
}

int pflash_create(const struct pflash_config *config, struct device **out)
{
    struct pflash *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->base.ops = &pflash_ops;
    f->config = *config;
    pthread_mutex_init(&f->lock, NULL);
    for (unsigned n = 0; n < PFLASH_BANKS; n++) {
        struct bank *bank = &f->banks[n];
        *bank = (struct bank){
            .gpa = config->gpa + (uint64_t)n * PFLASH_BANK_BYTES, .read_only = config->read_only[n], .number = n};
        f->refs[n] = (struct bank_ref){.flash = f, .number = n};
        int rc = mem_add_rom(config->mem, bank->gpa, PFLASH_BANK_BYTES, &pflash_mem_ops, &f->refs[n], &bank->bytes);
        if (rc) {
            pflash_destroy(&f->base);
            return rc;
        }
        memset(bank->bytes, 0xff, PFLASH_BANK_BYTES);
    }
    pflash_reset(&f->base);
    *out = &f->base;
    return 0;
}
