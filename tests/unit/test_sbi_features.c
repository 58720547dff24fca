/* SBI 3.0: firmware features (FWFT), steal time (STA), debug triggers (DBTR), and what the PMU tells of events. */
#include "test_sbi.h"

enum { MISALIGNED, LANDING_PAD, SHADOW_STACK, DOUBLE_TRAP, PTE_AD, POINTER_MASKING, FEATURES };
enum { LOCK = 1 };

static const struct {
    isa_set extension;
    uint64_t field; /* of menvcfg */
} fields[FEATURES] = {[LANDING_PAD] = {ISA_EXT(ZICFILP), 1ull << 2},
                      [SHADOW_STACK] = {ISA_EXT(ZICFISS), 1ull << 3},
                      [DOUBLE_TRAP] = {ISA_EXT(SSDBLTRP), 1ull << 59},
                      [PTE_AD] = {ISA_EXT(SVADU), 1ull << 61},
                      [POINTER_MASKING] = {ISA_EXT(SMNPM), 3ull << 32}};

static int64_t set(uint32_t hart, uint64_t feature, uint64_t value, uint64_t flags)
{
    ck_assert_int_eq(call(hart, SBI_EID_FWFT, 0, feature, value, flags), VCPU_ACTION_RESUME);
    ck_assert_uint_eq(test_ret.value, 0);
    return test_ret.error;
}

static uint64_t get(uint32_t hart, uint64_t feature)
{
    call(hart, SBI_EID_FWFT, 1, feature);
    ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
    return test_ret.value;
}

/* Each is its field of the calling hart's register, and no other. */
START_TEST(features_are_fields_of_the_environment)
{
    for (uint64_t feature = LANDING_PAD; feature <= PTE_AD; feature++)
        for (uint32_t hart = 0; hart < 2; hart++) {
            uint64_t others = fake.environment[!hart];
            fake.environment[hart] = 0xf0;
            ck_assert_uint_eq(get(hart, feature), 0);
            ck_assert_int_eq(set(hart, feature, 1, 0), SBI_SUCCESS);
            ck_assert_uint_eq(fake.environment[hart], 0xf0 | fields[feature].field);
            ck_assert_uint_eq(get(hart, feature), 1);
            fake.environment[hart] = UINT64_MAX;
            ck_assert_int_eq(set(hart, feature, 0, 0), SBI_SUCCESS);
            ck_assert_uint_eq(fake.environment[hart], ~fields[feature].field);
            ck_assert_uint_eq(get(hart, feature), 0);
            ck_assert_uint_eq(fake.environment[!hart], others);
        }
}
END_TEST

START_TEST(pointer_masking_takes_the_next_length_there_is)
{
    for (uint64_t length = 0; length <= 16; length++) {
        uint64_t pmm = length == 0 ? 0 : length <= 7 ? 2 : 3;
        fake.environment[1] = 0xf0;
        ck_assert_int_eq(set(1, POINTER_MASKING, length, 0), SBI_SUCCESS);
        ck_assert_uint_eq(fake.environment[1], 0xf0 | pmm << 32);
        ck_assert_uint_eq(get(1, POINTER_MASKING), length == 0 ? 0 : length <= 7 ? 7 : 16);
    }
    ck_assert_int_eq(set(1, POINTER_MASKING, 17, 0), SBI_ERR_INVALID_PARAM);
    ck_assert_int_eq(set(1, POINTER_MASKING, 1ull << 32, 0), SBI_ERR_INVALID_PARAM);
    ck_assert_uint_eq(get(1, POINTER_MASKING), 16);
}
END_TEST

START_TEST(misaligned_exceptions_are_delegated_unless_told)
{
    test_isa = 0;
    test_sbi_create(TEST_HARTS);
    test_isa = ISA_ALL;
    ck_assert_uint_eq(get(0, MISALIGNED), 1);
    ck_assert_int_eq(set(0, MISALIGNED, 0, 0), SBI_SUCCESS);
    ck_assert_uint_eq(get(0, MISALIGNED), 0);
    ck_assert_uint_eq(get(1, MISALIGNED), 1);
    ck_assert_int_eq(set(0, MISALIGNED, 1, 0), SBI_SUCCESS);
    ck_assert_uint_eq(get(0, MISALIGNED), 1);
    ck_assert_uint_eq(fake.environment[0], 0);
}
END_TEST

