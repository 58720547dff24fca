/* The table of stencils: which instructions the baseline tier translates, and which it leaves to the interpreter's
 * handlers, with the reason. */
#include "engine/baseline/baseline.h"
#include "engine/baseline/stencil.h"
#include "run_suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static const char *reason_of(unsigned sem)
{
    static const struct {
        unsigned sem;
        const char *reason;
    } exceptions[] = {
#define X(id, reason_) {RV_SEM_##id, reason_},
        STENCIL_EXCEPTIONS(X)
#undef X
    };

    if (rv_sem_effects(sem) & RV_END)
        return "ends its block";
    for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
        if (exceptions[i].sem == sem)
            return exceptions[i].reason;
    }
    return NULL;
}

START_TEST(every_row_has_a_stencil_or_a_reason_for_none)
{
    unsigned translated = 0;

    for (unsigned sem = 0; sem < RV_SEM_COUNT; sem++) {
        const char *reason = reason_of(sem);
        bool has = stencil_rows[sem][0][0][0] != STENCIL_NONE;
        ck_assert_msg(has != (reason != NULL), "%s: %s", rv_sem_name(sem), has ? "has one all the same" : "has none");
        if (reason)
            printf("  %-12s by the interpreter's handler: %s\n", rv_sem_name(sem), reason);
        translated += has;
    }
    printf("  %u bodies have stencils\n", translated);
    ck_assert_uint_gt(translated, 200);
}
END_TEST

/* An immediate is an address to the compiler, and no address is negative. */
START_TEST(rows_with_negative_immediates_have_a_stencil_for_them)
{
    static const unsigned signed_rows[] = {RV_SEM_lui,  RV_SEM_auipc, RV_SEM_jalr, RV_SEM_addi, RV_SEM_addiw,
                                           RV_SEM_slti, RV_SEM_sltiu, RV_SEM_xori, RV_SEM_ori,  RV_SEM_andi,
                                           RV_SEM_lb,   RV_SEM_lh,    RV_SEM_lw,   RV_SEM_ld,   RV_SEM_lbu,
                                           RV_SEM_lhu,  RV_SEM_lwu,   RV_SEM_sb,   RV_SEM_sh,   RV_SEM_sw,
                                           RV_SEM_sd,   RV_SEM_flw,   RV_SEM_fld,  RV_SEM_fsw,  RV_SEM_fsd};

    for (size_t i = 0; i < sizeof(signed_rows) / sizeof(signed_rows[0]); i++) {
        const uint16_t(*any)[STENCIL_SOURCES] = stencil_rows[signed_rows[i]][1];
        ck_assert_msg(any[0][0] != STENCIL_NONE, "%s", rv_sem_name(signed_rows[i]));
        ck_assert_msg(!stencils[any[0][0]].positive_imm, "%s", rv_sem_name(signed_rows[i]));
    }
}
END_TEST

/* Rows of two x registers: wherever both operands are. */
START_TEST(operands_at_hand_have_stencils)
{
    static const unsigned rows[] = {RV_SEM_add, RV_SEM_xor, RV_SEM_mul, RV_SEM_sh2add,
                                    RV_SEM_beq, RV_SEM_sd,  RV_SEM_sb};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (unsigned rs1 = 0; rs1 < STENCIL_SOURCES; rs1++) {
            for (unsigned rs2 = 0; rs2 < STENCIL_SOURCES; rs2++)
                ck_assert_msg(stencil_rows[rows[i]][0][rs1][rs2] != STENCIL_NONE, "%s, %u, %u", rv_sem_name(rows[i]),
                              rs1, rs2);
        }
    }
}
END_TEST

/* Rows that write a floating-point register or flag have their block say so; nobody else does. */
START_TEST(rows_that_dirty_fs_say_so)
{
    static const unsigned dirty[] = {RV_SEM_fadd_d, RV_SEM_fadd_s,   RV_SEM_fld,         RV_SEM_flw,
                                     RV_SEM_feq_d,  RV_SEM_fcvt_w_d, RV_SEM_csrrw_fflags};
    static const unsigned clean[] = {RV_SEM_add, RV_SEM_ld, RV_SEM_fsd, RV_SEM_fmv_x_d, RV_SEM_fclass_d, RV_SEM_beq};

    for (size_t i = 0; i < sizeof(dirty) / sizeof(dirty[0]); i++)
        ck_assert_msg(stencils[stencil_rows[dirty[i]][0][0][0]].dirties_fs, "%s", rv_sem_name(dirty[i]));
    for (size_t i = 0; i < sizeof(clean) / sizeof(clean[0]); i++)
        ck_assert_msg(!stencils[stencil_rows[clean[i]][0][0][0]].dirties_fs, "%s", rv_sem_name(clean[i]));
}
END_TEST

/* As many as a machine may have, all within reach of the program's code. */
START_TEST(every_hart_of_many_has_room_for_code)
{
    enum { HARTS_MAX = 64 };
    /* Where the arenas leave the least room between them, and all. */
    static const uint32_t counts[] = {16, 17, 40, 60, HARTS_MAX};
    struct baseline *harts[HARTS_MAX];

    for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
        for (uint32_t i = 0; i < counts[n]; i++) {
            ck_assert_int_eq(baseline_create(counts[n], &harts[i]), 0);
            ck_assert_msg(harts[i], "hart %u of %u has none", i, counts[n]);
        }
        for (uint32_t i = 0; i < counts[n]; i++)
            baseline_destroy(harts[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stencils");
    TCase *table = tcase_create("table");

    tcase_add_test(table, every_row_has_a_stencil_or_a_reason_for_none);
    tcase_add_test(table, rows_with_negative_immediates_have_a_stencil_for_them);
    tcase_add_test(table, operands_at_hand_have_stencils);
    tcase_add_test(table, rows_that_dirty_fs_say_so);
    tcase_add_test(table, every_hart_of_many_has_room_for_code);
    suite_add_tcase(suite, table);
    return run_suite(suite);
}
