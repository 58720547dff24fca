/* Host tool of the build: checks the instruction table and writes what is made from it.
 *
 *   isagen             the decoder's matching functions and the operands of each body, as C, on standard output
 *   isagen --markdown  the table of docs/isa-coverage.md
 *
 * The table is compiled in: rows.def, or the file that ISA_ROWS_FILE names (the tool's own tests give it broken
 * ones). A table that breaks a rule gives one line a broken rule on standard error, nothing on standard output and exit
 * code 1, so that a build with it stops. A row whose encodings another row also takes is the mistake this exists for:
 * whichever were tried first would win, and silently.
 *
 * Matching is a tree of switches. At each step the rows still possible share some tested bits; the run of neighbouring
 * ones with the most different values becomes a switch (opcode first, then funct3, and so on). Rows that share
 * no more bits are told apart by comparing, in any order, since no two take the same encoding.
 */
#include "engine/isa/riscv/formats.h"
#include "engine/isa/riscv/isa.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifndef ISA_ROWS_FILE
#define ISA_ROWS_FILE "engine/isa/riscv/rows.def"
#endif

enum { EXCEPTS_MAX = 3 };

struct bit_pattern {
    uint32_t mask, match;
};

/* One line of the table. `sem` is its own id for an INSN. */
struct row {
    const char *id, *mnemonic, *format, *sem, *syntax;
    isa_set isa;
    struct bit_pattern takes;
    struct bit_pattern excepts[EXCEPTS_MAX];
};

static const struct row rows[] = {
#define INSN_EXCEPT3(id_, mnemonic_, format_, match_, mask_, xmask1_, xmatch1_, xmask2_, xmatch2_, xmask3_, xmatch3_, \
                     isa_, effects_, syntax_)                                                                         \
    {.id = #id_,                                                                                                      \
     .mnemonic = mnemonic_,                                                                                           \
     .format = #format_,                                                                                              \
     .sem = #id_,                                                                                                     \
     .isa = isa_,                                                                                                     \
     .syntax = syntax_,                                                                                               \
     .takes = {mask_, match_},                                                                                        \
     .excepts = {{xmask1_, xmatch1_}, {xmask2_, xmatch2_}, {xmask3_, xmatch3_}}},
#define INSN_EXCEPT2(id_, mnemonic_, format_, match_, mask_, xmask1_, xmatch1_, xmask2_, xmatch2_, isa_, effects_,   \
                     syntax_)                                                                                        \
    INSN_EXCEPT3(id_, mnemonic_, format_, match_, mask_, xmask1_, xmatch1_, xmask2_, xmatch2_, 0, 0, isa_, effects_, \
                 syntax_)
#define INSN_EXCEPT(id_, mnemonic_, format_, match_, mask_, xmask_, xmatch_, isa_, effects_, syntax_) \
    INSN_EXCEPT2(id_, mnemonic_, format_, match_, mask_, xmask_, xmatch_, 0, 0, isa_, effects_, syntax_)
#define INSN(id_, mnemonic_, format_, match_, mask_, isa_, effects_, syntax_) \
    INSN_EXCEPT(id_, mnemonic_, format_, match_, mask_, 0, 0, isa_, effects_, syntax_)
#define FORM(id_, mnemonic_, format_, match_, mask_, xmask1_, xmatch1_, xmask2_, xmatch2_, isa_, sem_, syntax_) \
    {.id = #id_,                                                                                                \
     .mnemonic = mnemonic_,                                                                                     \
     .format = #format_,                                                                                        \
     .sem = #sem_,                                                                                              \
     .isa = isa_,                                                                                               \
     .syntax = syntax_,                                                                                         \
     .takes = {mask_, match_},                                                                                  \
     .excepts = {{xmask1_, xmatch1_}, {xmask2_, xmatch2_}}},
#include ISA_ROWS_FILE
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static const struct format {
    const char *name;
    unsigned len_bytes;
    uint32_t fields;
} formats[] = {
#define X(name, length, fields, ...) {#name, length, fields},
    RV_FORMATS(X)
#undef X
};

/* ---- checks ---- */

static unsigned problem_count;

static void problem(const struct row *row, const char *text)
{
    fprintf(stderr, "isagen: row %s: %s\n", row->id, text);
    problem_count++;
}

static void problem_named(const struct row *row, const char *text, const char *name)
{
    fprintf(stderr, "isagen: row %s: %s %s\n", row->id, text, name);
    problem_count++;
}

static const struct format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    }
    return NULL;
}

