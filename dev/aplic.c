/* Wired interrupts to harts or to MSIs; see aplic.h. Section numbers are those of the AIA specification 1.0. */
#include "dev/aplic.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A domain's registers (table 4.1). Arrays by source begin with source 1. */
enum {
    REG_DOMAINCFG = 0x0000,
    REG_SOURCECFG = 0x0004,
    REG_MSIADDRCFG = 0x1bc0, /* mmsiaddrcfg, mmsiaddrcfgh, smsiaddrcfg, smsiaddrcfgh */
    REG_SETIP = 0x1c00,
    REG_SETIPNUM = 0x1cdc,
    REG_IN_CLRIP = 0x1d00,
    REG_CLRIPNUM = 0x1ddc,
    REG_SETIE = 0x1e00,
    REG_SETIENUM = 0x1edc,
    REG_CLRIE = 0x1f00,
    REG_CLRIENUM = 0x1fdc,
    REG_SETIPNUM_LE = 0x2000,
    REG_SETIPNUM_BE = 0x2004,
    REG_GENMSI = 0x3000,
    REG_TARGET = 0x3004,
    REG_IDC = 0x4000,
};

/* A hart's structure for direct delivery (table 4.2). */
enum {
    IDC_IDELIVERY = 0x00,
    IDC_IFORCE = 0x04,
    IDC_ITHRESHOLD = 0x08,
    IDC_TOPI = 0x18,
    IDC_CLAIMI = 0x1c,
    IDC_BYTES = 32
};

enum { DOMAINCFG_FIXED = 0x80 << 24, DOMAINCFG_IE = 1 << 8, DOMAINCFG_DM = 1 << 2 };
enum { SOURCECFG_D = 1 << 10, SOURCECFG_SM = 7 };
enum { SM_INACTIVE = 0, SM_DETACHED = 1, SM_EDGE1 = 4, SM_EDGE0 = 5, SM_LEVEL1 = 6, SM_LEVEL0 = 7 };
enum { MSI_M, MSI_MH, MSI_S, MSI_SH, MSI_REGS };
#define MSI_LOCKED (1u << 31)
enum { TARGET_HART_SHIFT = 18, TARGET_IPRIO = 0xff, TARGET_EIID = 0x7ff, TARGET_GUEST_SHIFT = 12 };
enum { SLOTS = APLIC_SOURCES + 1, WORDS = (SLOTS + 31) / 32, IRQ_SEI = 9, IRQ_MEI = 11 };

struct aplic {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint32_t inputs[WORDS];
    /* By domain, then by source or hart. */
    uint8_t enabled[APLIC_DOMAINS]; /* domaincfg.IE */
    uint16_t sourcecfg[APLIC_DOMAINS * SLOTS];
    uint32_t target[APLIC_DOMAINS * SLOTS];
    uint32_t ip[APLIC_DOMAINS * WORDS], ie[APLIC_DOMAINS * WORDS];
    uint8_t idelivery[APLIC_DOMAINS * APLIC_HARTS_MAX], iforce[APLIC_DOMAINS * APLIC_HARTS_MAX];
    uint8_t ithreshold[APLIC_DOMAINS * APLIC_HARTS_MAX];
    uint32_t msiaddrcfg[MSI_REGS];

    struct irq_line lines[APLIC_DOMAINS][APLIC_HARTS_MAX]; /* constant, from here on */
    uint32_t intc_phandles[APLIC_HARTS_MAX];
    struct aplic_range {
        struct aplic *aplic;
        enum aplic_domain domain;
    } ranges[APLIC_DOMAINS];
    struct aplic_config config;
};

