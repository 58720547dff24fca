/* Decoded operands: what translation reads, which the text of an instruction shows only in part. */
#include "engine/isa/riscv/decode.h"
#include "engine/isa/riscv/isa.h"
#include "run_suite.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 64 };

static struct rv_insn decode(uint32_t word)
{
    struct rv_insn insn;

    rv_decode(word, ISA_ALL, &insn);
    return insn;
}

/* ---- one example a field layout, worked out by hand from the manual's figures ---- */

struct example {
    uint32_t word;
    uint16_t sem;
    uint8_t rd, rs1, rs2, rs3, rm;
    int32_t imm;
};

static const struct example examples[] = {
    {0x00c58533, RV_SEM_add, 10, 11, 12, 0, 0, 0},          /* add a0, a1, a2 */
    {0x80058513, RV_SEM_addi, 10, 11, 0, 0, 0, -2048},      /* addi a0, a1, -2048 */
    {0x7ff58513, RV_SEM_addi, 10, 11, 0, 0, 0, 2047},       /* addi a0, a1, 2047 */
    {0x03f59513, RV_SEM_slli, 10, 11, 0, 0, 0, 63},         /* slli a0, a1, 63 */
    {0x43f5d513, RV_SEM_srai, 10, 11, 0, 0, 0, 63},         /* srai a0, a1, 63 */
    {0x41f5d51b, RV_SEM_sraiw, 10, 11, 0, 0, 0, 31},        /* sraiw a0, a1, 31 */
    {0x80000537, RV_SEM_lui, 10, 0, 0, 0, 0, INT32_MIN},    /* lui a0, 0x80000 */
    {0x12345517, RV_SEM_auipc, 10, 0, 0, 0, 0, 0x12345000}, /* auipc a0, 0x12345 */
    {0xfea5ac23, RV_SEM_sw, 0, 11, 10, 0, 0, -8},           /* sw a0, -8(a1) */
    {0x80b50063, RV_SEM_beq, 0, 10, 11, 0, 0, -4096},       /* beq a0, a1, -4096 */
    {0x7eb50fe3, RV_SEM_beq, 0, 10, 11, 0, 0, 4094},        /* beq a0, a1, 4094 */
    {0x800000ef, RV_SEM_jal, 1, 0, 0, 0, 0, -1048576},      /* jal ra, -1048576 */
    {0x7ffff0ef, RV_SEM_jal, 1, 0, 0, 0, 0, 1048574},       /* jal ra, 1048574 */
    {0x6ac5f543, RV_SEM_fmadd_d, 10, 11, 12, 13, 7, 0},     /* fmadd.d fa0, fa1, fa2, fa3, dyn */
    {0xd2259553, RV_SEM_fcvt_d_l, 10, 11, 0, 0, 1, 0},      /* fcvt.d.l fa0, a1, rtz */
    {0xf01f0553, RV_SEM_fli_s, 10, 0, 0, 0, 0, 30},         /* fli.s fa0, inf */
    {0x06c5a52f, RV_SEM_amoadd_w, 10, 11, 12, 0, 0, 0},     /* amoadd.w.aqrl a0, a2, (a1) */
    {0xfff59573, RV_SEM_csrrw, 10, 11, 0, 0, 0, 0xfff},     /* csrrw a0, 0xfff, a1 */
    {0x300fd573, RV_SEM_csrrwi, 10, 31, 0, 0, 0, 0x300},    /* csrrwi a0, mstatus, 31 */
    {0x0ff0000f, RV_SEM_fence, 0, 0, 0, 0, 0, 0xff},        /* fence iorw, iorw */
    {0x8330000f, RV_SEM_fence, 0, 0, 0, 0, 0, 0x833},       /* fence.tso */
    {0x0100000f, RV_SEM_fence, 0, 0, 0, 0, 0, 0x10},        /* pause */
    {0x12b50073, RV_SEM_sfence_vma, 0, 10, 11, 0, 0, 0},    /* sfence.vma a0, a1 */
    {0x16b50073, RV_SEM_sfence_vma, 0, 10, 11, 0, 0, 0},    /* sinval.vma a0, a1 */
    {0x7d01, RV_SEM_lui, 26, 0, 0, 0, 0, -(32 << 12)},      /* c.lui s10, -32 */
    {0x83c0, RV_SEM_lbu, 8, 15, 0, 0, 0, 1},                /* c.lbu s0, 1(a5) */
    {0x83a0, RV_SEM_lbu, 8, 15, 0, 0, 0, 2},                /* c.lbu s0, 2(a5) */
    {0x8c3c, RV_SEM_sh, 0, 8, 15, 0, 0, 2},                 /* c.sh a5, 2(s0) */
    {0xc1c5c573, RV_SEM_mop_r, 10, 11, 0, 0, 0, 16},        /* mop.r.16 a0, a1 */
    {0x8de5c573, RV_SEM_mop_r, 10, 11, 0, 0, 0, 14},        /* mop.r.14 a0, a1 */
    {0xc6c5c573, RV_SEM_mop_rr, 10, 11, 12, 0, 0, 5},       /* mop.rr.5 a0, a1, a2 */
    {0x31a59513, RV_SEM_aes64ks1i, 10, 11, 0, 0, 0, 10},    /* aes64ks1i a0, a1, 10 */
    {0xb0c58533, RV_SEM_sm4ed, 10, 11, 12, 0, 0, 2},        /* sm4ed a0, a1, a2, 2 */
    {0x6681, RV_SEM_addi, 0, 0, 0, 0, 0, 13},               /* c.mop.13 */
    {0x9002, RV_SEM_ebreak, 0, 0, 0, 0, 0, 0},              /* c.ebreak */
};