static bool is_form(const struct row *row)
{
    return strcmp(row->sem, row->id) != 0;
}

static bool insn_exists(const char *id)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (!is_form(&rows[i]) && strcmp(rows[i].id, id) == 0)
            return true;
    }
    return false;
}

/* The two low bits say how long an encoding is; bits 4..2 all set begin one of more than 32 bits. */
static bool is_short(const struct row *row)
{
    return (row->takes.match & 3) != 3;
}

static void check_length(const struct row *row, const struct format *format)
{
    if ((row->takes.mask & 3) != 3)
        problem(row, "the mask leaves out bits 1..0, which say how long the encoding is");
    else if (is_short(row) && (row->takes.mask | row->takes.match) > 0xffff)
        problem(row, "a 16-bit encoding with a mask or match of more than 16 bits");
    else if (format && format->len_bytes != (is_short(row) ? 2u : 4u))
        problem_named(row, "the length of the encoding is not that of the format", row->format);
    else if (!is_short(row) && (row->takes.mask & row->takes.match & 0x1c) == 0x1c)
        problem(row, "bits 4..2 are all set: an encoding of more than 32 bits");
}

static void check_patterns(const struct row *row, const struct format *format)
{
    uint32_t all = is_short(row) ? 0xffff : 0xffffffff;

    if (row->takes.match & ~row->takes.mask)
        problem(row, "match has bits that are not in mask");
    if (format && ((row->takes.mask & format->fields) || (row->takes.mask | format->fields) != all))
        problem_named(row, "mask and operand fields do not share out all bits between them; format", row->format);
    for (size_t i = 0; i < EXCEPTS_MAX; i++) {
        const struct bit_pattern *except = &row->excepts[i];

        if (except->match & ~except->mask)
            problem(row, "an exception's match has bits that are not in its mask");
        else if (except->mask & ~all)
            problem(row, "an exception's mask is longer than the encoding");
        else if (except->mask && ((except->match ^ row->takes.match) & except->mask & row->takes.mask))
            problem(row, "an exception leaves out encodings that the row does not take");
        else if (except->mask && !(except->mask & ~row->takes.mask))
            problem(row, "an exception leaves out every encoding of the row");
    }
}

static void check_row(size_t index)
{
    const struct row *row = &rows[index];
    const struct format *format = find_format(row->format);

    if (!format)
        problem_named(row, "unknown format", row->format);
    check_length(row, format);
    check_patterns(row, format);
    if (is_form(row) && !insn_exists(row->sem))
        problem_named(row, "no INSN row for its semantics", row->sem);
    for (size_t i = 0; i < index; i++) {
        if (strcmp(rows[i].id, row->id) == 0)
            problem(row, "the id is used twice");
    }
}

/* Is there an encoding that has `chosen`'s bits and none of the patterns in excepts[0..count)? It must differ from each
 * in at least one bit, so: take the first, try each free bit of it as the differing one, go on with the rest. */
static bool can_avoid(struct bit_pattern chosen, const struct bit_pattern *excepts, size_t count)
{
    if (count == 0)
        return true;
    if (((chosen.match ^ excepts->match) & chosen.mask & excepts->mask) || !excepts->mask)
        return can_avoid(chosen, excepts + 1, count - 1);

    for (uint32_t left = excepts->mask & ~chosen.mask; left; left &= left - 1) {
        uint32_t bit = left & -left;
        struct bit_pattern with_bit = {chosen.mask | bit, chosen.match | (~excepts->match & bit)};

        if (can_avoid(with_bit, excepts + 1, count - 1))
            return true;
    }
    return false;
}

static bool overlap(const struct row *a, const struct row *b)
{
    struct bit_pattern both = {a->takes.mask | b->takes.mask, a->takes.match | b->takes.match};
    struct bit_pattern excepts[2 * EXCEPTS_MAX];

    if ((a->takes.match ^ b->takes.match) & a->takes.mask & b->takes.mask)
        return false;
    memcpy(excepts, a->excepts, sizeof(a->excepts));
    memcpy(excepts + EXCEPTS_MAX, b->excepts, sizeof(b->excepts));
    return can_avoid(both, excepts, 2 * EXCEPTS_MAX);
}

static void check_table(void)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        check_row(i);
    if (problem_count)
        return;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        for (size_t j = 0; j < i; j++) {
            if (overlap(&rows[i], &rows[j]))
                problem_named(&rows[i], "takes encodings that are also taken by row", rows[j].id);
        }
    }
}

