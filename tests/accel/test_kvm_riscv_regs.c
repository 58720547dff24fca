/* The RISC-V hart's registers in KVM's ONE_REG interface: against numbers recorded from the kernel's header
 * (KVM_REG_RISCV_CORE_REG(...) and so on of Linux 6.1, riscv64), and there and back. */
#include "accel/kvm_riscv_regs.h"
#include "run_suite.h"

#include <errno.h>
#include <string.h>

/* What KVM would hold: registers by number. */
struct recorded {
    struct {
        uint64_t id, value;
    } regs[KVM_RISCV_REGS_MAX];
    unsigned count;
    bool without_fp;
    bool strict; /* unknown registers are refused, and extension 0 (A) cannot be withheld */
    int error;
};

static struct recorded kvm;

static uint64_t *find(uint64_t id)
{
    for (unsigned i = 0; i < kvm.count; i++) {
        if (kvm.regs[i].id == id)
            return &kvm.regs[i].value;
    }
    return NULL;
}

static int get(void *opaque, uint64_t id, void *value)
{
    uint64_t *reg = find(id);

    (void)opaque;
    if (kvm.error)
        return kvm.error;
    if (kvm.without_fp && (id >> 24 & 0xff) == KVM_RISCV_TYPE_FP_D)
        return -ENOENT;
    if (kvm.strict && !reg)
        return -ENOENT;
    memcpy(value, reg ? reg : &(uint64_t){0}, (id >> 52 & 0xf) == 3 ? 8 : 4);
    return 0;
}

static int set(void *opaque, uint64_t id, const void *value)
{
    uint64_t *reg = find(id);

    (void)opaque;
    if (kvm.error)
        return kvm.error;
    if (kvm.without_fp && (id >> 24 & 0xff) == KVM_RISCV_TYPE_FP_D)
        return -ENOENT;
    if (kvm.strict && (!reg || id == 0x8030000007000000))
        return -EINVAL;
    if (!reg) {
        ck_assert_uint_lt(kvm.count, KVM_RISCV_REGS_MAX);
        kvm.regs[kvm.count].id = id;
        reg = &kvm.regs[kvm.count++].value;
    }
    /* As Linux has it: a timer that is out cannot be put out. */
    if (id == 0x8030000004000003 && *reg == 0 && *(const uint64_t *)value == 0)
        return -EINVAL;
    *reg = 0;
    memcpy(reg, value, (id >> 52 & 0xf) == 3 ? 8 : 4);
    return 0;
}

static const struct kvm_riscv_access access_kvm = {.get = get, .set = set};

static void setup(void)
{
    memset(&kvm, 0, sizeof(kvm));
}

static struct vcpu_state example(void)
{
    struct vcpu_state state = {.version = VCPU_STATE_VERSION, .pc = 0x80200000, .priv = VCPU_PRIV_S, .fcsr = 0x61};

    for (unsigned i = 1; i < 32; i++) {
        state.x[i] = 0x1000 + i;
        state.f[i] = 0xffffffff00000000 + i;
    }
    state.mstatus = 0x200000022;
    state.mie = 0x222;
    state.stvec = 0xffffffff80001000;
    state.sscratch = 3;
    state.sepc = 0x80200010;
    state.scause = 8;
    state.stval = 5;
    state.mip = 2;
    state.satp = UINT64_C(8) << 60 | 0x80300;
    state.scounteren = 7;
    state.stimecmp = 123456;
    return state;
}

