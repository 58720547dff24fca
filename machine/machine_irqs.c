/* The board's interrupt controllers: the PLIC; or the APLIC, whose outputs are the harts' external interrupts; or the
 * APLIC that sends MSIs to the harts' IMSIC. The last two are the kernel's where KVM runs the guest: ours are there for
 * the device tree alone then, as the guest's accesses end in the kernel. */
#include "accel/accel.h"
#include "dev/aplic.h"
#include "dev/imsic.h"
#include "dev/plic.h"
#include "machine/machine_internal.h"

/* The harts' external interrupts. */
struct externals {
    struct irq_line mei[BOARD_HARTS_MAX], sei[BOARD_HARTS_MAX];
};

static int create_plic(struct machine *m, const uint32_t *intc, const struct externals *lines)
{
    struct plic_config config = {
        .mem = m->mem,
        .gpa = BOARD_PLIC_GPA,
        .hart_count = m->hart_count,
        .mei = lines->mei,
        .sei = lines->sei,
        .phandle = BOARD_PHANDLE_PLIC,
        .intc_phandles = intc,
        .hide_machine_mode = m->sbi != NULL,
    };
    int rc = plic_create(&config, &m->plic);

    m->irq_parent = BOARD_PHANDLE_PLIC;
    return rc ? rc : machine_device_keep(m, m->plic);
}

static int create_imsic(struct machine *m, const uint32_t *intc, const struct externals *lines)
{
    struct imsic_config config = {
        .mem = m->mem,
        .gpa = {BOARD_IMSIC_M_GPA, BOARD_IMSIC_S_GPA},
        .hart_count = m->hart_count,
        .lines = {lines->mei, lines->sei},
        .phandles = {BOARD_PHANDLE_IMSIC_M, BOARD_PHANDLE_IMSIC_S},
        .intc_phandles = intc,
        .hide_machine_mode = m->sbi != NULL,
    };
    int rc = imsic_create(&config, &m->imsic);

    return rc ? rc : machine_device_keep(m, m->imsic);
}

static void send_message(void *opaque, uint64_t gpa, uint32_t data)
{
    struct machine *m = opaque;

    imsic_message(m->imsic, gpa, data);
}

static int create_aplic(struct machine *m, const uint32_t *intc, const struct externals *lines)
{
    struct aplic_config config = {
        .mem = m->mem,
        .gpa = {BOARD_APLIC_M_GPA, BOARD_APLIC_S_GPA},
        .hart_count = m->hart_count,
        .lines = {lines->mei, lines->sei},
        .message = m->imsic ? send_message : NULL,
        .opaque = m,
        .msi_gpa = {BOARD_IMSIC_M_GPA, BOARD_IMSIC_S_GPA},
        .msi_phandles = {BOARD_PHANDLE_IMSIC_M, BOARD_PHANDLE_IMSIC_S},
        .phandles = {BOARD_PHANDLE_APLIC_M, BOARD_PHANDLE_APLIC_S},
        .intc_phandles = intc,
        .hide_machine_mode = m->sbi != NULL,
    };
    int rc = aplic_create(&config, &m->aplic);

    m->irq_parent = BOARD_PHANDLE_APLIC_S;
    return rc ? rc : machine_device_keep(m, m->aplic);
}

int machine_irqs_create(struct machine *m, const uint32_t *intc)
{
    struct externals lines;
    int rc = 0;

    for (uint32_t i = 0; i < m->hart_count; i++) {
        lines.mei[i] = machine_hart_line(m, i, VCPU_IRQ_MEI);
        lines.sei[i] = machine_hart_line(m, i, VCPU_IRQ_SEI);
    }
    if (m->config.aia == MACHINE_AIA_NONE)
        return create_plic(m, intc, &lines);
    if (m->config.aia == MACHINE_AIA_APLIC_IMSIC)
        rc = create_imsic(m, intc, &lines);
    return rc ? rc : create_aplic(m, intc, &lines);
}

struct irq_line machine_irq_source(const struct machine *m, uint32_t source)
{
    if (m->aplic && m->accel)
        return accel_irq_line(m->accel, source);
    return m->aplic ? aplic_source(m->aplic, source) : plic_source(m->plic, source);
}

int machine_imsic_access(void *opaque, struct vcpu *vcpu, bool supervisor, uint32_t select, uint64_t *old,
                         uint64_t value, uint64_t mask)
{
    struct machine *m = opaque;

    return imsic_access(m->imsic, vcpu_hart_id(vcpu), supervisor ? IMSIC_S : IMSIC_M, select, old, value, mask);
}

uint64_t machine_imsic_top(void *opaque, struct vcpu *vcpu, bool supervisor, bool claim)
{
    struct machine *m = opaque;

    return imsic_top(m->imsic, vcpu_hart_id(vcpu), supervisor ? IMSIC_S : IMSIC_M, claim);
}
