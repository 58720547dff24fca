/* The platform-level interrupt controller; see plic.h.
 *
 * One lock guards all registers: a claim is a read that changes the pending bits all contexts look at. Invariants while
 * it is free: a source is pending or in service or neither, never both; bit 0 of every word 0 is clear; `output` is
 * what was last driven to each context.
 */
#include "dev/plic.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORDS = (PLIC_SOURCES + 1 + 31) / 32,
    CONTEXTS_MAX = 2 * PLIC_HARTS_MAX,
    PENDING_OFFSET = 0x1000,
    ENABLE_OFFSET = 0x2000,
    ENABLE_STRIDE = 0x80,
    CONTEXT_OFFSET = 0x200000,
    CONTEXT_STRIDE = 0x1000,
    IRQ_SEI = 9,
    IRQ_MEI = 11,
};

#define ABSENT_PHANDLE_IRQ UINT32_MAX /* interrupts-extended entry of a context that does not exist */

struct plic {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint32_t level[WORDS];
    uint32_t pending[WORDS];
    uint32_t in_service[WORDS]; /* claimed and not completed: the gateway forwards nothing */
    uint32_t enable[CONTEXTS_MAX][WORDS];
    uint8_t priority[PLIC_SOURCES + 1];
    uint8_t threshold[CONTEXTS_MAX];
    uint8_t output[CONTEXTS_MAX];

    uint32_t contexts;         /* constant from here on */
    struct plic_config config; /* its arrays are not kept */
    struct irq_line lines[CONTEXTS_MAX];
    uint32_t intc_phandles[PLIC_HARTS_MAX];
};

/* What has bits of its own in word `word`: sources 1 to PLIC_SOURCES. */
static uint32_t valid_bits(uint32_t word)
{
    uint32_t bits = word == 0 ? UINT32_MAX << 1 : UINT32_MAX;

    if (word == WORDS - 1 && (PLIC_SOURCES + 1) % 32 != 0)
        bits &= (UINT32_C(1) << (PLIC_SOURCES + 1) % 32) - 1;
    return bits;
}

static const struct device_field plic_fields[] = {
    DEVICE_FIELD_ARRAY(struct plic, level, 1),
    DEVICE_FIELD_ARRAY(struct plic, pending, 1),
    DEVICE_FIELD_ARRAY(struct plic, in_service, 1),
    {"enable", offsetof(struct plic, enable), sizeof(uint32_t), CONTEXTS_MAX *WORDS, 1},
    DEVICE_FIELD_ARRAY(struct plic, priority, 1),
    DEVICE_FIELD_ARRAY(struct plic, threshold, 1),
    {0},
};

/* The source that a claim by `context` would get: highest priority, then lowest number; 0 when there is none. Priority
 * 0 never interrupts. The threshold plays no part (specification, "Interrupt Claim Process"). */
static uint32_t best_source(const struct plic *p, uint32_t context)
{
    uint32_t best = 0;

    for (uint32_t word = 0; word < WORDS; word++) {
        uint32_t candidates = p->pending[word] & p->enable[context][word];
        for (; candidates; candidates &= candidates - 1) {
            uint32_t source = word * 32 + (uint32_t)__builtin_ctz(candidates);
            if (p->priority[source] > p->priority[best])
                best = source;
        }
    }
    return best;
}

static void drive(struct plic *p, uint32_t context, bool level)
{
    p->output[context] = level;
    irq_set(&p->lines[context], level);
}

/* Drives the contexts whose line has to change. priority[0] is 0, so "no source" never passes a threshold. */
static void update(struct plic *p)
{
    for (uint32_t context = 0; context < p->contexts; context++) {
        bool level = p->priority[best_source(p, context)] > p->threshold[context];
        if (level != p->output[context])
            drive(p, context, level);
    }
}

/* Gateways: a high level becomes a request unless one is pending or in service. */
static void forward(struct plic *p, uint32_t word)
{
    p->pending[word] |= p->level[word] & ~p->in_service[word];
}

static void set_source(void *opaque, uint32_t source, bool level)
{
    struct plic *p = opaque;
    uint32_t word = source / 32, bit = UINT32_C(1) << source % 32;

    pthread_mutex_lock(&p->lock);
    p->level[word] = level ? p->level[word] | bit : p->level[word] & ~bit;
    if (level) {
        forward(p, word);
        update(p);
    }
    pthread_mutex_unlock(&p->lock);
}