START_TEST(numbers_are_those_of_the_kernels_header)
{
    static const struct {
        uint64_t id, value;
    } recorded[] = {
        {0x8030000002000000, 0x80200000},         /* core: pc */
        {0x8030000002000001, 0x1001},             /* core: ra */
        {0x803000000200000a, 0x100a},             /* core: a0 */
        {0x803000000200001f, 0x101f},             /* core: t6 */
        {0x8030000002000020, 1},                  /* core: mode, S */
        {0x8030000003000000, 0x200000022},        /* csr: sstatus */
        {0x8030000003000001, 0x222},              /* csr: sie */
        {0x8030000003000002, 0xffffffff80001000}, /* csr: stvec */
        {0x8030000003000003, 3},                  /* csr: sscratch */
        {0x8030000003000004, 0x80200010},         /* csr: sepc */
        {0x8030000003000005, 8},                  /* csr: scause */
        {0x8030000003000006, 5},                  /* csr: stval */
        {0x8030000003000007, 2},                  /* csr: sip */
        {0x8030000003000008, 0x8000000000080300}, /* csr: satp */
        {0x8030000003000009, 7},                  /* csr: scounteren */
        {0x8030000004000002, 123456},             /* timer: compare */
        {0x8030000004000003, 1},                  /* timer: state, on */
        {0x8030000006000001, 0xffffffff00000001}, /* d: f[1] */
        {0x803000000600001f, 0xffffffff0000001f}, /* d: f[31] */
        {0x8020000006000020, 0x61},               /* d: fcsr, of 32 bits */
    };
    struct vcpu_state state = example();

    ck_assert_int_eq(kvm_riscv_set(&access_kvm, &state), 0);
    for (size_t i = 0; i < sizeof(recorded) / sizeof(recorded[0]); i++) {
        const uint64_t *reg = find(recorded[i].id);
        ck_assert_msg(reg != NULL, "0x%llx is not set", (unsigned long long)recorded[i].id);
        ck_assert_msg(*reg == recorded[i].value, "0x%llx is 0x%llx", (unsigned long long)recorded[i].id,
                      (unsigned long long)*reg);
    }
    ck_assert_uint_eq(kvm.count, 1 + 31 + 1 + 10 + 2 + 32 + 1);
}
END_TEST

START_TEST(state_comes_back_as_it_went)
{
    struct vcpu_state state = example(), back = {.version = VCPU_STATE_VERSION};

    ck_assert_int_eq(kvm_riscv_set(&access_kvm, &state), 0);
    ck_assert_int_eq(kvm_riscv_get(&access_kvm, &back), 0);
    ck_assert_mem_eq(&state, &back, sizeof(state));
    state.priv = VCPU_PRIV_U;
    state.stimecmp = UINT64_MAX;
    ck_assert_int_eq(kvm_riscv_set(&access_kvm, &state), 0);
    ck_assert_int_eq(kvm_riscv_get(&access_kvm, &back), 0);
    ck_assert_mem_eq(&state, &back, sizeof(state));
    ck_assert_int_eq(kvm_riscv_set(&access_kvm, &state), 0);
    ck_assert_int_eq(kvm_riscv_get(&access_kvm, &back), 0);
    ck_assert_mem_eq(&state, &back, sizeof(state));
}
END_TEST

START_TEST(hart_without_f_registers_is_no_error_and_others_are_handed_on)
{
    struct vcpu_state state = example(), back = {0};

    kvm.without_fp = true;
    ck_assert_int_eq(kvm_riscv_set(&access_kvm, &state), 0);
    ck_assert_int_eq(kvm_riscv_get(&access_kvm, &back), 0);
    ck_assert_uint_eq(back.x[31], 0x101f);
    ck_assert_uint_eq(back.f[1], 0);
    state.priv = VCPU_PRIV_M;
    ck_assert_int_eq(kvm_riscv_set(&access_kvm, &state), -EINVAL);
    state.priv = VCPU_PRIV_S;
    kvm.error = -EIO;
    ck_assert_int_eq(kvm_riscv_set(&access_kvm, &state), -EIO);
    ck_assert_int_eq(kvm_riscv_get(&access_kvm, &back), -EIO);
}
END_TEST

static void record(uint64_t id, uint64_t value)
{
    kvm.regs[kvm.count].id = id;
    kvm.regs[kvm.count++].value = value;
}

