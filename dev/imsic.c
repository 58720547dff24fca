/* Interrupt files of MSIs; see imsic.h. */
#include "dev/imsic.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { REG_SETEIPNUM_LE = 0x000 };

/* Indirect registers. Of the arrays RV64 has the even numbers. */
enum {
    SELECT_EIDELIVERY = 0x70,
    SELECT_EITHRESHOLD = 0x72,
    SELECT_EIP0 = 0x80,
    SELECT_EIE0 = 0xc0,
    SELECT_LAST = 0xff,
    WORDS = (IMSIC_IDS + 1) / 64,
    FILES = IMSIC_HARTS_MAX * IMSIC_LEVELS,
};

enum { IRQ_SEI = 9, IRQ_MEI = 11 };

struct imsic {
    struct device base;
    pthread_mutex_t lock; /* guards what follows, by file: hart * IMSIC_LEVELS + level */
    uint64_t eip[FILES * WORDS], eie[FILES * WORDS];
    uint8_t eithreshold[FILES], eidelivery[FILES];

    struct irq_line lines[FILES]; /* constant, from here on */
    uint32_t intc_phandles[IMSIC_HARTS_MAX];
    struct imsic_range {
        struct imsic *imsic;
        enum imsic_level level;
    } ranges[IMSIC_LEVELS];
    struct imsic_config config;
};

static const struct device_field imsic_fields[] = {
    DEVICE_FIELD_ARRAY(struct imsic, eip, 1),
    DEVICE_FIELD_ARRAY(struct imsic, eie, 1),
    DEVICE_FIELD_ARRAY(struct imsic, eithreshold, 1),
    DEVICE_FIELD_ARRAY(struct imsic, eidelivery, 1),
    {0},
};

static uint32_t file_of(uint32_t hart, enum imsic_level level)
{
    return hart * IMSIC_LEVELS + level;
}

static uint32_t top(const struct imsic *s, uint32_t file)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        uint64_t ready = s->eip[file * WORDS + i] & s->eie[file * WORDS + i];
        if (ready) {
            uint32_t id = 64 * i + (uint32_t)__builtin_ctzll(ready);
            return s->eithreshold[file] == 0 || id < s->eithreshold[file] ? id : 0;
        }
    }
    return 0;
}

static void drive(struct imsic *s, uint32_t file)
{
    irq_set(&s->lines[file], s->eidelivery[file] && top(s, file) != 0);
}

/* Identities that do not exist are ignored (section 3.5). */
static void set_pending(struct imsic *s, uint32_t file, uint32_t id)
{
    if (id == 0 || id > IMSIC_IDS)
        return;
    pthread_mutex_lock(&s->lock);
    s->eip[file * WORDS + id / 64] |= 1ull << (id % 64);
    drive(s, file);
    pthread_mutex_unlock(&s->lock);
}

/* ---- pages ---- */

static int imsic_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    *value = 0; /* every register of a page reads as zero */
    return 0;
}

static int imsic_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    const struct imsic_range *range = opaque;
    uint32_t hart = (uint32_t)(offset / IMSIC_FILE_BYTES), reg = (uint32_t)(offset % IMSIC_FILE_BYTES);

    if (reg == REG_SETEIPNUM_LE)
        set_pending(range->imsic, file_of(hart, range->level), (uint32_t)value);
    else
        log_guest_error("imsic: write of reserved register 0x%x", reg);
    return 0;
}

static const struct mem_ops imsic_mem_ops = {
    .name = "imsic", .read = imsic_read, .write = imsic_write, .min_access_bytes = 4, .max_access_bytes = 4};

/* ---- CSRs ---- */

static void access_word(uint64_t *word, uint64_t *old, uint64_t value, uint64_t mask)
{
    *old = *word;
    *word = (*word & ~mask) | (value & mask);
}

static int access_locked(struct imsic *s, uint32_t file, uint32_t select, uint64_t *old, uint64_t value, uint64_t mask)
{
    uint64_t held;

    if (select == SELECT_EIDELIVERY) {
        held = s->eidelivery[file];
        access_word(&held, old, value, mask);
        s->eidelivery[file] = held & 1; /* not from an APLIC's IDC: bit 30 */
        return 0;
    }
    if (select == SELECT_EITHRESHOLD) {
        held = s->eithreshold[file];
        access_word(&held, old, value, mask);
        s->eithreshold[file] = held & IMSIC_IDS;
        return 0;
    }
    if (select < SELECT_EIP0 || select > SELECT_LAST)
        return -EINVAL;
    uint64_t *words = (select < SELECT_EIE0 ? s->eip : s->eie) + (size_t)file * WORDS;
    uint32_t index = (select & 0x3f) / 2;
    if (select & 1) /* RV64 has the even ones */
        return -EINVAL;
    *old = 0;
    if (index < WORDS) /* those of identities above IMSIC_IDS are read-only zero */
        access_word(&words[index], old, value, mask);
    words[0] &= ~1ull; /* there is no identity 0 */
    return 0;
}

