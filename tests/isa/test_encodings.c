/* The table against llvm-mc: the same encodings are instructions, and they read the same.
 *
 * 16-bit encodings are compared one and all. Of 32-bit ones: every row with many operands, every row with each of its
 * fixed bits wrong, and random words. What differs on purpose is listed in differs_on_purpose().
 */
#include "engine/isa/riscv/decode.h"
#include "engine/isa/riscv/isa.h"
#include "llvm_mc.h"
#include "run_suite.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTRIBUTES                                              \
    "+m,+a,+f,+d,+c,+zicsr,+zifencei,+zba,+zbb,+zbs"            \
    ",+zicond,+zbc,+zbkb,+zbkc,+zbkx,+zimop,+zmmul,+zcb,+zcmop" \
    ",+zknd,+zkne,+zknh,+zksed,+zksh"                           \
    ",+zfa,+zfbfmin,+zfh,+zfhmin"                               \
    ",+zicbom,+zicbop,+zicboz,+zabha,+experimental-zacas,+zawrs,+svinval"

enum {
    OPERANDS_PER_ROW = 60,
    NEAR_MISSES_PER_BIT = 2,
    RANDOM_WORDS = 100000,
    MISMATCHES_SHOWN = 20,
};

/* xorshift64*: the same words in every run, so that a failure can be looked at. */
static uint64_t random_state;

static uint32_t random_word(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1dull) >> 32);
}

static void seed(void)
{
    random_state = 0x9e3779b97f4a7c15ull;
}

struct encodings {
    uint32_t *words;
    size_t count, capacity;
};

static void add(struct encodings *e, uint32_t word)
{
    if (e->count == e->capacity) {
        size_t capacity = e->capacity ? 2 * e->capacity : 1024;
        uint32_t *words = realloc(e->words, capacity * sizeof(*words));

        ck_assert_ptr_nonnull(words);
        e->words = words;
        e->capacity = capacity;
    }
    e->words[e->count++] = word;
}

static const struct rv_row_info *row_of(const struct rv_insn *insn)
{
    return &rv_rows[insn->row];
}

/* Where this table and llvm-mc part company, with the manual on the table's side:
 * - FENCE and FENCE.I ignore fields that are reserved for finer fences, and FENCE treats reserved modes as fm = 0
 *   ("Memory Ordering Instructions", "Zifencei"); llvm-mc refuses them;
 * - rounding modes 5 and 6 are decided when the instruction runs (frm may hold them as well), so they decode; llvm-mc
 * refuses them;
 * - FCVTMOD.W.D is reserved with other rounding modes than RTZ (chapter "Zfa"); llvm-mc takes the others but 5 and 6;
 * - C.LUI with imm = 0 is reserved (section "Integer Constant-Generation Instructions" of "C"); llvm-mc 19 takes it;
 * - AES64KS1I with a round above 10 is reserved (chapter "Cryptography Extensions"); llvm-mc 19 takes it;
 * - MNRET (chapter "Smrnmi") is unknown to llvm-mc 19; SSAMOSWAP comes with names for some of Zimop's encodings, which
 *   here are what they are where shadow stacks are off;
 * - the all-zero parcel is defined to be illegal; llvm-mc reads it as c.unimp. */
static bool differs_on_purpose(uint32_t word, const struct rv_insn *insn, const char *theirs)
{
    if (insn->sem == RV_SEM_fence)
        return theirs[0] == 0 && (word & 0xf00fff80) != 0;
    if (insn->sem == RV_SEM_mnret || insn->sem == RV_SEM_ssamoswap_w || insn->sem == RV_SEM_ssamoswap_d)
        return theirs[0] == 0;
    if (insn->sem == RV_SEM_fence_i)
        return theirs[0] == 0 && (word & 0xffffff80) != 0;
    if (row_of(insn)->effects & RV_RM)
        return theirs[0] == 0 && (insn->rm == 5 || insn->rm == 6);
    if (insn->row != RV_ROW_illegal)
        return false;
    if (word == 0)
        return strcmp(theirs, "c.unimp") == 0;
    if ((word & 0xff00707f) == 0x31001013)
        return (word >> 20 & 15) > 10 && strncmp(theirs, "aes64ks1i ", 10) == 0;
    if (strncmp(theirs, "fcvtmod.w.d ", 12) == 0)
        return (word >> 12 & 7) != 1;
    return (word & 0xfffff07f) == 0x6001 && strncmp(theirs, "c.lui ", 6) == 0;
}