/* ---- the decision tree ---- */

/* Rows that are still possible at a place in the tree. */
struct row_set {
    int rows[ROW_COUNT];
    size_t count;
};

struct bit_run {
    unsigned low, width;
};

static uint32_t run_value(struct bit_run run, uint32_t bits)
{
    return (bits >> run.low) & ((1u << run.width) - 1);
}

static uint32_t run_mask(struct bit_run run)
{
    return ((1u << run.width) - 1) << run.low;
}

static size_t count_values(const struct row_set *set, struct bit_run run)
{
    size_t count = 0;

    for (size_t i = 0; i < set->count; i++) {
        bool seen = false;

        for (size_t j = 0; j < i && !seen; j++)
            seen = run_value(run, rows[set->rows[i]].takes.match) == run_value(run, rows[set->rows[j]].takes.match);
        count += !seen;
    }
    return count;
}

/* Of the bits that all rows of the set test and that are not yet known, the run with the most different values. False
 * when none tells two rows apart. */
static bool choose_run(const struct row_set *set, uint32_t known, struct bit_run *best)
{
    uint32_t common = ~known;
    size_t best_values = 1;

    for (size_t i = 0; i < set->count; i++)
        common &= rows[set->rows[i]].takes.mask;
    for (unsigned low = 0; low < 32; low++) {
        struct bit_run run = {low, 0};

        while (run.width < 8 && low + run.width < 32 && (common >> (low + run.width) & 1))
            run.width++;
        if (run.width && count_values(set, run) > best_values) {
            best_values = count_values(set, run);
            *best = run;
        }
    }
    return best_values > 1;
}

static void indent(unsigned depth)
{
    printf("%*s", (int)(4 * depth), "");
}

/* Writes "if this is the row, return it"; false when nothing was left to compare, so that the return is unconditional.
 */
static bool print_comparison(const struct row *row, uint32_t known, unsigned depth)
{
    uint32_t rest = row->takes.mask & ~known;
    bool any = false;

    indent(depth);
    if (rest) {
        printf("if ((bits & 0x%xu) == 0x%xu", rest, row->takes.match & rest);
        any = true;
    }
    for (size_t i = 0; i < EXCEPTS_MAX; i++) {
        const struct bit_pattern *except = &row->excepts[i];

        if (!except->mask)
            continue;
        printf("%s(bits & 0x%xu) != 0x%xu", any ? " && " : "if (", except->mask, except->match);
        any = true;
    }
    if (any) {
        printf(")\n");
        indent(depth + 1);
    }
    printf("return RV_ROW_%s;\n", row->id);
    return any;
}

/* The rows of `set` whose bits in `run` are `value`. */
static void select_rows(const struct row_set *set, struct bit_run run, uint32_t value, struct row_set *part)
{
    part->count = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (run_value(run, rows[set->rows[i]].takes.match) == value)
            part->rows[part->count++] = set->rows[i];
    }
}

/* Writes statements that return the row. False when control cannot reach what follows them. */
static bool print_tree(const struct row_set *set, uint32_t known, unsigned depth)
{
    struct bit_run run = {0, 0};
    struct row_set part;

    if (!choose_run(set, known, &run)) {
        bool falls = true;

        for (size_t i = 0; i < set->count; i++)
            falls = print_comparison(&rows[set->rows[i]], known, depth);
        return falls;
    }
    indent(depth);
    printf("switch (bits >> %u & 0x%x) {\n", run.low, (1u << run.width) - 1);
    for (uint32_t value = 0; value < 1u << run.width; value++) {
        select_rows(set, run, value, &part);
        if (part.count == 0)
            continue;
        indent(depth);
        printf("case 0x%x:\n", value);
        if (print_tree(&part, known | run_mask(run), depth + 1)) {
            indent(depth + 1);
            printf("break;\n");
        }
    }
    indent(depth);
    printf("}\n");
    return true;
}

static void print_matcher(const char *name, bool short_rows)
{
    struct row_set set = {.count = 0};

    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (is_short(&rows[i]) == short_rows)
            set.rows[set.count++] = (int)i;
    }
    printf("\nstatic enum rv_row %s(uint32_t bits)\n{\n", name);
    print_tree(&set, 0, 1);
    printf("    return RV_ROW_illegal;\n}\n");
}