int imsic_access(struct device *dev, uint32_t hart, enum imsic_level level, uint32_t select, uint64_t *old,
                 uint64_t value, uint64_t mask)
{
    struct imsic *s = (struct imsic *)dev;
    uint32_t file = file_of(hart, level);

    assert(hart < s->config.hart_count && level < IMSIC_LEVELS);
    pthread_mutex_lock(&s->lock);
    int rc = access_locked(s, file, select, old, value, mask);
    drive(s, file);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

uint64_t imsic_top(struct device *dev, uint32_t hart, enum imsic_level level, bool claim)
{
    struct imsic *s = (struct imsic *)dev;
    uint32_t file = file_of(hart, level);

    assert(hart < s->config.hart_count && level < IMSIC_LEVELS);
    pthread_mutex_lock(&s->lock);
    uint32_t id = top(s, file);
    if (claim && id) {
        s->eip[file * WORDS + id / 64] &= ~(1ull << (id % 64));
        drive(s, file);
    }
    pthread_mutex_unlock(&s->lock);
    return (uint64_t)id << 16 | id;
}

void imsic_message(struct device *dev, uint64_t gpa, uint32_t data)
{
    struct imsic *s = (struct imsic *)dev;

    for (enum imsic_level level = IMSIC_M; level < IMSIC_LEVELS; level++) {
        uint64_t offset = gpa - s->config.gpa[level];
        if (offset < (uint64_t)s->config.hart_count * IMSIC_FILE_BYTES && offset % 4 == 0)
            (void)imsic_write(&s->ranges[level], offset, 4, data);
    }
}

/* ---- device ---- */

static void drive_all(struct imsic *s)
{
    for (uint32_t file = 0; file < s->config.hart_count * IMSIC_LEVELS; file++)
        drive(s, file);
}

static void imsic_reset(struct device *dev)
{
    struct imsic *s = (struct imsic *)dev;

    pthread_mutex_lock(&s->lock);
    memset(s->eip, 0, sizeof(s->eip));
    memset(s->eie, 0, sizeof(s->eie));
    memset(s->eithreshold, 0, sizeof(s->eithreshold));
    memset(s->eidelivery, 0, sizeof(s->eidelivery));
    drive_all(s);
    pthread_mutex_unlock(&s->lock);
}

static void imsic_post_restore(struct device *dev)
{
    struct imsic *s = (struct imsic *)dev;

    pthread_mutex_lock(&s->lock);
    for (uint32_t file = 0; file < FILES; file++) {
        s->eip[file * WORDS] &= ~1ull;
        s->eie[file * WORDS] &= ~1ull;
        s->eidelivery[file] &= 1;
    }
    drive_all(s);
    pthread_mutex_unlock(&s->lock);
}

static void imsic_destroy(struct device *dev)
{
    struct imsic *s = (struct imsic *)dev;

    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int write_node(const struct imsic *s, void *fdt, enum imsic_level level)
{
    static const char *const compatible[] = {"qemu,imsics", "riscv,imsics", NULL};
    int node = fdt_node_add(fdt, "interrupt-controller", s->config.gpa[level],
                            (uint64_t)s->config.hart_count * IMSIC_FILE_BYTES, compatible);
    if (node < 0)
        return node;
    int rc = fdt_setprop_u32(fdt, node, "#interrupt-cells", 0);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "#msi-cells", 0);
    if (!rc)
        rc = fdt_setprop_empty(fdt, node, "interrupt-controller");
    if (!rc)
        rc = fdt_setprop_empty(fdt, node, "msi-controller");
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "riscv,num-ids", IMSIC_IDS);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "phandle", s->config.phandles[level]);
    for (uint32_t hart = 0; hart < s->config.hart_count && !rc; hart++)
        rc = fdt_node_append_irq(fdt, node, s->intc_phandles[hart], level == IMSIC_M ? IRQ_MEI : IRQ_SEI);
    return rc;
}

static int imsic_fdt(struct device *dev, void *fdt)
{
    const struct imsic *s = (const struct imsic *)dev;
    int rc = s->config.hide_machine_mode ? 0 : write_node(s, fdt, IMSIC_M);

    return rc ? rc : write_node(s, fdt, IMSIC_S);
}

static const struct device_ops imsic_ops = {
    .name = "imsic",
    .state_version = 1,
    .fields = imsic_fields,
    .reset = imsic_reset,
    .destroy = imsic_destroy,
    .fdt = imsic_fdt,
    .post_restore = imsic_post_restore,
};

int imsic_create(const struct imsic_config *config, struct device **out)
{
    if (config->hart_count == 0 || config->hart_count > IMSIC_HARTS_MAX)
        return -EINVAL;
    struct imsic *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->base.ops = &imsic_ops;
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    for (uint32_t hart = 0; hart < config->hart_count; hart++) {
        s->lines[file_of(hart, IMSIC_M)] = config->lines[IMSIC_M][hart];
        s->lines[file_of(hart, IMSIC_S)] = config->lines[IMSIC_S][hart];
        s->intc_phandles[hart] = config->intc_phandles[hart];
    }
    for (enum imsic_level level = IMSIC_M; level < IMSIC_LEVELS; level++) {
        s->ranges[level] = (struct imsic_range){.imsic = s, .level = level};
        int rc = mem_add_mmio(config->mem, config->gpa[level], (uint64_t)config->hart_count * IMSIC_FILE_BYTES,
                              &imsic_mem_ops, &s->ranges[level]);
        if (rc) {
            imsic_destroy(&s->base);
            return rc;
        }
    }
    imsic_reset(&s->base);
    *out = &s->base;
    return 0;
}