static bool agrees(uint32_t word, const struct rv_insn *insn, const char *ours, const char *theirs)
{
    if (differs_on_purpose(word, insn, theirs))
        return true;
    if (insn->row == RV_ROW_illegal)
        return theirs[0] == 0;
    return strcmp(ours, theirs) == 0;
}

static void compare_with_llvm_mc(const struct encodings *e)
{
    struct llvm_mc_line *lines = llvm_mc_disassemble(e->words, e->count, ATTRIBUTES);
    size_t mismatches = 0;

    for (size_t i = 0; i < e->count; i++) {
        struct rv_insn insn;
        char text[LLVM_MC_TEXT_BYTES];

        rv_decode(e->words[i], ISA_ALL, &insn);
        rv_disassemble(&insn, text, sizeof(text));
        if (agrees(e->words[i], &insn, text, lines[i].text))
            continue;
        if (mismatches++ < MISMATCHES_SHOWN)
            fprintf(stderr, "%08x: \"%s\", llvm-mc: \"%s\"\n", e->words[i], text, lines[i].text);
    }
    free(lines);
    ck_assert_msg(mismatches == 0, "%zu of %zu encodings differ", mismatches, e->count);
}

START_TEST(every_16_bit_encoding_reads_as_in_llvm_mc)
{
    struct encodings e = {0};

    for (uint32_t word = 0; word <= 0xffff; word++) {
        if ((word & 3) != 3)
            add(&e, word);
    }
    ck_assert_uint_eq(e.count, 3 * 0x4000);
    compare_with_llvm_mc(&e);
    free(e.words);
}
END_TEST

/* Operands that are all zeros, all ones, and one bit alone, then random ones. */
static void add_operands_of_row(struct encodings *e, const struct rv_row_info *row)
{
    add(e, row->match);
    add(e, row->match | ~row->mask);
    for (unsigned bit = 0; bit < 32; bit++) {
        if (~row->mask >> bit & 1)
            add(e, row->match | 1u << bit);
    }
    for (unsigned i = 0; i < OPERANDS_PER_ROW; i++)
        add(e, row->match | (random_word() & ~row->mask));
}

/* An exception to the row: some of its encodings are a row of their own. */
static bool is_exception_of(unsigned other, unsigned row)
{
    if (row == RV_ROW_aes64ks1i)
        return other == RV_ROW_illegal; /* a reserved round */
    return (rv_rows[other].mask & rv_rows[row].mask) == rv_rows[row].mask &&
           (rv_rows[other].match & rv_rows[row].mask) == rv_rows[row].match;
}

START_TEST(every_32_bit_row_decodes_to_itself_and_reads_as_in_llvm_mc)
{
    struct encodings e = {0};

    seed();
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        size_t first = e.count;

        if (rv_rows[row].len_bytes != 4)
            continue;
        add_operands_of_row(&e, &rv_rows[row]);
        for (size_t i = first; i < e.count; i++) {
            struct rv_insn insn;

            rv_decode(e.words[i], ISA_ALL, &insn);
            ck_assert_msg(insn.row == row || is_exception_of(insn.row, row), "%08x is %s, not %s", e.words[i],
                          row_of(&insn)->id, rv_rows[row].id);
        }
    }
    compare_with_llvm_mc(&e);
    free(e.words);
}
END_TEST

START_TEST(a_wrong_fixed_bit_reads_as_in_llvm_mc)
{
    struct encodings e = {0};

    seed();
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        if (rv_rows[row].len_bytes != 4)
            continue;
        for (unsigned bit = 2; bit < 32; bit++) {
            for (unsigned i = 0; (rv_rows[row].mask >> bit & 1) && i < NEAR_MISSES_PER_BIT; i++)
                add(&e, (rv_rows[row].match | (random_word() & ~rv_rows[row].mask)) ^ 1u << bit);
        }
    }
    compare_with_llvm_mc(&e);
    free(e.words);
}
END_TEST

START_TEST(random_words_read_as_in_llvm_mc)
{
    struct encodings e = {0};

    seed();
    for (unsigned i = 0; i < RANDOM_WORDS; i++)
        add(&e, random_word() | 3);
    compare_with_llvm_mc(&e);
    free(e.words);
}
END_TEST

START_TEST(every_csr_number_has_llvm_mcs_name)
{
    struct encodings e = {0};

    for (uint32_t number = 0; number < 0x1000; number++)
        add(&e, number << 20 | 0x00002573);
    compare_with_llvm_mc(&e);
    free(e.words);
}
END_TEST

/* The low 16 bits of an instruction of each length, then of the reserved longer ones: 48, 64, 80..176 and 192 or more
 * bits. */
