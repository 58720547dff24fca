/* The machinery of the random tests itself: that programs are a function of their seed and hold every row, that a
 * difference of one bit is found and named, that minimising keeps what matters and nothing else, and that jumps are
 * encoded as the decoder reads them.
 */
#include "base/compiler.h"
#include "encode.h"
#include "engine/isa/riscv/isa.h"
#include "minimise.h"
#include "randprog.h"
#include "run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct rand_config small = {.seed = 11, .program = 3, .blocks = 20, .items = 64, .inputs = 2};

START_TEST(same_seed_gives_the_same_program)
{
    struct rand_prog a, b;
    rand_prog_create(&a, &small);
    rand_prog_create(&b, &small);
    ck_assert_uint_eq(a.program.code_bytes, b.program.code_bytes);
    ck_assert_mem_eq(a.program.code, b.program.code, a.program.code_bytes);
    ck_assert_mem_eq(a.program.data, b.program.data, a.program.data_bytes);
    rand_prog_free(&a);
    rand_prog_free(&b);
}
END_TEST

START_TEST(another_seed_or_number_gives_another_program)
{
    struct rand_config other_seed = small, other_number = small;
    struct rand_prog a, b, c;
    other_seed.seed++;
    other_number.program++;
    rand_prog_create(&a, &small);
    rand_prog_create(&b, &other_seed);
    rand_prog_create(&c, &other_number);
    ck_assert_mem_ne(a.program.code, b.program.code, 4096);
    ck_assert_mem_ne(a.program.code, c.program.code, 4096);
    rand_prog_free(&a);
    rand_prog_free(&b);
    rand_prog_free(&c);
}
END_TEST

START_TEST(every_row_that_can_run_is_generated)
{
    struct rand_config config = {.seed = 1, .blocks = 200, .items = 64, .inputs = 1};
    uint32_t seen[RV_ROW_COUNT] = {0};
    struct rand_prog prog;
    rand_prog_create(&prog, &config);
    for (uint32_t b = 0; b < config.blocks; b++) {
        for (uint32_t i = 0; i < config.items; i++)
            seen[prog.blocks[b].items[i].row]++;
    }
    for (unsigned row = 1; row < RV_ROW_COUNT; row++)
        ck_assert_msg((seen[row] > 0) != rand_row_excluded(row), "%s: %u times", rv_rows[row].id, seen[row]);
    rand_prog_free(&prog);
}
END_TEST

START_TEST(every_generated_instruction_decodes)
{
    struct rand_prog prog;
    rand_prog_create(&prog, &small);
    for (size_t at = 0; at < prog.program.code_bytes;) {
        uint32_t bits = 0;
        struct rv_insn insn;
        size_t left = prog.program.code_bytes - at;
        memcpy(&bits, prog.program.code + at, left < 4 ? left : 4);
        rv_decode(bits, ISA_ALL, &insn);
        ck_assert_msg(insn.row != RV_ROW_illegal, "%08x at %zu", bits, at);
        at += insn.len_bytes;
    }
    rand_prog_free(&prog);
}
END_TEST

/* ---- comparison ---- */

static void assert_found(struct rand_prog *prog, size_t at, const char *what)
{
    struct rand_difference difference;
    uint8_t *got = malloc(prog->program.data_bytes);
    memcpy(got, prog->program.data, prog->program.data_bytes);
    uint32_t record = 2 * prog->config.inputs + 1;
    got[record * sizeof(struct rand_record) + at] ^= 1;
    ck_assert(rand_prog_compare(prog, prog->program.data, got, &difference));
    ck_assert_uint_eq(difference.block, 2);
    ck_assert_uint_eq(difference.input, 1);
    ck_assert_msg(strncmp(difference.what, what, strlen(what)) == 0, "'%s' instead of '%s'", difference.what, what);
    free(got);
}