START_TEST(features_want_their_extensions)
{
    for (uint64_t without = LANDING_PAD; without < FEATURES; without++) {
        test_isa = ISA_ALL & ~fields[without].extension;
        test_sbi_create(TEST_HARTS);
        for (uint64_t feature = MISALIGNED; feature < FEATURES; feature++) {
            ck_assert_int_eq(set(0, feature, 1, 0), feature == without ? SBI_ERR_NOT_SUPPORTED : SBI_SUCCESS);
            call(0, SBI_EID_FWFT, 1, feature);
            ck_assert_int_eq(test_ret.error, feature == without ? SBI_ERR_NOT_SUPPORTED : SBI_SUCCESS);
        }
        ck_assert_uint_eq(fake.environment[0] & fields[without].field, 0);
        fake.environment[0] = 0;
    }
    test_isa = ISA_ALL;
}
END_TEST

START_TEST(reserved_and_foreign_features_are_denied)
{
    static const uint32_t numbers[] = {FEATURES,   0x3fffffff, 0x40000000, 0x7fffffff,
                                       0x80000000, 0xbfffffff, 0xc0000000, UINT32_MAX};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(numbers); i++) {
        ck_assert_int_eq(set(0, numbers[i], 0, 0), SBI_ERR_DENIED);
        call(0, SBI_EID_FWFT, 1, numbers[i]);
        expect_ret(SBI_ERR_DENIED, 0);
    }
    /* The number is 32 bits wide. */
    ck_assert_int_eq(set(0, 0xffffffff00000000ull | LANDING_PAD, 1, 0), SBI_SUCCESS);
    ck_assert_uint_eq(get(0, LANDING_PAD), 1);
}
END_TEST

START_TEST(values_and_flags_are_checked)
{
    for (uint64_t feature = MISALIGNED; feature < FEATURES; feature++) {
        ck_assert_int_eq(set(0, feature, feature == POINTER_MASKING ? 17 : 2, 0), SBI_ERR_INVALID_PARAM);
        ck_assert_int_eq(set(0, feature, UINT64_MAX, 0), SBI_ERR_INVALID_PARAM);
        ck_assert_int_eq(set(0, feature, 1, 2), SBI_ERR_INVALID_PARAM);
        ck_assert_int_eq(set(0, feature, 1, 1ull << 63 | LOCK), SBI_ERR_INVALID_PARAM);
    }
    ck_assert_uint_eq(fake.environment[0], 0);
    ck_assert_int_eq(set(0, MISALIGNED, 0, 0), SBI_SUCCESS); /* none was locked */
}
END_TEST

START_TEST(locked_features_stay_until_the_hart_stops)
{
    for (uint64_t locked = MISALIGNED; locked < FEATURES; locked++) {
        ck_assert_int_eq(set(2, locked, 0, LOCK), SBI_SUCCESS);
        ck_assert_uint_eq(get(2, locked), 0);
        ck_assert_int_eq(set(2, locked, 1, 0), SBI_ERR_DENIED_LOCKED);
        ck_assert_int_eq(set(2, locked, 0, LOCK), SBI_ERR_DENIED_LOCKED);
        ck_assert_int_eq(set(2, locked, 99, 0), SBI_ERR_INVALID_PARAM);
        ck_assert_uint_eq(get(2, locked), 0);
        ck_assert_int_eq(set(3, locked, 1, 0), SBI_SUCCESS);
        for (uint64_t feature = locked + 1; feature < FEATURES; feature++)
            ck_assert_int_eq(set(2, feature, 1, 0), SBI_SUCCESS);
    }
    ck_assert_int_eq(call(2, SBI_EID_HSM, 1, 0), VCPU_ACTION_STOP);
    ck_assert_uint_eq(get(2, MISALIGNED), 1);
    for (uint64_t feature = MISALIGNED; feature < FEATURES; feature++)
        ck_assert_int_eq(set(2, feature, 1, 0), SBI_SUCCESS);
}
END_TEST