START_TEST(an_example_of_each_field_layout_gives_its_operands)
{
    const struct example *example = &examples[_i];
    struct rv_insn insn = decode(example->word);

    ck_assert_uint_eq(insn.sem, example->sem);
    ck_assert_uint_eq(insn.rd, example->rd);
    ck_assert_uint_eq(insn.rs1, example->rs1);
    ck_assert_uint_eq(insn.rs2, example->rs2);
    ck_assert_uint_eq(insn.rs3, example->rs3);
    ck_assert_uint_eq(insn.rm, example->rm);
    ck_assert_int_eq(insn.imm, example->imm);
    ck_assert_uint_eq(insn.raw, example->word);
    ck_assert_uint_eq(insn.len_bytes, rv_insn_len_bytes((uint16_t)example->word));
    ck_assert_uint_eq(insn.effects, rv_rows[insn.row].effects);
}
END_TEST

/* ---- compressed forms ---- */

/* What each compressed mnemonic stands for; $0, $1, $2 are its operands. From the expansions that the "C" chapter
 * gives. */
static const struct expansion {
    const char *mnemonic, *text;
} expansions[] = {
    {"c.addi4spn", "addi $0, $1, $2"},
    {"c.fld", "fld $0, $1"},
    {"c.lw", "lw $0, $1"},
    {"c.ld", "ld $0, $1"},
    {"c.fsd", "fsd $0, $1"},
    {"c.sw", "sw $0, $1"},
    {"c.sd", "sd $0, $1"},
    {"c.addi", "addi $0, $0, $1"},
    {"c.addiw", "addiw $0, $0, $1"},
    {"c.li", "addi $0, zero, $1"},
    {"c.addi16sp", "addi $0, $0, $1"},
    {"c.lui", "lui $0, $1"},
    {"c.srli", "srli $0, $0, $1"},
    {"c.srai", "srai $0, $0, $1"},
    {"c.andi", "andi $0, $0, $1"},
    {"c.sub", "sub $0, $0, $1"},
    {"c.xor", "xor $0, $0, $1"},
    {"c.or", "or $0, $0, $1"},
    {"c.and", "and $0, $0, $1"},
    {"c.subw", "subw $0, $0, $1"},
    {"c.addw", "addw $0, $0, $1"},
    {"c.j", "jal zero, $0"},
    {"c.beqz", "beq $0, zero, $1"},
    {"c.bnez", "bne $0, zero, $1"},
    {"c.slli", "slli $0, $0, $1"},
    {"c.fldsp", "fld $0, $1"},
    {"c.lwsp", "lw $0, $1"},
    {"c.ldsp", "ld $0, $1"},
    {"c.jr", "jalr zero, 0($0)"},
    {"c.mv", "add $0, zero, $1"},
    {"c.ebreak", "ebreak"},
    {"c.jalr", "jalr ra, 0($0)"},
    {"c.add", "add $0, $0, $1"},
    {"c.fsdsp", "fsd $0, $1"},
    {"c.swsp", "sw $0, $1"},
    {"c.sdsp", "sd $0, $1"},
    {"c.slli64", "slli $0, $0, 0"},
    {"c.srli64", "srli $0, $0, 0"},
    {"c.srai64", "srai $0, $0, 0"},
    {"c.lbu", "lbu $0, $1"},
    {"c.lhu", "lhu $0, $1"},
    {"c.lh", "lh $0, $1"},
    {"c.sb", "sb $0, $1"},
    {"c.sh", "sh $0, $1"},
    {"c.zext.b", "andi $0, $0, 255"},
    {"c.sext.b", "sext.b $0, $0"},
    {"c.zext.h", "zext.h $0, $0"},
    {"c.sext.h", "sext.h $0, $0"},
    {"c.zext.w", "add.uw $0, $0, zero"},
    {"c.not", "xori $0, $0, -1"},
    {"c.mul", "mul $0, $0, $1"},
};