static const struct device_field aplic_fields[] = {
    DEVICE_FIELD_ARRAY(struct aplic, inputs, 1),
    DEVICE_FIELD_ARRAY(struct aplic, enabled, 1),
    DEVICE_FIELD_ARRAY(struct aplic, sourcecfg, 1),
    DEVICE_FIELD_ARRAY(struct aplic, target, 1),
    DEVICE_FIELD_ARRAY(struct aplic, ip, 1),
    DEVICE_FIELD_ARRAY(struct aplic, ie, 1),
    DEVICE_FIELD_ARRAY(struct aplic, idelivery, 1),
    DEVICE_FIELD_ARRAY(struct aplic, iforce, 1),
    DEVICE_FIELD_ARRAY(struct aplic, ithreshold, 1),
    DEVICE_FIELD_ARRAY(struct aplic, msiaddrcfg, 1),
    {0},
};

/* ---- bits by source ---- */

static bool get_bit(const uint32_t *words, uint32_t source)
{
    return words[source / 32] >> (source % 32) & 1;
}

static void put_bit(uint32_t *words, uint32_t source, bool bit)
{
    words[source / 32] = (words[source / 32] & ~(1u << (source % 32))) | (uint32_t)bit << (source % 32);
}

static uint32_t *ip(struct aplic *a, enum aplic_domain d)
{
    return a->ip + (size_t)d * WORDS;
}

static uint32_t *ie(struct aplic *a, enum aplic_domain d)
{
    return a->ie + (size_t)d * WORDS;
}

static uint16_t *sourcecfg(struct aplic *a, enum aplic_domain d, uint32_t source)
{
    return &a->sourcecfg[d * SLOTS + source];
}

static uint32_t *target(struct aplic *a, enum aplic_domain d, uint32_t source)
{
    return &a->target[d * SLOTS + source];
}

static bool delegated(struct aplic *a, uint32_t source)
{
    return *sourcecfg(a, APLIC_M, source) & SOURCECFG_D;
}

/* Section 4.5.2: how the source is looked at here; inactive also where it is the other domain's. */
static unsigned mode(struct aplic *a, enum aplic_domain d, uint32_t source)
{
    return delegated(a, source) == (d == APLIC_S) ? *sourcecfg(a, d, source) & SOURCECFG_SM : SM_INACTIVE;
}

static bool is_level(unsigned sm)
{
    return sm == SM_LEVEL1 || sm == SM_LEVEL0;
}

/* The rectified input value. */
static bool rectified(struct aplic *a, enum aplic_domain d, uint32_t source)
{
    unsigned sm = mode(a, d, source);

    if (sm == SM_EDGE1 || sm == SM_LEVEL1)
        return get_bit(a->inputs, source);
    return (sm == SM_EDGE0 || sm == SM_LEVEL0) && !get_bit(a->inputs, source);
}

static bool by_msi(const struct aplic *a)
{
    return a->config.message != NULL;
}

/* ---- delivery ---- */

/* Section 4.8.1 (direct): iprio and identity of the first to be taken by a hart, 0 for none. */
static uint32_t topi(struct aplic *a, enum aplic_domain d, uint32_t hart)
{
    uint32_t threshold = a->ithreshold[d * APLIC_HARTS_MAX + hart], best = 0;

    for (uint32_t source = 1; source <= APLIC_SOURCES; source++) {
        uint32_t t = *target(a, d, source), iprio = t & TARGET_IPRIO;
        if (!get_bit(ip(a, d), source) || !get_bit(ie(a, d), source) || t >> TARGET_HART_SHIFT != hart)
            continue;
        if ((threshold == 0 || iprio < threshold) && (best == 0 || iprio < (best & TARGET_IPRIO)))
            best = source << 16 | iprio;
    }
    return best;
}