/* ---- steal time ---- */

enum { STEAL_GPA = TEST_RAM_GPA + 0x1040 };

struct steal_time {
    uint32_t sequence, flags;
    uint64_t steal_ns;
    uint8_t preempted, pad[47];
};
_Static_assert(sizeof(struct steal_time) == 64, "the specification's size");

static struct steal_time told(uint64_t gpa)
{
    struct steal_time steal;

    ck_assert_int_eq(mem_read(test_mem, gpa, &steal, sizeof(steal)), 0);
    return steal;
}

START_TEST(steal_time_counts_from_when_it_is_asked_for)
{
    static const uint8_t dirt[96] = {[0 ... 95] = 0xaa};
    uint8_t around[96];

    ck_assert_int_eq(mem_write(test_mem, STEAL_GPA - 16, dirt, sizeof(dirt)), 0);
    fake.stolen_ns = 5000;
    sbi_steal_time_update(test_sbi, 1); /* not asked for yet */
    call(1, SBI_EID_STA, 0, STEAL_GPA, 0, 0);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_int_eq(mem_read(test_mem, STEAL_GPA - 16, around, sizeof(around)), 0);
    for (unsigned i = 0; i < sizeof(around); i++)
        ck_assert_uint_eq(around[i], i < 16 || i >= 80 ? 0xaa : 0);

    sbi_steal_time_update(test_sbi, 1);
    ck_assert_uint_eq(told(STEAL_GPA).sequence, 0); /* nothing to tell */
    for (uint32_t times = 1; times <= 3; times++) {
        fake.stolen_ns += 1234;
        sbi_steal_time_update(test_sbi, 1);
        sbi_steal_time_update(test_sbi, 0);
        struct steal_time steal = told(STEAL_GPA);
        ck_assert_uint_eq(steal.steal_ns, 1234ull * times);
        ck_assert_uint_eq(steal.sequence, 2 * times);
        ck_assert_uint_eq(steal.flags, 0);
        ck_assert_uint_eq(steal.preempted, 0);
    }
    /* At another place it begins again. */
    call(1, SBI_EID_STA, 0, STEAL_GPA + 64, 0, 0);
    fake.stolen_ns += 1;
    sbi_steal_time_update(test_sbi, 1);
    ck_assert_uint_eq(told(STEAL_GPA + 64).steal_ns, 1);
    ck_assert_uint_eq(told(STEAL_GPA).steal_ns, 3702);
}
END_TEST

START_TEST(steal_time_is_switched_off)
{
    for (int stop = 0; stop < 2; stop++) {
        call(1, SBI_EID_STA, 0, STEAL_GPA, 0, 0);
        if (stop)
            call(1, SBI_EID_HSM, 1, 0);
        else
            call(1, SBI_EID_STA, 0, UINT64_MAX, UINT64_MAX, 0);
        expect_ret(SBI_SUCCESS, 0);
        fake.stolen_ns += 77;
        sbi_steal_time_update(test_sbi, 1);
        ck_assert_uint_eq(told(STEAL_GPA).steal_ns, 0);
    }
}
END_TEST

START_TEST(steal_time_parameters_are_checked)
{
    static const struct {
        uint64_t low, high, flags;
        int64_t error;
    } bad[] = {{STEAL_GPA, 0, 1, SBI_ERR_INVALID_PARAM},
               {STEAL_GPA + 8, 0, 0, SBI_ERR_INVALID_PARAM},
               {STEAL_GPA, 1, 0, SBI_ERR_INVALID_ADDRESS},
               {UINT64_MAX, 0, 0, SBI_ERR_INVALID_PARAM},
               {UINT64_MAX, UINT64_MAX, 1, SBI_ERR_INVALID_PARAM},
               {UINT64_MAX - 63, UINT64_MAX, 0, SBI_ERR_INVALID_ADDRESS},
               {0, 0, 0, SBI_ERR_INVALID_ADDRESS},
               {0x10000000, 0, 0, SBI_ERR_INVALID_ADDRESS},
               {TEST_RAM_GPA + TEST_RAM_BYTES, 0, 0, SBI_ERR_INVALID_ADDRESS}};

    call(1, SBI_EID_STA, 0, STEAL_GPA, 0, 0);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        call(1, SBI_EID_STA, 0, bad[i].low, bad[i].high, bad[i].flags);
        expect_ret(bad[i].error, 0);
    }
    fake.stolen_ns += 5;
    sbi_steal_time_update(test_sbi, 1);
    ck_assert_uint_eq(told(STEAL_GPA).steal_ns, 5); /* the old place is still the one */
    call(1, SBI_EID_STA, 0, TEST_RAM_GPA + TEST_RAM_BYTES - 64, 0, 0);
    expect_ret(SBI_SUCCESS, 0);
}
END_TEST

