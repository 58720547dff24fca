/* Random test programs and their comparison: see randprog.h. */
#include "randprog.h"
#include "encode.h"
#include "values.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct rand_record) % 64 == 0, "records stay aligned for AMOs and cache blocks");
_Static_assert(sizeof(struct rand_record) - RAND_SCRATCH_BELOW < 2048, "a record is reached from x2 by 12-bit offsets");

#define FROM_BASE(member) ((int32_t)offsetof(struct rand_record, member) - RAND_SCRATCH_BELOW)

static uint64_t record_base_gpa(uint32_t record)
{
    return PROGRAM_DATA_GPA + (uint64_t)record * sizeof(struct rand_record) + RAND_SCRATCH_BELOW;
}

static struct rand_record *record_at(const struct program *program, uint32_t record)
{
    return (struct rand_record *)program->data + record;
}

/* The registers that point into the record itself. */
static void record_bind(struct rand_record *data, const struct rand_block *block, uint32_t record)
{
    data->x[REG_SP] = record_base_gpa(record);
    data->x[block->base] = record_base_gpa(record);
}

static void record_fill(struct rand_record *record, struct rng *rng, const struct rand_block *block)
{
    for (size_t i = 0; i < sizeof(record->scratch); i += 8) {
        uint64_t value = rng_one_in(rng, 3) ? value_integer(rng) : value_f_register(rng);
        memcpy(record->scratch + i, &value, 8);
    }
    for (unsigned i = 0; i < 32; i++) {
        record->f[i] = value_f_register(rng);
        record->x[i] = value_integer(rng);
    }
    record->x[0] = 0;
    record->x[block->counter] = rng_below(rng, 6);
    record->fcsr = rng_below(rng, 5) << 5 | rng_below(rng, 32);
}

/* Every register from the record x2 points to; x2 itself stays. */
static void emit_load_record(struct program *program)
{
    for (unsigned i = 0; i < 32; i++)
        program_put(program, enc_fld(i, REG_SP, FROM_BASE(f) + 8 * (int32_t)i));
    program_put(program, enc_ld(REG_RA, REG_SP, FROM_BASE(fcsr)));
    program_put(program, enc_csrrw(REG_ZERO, CSR_FCSR, REG_RA));
    for (unsigned i = 1; i < 32; i++) {
        if (i != REG_SP)
            program_put(program, enc_ld(i, REG_SP, FROM_BASE(x) + 8 * (int32_t)i));
    }
}

static void emit_store_record(struct program *program)
{
    for (unsigned i = 0; i < 32; i++)
        program_put(program, enc_sd(i, REG_SP, FROM_BASE(x) + 8 * (int32_t)i));
    program_put(program, enc_csrrs(REG_RA, CSR_FCSR, REG_ZERO));
    program_put(program, enc_sd(REG_RA, REG_SP, FROM_BASE(fcsr)));
    for (unsigned i = 0; i < 32; i++)
        program_put(program, enc_fsd(i, REG_SP, FROM_BASE(f) + 8 * (int32_t)i));
}

/* The block over records [first, first + count); returns how many of the instructions that will run are not the
 * block's. */
static uint64_t emit_block(struct program *program, const struct rand_block *block, uint32_t first, uint32_t count)
{
    size_t start = program->code_bytes;
    program_la(program, REG_SP, record_base_gpa(first));
    uint64_t once = (program->code_bytes - start) / 4;
    uint64_t loop = program_pc(program);
    size_t before = program->code_bytes;
    emit_load_record(program);
    size_t body = program->code_bytes;
    rand_block_emit(block, program);
    size_t after = program->code_bytes;
    emit_store_record(program);
    program_li(program, REG_T0, (int32_t)sizeof(struct rand_record));
    program_put(program, enc_add(REG_SP, REG_SP, REG_T0));
    program_la(program, REG_T0, record_base_gpa(first + count));
    program_put(program, enc_beq(REG_SP, REG_T0, 8));
    uint64_t each = (body - before + program->code_bytes - after) / 4;
    program_jump_back(program, loop);
    /* The jump back runs once less than the rest. */
    return once + count * each + count - 1;
}