/* Section 4.9.1: where a hart's interrupt file is, as the root domain's registers have it. */
static uint64_t msi_address(const struct aplic *a, enum aplic_domain d, uint32_t hart, uint32_t guest)
{
    const uint32_t *cfg = a->msiaddrcfg + (d == APLIC_M ? MSI_M : MSI_S);
    uint32_t high = a->msiaddrcfg[MSI_MH];
    unsigned lhxs = cfg[1] >> 20 & 7, lhxw = high >> 12 & 15, hhxw = high >> 16 & 7, hhxs = high >> 24 & 31;
    uint64_t ppn = (uint64_t)(cfg[1] & 0xfff) << 32 | cfg[0];
    uint64_t group = hart >> lhxw & ((1u << hhxw) - 1), member = hart & ((1u << lhxw) - 1);

    ppn |= group << (hhxs + 12) | member << lhxs | (d == APLIC_S ? guest : 0);
    return ppn << 12;
}

static void send(struct aplic *a, enum aplic_domain d, uint32_t word)
{
    uint64_t gpa = msi_address(a, d, word >> TARGET_HART_SHIFT, word >> TARGET_GUEST_SHIFT & 63);

    a->config.message(a->config.opaque, gpa, word & TARGET_EIID);
}

/* After every change: drives the lines, or sends what is pending and enabled. */
static void update(struct aplic *a, enum aplic_domain d)
{
    if (!by_msi(a)) {
        for (uint32_t hart = 0; hart < a->config.hart_count; hart++) {
            uint32_t i = d * APLIC_HARTS_MAX + hart;
            irq_set(&a->lines[d][hart], a->enabled[d] && a->idelivery[i] && (a->iforce[i] || topi(a, d, hart)));
        }
        return;
    }
    for (uint32_t word = 0; word < WORDS && a->enabled[d]; word++) {
        for (uint32_t ready; (ready = ip(a, d)[word] & ie(a, d)[word]) != 0;) {
            uint32_t source = 32 * word + (uint32_t)__builtin_ctz(ready);
            put_bit(ip(a, d), source, false);
            send(a, d, *target(a, d, source));
        }
    }
}

/* Section 4.7: what makes a source pending. */
static void input_changed(struct aplic *a, enum aplic_domain d, uint32_t source, bool was)
{
    bool is = rectified(a, d, source);

    if (is == was)
        return;
    if (is_level(mode(a, d, source)))
        put_bit(ip(a, d), source, is);
    else if (is)
        put_bit(ip(a, d), source, true);
    update(a, d);
}

static void set_source(void *opaque, uint32_t source, bool level)
{
    struct aplic *a = opaque;
    bool was[APLIC_DOMAINS];

    pthread_mutex_lock(&a->lock);
    for (enum aplic_domain d = APLIC_M; d < APLIC_DOMAINS; d++)
        was[d] = rectified(a, d, source);
    put_bit(a->inputs, source, level);
    for (enum aplic_domain d = APLIC_M; d < APLIC_DOMAINS; d++)
        input_changed(a, d, source, was[d]);
    pthread_mutex_unlock(&a->lock);
}

/* By software (sections 4.5.5 to 4.5.8). */
static void set_pending(struct aplic *a, enum aplic_domain d, uint32_t source, bool pending)
{
    unsigned sm = source <= APLIC_SOURCES && source ? mode(a, d, source) : SM_INACTIVE;

    if (sm == SM_INACTIVE || (is_level(sm) && (!by_msi(a) || (pending && !rectified(a, d, source)))))
        return;
    put_bit(ip(a, d), source, pending);
}

static void set_enabled(struct aplic *a, enum aplic_domain d, uint32_t source, bool enabled)
{
    if (source && source <= APLIC_SOURCES && mode(a, d, source) != SM_INACTIVE)
        put_bit(ie(a, d), source, enabled);
}

static void clear_source(struct aplic *a, enum aplic_domain d, uint32_t source)
{
    put_bit(ip(a, d), source, false);
    put_bit(ie(a, d), source, false);
    *target(a, d, source) = 0;
}

static uint16_t legal_sourcecfg(enum aplic_domain d, uint32_t value)
{
    if (value & SOURCECFG_D)
        return d == APLIC_M ? SOURCECFG_D : 0; /* the one child; S has none */
    unsigned sm = value & SOURCECFG_SM;
    return sm == 2 || sm == 3 ? SM_INACTIVE : (uint16_t)sm; /* reserved */
}

