/* The saved fields of vCPUs; see vcpu_part.h. Names and shapes are part of the snapshot's format: they are added to,
 * and not changed. */
#include "machine/vcpu_part.h"

#include "machine/sbi.h"

#include <stddef.h>
#include <string.h>

/* ---- riscv64 ---- */

#define HART_FIELD(member, version) \
    {#member, offsetof(struct vcpu_part, state.member), sizeof(((struct vcpu_state *)0)->member), 1, version}
#define HART_ARRAY(member, version)                                                                  \
    {#member, offsetof(struct vcpu_part, state.member), sizeof(((struct vcpu_state *)0)->member[0]), \
     TUFF_ARRAY_LEN(((struct vcpu_state *)0)->member), version}

enum { HART_VERSION = 2 };
_Static_assert(VCPU_STATE_VERSION == 6, "fields of a new version go to the end, with a new HART_VERSION");

static const struct device_field hart_fields[] = {
    HART_ARRAY(x, 1),
    HART_ARRAY(f, 1),
    HART_FIELD(pc, 1),
    HART_FIELD(priv, 1),
    HART_FIELD(fcsr, 1),
    HART_FIELD(instret, 1),
    HART_FIELD(cycle_offset, 1),
    HART_FIELD(instret_offset, 1),
    HART_FIELD(mstatus, 1),
    HART_FIELD(misa, 1),
    HART_FIELD(medeleg, 1),
    HART_FIELD(mideleg, 1),
    HART_FIELD(mie, 1),
    HART_FIELD(mip, 1),
    HART_FIELD(mtvec, 1),
    HART_FIELD(mcounteren, 1),
    HART_FIELD(mcountinhibit, 1),
    HART_FIELD(mscratch, 1),
    HART_FIELD(mepc, 1),
    HART_FIELD(mcause, 1),
    HART_FIELD(mtval, 1),
    HART_FIELD(menvcfg, 1),
    HART_FIELD(mseccfg, 1),
    HART_FIELD(scounteren, 1),
    HART_FIELD(senvcfg, 1),
    HART_FIELD(stvec, 1),
    HART_FIELD(sscratch, 1),
    HART_FIELD(sepc, 1),
    HART_FIELD(scause, 1),
    HART_FIELD(stval, 1),
    HART_FIELD(satp, 1),
    HART_FIELD(stimecmp, 1),
    HART_ARRAY(pmpaddr, 1),
    HART_ARRAY(pmpcfg, 1),
    HART_FIELD(time_skip, 1),
    HART_FIELD(miselect, 1),
    HART_FIELD(siselect, 1),
    HART_ARRAY(mhpmevent, 1),
    HART_ARRAY(mhpmcounter, 1),
    HART_ARRAY(mstateen, 1),
    HART_FIELD(mtval2, 1),
    HART_FIELD(mnscratch, 1),
    HART_FIELD(mnepc, 1),
    HART_FIELD(mncause, 1),
    HART_FIELD(mnstatus, 1),
    HART_FIELD(seeds, 1),
    HART_FIELD(critical, 1),
    HART_FIELD(elp, 1),
    HART_FIELD(ssp, 1),
    DEVICE_FIELD(struct vcpu_part, hsm, 1),
    DEVICE_FIELD(struct vcpu_part, resume_retentive, 1),
    DEVICE_FIELD(struct vcpu_part, start_pc, 1),
    DEVICE_FIELD(struct vcpu_part, start_arg, 1),
    HART_FIELD(tselect, 2),
    HART_FIELD(tcontrol, 2),
    HART_FIELD(mcontext, 2),
    HART_FIELD(scontext, 2),
    HART_ARRAY(tdata1, 2),
    HART_ARRAY(tdata2, 2),
    HART_ARRAY(tdata3, 2),
    {0},
};

/* A saved bool that holds anything but 0 and 1 would be undefined. */
static void bool_in_range(void *flag)
{
    *(uint8_t *)flag &= 1;
}

static void hart_post_restore(struct device *dev)
{
    struct vcpu_part *part = (struct vcpu_part *)dev;

    bool_in_range(&part->state.critical);
    bool_in_range(&part->state.elp);
    part->resume_retentive &= 1;
    if (part->hsm > SBI_HSM_RESUME_PENDING)
        part->hsm = SBI_HSM_STOPPED;
}

static const struct device_ops hart_ops = {
    .name = "hart", .state_version = HART_VERSION, .fields = hart_fields, .post_restore = hart_post_restore};

/* ---- x86-64 ---- */

#define X86_FIELD(member, version) \
    {#member, offsetof(struct vcpu_part, state.x86.member), sizeof(((struct vcpu_x86_state *)0)->member), 1, version}
#define X86_ARRAY(member, version)                                                                           \
    {#member, offsetof(struct vcpu_part, state.x86.member), sizeof(((struct vcpu_x86_state *)0)->member[0]), \
     TUFF_ARRAY_LEN(((struct vcpu_x86_state *)0)->member), version}
#define X86_PLACE(name, member, version) \
    {name, offsetof(struct vcpu_part, state.x86.member), sizeof(((struct vcpu_x86_state *)0)->member), 1, version}
#define X86_SEGMENT(name, index, version)                                                                             \
    X86_PLACE(name ".base", segments[index].base, version), X86_PLACE(name ".limit", segments[index].limit, version), \
        X86_PLACE(name ".attributes", segments[index].attributes, version),                                           \
        X86_PLACE(name ".selector", segments[index].selector, version)

enum { X86_VERSION = 1 };
_Static_assert(VCPU_X86_STATE_VERSION == 2, "fields of a new version go to the end, with a new X86_VERSION");

static const struct device_field x86_fields[] = {
    X86_FIELD(activity, 1),
    X86_ARRAY(gpr, 1),
    X86_FIELD(rip, 1),
    X86_FIELD(rflags, 1),
    X86_SEGMENT("es", VCPU_X86_ES, 1),
    X86_SEGMENT("cs", VCPU_X86_CS, 1),
    X86_SEGMENT("ss", VCPU_X86_SS, 1),
    X86_SEGMENT("ds", VCPU_X86_DS, 1),
    X86_SEGMENT("fs", VCPU_X86_FS, 1),
    X86_SEGMENT("gs", VCPU_X86_GS, 1),
    X86_SEGMENT("ldt", VCPU_X86_LDT, 1),
    X86_SEGMENT("tr", VCPU_X86_TR, 1),
    X86_PLACE("gdt.base", gdt.base, 1),
    X86_PLACE("gdt.limit", gdt.limit, 1),
    X86_PLACE("idt.base", idt.base, 1),
    X86_PLACE("idt.limit", idt.limit, 1),
    X86_FIELD(cr0, 1),
    X86_FIELD(cr2, 1),
    X86_FIELD(cr3, 1),
    X86_FIELD(cr4, 1),
    X86_FIELD(cr8, 1),
    X86_FIELD(efer, 1),
    X86_FIELD(apic_base, 1),
    X86_FIELD(xcr0, 1),
    X86_ARRAY(dr, 1),
    X86_FIELD(dr6, 1),
    X86_FIELD(dr7, 1),
    X86_FIELD(exception_injected, 1),
    X86_FIELD(exception_vector, 1),
    X86_FIELD(exception_has_error, 1),
    X86_FIELD(exception_error, 1),
    X86_FIELD(interrupt_injected, 1),
    X86_FIELD(interrupt_vector, 1),
    X86_FIELD(interrupt_soft, 1),
    X86_FIELD(interrupt_shadow, 1),
    X86_FIELD(nmi_injected, 1),
    X86_FIELD(nmi_pending, 1),
    X86_FIELD(nmi_masked, 1),
    X86_FIELD(sipi_vector, 1),
    X86_FIELD(msr_count, 1),
    DEVICE_FIELD_ARRAY(struct vcpu_part, msr_index, 1),
    DEVICE_FIELD_ARRAY(struct vcpu_part, msr_value, 1),
    X86_ARRAY(xsave, 1),
    X86_ARRAY(lapic, 1),
    X86_FIELD(tsc_khz, 1),
    X86_ARRAY(features, 1),
    {0},
};

static void x86_pre_save(struct device *dev)
{
    struct vcpu_part *part = (struct vcpu_part *)dev;

    for (unsigned i = 0; i < VCPU_X86_MSRS_MAX; i++) {
        part->msr_index[i] = part->state.x86.msrs[i].index;
        part->msr_value[i] = part->state.x86.msrs[i].value;
    }
}

/* What is out of range the back end refuses. */
static void x86_post_restore(struct device *dev)
{
    struct vcpu_part *part = (struct vcpu_part *)dev;

    for (unsigned i = 0; i < VCPU_X86_MSRS_MAX; i++)
        part->state.x86.msrs[i] = (struct vcpu_x86_msr){.index = part->msr_index[i], .value = part->msr_value[i]};
}

static const struct device_ops x86_ops = {.name = "x86-vcpu",
                                          .state_version = X86_VERSION,
                                          .fields = x86_fields,
                                          .pre_save = x86_pre_save,
                                          .post_restore = x86_post_restore};

/* ---- either ---- */

void vcpu_part_get(struct vcpu_part *part, struct vcpu *vcpu)
{
    memset(part, 0, sizeof(*part));
    vcpu_get_state(vcpu, &part->state);
    part->base.ops = part->state.guest == VCPU_GUEST_X86_64 ? &x86_ops : &hart_ops;
    part->hsm = SBI_HSM_STARTED;
}