static const char *expansion_of(const char *mnemonic)
{
    for (size_t i = 0; i < sizeof(expansions) / sizeof(expansions[0]); i++) {
        if (strcmp(expansions[i].mnemonic, mnemonic) == 0)
            return expansions[i].text;
    }
    return NULL;
}

/* Writes `pattern` with the operands of the instruction text `from` filled in. */
static void expand(const char *pattern, const char *from, char *to)
{
    char operands[TEXT_BYTES], *operand[3] = {"", "", ""}, *rest = operands;
    const char *blank = strchr(from, ' ');

    snprintf(operands, sizeof(operands), "%s", blank ? blank + 1 : "");
    for (int i = 0; i < 3 && rest; i++) {
        operand[i] = rest;
        rest = strstr(rest, ", ");
        if (rest) {
            *rest = 0;
            rest += 2;
        }
    }
    *to = 0;
    for (const char *c = pattern; *c; c++) {
        if (*c == '$')
            strcat(to, operand[*++c - '0']);
        else
            strncat(to, c, 1);
    }
}

/* The row an INSN gave its body's name. */
static uint16_t row_of_sem(uint16_t sem)
{
    uint16_t row = 1;

    while (rv_rows[row].sem != sem)
        row++;
    return row;
}

/* The hints c.nop and c.lui x0 and the may-be-operations write their immediate in a way of their own. */
static bool has_own_text(const struct rv_insn *insn)
{
    return insn->row == RV_ROW_c_nop || insn->row == RV_ROW_c_nop_hint || insn->row == RV_ROW_c_lui_hint ||
           insn->row == RV_ROW_c_mop;
}

START_TEST(every_compressed_encoding_is_the_instruction_it_stands_for)
{
    unsigned compared = 0;

    for (uint32_t word = 0; word <= 0xffff; word++) {
        struct rv_insn insn = decode(word);
        char text[TEXT_BYTES], full[TEXT_BYTES], expected[2 * TEXT_BYTES];

        if ((word & 3) == 3 || insn.row == RV_ROW_illegal || has_own_text(&insn))
            continue;
        ck_assert_ptr_nonnull(expansion_of(rv_rows[insn.row].mnemonic));
        rv_disassemble(&insn, text, sizeof(text));
        expand(expansion_of(rv_rows[insn.row].mnemonic), text, expected);
        insn.row = row_of_sem(insn.sem);
        rv_disassemble(&insn, full, sizeof(full));
        ck_assert_msg(strcmp(full, expected) == 0, "%04x (%s): \"%s\", not \"%s\"", word, text, full, expected);
        compared++;
    }
    /* all of the three quadrants but what is reserved: a broken loop must not pass */
    ck_assert_uint_gt(compared, 45000);
}
END_TEST