START_TEST(one_changed_bit_is_found_and_named)
{
    struct rand_prog prog;
    struct rand_difference difference;
    rand_prog_create(&prog, &small);
    ck_assert(!rand_prog_compare(&prog, prog.program.data, prog.program.data, &difference));
    assert_found(&prog, offsetof(struct rand_record, x) + 8 * 17, "x17: ");
    assert_found(&prog, offsetof(struct rand_record, f) + 8 * 31 + 7, "f31: ");
    assert_found(&prog, offsetof(struct rand_record, fcsr), "fcsr: ");
    assert_found(&prog, 0, "memory at x2-512: ");
    assert_found(&prog, sizeof(((struct rand_record *)0)->scratch) - 1, "memory at x2+511: ");
    rand_prog_free(&prog);
}
END_TEST

/* ---- minimising ---- */

/* A failure with two causes: it shows when the program has both encodings, the first one earlier. */
struct culprits {
    uint32_t first, second;
    int tries;
};

static bool has_culprits(void *opaque, const struct program *program)
{
    struct culprits *culprits = opaque;
    bool first = false;
    culprits->tries++;
    for (size_t at = 0; at + 4 <= program->code_bytes; at += 2) {
        uint32_t bits;
        memcpy(&bits, program->code + at, 4);
        first |= bits == culprits->first;
        if (first && bits == culprits->second)
            return true;
    }
    return false;
}

/* An item of one 32-bit instruction, at or behind `from`, that is nowhere else in the block. */
static uint32_t plain_item(const struct rand_block *block, uint32_t from)
{
    for (uint32_t i = from; i < block->count; i++) {
        const struct rand_item *item = &block->items[i];
        if (item->count == 1 && item->insns[0].len_bytes == 4 && item->fix == RAND_FIX_NONE)
            return i;
    }
    ck_abort_msg("no such item");
}

START_TEST(minimising_keeps_the_items_that_fail_together)
{
    struct rand_prog prog;
    rand_prog_create(&prog, &small);
    struct rand_block *block = &prog.blocks[5];
    uint32_t first = plain_item(block, 10), second = plain_item(block, first + 20);
    struct culprits culprits = {block->items[first].insns[0].bits, block->items[second].insns[0].bits, 0};
    ck_assert(minimise_block(&prog, 5, 5 * prog.config.inputs, has_culprits, &culprits));
    for (uint32_t i = 0; i < block->count; i++)
        ck_assert_msg(block->items[i].dropped == (i != first && i != second), "item %u", i);
    ck_assert_int_lt(culprits.tries, 100);
    rand_prog_free(&prog);
}
END_TEST

START_TEST(minimising_what_does_not_fail_changes_nothing)
{
    struct rand_prog prog;
    rand_prog_create(&prog, &small);
    struct culprits culprits = {0xffffffff, 0xffffffff, 0};
    ck_assert(!minimise_block(&prog, 1, 2, has_culprits, &culprits));
    for (uint32_t i = 0; i < prog.blocks[1].count; i++)
        ck_assert(!prog.blocks[1].items[i].dropped);
    rand_prog_free(&prog);
}
END_TEST

START_TEST(single_block_program_keeps_the_input)
{
    struct rand_prog prog;
    struct program single;
    rand_prog_create(&prog, &small);
    rand_prog_single(&single, &prog, 4, 4 * prog.config.inputs + 1);
    const struct rand_record *from = prog.program.data;
    const struct rand_record *to = single.data;
    from += 4 * prog.config.inputs + 1;
    ck_assert_mem_eq(from->scratch, to->scratch, sizeof(to->scratch));
    ck_assert_mem_eq(from->f, to->f, sizeof(to->f));
    for (unsigned i = 0; i < 32; i++) {
        bool is_address = i == REG_SP || i == prog.blocks[4].base;
        ck_assert_uint_eq(to->x[i], is_address ? PROGRAM_DATA_GPA + RAND_SCRATCH_BELOW : from->x[i]);
    }
    program_free(&single);
    rand_prog_free(&prog);
}
END_TEST