START_TEST(encodings_of_more_than_32_bits_are_illegal)
{
    static const uint16_t parcels[] = {0x001f, 0x003f, 0x007f, 0x107f, 0x707f, 0xffff};

    for (size_t i = 0; i < sizeof(parcels) / sizeof(parcels[0]); i++) {
        struct rv_insn insn;

        rv_decode(0xabcd0000u | parcels[i], ISA_ALL, &insn);
        ck_assert_uint_eq(insn.row, RV_ROW_illegal);
        ck_assert_uint_eq(insn.len_bytes, 4);
        ck_assert_uint_eq(insn.raw, 0xabcd0000u | parcels[i]);
    }
}
END_TEST

/* One extension at a time is taken from both decoders, with those that need it or bring the same instructions. Zicsr
 * and Zifencei are left alone: llvm-mc gates neither. */
struct gate {
    uint64_t without;
    const char *attributes; /* these come behind ATTRIBUTES */
};

static const struct gate gates[] = {
    {ISA_EXT(M), "-m"},
    {ISA_EXT(M) | ISA_EXT(ZMMUL), "-m,-zmmul"},
    {ISA_EXT(A) | ISA_EXT(ZABHA) | ISA_EXT(ZACAS), "-a,-zaamo,-zalrsc,-zabha,-experimental-zacas"},
    {ISA_EXT(D), "-d"},
    {ISA_EXT(F) | ISA_EXT(D) | ISA_EXT(ZFA) | ISA_EXT(ZFBFMIN) | ISA_EXT(ZFH) | ISA_EXT(ZFHMIN),
     "-f,-d,-zfa,-zfbfmin,-zfh,-zfhmin"},
    {ISA_EXT(ZFA), "-zfa"},
    {ISA_EXT(ZFBFMIN), "-zfbfmin"},
    {ISA_EXT(ZFH), "-zfh"},
    {ISA_EXT(ZFBFMIN) | ISA_EXT(ZFH) | ISA_EXT(ZFHMIN), "-zfbfmin,-zfh,-zfhmin"},
    {ISA_EXT(C) | ISA_EXT(ZCB) | ISA_EXT(ZCMOP), "-c,-zca"},
    {ISA_EXT(ZCB), "-zcb"},
    {ISA_EXT(ZCMOP), "-zcmop"},
    {ISA_EXT(ZIMOP), "-zimop"},
    {ISA_EXT(ZICOND), "-zicond"},
    {ISA_EXT(ZBA), "-zba"},
    {ISA_EXT(ZBB), "-zbb"},
    {ISA_EXT(ZBB) | ISA_EXT(ZBKB), "-zbb,-zbkb"},
    {ISA_EXT(ZBC), "-zbc"},
    {ISA_EXT(ZBC) | ISA_EXT(ZBKC), "-zbc,-zbkc"},
    {ISA_EXT(ZBKB), "-zbkb"},
    {ISA_EXT(ZBKC), "-zbkc"},
    {ISA_EXT(ZBKX), "-zbkx"},
    {ISA_EXT(ZBS), "-zbs"},
    {ISA_EXT(ZKND), "-zknd"},
    {ISA_EXT(ZKNE), "-zkne"},
    {ISA_EXT(ZKND) | ISA_EXT(ZKNE), "-zknd,-zkne"},
    {ISA_EXT(ZKNH), "-zknh"},
    {ISA_EXT(ZKSED), "-zksed"},
    {ISA_EXT(ZKSH), "-zksh"},
    {ISA_EXT(ZICBOM), "-zicbom"},
    {ISA_EXT(ZICBOP), "-zicbop"}, /* hints: instructions all the same */
    {ISA_EXT(ZICBOZ), "-zicboz"},
    {ISA_EXT(ZABHA), "-zabha"},
    {ISA_EXT(ZACAS), "-experimental-zacas"},
    {ISA_EXT(ZAWRS), "-zawrs"},
    {ISA_EXT(SVINVAL), "-svinval"},
};

/* The row's first encoding that decodes to it: exceptions may give the very first ones to other rows. */
static uint32_t first_of_row(unsigned row)
{
    uint32_t fields = ~rv_rows[row].mask, at = 0;

    for (unsigned tries = 0; tries < 0x10000; tries++) {
        struct rv_insn insn;

        rv_decode(rv_rows[row].match | at, ISA_ALL, &insn);
        if (insn.row == row)
            return rv_rows[row].match | at;
        at = (at - fields) & fields; /* counts through the bits of `fields` */
    }
    ck_abort_msg("no encoding decodes to %s", rv_rows[row].id);
}