START_TEST(the_hints_of_c_nop_and_c_lui_and_c_mop_write_x0)
{
    for (uint32_t word = 0; word <= 0xffff; word++) {
        struct rv_insn insn = decode(word);

        if ((word & 3) == 3 || !has_own_text(&insn))
            continue;
        ck_assert_uint_eq(insn.rd, 0);
        ck_assert_uint_eq(insn.rs1, 0);
        ck_assert_uint_eq(insn.rs2, 0);
        ck_assert_uint_eq(insn.sem, insn.row == RV_ROW_c_lui_hint ? RV_SEM_lui : RV_SEM_addi);
    }
    ck_assert_int_eq(decode(0x0001).imm, 0);
    ck_assert_int_eq(decode(0x1001).imm, -32);
    ck_assert_int_eq(decode(0x007d).imm, 31);
    ck_assert_int_eq(decode(0x7001).imm, -(32 << 12));
    ck_assert_int_eq(decode(0x607d).imm, 31 << 12);
}
END_TEST

/* Named by the manual one by one ("C", "RVC Instruction Set Listings"). */
START_TEST(reserved_compressed_encodings_are_illegal)
{
    static const uint16_t reserved[] = {
        0x0000,                           /* all zero */
        0x0004, 0x001c,                   /* c.addi4spn with a zero immediate */
        0x2001, 0x3ffd & ~0x0f80,         /* c.addiw x0 */
        0x6101,                           /* c.addi16sp with a zero immediate */
        0x6001, 0x6201,           0x6f81, /* c.lui with a zero immediate, but c.mop */
        0x4002, 0x507e & ~0x0f80,         /* c.lwsp x0 */
        0x6002, 0x707e & ~0x0f80,         /* c.ldsp x0 */
        0x8002,                           /* c.jr x0 */
        0x8c40, 0x9000,           0x9ffc, /* quadrant 0, funct3 100, but Zcb */
        0x9c79, 0x9c7d,                   /* next to c.not */
    };

    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        ck_assert_msg(decode(reserved[i]).row == RV_ROW_illegal, "%04x is %s", reserved[i],
                      rv_rows[decode(reserved[i]).row].id);
}
END_TEST

START_TEST(the_upper_half_of_a_compressed_encoding_is_ignored)
{
    for (uint32_t word = 0; word <= 0xffff; word++) {
        struct rv_insn with, without;

        if ((word & 3) == 3)
            continue;
        with = decode(0xdead0000u | word);
        without = decode(word);
        ck_assert_mem_eq(&with, &without, sizeof(with));
    }
}
END_TEST

/* ---- the table ---- */

static bool has_effect(unsigned row, unsigned effect)
{
    return (rv_rows[row].effects & effect) != 0;
}

START_TEST(effects_follow_from_the_major_opcode)
{
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        uint32_t opcode = rv_rows[row].match & 0x7f;
        const char *id = rv_rows[row].id;
        bool amo = opcode == 0x2f;
        bool fflags = strstr(id, "_fflags") != NULL; /* CSR instructions that touch nothing else */
        bool strap = strstr(id, "_strap") != NULL;
        bool mop = strncmp(id, "mop_", 4) == 0; /* between the CSR instructions */

        if (rv_rows[row].len_bytes == 2)
            continue;
        ck_assert_msg(has_effect(row, RV_BRANCH) == (opcode == 0x63), "%s", id);
        ck_assert_msg(has_effect(row, RV_JUMP) == (opcode == 0x6f), "%s", id);
        ck_assert_msg(has_effect(row, RV_INDIRECT) == (opcode == 0x67), "%s", id);
        ck_assert_msg(has_effect(row, RV_ATOMIC) == amo, "%s", id);
        ck_assert_msg(has_effect(row, RV_LOAD) == (opcode == 0x03 || opcode == 0x07 || (amo && !strstr(id, "sc_"))),
                      "%s", id);
        ck_assert_msg(has_effect(row, RV_STORE) == (opcode == 0x23 || opcode == 0x27 || (amo && !strstr(id, "lr_")) ||
                                                    rv_rows[row].sem == RV_SEM_cbo_zero),
                      "%s", id);
        ck_assert_msg(has_effect(row, RV_END) ==
                          ((opcode == 0x73 && !fflags && !strap && !mop) || rv_rows[row].sem == RV_SEM_fence_i ||
                           rv_rows[row].sem == RV_SEM_ssamoswap_w || rv_rows[row].sem == RV_SEM_ssamoswap_d),
                      "%s", id);
        ck_assert_msg(has_effect(row, RV_FP) == (fflags || opcode == 0x07 || opcode == 0x27 ||
                                                 (opcode >= 0x43 && opcode <= 0x53 && (opcode & 3) == 3)),
                      "%s", id);
        /* the rounding mode is a field: bits 14..12 of arithmetic that are no part of the opcode */
        ck_assert_msg(has_effect(row, RV_RM) == (opcode >= 0x43 && opcode <= 0x53 && !(rv_rows[row].mask & 0x7000)),
                      "%s", id);
    }
}
END_TEST