START_TEST(steal_time_survives_what_the_guest_writes_and_any_restored_state)
{
    struct steal_time odd = {.sequence = UINT32_MAX, .steal_ns = 1ull << 60};

    call(1, SBI_EID_STA, 0, STEAL_GPA, 0, 0);
    ck_assert_int_eq(mem_write(test_mem, STEAL_GPA, &odd, sizeof(odd)), 0);
    fake.stolen_ns += 5;
    sbi_steal_time_update(test_sbi, 1);
    ck_assert_uint_eq(told(STEAL_GPA).steal_ns, 5);
    ck_assert_uint_eq(told(STEAL_GPA).sequence % 2, 0);
    memset(sbi_hart_state(test_sbi, 1), 0xff, sizeof(struct sbi_hart_state));
    fake.stolen_ns += 5;
    sbi_steal_time_update(test_sbi, 1);
    ck_assert_uint_eq(sbi_hart_state(test_sbi, 1)->steal_gpa, 0);
    ck_assert_int_eq(set(1, LANDING_PAD, 1, 0), SBI_ERR_DENIED_LOCKED);
}
END_TEST

/* ---- debug triggers ---- */

enum { TRIGGERS_GPA = TEST_RAM_GPA + 0x2000 };
enum { NUM_TRIGGERS, SET_SHMEM, READ, INSTALL, UPDATE, UNINSTALL, ENABLE, DISABLE };
enum { EXECUTE = 4, STORE = 2, LOAD = 1, USER = 8, SUPERVISOR = 16, CHAIN = 1 << 11, MACHINE = 1 << 6 };
#define TYPE6 (6ull << 60)
#define DMODE (1ull << 59)

struct entry {
    uint64_t index;
    struct sbi_trigger trigger;
};

static void put_entry(unsigned i, uint64_t index, uint64_t tdata1, uint64_t tdata2)
{
    struct entry entry = {index, {tdata1, tdata2, 0}};

    ck_assert_int_eq(mem_write(test_mem, TRIGGERS_GPA + i * sizeof(entry), &entry, sizeof(entry)), 0);
}

static struct entry entry_at(unsigned i)
{
    struct entry entry;

    ck_assert_int_eq(mem_read(test_mem, TRIGGERS_GPA + i * sizeof(entry), &entry, sizeof(entry)), 0);
    return entry;
}

static void dbtr(uint64_t fid, uint64_t a, uint64_t b, int64_t error, uint64_t value)
{
    ck_assert_int_eq(call(1, SBI_EID_DBTR, fid, a, b, 0), VCPU_ACTION_RESUME);
    expect_ret(error, value);
}

static void share_triggers(void)
{
    dbtr(SET_SHMEM, TRIGGERS_GPA, 0, SBI_SUCCESS, 0);
}

