/* The decoder: the generated match, the gate of extensions, then the operands of the row's format.
 *
 * It runs for every instruction that is translated, so it is two switches (the generated one over encodings, one over
 * formats) and a row of a constant table. It has no state: the same bits and extensions always give the same answer.
 */
#include "engine/isa/riscv/decode.h"

#include "engine/isa/riscv/formats.h"
#include "engine/isa/riscv/isa.h"

/* rv_match_short(bits) and rv_match_long(bits): enum rv_row of an encoding, every extension present; sem_operands[]. */
#include "decode_gen.inc"

/* What an INSN's forms take over from it. */
enum {
#define INSN(id, mnemonic, format, match, mask, isa, effects, syntax) EFFECTS_##id = (effects),
#include "engine/isa/riscv/rows.def"
};

enum {
#define X(name, length, fields, ...) LENGTH_##name = (length),
    RV_FORMATS(X)
#undef X
};

const struct rv_row_info rv_rows[RV_ROW_COUNT] = {
    [RV_ROW_illegal] = {.id = "illegal", .mnemonic = "illegal", .format = "NONE", .syntax = "", .len_bytes = 4},
#define INSN(id_, mnemonic_, format_, match_, mask_, isa_, effects_, syntax_) \
    [RV_ROW_##id_] = {.id = #id_,                                             \
                      .mnemonic = mnemonic_,                                  \
                      .format = #format_,                                     \
                      .syntax = syntax_,                                      \
                      .match = match_,                                        \
                      .mask = mask_,                                          \
                      .isa = isa_,                                            \
                      .sem = RV_SEM_##id_,                                    \
                      .effects = effects_,                                    \
                      .len_bytes = LENGTH_##format_},
#define FORM(id_, mnemonic_, format_, match_, mask_, x1, v1, x2, v2, isa_, sem_, syntax_) \
    [RV_ROW_##id_] = {.id = #id_,                                                         \
                      .mnemonic = mnemonic_,                                              \
                      .format = #format_,                                                 \
                      .syntax = syntax_,                                                  \
                      .match = match_,                                                    \
                      .mask = mask_,                                                      \
                      .isa = isa_,                                                        \
                      .sem = RV_SEM_##sem_,                                               \
                      .effects = EFFECTS_##sem_,                                          \
                      .len_bytes = LENGTH_##format_},
#include "engine/isa/riscv/rows.def"
};

static const uint8_t row_formats[RV_ROW_COUNT] = {
#define INSN(id, mnemonic, format, ...) [RV_ROW_##id] = RV_FORMAT_##format,
#define FORM(id, mnemonic, format, ...) [RV_ROW_##id] = RV_FORMAT_##format,
#include "engine/isa/riscv/rows.def"
};

static void decode_operands(enum rv_format format, uint32_t w, struct rv_insn *o)
{
    switch (format) {
#define X(name, len_bytes, fields, ...) \
    case RV_FORMAT_##name:              \
        __VA_ARGS__ break;
        RV_FORMATS(X)
#undef X
    case RV_FORMAT_COUNT:
        break;
    }
}

void rv_decode(uint32_t bits, isa_set isa, struct rv_insn *out)
{
    unsigned len_bytes = rv_insn_len_bytes((uint16_t)bits);
    uint32_t raw = len_bytes == 2 ? bits & 0xffff : bits;
    enum rv_row row = len_bytes == 2 ? rv_match_short(raw) : rv_match_long(raw);
    const struct rv_row_info *info = &rv_rows[row];

    if (row == RV_ROW_illegal || (info->isa & ~isa_with_groups(isa))) {
        *out =
            (struct rv_insn){.row = RV_ROW_illegal, .sem = RV_SEM_illegal, .len_bytes = (uint8_t)len_bytes, .raw = raw};
        return;
    }
    *out = (struct rv_insn){
        .row = (uint16_t)row, .sem = info->sem, .len_bytes = (uint8_t)len_bytes, .effects = info->effects, .raw = raw};
    decode_operands(row_formats[row], raw, out);
}

static const uint16_t sem_rows[RV_SEM_COUNT] = {
#define INSN(id, ...) [RV_SEM_##id] = RV_ROW_##id,
#include "engine/isa/riscv/rows.def"
};

unsigned rv_sem_operands(unsigned sem)
{
    return sem_operands[sem];
}

const char *rv_sem_name(unsigned sem)
{
    static const char *const without_row[] = {
#define X(id) #id,
        RV_BODIES_WITHOUT_ROW(X)
#undef X
    };

    return sem_rows[sem] ? rv_rows[sem_rows[sem]].id : without_row[sem];
}

unsigned rv_sem_effects(unsigned sem)
{
    return sem_rows[sem] ? rv_rows[sem_rows[sem]].effects : RV_END;
}