static void write_sourcecfg(struct aplic *a, enum aplic_domain d, uint32_t source, uint32_t value)
{
    uint16_t old = *sourcecfg(a, d, source), new = legal_sourcecfg(d, value);

    if (d == APLIC_S && !delegated(a, source))
        return;
    *sourcecfg(a, d, source) = new;
    if (d == APLIC_M && ((old ^ new) & SOURCECFG_D)) {
        *sourcecfg(a, APLIC_S, source) = 0;
        clear_source(a, APLIC_S, source);
    }
    if (mode(a, d, source) == SM_INACTIVE)
        clear_source(a, d, source);
    else if (!by_msi(a) && !(*target(a, d, source) & TARGET_IPRIO))
        *target(a, d, source) |= 1; /* there is no priority 0 */
    if (is_level(mode(a, d, source)))
        put_bit(ip(a, d), source, rectified(a, d, source));
}

static void write_target(struct aplic *a, enum aplic_domain d, uint32_t source, uint32_t value)
{
    uint32_t fields = by_msi(a) ? TARGET_EIID | (d == APLIC_S ? 63u << TARGET_GUEST_SHIFT : 0) : TARGET_IPRIO;

    if (mode(a, d, source) == SM_INACTIVE)
        return;
    value &= fields | UINT32_MAX << TARGET_HART_SHIFT;
    if (value >> TARGET_HART_SHIFT >= a->config.hart_count)
        value &= fields; /* WARL */
    if (!by_msi(a) && !(value & TARGET_IPRIO))
        value |= 1;
    *target(a, d, source) = value;
}

/* ---- registers ---- */

static uint32_t read_idc(struct aplic *a, enum aplic_domain d, uint32_t offset)
{
    uint32_t hart = offset / IDC_BYTES, i = d * APLIC_HARTS_MAX + hart, top;

    if (by_msi(a) || hart >= a->config.hart_count)
        return 0;
    switch (offset % IDC_BYTES) {
    case IDC_IDELIVERY:
        return a->idelivery[i];
    case IDC_IFORCE:
        return a->iforce[i];
    case IDC_ITHRESHOLD:
        return a->ithreshold[i];
    case IDC_TOPI:
        return topi(a, d, hart);
    case IDC_CLAIMI:
        top = topi(a, d, hart);
        if (top)
            set_pending(a, d, top >> 16, false);
        else
            a->iforce[i] = 0;
        update(a, d);
        return top;
    }
    return 0;
}

static void write_idc(struct aplic *a, enum aplic_domain d, uint32_t offset, uint32_t value)
{
    uint32_t hart = offset / IDC_BYTES, i = d * APLIC_HARTS_MAX + hart;

    if (by_msi(a) || hart >= a->config.hart_count)
        return;
    switch (offset % IDC_BYTES) {
    case IDC_IDELIVERY:
        a->idelivery[i] = value & 1;
        break;
    case IDC_IFORCE:
        a->iforce[i] = value & 1;
        break;
    case IDC_ITHRESHOLD:
        a->ithreshold[i] = (uint8_t)value;
        break;
    }
}

/* The element of an array of `count` words at `base` that `offset` names, or -1. */
static int element(uint32_t offset, uint32_t base, uint32_t count)
{
    return offset >= base && offset < base + 4 * count ? (int)((offset - base) / 4) : -1;
}

static uint32_t rectified_word(struct aplic *a, enum aplic_domain d, uint32_t word)
{
    uint32_t value = 0;

    for (uint32_t bit = 0; bit < 32; bit++) {
        uint32_t source = 32 * word + bit;
        if (source && source <= APLIC_SOURCES)
            value |= (uint32_t)rectified(a, d, source) << bit;
    }
    return value;
}