START_TEST(triggers_are_there_with_sdtrig)
{
    call(0, SBI_EID_BASE, 3, SBI_EID_DBTR);
    expect_ret(SBI_SUCCESS, 1);
    dbtr(NUM_TRIGGERS, 0, 0, SBI_SUCCESS, 4);
    dbtr(NUM_TRIGGERS, TYPE6 | LOAD | USER, 0, SBI_SUCCESS, 4);
    dbtr(NUM_TRIGGERS, TYPE6 | CHAIN, 0, SBI_SUCCESS, 0);
    dbtr(NUM_TRIGGERS, TYPE6 | DMODE, 0, SBI_SUCCESS, 0);
    dbtr(NUM_TRIGGERS, 2ull << 60, 0, SBI_SUCCESS, 0);
    dbtr(8, 0, 0, SBI_ERR_NOT_SUPPORTED, 0);
    test_isa = ISA_ALL & ~ISA_EXT(SDTRIG);
    test_sbi_create(TEST_HARTS);
    test_isa = ISA_ALL;
    call(0, SBI_EID_BASE, 3, SBI_EID_DBTR);
    expect_ret(SBI_SUCCESS, 0);
    dbtr(NUM_TRIGGERS, 0, 0, SBI_ERR_NOT_SUPPORTED, 0);
}
END_TEST

START_TEST(triggers_are_installed_read_changed_and_freed)
{
    share_triggers();
    for (unsigned i = 0; i < SBI_TRIGGERS; i++)
        put_entry(i, 99, TYPE6 | EXECUTE | (i % 2 ? USER : SUPERVISOR), 0x1000 * i);
    dbtr(INSTALL, 3, 0, SBI_SUCCESS, 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(entry_at(i).index, i);
        ck_assert_uint_eq(fake.triggers[1][i].tdata1, TYPE6 | EXECUTE | (i % 2 ? USER : SUPERVISOR));
        ck_assert_uint_eq(fake.triggers[1][i].tdata2, 0x1000 * i);
        ck_assert_uint_eq(fake.triggers[0][i].tdata1, 0); /* another hart's */
    }
    /* Indexes 1 to 3: mapped, with modes (u is bit 1, s bit 2), with the hart's number; the last is free. */
    dbtr(READ, 1, 3, SBI_SUCCESS, 0);
    ck_assert_uint_eq(entry_at(0).index, 1 << 8 | 1 << 5 | 1 << 1 | 1);
    ck_assert_uint_eq(entry_at(1).index, 2 << 8 | 1 << 5 | 1 << 2 | 1);
    ck_assert_uint_eq(entry_at(1).trigger.tdata1, TYPE6 | EXECUTE | SUPERVISOR);
    ck_assert_uint_eq(entry_at(1).trigger.tdata2, 0x2000);
    ck_assert_uint_eq(entry_at(2).index, 0);

    dbtr(DISABLE, 1, 1 << 0 | 1 << 1, SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.triggers[1][0].tdata1, TYPE6 | EXECUTE | SUPERVISOR);
    ck_assert_uint_eq(fake.triggers[1][1].tdata1, TYPE6 | EXECUTE);
    ck_assert_uint_eq(fake.triggers[1][2].tdata1, TYPE6 | EXECUTE);
    dbtr(ENABLE, 2, 1, SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.triggers[1][1].tdata1, TYPE6 | EXECUTE);
    ck_assert_uint_eq(fake.triggers[1][2].tdata1, TYPE6 | EXECUTE | SUPERVISOR);
    /* An update says in which modes it is enabled from now on. */
    put_entry(0, 2, TYPE6 | STORE | USER, 0x77);
    dbtr(UPDATE, 1, 0, SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.triggers[1][2].tdata1, TYPE6 | STORE | USER);
    dbtr(DISABLE, 2, 1, SBI_SUCCESS, 0);
    dbtr(ENABLE, 2, 1, SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.triggers[1][2].tdata1, TYPE6 | STORE | USER);
    ck_assert_uint_eq(fake.triggers[1][2].tdata2, 0x77);

    /* What is given back is given out again, in between. */
    dbtr(UNINSTALL, 1, 1, SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.triggers[1][1].tdata1 & ~(15ull << 60), 0);
    ck_assert_uint_eq(fake.triggers[1][1].tdata2, 0);
    put_entry(0, 0, TYPE6 | LOAD | USER, 1);
    put_entry(1, 0, TYPE6 | LOAD | USER, 2);
    dbtr(INSTALL, 2, 0, SBI_SUCCESS, 0);
    ck_assert_uint_eq(entry_at(0).index, 1);
    ck_assert_uint_eq(entry_at(1).index, 3);
    dbtr(INSTALL, 1, 0, SBI_ERR_FAILED, 0); /* there are no more */
    dbtr(INSTALL, 0, 0, SBI_SUCCESS, 0);
    /* A hart that stops gives all of them back. */
    ck_assert_int_eq(call(1, SBI_EID_HSM, 1, 0), VCPU_ACTION_STOP);
    for (unsigned i = 0; i < SBI_TRIGGERS; i++)
        ck_assert_uint_eq(fake.triggers[1][i].tdata1 & ~(15ull << 60), 0);
    dbtr(READ, 0, 1, SBI_ERR_NO_SHMEM, 0);
}
END_TEST