static void add_one_of_each_row(struct encodings *e)
{
    for (unsigned row = 1; row < RV_ROW_COUNT; row++)
        add(e, first_of_row(row));
}

START_TEST(an_absent_extension_takes_the_rows_away_that_llvm_mc_loses)
{
    const struct gate *gate = &gates[_i];
    struct encodings e = {0};
    struct llvm_mc_line *lines;
    char attributes[512];

    ck_assert_int_lt(snprintf(attributes, sizeof(attributes), "%s,%s", ATTRIBUTES, gate->attributes),
                     (int)sizeof(attributes));
    add_one_of_each_row(&e);
    lines = llvm_mc_disassemble(e.words, e.count, attributes);
    for (size_t i = 0; i < e.count; i++) {
        struct rv_insn insn;

        rv_decode(e.words[i], ISA_ALL & ~gate->without, &insn);
        ck_assert_msg((insn.row != RV_ROW_illegal) == (lines[i].text[0] != 0) ||
                          differs_on_purpose(e.words[i], &insn, lines[i].text),
                      "%s with %s: llvm-mc says \"%s\"", rv_rows[i + 1].id, gate->attributes, lines[i].text);
    }
    free(lines);
    free(e.words);
}
END_TEST

static void assert_decodes(uint32_t word, unsigned row, isa_set isa)
{
    struct rv_insn insn;

    rv_decode(word, isa, &insn);
    ck_assert_msg(insn.row == row, "%s wants more than its extensions, or less than %llx", rv_rows[row].id,
                  (unsigned long long)isa);
}

static void assert_illegal(uint32_t word, unsigned row, isa_set isa)
{
    struct rv_insn insn;

    rv_decode(word, isa, &insn);
    ck_assert_msg(insn.row == RV_ROW_illegal, "%s decodes with %llx only", rv_rows[row].id, (unsigned long long)isa);
    ck_assert_uint_eq(insn.sem, RV_SEM_illegal);
    ck_assert_uint_eq(insn.raw, word);
    ck_assert_uint_eq(insn.len_bytes, rv_rows[row].len_bytes);
}

START_TEST(a_row_needs_each_of_its_extensions_and_no_other)
{
    struct encodings e = {0};

    add_one_of_each_row(&e);
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        ck_assert_msg(rv_rows[row].isa != 0, "%s is in no extension", rv_rows[row].id);
        assert_decodes(e.words[row - 1], row, rv_rows[row].isa);
        for (unsigned bit = 0; bit < ISA_EXT_COUNT; bit++) {
            if (rv_rows[row].isa >> bit & 1)
                assert_illegal(e.words[row - 1], row, ISA_ALL & ~ISA_BIT(bit));
        }
    }
    free(e.words);
}
END_TEST

START_TEST(a_row_of_a_group_needs_any_one_of_it)
{
    static const uint64_t groups[] = {
#define X(id, members) members,
        ISA_GROUPS(X)
#undef X
    };
    struct encodings e = {0};

    add_one_of_each_row(&e);
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        for (unsigned group = 0; group < ISA_BIT_COUNT - ISA_EXT_COUNT; group++) {
            if (!(rv_rows[row].isa >> (ISA_EXT_COUNT + group) & 1))
                continue;
            assert_illegal(e.words[row - 1], row, ISA_ALL & ~groups[group]);
            for (uint64_t left = groups[group]; left; left &= left - 1)
                assert_decodes(e.words[row - 1], row, (ISA_ALL & ~groups[group]) | (left & -left));
        }
    }
    free(e.words);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("isa_encodings");
    TCase *tests = tcase_create("against_llvm_mc");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, every_16_bit_encoding_reads_as_in_llvm_mc);
    tcase_add_test(tests, every_32_bit_row_decodes_to_itself_and_reads_as_in_llvm_mc);
    tcase_add_test(tests, a_wrong_fixed_bit_reads_as_in_llvm_mc);
    tcase_add_test(tests, random_words_read_as_in_llvm_mc);
    tcase_add_test(tests, every_csr_number_has_llvm_mcs_name);
    tcase_add_test(tests, encodings_of_more_than_32_bits_are_illegal);
    tcase_add_loop_test(tests, an_absent_extension_takes_the_rows_away_that_llvm_mc_loses, 0,
                        sizeof(gates) / sizeof(gates[0]));
    tcase_add_test(tests, a_row_needs_each_of_its_extensions_and_no_other);
    tcase_add_test(tests, a_row_of_a_group_needs_any_one_of_it);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