static uint32_t read_register(struct aplic *a, enum aplic_domain d, uint32_t offset)
{
    int i;

    if (offset >= REG_IDC)
        return read_idc(a, d, offset - REG_IDC);
    if (offset == REG_DOMAINCFG)
        return DOMAINCFG_FIXED | (a->enabled[d] ? DOMAINCFG_IE : 0) | (by_msi(a) ? DOMAINCFG_DM : 0);
    if ((i = element(offset, REG_SOURCECFG, APLIC_SOURCES)) >= 0)
        return *sourcecfg(a, d, (uint32_t)i + 1);
    if ((i = element(offset, REG_TARGET, APLIC_SOURCES)) >= 0)
        return *target(a, d, (uint32_t)i + 1);
    if ((i = element(offset, REG_SETIP, WORDS)) >= 0)
        return ip(a, d)[i];
    if ((i = element(offset, REG_IN_CLRIP, WORDS)) >= 0)
        return rectified_word(a, d, (uint32_t)i);
    if ((i = element(offset, REG_SETIE, WORDS)) >= 0)
        return ie(a, d)[i];
    if (d == APLIC_M && by_msi(a) && (i = element(offset, REG_MSIADDRCFG, MSI_REGS)) >= 0)
        return a->msiaddrcfg[i];
    return 0; /* write-only or reserved */
}

static void write_msiaddrcfg(struct aplic *a, int i, uint32_t value)
{
    static const uint32_t fields[MSI_REGS] = {UINT32_MAX, MSI_LOCKED | 0x1f77ffff, UINT32_MAX, 0x00700fff};

    if (!(a->msiaddrcfg[MSI_MH] & MSI_LOCKED))
        a->msiaddrcfg[i] = value & fields[i];
}

/* Registers with a bit for each source, and those that name one. */
static bool write_bits(struct aplic *a, enum aplic_domain d, uint32_t offset, uint32_t value)
{
    static const struct {
        uint32_t bits, number;
        void (*set)(struct aplic *a, enum aplic_domain d, uint32_t source, bool level);
        bool level;
    } registers[] = {{REG_SETIP, REG_SETIPNUM, set_pending, true},
                     {REG_IN_CLRIP, REG_CLRIPNUM, set_pending, false},
                     {REG_SETIE, REG_SETIENUM, set_enabled, true},
                     {REG_CLRIE, REG_CLRIENUM, set_enabled, false}};

    for (size_t k = 0; k < TUFF_ARRAY_LEN(registers); k++) {
        int i = element(offset, registers[k].bits, WORDS);
        if (i >= 0) {
            for (; value; value &= value - 1)
                registers[k].set(a, d, 32 * (uint32_t)i + (uint32_t)__builtin_ctz(value), registers[k].level);
            return true;
        }
        if (offset == registers[k].number) {
            registers[k].set(a, d, value, registers[k].level);
            return true;
        }
    }
    return false;
}

static void write_register(struct aplic *a, enum aplic_domain d, uint32_t offset, uint32_t value)
{
    int i;

    if (offset >= REG_IDC)
        write_idc(a, d, offset - REG_IDC, value);
    else if (offset == REG_DOMAINCFG)
        a->enabled[d] = (value & DOMAINCFG_IE) != 0;
    else if ((i = element(offset, REG_SOURCECFG, APLIC_SOURCES)) >= 0)
        write_sourcecfg(a, d, (uint32_t)i + 1, value);
    else if ((i = element(offset, REG_TARGET, APLIC_SOURCES)) >= 0)
        write_target(a, d, (uint32_t)i + 1, value);
    else if (offset == REG_SETIPNUM_LE)
        set_pending(a, d, value, true);
    else if (offset == REG_SETIPNUM_BE)
        set_pending(a, d, __builtin_bswap32(value), true);
    else if (by_msi(a) && offset == REG_GENMSI)
        send(a, d, value & (TARGET_EIID | UINT32_MAX << TARGET_HART_SHIFT)); /* also with IE clear: section 4.5.15 */
    else if (d == APLIC_M && by_msi(a) && (i = element(offset, REG_MSIADDRCFG, MSI_REGS)) >= 0)
        write_msiaddrcfg(a, i, value);
    else if (!write_bits(a, d, offset, value))
        log_guest_error("aplic: write of reserved register 0x%" PRIx32, offset);
    update(a, APLIC_M);
    update(a, APLIC_S);
}