START_TEST(triggers_that_are_wrong_change_nothing)
{
    static const struct {
        uint64_t tdata1;
        int64_t error;
    } wrong[] = {{TYPE6 | DMODE, SBI_ERR_INVALID_PARAM},
                 {TYPE6 | MACHINE | LOAD, SBI_ERR_INVALID_PARAM},
                 {TYPE6 | LOAD | CHAIN, SBI_ERR_INVALID_PARAM},
                 {2ull << 60 | MACHINE, SBI_ERR_INVALID_PARAM},
                 {2ull << 60 | LOAD, SBI_ERR_NOT_SUPPORTED},
                 {0, SBI_ERR_NOT_SUPPORTED},
                 {15ull << 60, SBI_ERR_NOT_SUPPORTED},
                 {TYPE6 | 1 << 12 | LOAD, SBI_ERR_NOT_SUPPORTED},
                 {TYPE6 | 1ull << 23 | LOAD, SBI_ERR_NOT_SUPPORTED}};
    struct sbi_trigger before[SBI_TRIGGERS];

    share_triggers();
    put_entry(0, 0, TYPE6 | LOAD | USER, 5);
    dbtr(INSTALL, 1, 0, SBI_SUCCESS, 0);
    memcpy(before, fake.triggers[1], sizeof(before));
    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++) {
        put_entry(0, 0, TYPE6 | LOAD | USER, 6);
        put_entry(1, 0, wrong[i].tdata1, 7);
        dbtr(INSTALL, 2, 0, wrong[i].error, 1);
        /* An update of the one that is there: another type is refused before what types there are. */
        dbtr(UPDATE, 2, 0, wrong[i].tdata1 >> 60 == 6 ? wrong[i].error : SBI_ERR_INVALID_PARAM, 1);
        ck_assert_mem_eq(fake.triggers[1], before, sizeof(before));
    }
    put_entry(0, SBI_TRIGGERS, TYPE6, 0);
    dbtr(UPDATE, 1, 0, SBI_ERR_INVALID_PARAM, 0);
    put_entry(0, 1, TYPE6, 0);
    dbtr(UPDATE, 1, 0, SBI_ERR_FAILED, 0);
    for (uint64_t fid = UNINSTALL; fid <= DISABLE; fid++) {
        dbtr(fid, 0, 3, SBI_ERR_INVALID_PARAM, 0);
        dbtr(fid, 1, 1, SBI_ERR_INVALID_PARAM, 0);
        dbtr(fid, 0, 1ull << 63 | 1, SBI_ERR_INVALID_PARAM, 0);
        dbtr(fid, UINT64_MAX, 3, SBI_ERR_INVALID_PARAM, 0);
        dbtr(fid, SBI_TRIGGERS, 1, SBI_ERR_INVALID_PARAM, 0);
    }
    ck_assert_mem_eq(fake.triggers[1], before, sizeof(before));
    dbtr(DISABLE, 77, 0, SBI_SUCCESS, 0); /* none of them */
}
END_TEST