/* ---- encoders against the decoder ---- */

static void assert_offset(uint32_t bits, enum rv_row row, int32_t offset)
{
    struct rv_insn insn;
    rv_decode(bits, ISA_ALL, &insn);
    ck_assert_uint_eq(insn.row, row);
    ck_assert_int_eq(insn.imm, offset);
}

START_TEST(jump_offsets_decode_to_what_was_encoded)
{
    for (int32_t offset = -256; offset < 256; offset += 2)
        assert_offset(0xc001 | enc_cb_imm(offset), RV_ROW_c_beqz, offset);
    for (int32_t offset = -2048; offset < 2048; offset += 2)
        assert_offset(0xa001 | enc_cj_imm(offset), RV_ROW_c_j, offset);
    for (int32_t offset = -4096; offset < 4096; offset += 2)
        assert_offset(enc_bne(3, 4, offset), RV_ROW_bne, offset);
    for (int32_t offset = -1048576; offset < 1048576; offset += 1026)
        assert_offset(enc_jal(5, offset), RV_ROW_jal, offset);
}
END_TEST

static uint64_t la_result(const struct program *program, size_t at, uint64_t pc)
{
    uint32_t code[2];
    struct rv_insn auipc, addi;
    memcpy(code, program->code + at, sizeof(code));
    rv_decode(code[0], ISA_ALL, &auipc);
    rv_decode(code[1], ISA_ALL, &addi);
    ck_assert_uint_eq(auipc.row, RV_ROW_auipc);
    ck_assert_uint_eq(addi.row, RV_ROW_addi);
    return pc + (uint64_t)(int64_t)auipc.imm + (uint64_t)(int64_t)addi.imm;
}

START_TEST(addresses_are_loaded_exactly)
{
    static const uint64_t addresses[] = {PROGRAM_CODE_GPA,          PROGRAM_DATA_GPA,         PROGRAM_DATA_GPA + 0x7ff,
                                         PROGRAM_DATA_GPA + 0x800,  PROGRAM_DATA_GPA + 0x801, PROGRAM_DATA_GPA + 0xfff,
                                         PROGRAM_DATA_GPA + 123456, PROGRAM_CODE_GPA - 0x900};
    struct program program;
    program_init(&program, 8);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(addresses); i++) {
        uint64_t pc = program_pc(&program);
        program_la(&program, REG_T0, addresses[i]);
        ck_assert_uint_eq(la_result(&program, pc - PROGRAM_CODE_GPA, pc), addresses[i]);
    }
    program_free(&program);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("randprog");
    TCase *generator = tcase_create("generator");
    tcase_set_timeout(generator, 60);
    tcase_add_test(generator, same_seed_gives_the_same_program);
    tcase_add_test(generator, another_seed_or_number_gives_another_program);
    tcase_add_test(generator, every_row_that_can_run_is_generated);
    tcase_add_test(generator, every_generated_instruction_decodes);
    suite_add_tcase(suite, generator);
    TCase *comparison = tcase_create("comparison");
    tcase_add_test(comparison, one_changed_bit_is_found_and_named);
    suite_add_tcase(suite, comparison);
    TCase *minimising = tcase_create("minimising");
    tcase_set_timeout(minimising, 60);
    tcase_add_test(minimising, minimising_keeps_the_items_that_fail_together);
    tcase_add_test(minimising, minimising_what_does_not_fail_changes_nothing);
    tcase_add_test(minimising, single_block_program_keeps_the_input);
    suite_add_tcase(suite, minimising);
    TCase *encoders = tcase_create("encoders");
    tcase_add_test(encoders, jump_offsets_decode_to_what_was_encoded);
    tcase_add_test(encoders, addresses_are_loaded_exactly);
    suite_add_tcase(suite, encoders);

    return run_suite(suite);
}