/* The words of an operand syntax that name registers, and what decode.h calls them. */
static void print_operands(const char *syntax)
{
    static const char *const words[][2] = {
        {"rd", "RV_X_RD"},
        {"rs1", "RV_X_RS1"},
        {"rs2", "RV_X_RS2"},
        {"frd", "RV_F_RD"},
        {"frs1", "RV_F_RS1"},
        {"frs2", "RV_F_RS2"},
        {"frs3", "RV_F_RS3"},
        {"rd_rw", "RV_X_RD | RV_X_RD_READ"},
        {"rd_pair", "RV_X_RD | RV_X_RD_READ | RV_X_PAIRS"},
        {"rs2_pair", "RV_X_RS2"},
    };

    for (const char *at = syntax; *at; at += strspn(at, " ,()[]")) {
        size_t len = strcspn(at, " ,()[]");
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (strlen(words[i][0]) == len && memcmp(words[i][0], at, len) == 0)
                printf(" | %s", words[i][1]);
        }
        at += len;
    }
}

static void print_sem_operands(void)
{
    printf("\nstatic const uint16_t sem_operands[RV_SEM_COUNT] = {\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (is_form(&rows[i]))
            continue;
        printf("    [RV_SEM_%s] = 0", rows[i].id);
        print_operands(rows[i].syntax);
        printf(",\n");
    }
    printf("};\n");
}

static void print_decoder(void)
{
    printf("/* Made by isagen from the instruction table (rows.def). Included by decode.c. */\n");
    print_matcher("rv_match_short", true);
    print_matcher("rv_match_long", false);
    print_sem_operands();
}

/* ---- the coverage table ---- */

static void print_extensions(isa_set isa, const char *separator)
{
    static const char *const names[] = {
#define X(id, name) #id,
        ISA_EXTENSIONS(X)
#undef X
    };
    static const isa_set groups[] = {
#define X(id, members) members,
        ISA_GROUPS(X)
#undef X
    };
    const char *before = "";

    for (unsigned bit = 0; bit < ISA_BIT_COUNT; bit++) {
        if (!(isa >> bit & 1))
            continue;
        fputs(before, stdout);
        before = separator;
        if (bit >= ISA_EXT_COUNT) {
            print_extensions(groups[bit - ISA_EXT_COUNT], " or ");
            continue;
        }
        /* ZBA is written Zba; single letters stay */
        putchar(names[bit][0]);
        for (const char *c = names[bit] + 1; *c; c++)
            putchar(tolower((unsigned char)*c));
    }
}

/* Bits from the highest down: 0 and 1 are fixed, a dash is an operand's. */
static void print_encoding(const struct row *row)
{
    for (unsigned bit = is_short(row) ? 16 : 32; bit-- > 0;)
        putchar(!(row->takes.mask >> bit & 1) ? '-' : (row->takes.match >> bit & 1) ? '1' : '0');
}

static size_t count_forms(bool forms)
{
    size_t count = 0;

    for (size_t i = 0; i < ROW_COUNT; i++)
        count += is_form(&rows[i]) == forms;
    return count;
}

static void print_section(isa_set isa)
{
    printf("\n## ");
    print_extensions(isa, " + ");
    printf("\n\n| instruction | operands | encoding | body |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].isa != isa)
            continue;
        printf("| `%s` | `%s` | `", rows[i].mnemonic, rows[i].syntax[0] ? rows[i].syntax : "-");
        print_encoding(&rows[i]);
        printf("` | `%s` |\n", rows[i].sem);
    }
}

static void print_markdown(void)
{
    printf("# Instructions\n\n"
           "Written by `isagen --markdown` from `engine/isa/riscv/rows.def`; a test compares the two, so do not edit "
           "it.\n\n"
           "%zu instructions have a semantic body of their own, %zu rows are further encodings of one of them. In the\n"
           "encodings a dash is an operand's bit. `sem_*.h` holds the bodies.\n",
           count_forms(false), count_forms(true));
    for (size_t i = 0; i < ROW_COUNT; i++) {
        bool seen = false;

        for (size_t j = 0; j < i && !seen; j++)
            seen = rows[j].isa == rows[i].isa;
        if (!seen)
            print_section(rows[i].isa);
    }
}

int main(int argc, char **argv)
{
    bool markdown = argc == 2 && strcmp(argv[1], "--markdown") == 0;

    if (argc > 2 || (argc == 2 && !markdown)) {
        fprintf(stderr, "usage: isagen [--markdown]\n");
        return 2;
    }
    check_table();
    if (problem_count)
        return 1;
    if (markdown)
        print_markdown();
    else
        print_decoder();
    if (fflush(stdout) != 0) {
        fprintf(stderr, "isagen: writing: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}