static uint32_t claim(struct plic *p, uint32_t context)
{
    uint32_t source = best_source(p, context);

    if (source) {
        p->pending[source / 32] &= ~(UINT32_C(1) << source % 32);
        p->in_service[source / 32] |= UINT32_C(1) << source % 32;
        update(p);
    }
    return source;
}

/* A completion by a context for which the source is not enabled is ignored without a word, as specified ("Interrupt
 * Completion"). */
static void complete(struct plic *p, uint32_t context, uint64_t value)
{
    uint32_t source = (uint32_t)value, word = source / 32, bit = UINT32_C(1) << source % 32;

    if (value > PLIC_SOURCES || !(p->enable[context][word] & bit))
        return;
    p->in_service[word] &= ~bit;
    forward(p, word);
    update(p);
}

/* Which register an offset is. */
enum register_kind { REG_PRIORITY, REG_PENDING, REG_ENABLE, REG_THRESHOLD, REG_CLAIM, REG_RESERVED };

struct location {
    enum register_kind kind;
    uint32_t index; /* source or word */
    uint32_t context;
};

static struct location locate(const struct plic *p, uint64_t offset)
{
    struct location at = {.kind = REG_RESERVED, .index = (uint32_t)(offset / 4)};

    if (offset < PENDING_OFFSET) {
        if (at.index >= 1 && at.index <= PLIC_SOURCES)
            at.kind = REG_PRIORITY;
    } else if (offset < ENABLE_OFFSET) {
        at.index = (uint32_t)(offset - PENDING_OFFSET) / 4;
        if (at.index < WORDS)
            at.kind = REG_PENDING;
    } else if (offset < CONTEXT_OFFSET) {
        at.context = (uint32_t)(offset - ENABLE_OFFSET) / ENABLE_STRIDE;
        at.index = (uint32_t)(offset - ENABLE_OFFSET) % ENABLE_STRIDE / 4;
        if (at.context < p->contexts && at.index < WORDS)
            at.kind = REG_ENABLE;
    } else {
        uint32_t in_context = (uint32_t)(offset - CONTEXT_OFFSET) % CONTEXT_STRIDE;
        at.context = (uint32_t)(offset - CONTEXT_OFFSET) / CONTEXT_STRIDE;
        if (at.context < p->contexts && in_context <= 4)
            at.kind = in_context == 0 ? REG_THRESHOLD : REG_CLAIM;
    }
    return at;
}

static uint32_t read_register(struct plic *p, const struct location *at)
{
    switch (at->kind) {
    case REG_PRIORITY:
        return p->priority[at->index];
    case REG_PENDING:
        return p->pending[at->index];
    case REG_ENABLE:
        return p->enable[at->context][at->index];
    case REG_THRESHOLD:
        return p->threshold[at->context];
    case REG_CLAIM:
        return claim(p, at->context);
    case REG_RESERVED:
        break;
    }
    return 0;
}

static int plic_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct plic *p = opaque;
    struct location at = locate(p, offset);

    pthread_mutex_lock(&p->lock);
    *value = read_register(p, &at);
    pthread_mutex_unlock(&p->lock);
    /* Source 0 has no priority, but drivers that clear or print all of them may touch it. */
    if (at.kind == REG_RESERVED && offset != 0)
        log_guest_error("plic: read of reserved register 0x%" PRIx64, offset);
    return 0;
}

/* Returns false for a register that cannot be written. */
static bool write_register(struct plic *p, const struct location *at, uint64_t value)
{
    switch (at->kind) {
    case REG_PRIORITY:
        p->priority[at->index] = value & PLIC_PRIORITY_MAX;
        break;
    case REG_ENABLE:
        p->enable[at->context][at->index] = (uint32_t)value & valid_bits(at->index);
        break;
    case REG_THRESHOLD:
        p->threshold[at->context] = value & PLIC_PRIORITY_MAX;
        break;
    case REG_CLAIM:
        complete(p, at->context, value);
        return true;
    case REG_PENDING:
    case REG_RESERVED:
        return false;
    }
    update(p);
    return true;
}

static int plic_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct plic *p = opaque;
    struct location at = locate(p, offset);

    pthread_mutex_lock(&p->lock);
    bool written = write_register(p, &at, value);
    pthread_mutex_unlock(&p->lock);
    if (!written && offset != 0)
        log_guest_error("plic: write of 0x%" PRIx64 " to read-only or reserved register 0x%" PRIx64, value, offset);
    return 0;
}

static const struct mem_ops plic_mem_ops = {
    .name = "plic",
    .read = plic_read,
    .write = plic_write,
    .min_access_bytes = 4,
    .max_access_bytes = 4,
};