static int aplic_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct aplic_range *range = opaque;

    pthread_mutex_lock(&range->aplic->lock);
    *value = read_register(range->aplic, range->domain, (uint32_t)offset);
    pthread_mutex_unlock(&range->aplic->lock);
    return 0;
}

static int aplic_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct aplic_range *range = opaque;

    pthread_mutex_lock(&range->aplic->lock);
    write_register(range->aplic, range->domain, (uint32_t)offset, (uint32_t)value);
    pthread_mutex_unlock(&range->aplic->lock);
    return 0;
}

static const struct mem_ops aplic_mem_ops = {
    .name = "aplic", .read = aplic_read, .write = aplic_write, .min_access_bytes = 4, .max_access_bytes = 4};

/* ---- device ---- */

static void set_msi_address(struct aplic *a, enum aplic_domain d)
{
    enum { LHXW = 6 }; /* APLIC_HARTS_MAX */
    uint64_t ppn = a->config.msi_gpa[d] >> 12;
    uint32_t *cfg = a->msiaddrcfg + (d == APLIC_M ? MSI_M : MSI_S);

    cfg[0] = (uint32_t)ppn;
    cfg[1] = (uint32_t)(ppn >> 32) & 0xfff;
    if (d == APLIC_M)
        cfg[1] |= LHXW << 12;
}

static void aplic_reset(struct device *dev)
{
    struct aplic *a = (struct aplic *)dev;

    pthread_mutex_lock(&a->lock);
    memset(a->inputs, 0, offsetof(struct aplic, lines) - offsetof(struct aplic, inputs));
    for (uint32_t source = 1; source <= APLIC_SOURCES && a->config.hide_machine_mode; source++)
        *sourcecfg(a, APLIC_M, source) = SOURCECFG_D;
    for (enum aplic_domain d = APLIC_M; d < APLIC_DOMAINS; d++) {
        if (by_msi(a))
            set_msi_address(a, d);
        update(a, d);
    }
    pthread_mutex_unlock(&a->lock);
}

static void restore_source(struct aplic *a, enum aplic_domain d, uint32_t source)
{
    uint32_t t = *target(a, d, source);

    *sourcecfg(a, d, source) = legal_sourcecfg(d, *sourcecfg(a, d, source));
    if (mode(a, d, source) == SM_INACTIVE)
        clear_source(a, d, source);
    else
        write_target(a, d, source, t);
}

static void aplic_post_restore(struct device *dev)
{
    struct aplic *a = (struct aplic *)dev;

    pthread_mutex_lock(&a->lock);
    for (uint32_t i = 0; i < TUFF_ARRAY_LEN(a->idelivery); i++) {
        a->idelivery[i] &= 1;
        a->iforce[i] &= 1;
    }
    for (enum aplic_domain d = APLIC_M; d < APLIC_DOMAINS; d++) {
        a->enabled[d] &= 1;
        for (uint32_t source = 1; source <= APLIC_SOURCES; source++)
            restore_source(a, d, source);
        for (uint32_t word = 0; word < WORDS; word++) {
            uint32_t exists = word == 0 ? ~1u : word == WORDS - 1 ? (2u << APLIC_SOURCES % 32) - 1 : UINT32_MAX;
            ip(a, d)[word] &= exists;
            ie(a, d)[word] &= exists;
        }
    }
    for (enum aplic_domain d = APLIC_M; d < APLIC_DOMAINS; d++)
        update(a, d);
    pthread_mutex_unlock(&a->lock);
}