void rand_prog_create(struct rand_prog *prog, const struct rand_config *config)
{
    *prog = (struct rand_prog){.config = *config, .blocks = calloc(config->blocks, sizeof(*prog->blocks))};
    if (!prog->blocks)
        abort();
    program_init(&prog->program, (size_t)config->blocks * config->inputs * sizeof(struct rand_record));
    for (uint32_t b = 0; b < config->blocks; b++) {
        struct rng rng = rng_derive(config->seed, config->program, b);
        rand_block_create(&prog->blocks[b], &rng, config->items);
        for (uint32_t i = 0; i < config->inputs; i++) {
            uint32_t record = b * config->inputs + i;
            record_fill(record_at(&prog->program, record), &rng, &prog->blocks[b]);
            record_bind(record_at(&prog->program, record), &prog->blocks[b], record);
        }
        prog->overhead_insns += emit_block(&prog->program, &prog->blocks[b], b * config->inputs, config->inputs);
    }
    size_t before = prog->program.code_bytes;
    program_end(&prog->program);
    prog->overhead_insns += (prog->program.code_bytes - before) / 4;
}

void rand_prog_single(struct program *out, const struct rand_prog *from, uint32_t block, uint32_t record)
{
    program_init(out, sizeof(struct rand_record));
    *record_at(out, 0) = *record_at(&from->program, record);
    record_bind(record_at(out, 0), &from->blocks[block], 0);
    emit_block(out, &from->blocks[block], 0, 1);
    program_end(out);
}

void rand_prog_free(struct rand_prog *prog)
{
    for (uint32_t b = 0; b < prog->config.blocks; b++)
        rand_block_free(&prog->blocks[b]);
    free(prog->blocks);
    program_free(&prog->program);
    *prog = (struct rand_prog){0};
}

static bool registers_differ(const char *kind, const uint64_t *expected, const uint64_t *got, char *what, size_t len)
{
    for (unsigned i = 0; i < 32; i++) {
        if (expected[i] != got[i]) {
            snprintf(what, len, "%s%u: 0x%016llx instead of 0x%016llx", kind, i, (unsigned long long)got[i],
                     (unsigned long long)expected[i]);
            return true;
        }
    }
    return false;
}

bool rand_record_compare(const struct rand_record *expected, const struct rand_record *got, char *what, size_t len)
{
    if (registers_differ("x", expected->x, got->x, what, len) || registers_differ("f", expected->f, got->f, what, len))
        return true;
    if (expected->fcsr != got->fcsr) {
        snprintf(what, len, "fcsr: 0x%02llx instead of 0x%02llx", (unsigned long long)got->fcsr,
                 (unsigned long long)expected->fcsr);
        return true;
    }
    for (int i = 0; i < 2 * RAND_SCRATCH_BELOW; i++) {
        if (expected->scratch[i] != got->scratch[i]) {
            snprintf(what, len, "memory at x2%+d: 0x%02x instead of 0x%02x", i - RAND_SCRATCH_BELOW, got->scratch[i],
                     expected->scratch[i]);
            return true;
        }
    }
    return false;
}

bool rand_prog_compare(const struct rand_prog *prog, const uint8_t *expected, const uint8_t *got,
                       struct rand_difference *difference)
{
    const struct rand_record *a = (const void *)expected, *b = (const void *)got;
    uint32_t records = prog->config.blocks * prog->config.inputs;
    for (uint32_t i = 0; i < records; i++) {
        if (rand_record_compare(&a[i], &b[i], difference->what, sizeof(difference->what))) {
            difference->block = i / prog->config.inputs;
            difference->input = i % prog->config.inputs;
            return true;
        }
    }
    return false;
}