/* Input levels belong to the devices that drive them and stay. */
static void plic_reset(struct device *dev)
{
    struct plic *p = (struct plic *)dev;

    pthread_mutex_lock(&p->lock);
    memset(p->in_service, 0, sizeof(p->in_service));
    memset(p->enable, 0, sizeof(p->enable));
    memset(p->priority, 0, sizeof(p->priority));
    memset(p->threshold, 0, sizeof(p->threshold));
    memcpy(p->pending, p->level, sizeof(p->pending));
    for (uint32_t context = 0; context < p->contexts; context++)
        drive(p, context, false);
    pthread_mutex_unlock(&p->lock);
}

static void clamp_restored(struct plic *p)
{
    for (uint32_t word = 0; word < WORDS; word++) {
        p->level[word] &= valid_bits(word);
        p->in_service[word] &= valid_bits(word);
        p->pending[word] &= valid_bits(word) & ~p->in_service[word];
        for (uint32_t context = 0; context < CONTEXTS_MAX; context++)
            p->enable[context][word] &= valid_bits(word);
    }
    p->priority[0] = 0;
    for (uint32_t source = 1; source <= PLIC_SOURCES; source++)
        p->priority[source] &= PLIC_PRIORITY_MAX;
    for (uint32_t context = 0; context < CONTEXTS_MAX; context++)
        p->threshold[context] &= PLIC_PRIORITY_MAX;
}

static void plic_post_restore(struct device *dev)
{
    struct plic *p = (struct plic *)dev;

    pthread_mutex_lock(&p->lock);
    clamp_restored(p);
    for (uint32_t context = 0; context < p->contexts; context++)
        drive(p, context, p->priority[best_source(p, context)] > p->threshold[context]);
    pthread_mutex_unlock(&p->lock);
}

static void plic_destroy(struct device *dev)
{
    struct plic *p = (struct plic *)dev;

    pthread_mutex_destroy(&p->lock);
    free(p);
}

static int append_contexts(const struct plic *p, void *fdt, int node)
{
    for (uint32_t hart = 0; hart < p->config.hart_count; hart++) {
        uint32_t machine_irq = p->config.hide_machine_mode ? ABSENT_PHANDLE_IRQ : IRQ_MEI;
        int rc = fdt_node_append_irq(fdt, node, p->intc_phandles[hart], machine_irq);
        if (!rc)
            rc = fdt_node_append_irq(fdt, node, p->intc_phandles[hart], IRQ_SEI);
        if (rc)
            return rc;
    }
    return 0;
}

static int plic_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"sifive,plic-1.0.0", "riscv,plic0", NULL};
    const struct plic *p = (const struct plic *)dev;
    int node = fdt_node_add(fdt, "plic", p->config.gpa, PLIC_BYTES, compatible);
    int rc;

    if (node < 0)
        return node;
    rc = fdt_setprop_u32(fdt, node, "#address-cells", 0);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "#interrupt-cells", 1);
    if (!rc)
        rc = fdt_setprop_empty(fdt, node, "interrupt-controller");
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "riscv,ndev", PLIC_SOURCES);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "phandle", p->config.phandle);
    return rc ? rc : append_contexts(p, fdt, node);
}

static const struct device_ops plic_ops = {
    .name = "plic",
    .state_version = 1,
    .fields = plic_fields,
    .reset = plic_reset,
    .destroy = plic_destroy,
    .fdt = plic_fdt,
    .post_restore = plic_post_restore,
};

struct irq_line plic_source(struct device *dev, uint32_t source)
{
    assert(dev->ops == &plic_ops && source >= 1 && source <= PLIC_SOURCES);
    return (struct irq_line){.set = set_source, .opaque = dev, .number = source};
}

int plic_create(const struct plic_config *config, struct device **out)
{
    if (config->hart_count == 0 || config->hart_count > PLIC_HARTS_MAX)
        return -EINVAL;
    struct plic *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->base.ops = &plic_ops;
    p->config = *config;
    p->contexts = 2 * config->hart_count;
    for (uint32_t hart = 0; hart < config->hart_count; hart++) {
        p->lines[2 * hart] = config->mei[hart];
        p->lines[2 * hart + 1] = config->sei[hart];
        p->intc_phandles[hart] = config->intc_phandles[hart];
    }
    pthread_mutex_init(&p->lock, NULL);
    int rc = mem_add_mmio(config->mem, config->gpa, PLIC_BYTES, &plic_mem_ops, p);
    if (rc) {
        plic_destroy(&p->base);
        return rc;
    }
    plic_reset(&p->base);
    *out = &p->base;
    return 0;
}