/* Of a hart with A, M, C, Sstc, Zicbom, Zicboz and Zbb, as Linux 6.12 numbers them. */
static void record_hart(uint64_t zicbom_block, uint64_t satp_mode)
{
    static const unsigned extensions[] = {0, 1, 6, 8, 11, 12, 13};

    memset(&kvm, 0, sizeof(kvm));
    kvm.strict = true;
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++)
        record(0x8030000007000000 + extensions[i], 1);
    record(0x8030000007000007, 0);            /* Svpbmt is known and off */
    record(0x8030000001000001, zicbom_block); /* config: zicbom_block_size */
    record(0x8030000001000005, 64);           /* config: zicboz_block_size */
    record(0x8030000001000006, satp_mode);    /* config: satp_mode */
    record(0x8030000004000000, 24000000);     /* timer: frequency */
    record(0x8030000008000009, 0);            /* SBI: DBCN */
}

static bool same(isa_set a, isa_set b)
{
    return a == b;
}

START_TEST(isa_is_what_is_wanted_and_there)
{
    const isa_set base = ISA_EXT(I) | ISA_EXT(ZICSR) | ISA_EXT(ZIFENCEI) | ISA_EXT(A) | ISA_EXT(C);
    const isa_set more = ISA_EXT(M) | ISA_EXT(ZMMUL) | ISA_EXT(SSTC) | ISA_EXT(ZICBOZ) | ISA_EXT(ZBB);

    record_hart(64, 10);
    ck_assert(same(kvm_riscv_isa(&access_kvm, ISA_ALL), base | more | ISA_EXT(ZICBOM) | ISA_EXT(SV48) | ISA_EXT(SV57)));
    /* The tree tells of blocks of 64 bytes; Sv57 has Sv48. */
    record_hart(128, 9);
    ck_assert(same(kvm_riscv_isa(&access_kvm, ISA_ALL), base | more | ISA_EXT(SV48)));
    record_hart(64, 8);
    ck_assert(same(kvm_riscv_isa(&access_kvm, ISA_DEFAULT & ~ISA_EXT(SSTC)),
                   (base | more | ISA_EXT(ZICBOM)) & ~ISA_EXT(SSTC)));
    ck_assert_uint_eq(*find(0x8030000007000008), 0); /* withheld */
    ck_assert_uint_eq(*find(0x803000000700000d), 1);
    /* What cannot be withheld is not told of all the same. */
    record_hart(64, 8);
    ck_assert(same(kvm_riscv_isa(&access_kvm, base & ~ISA_EXT(A)), base & ~ISA_EXT(A)));
    ck_assert_uint_eq(*find(0x8030000007000000), 1);
}
END_TEST

START_TEST(timebase_and_console_have_their_numbers)
{
    uint64_t hz = 0;

    record_hart(64, 8);
    ck_assert_int_eq(kvm_riscv_timebase(&access_kvm, &hz), 0);
    ck_assert_uint_eq(hz, 24000000);
    kvm_riscv_offer_console(&access_kvm);
    ck_assert_uint_eq(*find(0x8030000008000009), 1);
    kvm.error = -EIO;
    ck_assert_int_eq(kvm_riscv_timebase(&access_kvm, &hz), -EIO);
    ck_assert(same(kvm_riscv_isa(&access_kvm, ISA_ALL), ISA_EXT(I) | ISA_EXT(ZICSR) | ISA_EXT(ZIFENCEI)));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kvm_riscv_regs");
    TCase *tcase = tcase_create("registers");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, numbers_are_those_of_the_kernels_header);
    tcase_add_test(tcase, state_comes_back_as_it_went);
    tcase_add_test(tcase, hart_without_f_registers_is_no_error_and_others_are_handed_on);
    tcase_add_test(tcase, isa_is_what_is_wanted_and_there);
    tcase_add_test(tcase, timebase_and_console_have_their_numbers);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