START_TEST(memory_for_triggers_is_checked)
{
    static const struct {
        uint64_t low, high, flags;
        int64_t error;
    } bad[] = {{TRIGGERS_GPA, 0, 1, SBI_ERR_INVALID_PARAM},
               {TRIGGERS_GPA + 4, 0, 0, SBI_ERR_INVALID_PARAM},
               {TRIGGERS_GPA, 1, 0, SBI_ERR_INVALID_ADDRESS},
               {UINT64_MAX, UINT64_MAX, 1, SBI_ERR_INVALID_PARAM},
               {0, 0, 0, SBI_ERR_INVALID_ADDRESS},
               {TEST_RAM_GPA + TEST_RAM_BYTES - 120, 0, 0, SBI_ERR_INVALID_ADDRESS}};

    dbtr(READ, 0, 1, SBI_ERR_NO_SHMEM, 0);
    dbtr(INSTALL, 1, 0, SBI_ERR_NO_SHMEM, 0);
    dbtr(UPDATE, 1, 0, SBI_ERR_NO_SHMEM, 0);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        call(1, SBI_EID_DBTR, SET_SHMEM, bad[i].low, bad[i].high, bad[i].flags);
        expect_ret(bad[i].error, 0);
    }
    dbtr(SET_SHMEM, TEST_RAM_GPA + TEST_RAM_BYTES - 128, 0, SBI_SUCCESS, 0);
    dbtr(READ, 0, 4, SBI_SUCCESS, 0);
    dbtr(READ, 0, 5, SBI_ERR_BAD_RANGE, 0);
    dbtr(READ, 4, 0, SBI_ERR_BAD_RANGE, 0);
    dbtr(READ, 1, UINT64_MAX, SBI_ERR_BAD_RANGE, 0);
    dbtr(INSTALL, 5, 0, SBI_ERR_BAD_RANGE, 0);
    dbtr(UPDATE, UINT64_MAX, 0, SBI_ERR_BAD_RANGE, 0);
    dbtr(SET_SHMEM, UINT64_MAX, UINT64_MAX, SBI_SUCCESS, 0);
    dbtr(READ, 0, 1, SBI_ERR_NO_SHMEM, 0);
    /* Whatever a restored state says. */
    memset(sbi_hart_state(test_sbi, 1), 0xff, sizeof(struct sbi_hart_state));
    dbtr(READ, 0, 4, SBI_ERR_FAILED, 0);
    dbtr(INSTALL, 1, 0, SBI_ERR_FAILED, 0);
    dbtr(UNINSTALL, 0, 15, SBI_SUCCESS, 0);
}
END_TEST

/* ---- events ---- */

struct event_info {
    uint32_t event, output;
    uint64_t data;
};

START_TEST(events_are_told_in_shared_memory)
{
    static const struct {
        struct event_info info;
        bool overflow_interrupts; /* only then */
        uint32_t output;
    } cases[] = {
        {{0x00001, 0, 0}, false, 1}, {{0x00002, 9, 0}, false, 1}, {{0x00003, 1, 0}, false, 0},
        {{0x10000, 1, 0}, false, 0}, {{0x20000, 0, 3}, true, 1},  {{0x20000, 1, 99}, true, 0},
        {{0x30000, 0, 4}, true, 1},  {{0x30000, 1, 0}, true, 0},  {{0xf0005, 0, 0}, false, 1},
        {{0xf0000, 1, 0}, false, 0}, {{0xfffff, 1, 1}, false, 0}, {{0x00000, 1, 0}, false, 0},
    };
    struct event_info infos[TUFF_ARRAY_LEN(cases)];

    for (int interrupts = 0; interrupts < 2; interrupts++) {
        test_overflow_interrupts = interrupts;
        test_sbi_create(TEST_HARTS);
        for (size_t i = 0; i < TUFF_ARRAY_LEN(cases); i++)
            infos[i] = cases[i].info;
        ck_assert_int_eq(mem_write(test_mem, TEST_RAM_GPA + 0x100, infos, sizeof(infos)), 0);
        call(0, SBI_EID_PMU, 8, TEST_RAM_GPA + 0x100, 0, TUFF_ARRAY_LEN(cases), 0);
        expect_ret(SBI_SUCCESS, 0);
        ck_assert_int_eq(mem_read(test_mem, TEST_RAM_GPA + 0x100, infos, sizeof(infos)), 0);
        for (size_t i = 0; i < TUFF_ARRAY_LEN(cases); i++) {
            ck_assert_uint_eq(infos[i].output, interrupts || !cases[i].overflow_interrupts ? cases[i].output : 0);
            ck_assert_uint_eq(infos[i].event, cases[i].info.event);
            ck_assert_uint_eq(infos[i].data, cases[i].info.data);
        }
    }
    test_overflow_interrupts = false;
}
END_TEST