START_TEST(a_form_has_the_effects_of_its_instruction)
{
    for (unsigned row = 1; row < RV_ROW_COUNT; row++)
        ck_assert_msg(rv_rows[row].effects == rv_rows[row_of_sem(rv_rows[row].sem)].effects, "%s", rv_rows[row].id);
    ck_assert_uint_eq(rv_rows[RV_ROW_c_beqz].effects, RV_BRANCH);
    ck_assert_uint_eq(rv_rows[RV_ROW_c_jr].effects, RV_INDIRECT);
}
END_TEST

/* ---- text ---- */

START_TEST(text_is_cut_to_the_buffer_and_its_length_is_not)
{
    static const char whole[] = "amomaxu.d.aqrl a0, a2, (a1)";
    struct rv_insn insn = decode(0xe6c5b52f);

    for (size_t len = 0; len <= sizeof(whole); len++) {
        char *buf = malloc(len ? len : 1);

        ck_assert_uint_eq(rv_disassemble(&insn, buf, len), sizeof(whole) - 1);
        if (len) {
            ck_assert_uint_eq(strlen(buf), len < sizeof(whole) ? len - 1 : sizeof(whole) - 1);
            ck_assert_mem_eq(buf, whole, strlen(buf));
        }
        free(buf);
    }
}
END_TEST

static void assert_text(uint32_t word, const char *expected)
{
    struct rv_insn insn = decode(word);
    char text[TEXT_BYTES];

    ck_assert_uint_eq(rv_disassemble(&insn, text, sizeof(text)), strlen(expected));
    ck_assert_str_eq(text, expected);
}

START_TEST(what_is_no_instruction_is_written_as_data)
{
    assert_text(0xffffffff, ".4byte 0xffffffff");
    assert_text(0x9000, ".2byte 0x9000");
    assert_text(0x0000, "c.unimp");
}
END_TEST

START_TEST(what_llvm_mc_refuses_and_the_manual_does_not_has_a_text)
{
    assert_text(0x02c5d553, "fadd.d fa0, fa1, fa2, rm5");
    assert_text(0x02c5e553, "fadd.d fa0, fa1, fa2, rm6");
    assert_text(0x9330000f, "fence rw, rw");
    assert_text(0x0ff5050f, "fence iorw, iorw");
    assert_text(0xfff5150f, "fence.i");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("isa_decode");
    TCase *operands = tcase_create("operands"), *table = tcase_create("table"), *text = tcase_create("text");

    tcase_add_loop_test(operands, an_example_of_each_field_layout_gives_its_operands, 0,
                        sizeof(examples) / sizeof(examples[0]));
    tcase_add_test(operands, every_compressed_encoding_is_the_instruction_it_stands_for);
    tcase_add_test(operands, the_hints_of_c_nop_and_c_lui_and_c_mop_write_x0);
    tcase_add_test(operands, reserved_compressed_encodings_are_illegal);
    tcase_add_test(operands, the_upper_half_of_a_compressed_encoding_is_ignored);
    tcase_add_test(table, effects_follow_from_the_major_opcode);
    tcase_add_test(table, a_form_has_the_effects_of_its_instruction);
    tcase_add_test(text, text_is_cut_to_the_buffer_and_its_length_is_not);
    tcase_add_test(text, what_is_no_instruction_is_written_as_data);
    tcase_add_test(text, what_llvm_mc_refuses_and_the_manual_does_not_has_a_text);
    suite_add_tcase(suite, operands);
    suite_add_tcase(suite, table);
    suite_add_tcase(suite, text);
    return run_suite(suite);
}