static void aplic_destroy(struct device *dev)
{
    struct aplic *a = (struct aplic *)dev;

    pthread_mutex_destroy(&a->lock);
    free(a);
}

static int write_delegation(const struct aplic *a, void *fdt, int node)
{
    const fdt32_t all[] = {cpu_to_fdt32(a->config.phandles[APLIC_S]), cpu_to_fdt32(1), cpu_to_fdt32(APLIC_SOURCES)};
    int rc = fdt_setprop_u32(fdt, node, "riscv,children", a->config.phandles[APLIC_S]);

    /* The second name is the binding's, the first the one that came before it and OpenSBI 1.6 reads. */
    if (!rc)
        rc = fdt_setprop(fdt, node, "riscv,delegate", all, sizeof(all));
    return rc ? rc : fdt_setprop(fdt, node, "riscv,delegation", all, sizeof(all));
}

static int write_node(const struct aplic *a, void *fdt, enum aplic_domain d)
{
    static const char *const compatible[] = {"qemu,aplic", "riscv,aplic", NULL};
    int node = fdt_node_add(fdt, "interrupt-controller", a->config.gpa[d], APLIC_BYTES, compatible);

    if (node < 0)
        return node;
    int rc = fdt_setprop_u32(fdt, node, "#address-cells", 0);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "#interrupt-cells", 2);
    if (!rc)
        rc = fdt_setprop_empty(fdt, node, "interrupt-controller");
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "riscv,num-sources", APLIC_SOURCES);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "phandle", a->config.phandles[d]);
    if (!rc && d == APLIC_M)
        rc = write_delegation(a, fdt, node);
    if (!rc && by_msi(a))
        rc = fdt_setprop_u32(fdt, node, "msi-parent", a->config.msi_phandles[d]);
    for (uint32_t hart = 0; hart < a->config.hart_count && !by_msi(a) && !rc; hart++)
        rc = fdt_node_append_irq(fdt, node, a->intc_phandles[hart], d == APLIC_M ? IRQ_MEI : IRQ_SEI);
    return rc;
}

static int aplic_fdt(struct device *dev, void *fdt)
{
    const struct aplic *a = (const struct aplic *)dev;
    int rc = a->config.hide_machine_mode ? 0 : write_node(a, fdt, APLIC_M);

    return rc ? rc : write_node(a, fdt, APLIC_S);
}

static const struct device_ops aplic_ops = {
    .name = "aplic",
    .state_version = 1,
    .fields = aplic_fields,
    .reset = aplic_reset,
    .destroy = aplic_destroy,
    .fdt = aplic_fdt,
    .post_restore = aplic_post_restore,
};

struct irq_line aplic_source(struct device *dev, uint32_t source)
{
    assert(dev->ops == &aplic_ops && source >= 1 && source <= APLIC_SOURCES);
    return (struct irq_line){.set = set_source, .opaque = dev, .number = source};
}

int aplic_create(const struct aplic_config *config, struct device **out)
{
    if (config->hart_count == 0 || config->hart_count > APLIC_HARTS_MAX)
        return -EINVAL;
    struct aplic *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->base.ops = &aplic_ops;
    a->config = *config;
    pthread_mutex_init(&a->lock, NULL);
    for (enum aplic_domain d = APLIC_M; d < APLIC_DOMAINS; d++) {
        for (uint32_t hart = 0; hart < config->hart_count && !config->message; hart++)
            a->lines[d][hart] = config->lines[d][hart];
        a->ranges[d] = (struct aplic_range){.aplic = a, .domain = d};
        int rc = mem_add_mmio(config->mem, config->gpa[d], APLIC_BYTES, &aplic_mem_ops, &a->ranges[d]);
        if (rc) {
            aplic_destroy(&a->base);
            return rc;
        }
    }
    memcpy(a->intc_phandles, config->intc_phandles, config->hart_count * sizeof(*config->intc_phandles));
    aplic_reset(&a->base);
    *out = &a->base;
    return 0;
}