START_TEST(what_is_asked_of_events_is_checked)
{
    static const uint32_t not_encoded[] = {0x100001, 0x80000001, 0x40000, 0xe0000, 0x20001, 0x30001};
    static const struct {
        uint64_t low, high, count, flags;
        int64_t error;
    } bad[] = {{TEST_RAM_GPA, 0, 1, 1, SBI_ERR_INVALID_PARAM},
               {TEST_RAM_GPA + 8, 0, 1, 0, SBI_ERR_INVALID_PARAM},
               {TEST_RAM_GPA, 1, 1, 0, SBI_ERR_INVALID_ADDRESS},
               {0x10000000, 0, 1, 0, SBI_ERR_INVALID_ADDRESS},
               {TEST_RAM_GPA + TEST_RAM_BYTES - 16, 0, 2, 0, SBI_ERR_INVALID_ADDRESS},
               {TEST_RAM_GPA, 0, UINT64_MAX, 0, SBI_ERR_FAILED},
               {TEST_RAM_GPA, 0, 1ull << 60, 0, SBI_ERR_FAILED}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        call(0, SBI_EID_PMU, 8, bad[i].low, bad[i].high, bad[i].count, bad[i].flags);
        expect_ret(bad[i].error, 0);
    }
    for (size_t i = 0; i < TUFF_ARRAY_LEN(not_encoded); i++) {
        struct event_info info = {.event = not_encoded[i]};
        ck_assert_int_eq(mem_write(test_mem, TEST_RAM_GPA, &info, sizeof(info)), 0);
        call(0, SBI_EID_PMU, 8, TEST_RAM_GPA, 0, 1, 0);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
    }
    call(0, SBI_EID_PMU, 8, TEST_RAM_GPA, 0, 0, 0);
    expect_ret(SBI_SUCCESS, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sbi_features");
    TCase *features = tcase_create("features"), *steal = tcase_create("steal_time"), *events = tcase_create("events");

    tcase_add_checked_fixture(features, test_sbi_setup, test_sbi_teardown);
    tcase_add_test(features, features_are_fields_of_the_environment);
    tcase_add_test(features, pointer_masking_takes_the_next_length_there_is);
    tcase_add_test(features, misaligned_exceptions_are_delegated_unless_told);
    tcase_add_test(features, features_want_their_extensions);
    tcase_add_test(features, reserved_and_foreign_features_are_denied);
    tcase_add_test(features, values_and_flags_are_checked);
    tcase_add_test(features, locked_features_stay_until_the_hart_stops);
    suite_add_tcase(suite, features);
    TCase *triggers = tcase_create("triggers");
    tcase_add_checked_fixture(triggers, test_sbi_setup, test_sbi_teardown);
    tcase_add_test(triggers, triggers_are_there_with_sdtrig);
    tcase_add_test(triggers, triggers_are_installed_read_changed_and_freed);
    tcase_add_test(triggers, triggers_that_are_wrong_change_nothing);
    tcase_add_test(triggers, memory_for_triggers_is_checked);
    suite_add_tcase(suite, triggers);
    tcase_add_checked_fixture(steal, test_sbi_setup, test_sbi_teardown);
    tcase_add_test(steal, steal_time_counts_from_when_it_is_asked_for);
    tcase_add_test(steal, steal_time_is_switched_off);
    tcase_add_test(steal, steal_time_parameters_are_checked);
    tcase_add_test(steal, steal_time_survives_what_the_guest_writes_and_any_restored_state);
    suite_add_tcase(suite, steal);
    tcase_add_checked_fixture(events, test_sbi_setup, test_sbi_teardown);
    tcase_add_test(events, events_are_told_in_shared_memory);
    tcase_add_test(events, what_is_asked_of_events_is_checked);
    suite_add_tcase(suite, events);
    return run_suite(suite);
}
