/* Fuzz target (libFuzzer): any 32 bits, any set of extensions. Decoding is a function of both, what it gives is in
 * range for everything that indexes with it, and disassembly stays inside its buffer.
 *
 * Input: 4 bytes of encoding, 8 bytes of extensions, 1 byte of buffer length; what is missing is zero.
 */
#include "engine/isa/riscv/decode.h"
#include "engine/isa/riscv/isa.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint32_t bits;
    isa_set isa;
    uint8_t text_bytes;
};

#define REQUIRE(condition)                                                                                           \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            fprintf(stderr, "bits %08x isa %016llx%016llx: not %s\n", in->bits, (unsigned long long)(in->isa >> 64), \
                    (unsigned long long)in->isa, #condition);                                                        \
            abort();                                                                                                 \
        }                                                                                                            \
    } while (0)

static struct input read_input(const uint8_t *data, size_t size)
{
    uint8_t bytes[21] = {0};
    uint64_t isa[2];
    struct input in;

    memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
    memcpy(&in.bits, bytes, 4);
    memcpy(&isa[0], bytes + 4, 8);
    memcpy(&isa[1], bytes + 13, 8);
    in.isa = (isa_set)isa[1] << 64 | isa[0];
    in.text_bytes = bytes[12];
    return in;
}

static void check_is_a_function(const struct input *in, const struct rv_insn *insn)
{
    struct rv_insn again;

    memset(&again, 0xa5, sizeof(again));
    rv_decode(in->bits, in->isa, &again);
    REQUIRE(memcmp(insn, &again, sizeof(again)) == 0);
    /* a longer list of extensions never makes an instruction another one */
    rv_decode(in->bits, in->isa | ISA_ALL, &again);
    REQUIRE(insn->row == RV_ROW_illegal || memcmp(insn, &again, sizeof(again)) == 0);
}

static void check_ranges(const struct input *in, const struct rv_insn *insn)
{
    const struct rv_row_info *row = &rv_rows[insn->row];

    REQUIRE(insn->row < RV_ROW_COUNT && insn->sem < RV_SEM_COUNT);
    REQUIRE((insn->row == RV_ROW_illegal) == (insn->sem == RV_SEM_illegal));
    REQUIRE(insn->len_bytes == rv_insn_len_bytes((uint16_t)in->bits));
    REQUIRE(insn->raw == (insn->len_bytes == 2 ? in->bits & 0xffff : in->bits));
    REQUIRE(insn->rd < 32 && insn->rs1 < 32 && insn->rs2 < 32 && insn->rs3 < 32 && insn->rm < 8);
    if (insn->row == RV_ROW_illegal)
        return;
    REQUIRE((insn->raw & row->mask) == row->match);
    REQUIRE(insn->len_bytes == row->len_bytes && insn->sem == row->sem && insn->effects == row->effects);
    REQUIRE((row->isa & ~isa_with_groups(in->isa)) == 0);
    REQUIRE(!(insn->effects & (RV_BRANCH | RV_JUMP)) || !(insn->imm & 1));
}

static void check_text(const struct input *in, const struct rv_insn *insn)
{
    char whole[256];
    size_t length = rv_disassemble(insn, whole, sizeof(whole));
    char *part = malloc(in->text_bytes ? in->text_bytes : 1); /* its exact size, for the address sanitizer */

    REQUIRE(length == strlen(whole) && length > 0);
    if (!part)
        return;
    REQUIRE(rv_disassemble(insn, part, in->text_bytes) == length);
    if (in->text_bytes) {
        REQUIRE(strlen(part) == (length < in->text_bytes ? length : in->text_bytes - 1u));
        REQUIRE(strncmp(part, whole, strlen(part)) == 0);
    }
    free(part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct input input = read_input(data, size), *in = &input;
    struct rv_insn insn;

    memset(&insn, 0x5a, sizeof(insn));
    rv_decode(in->bits, in->isa, &insn);
    check_is_a_function(in, &insn);
    check_ranges(in, &insn);
    check_text(in, &insn);

    /* what decoding never gives, a reader of damaged memory might: the text is odd, the process lives */
    memcpy(&insn, data, size < sizeof(insn) ? size : sizeof(insn));
    (void)rv_disassemble(&insn, (char[8]){0}, 8);
    return 0;
}
