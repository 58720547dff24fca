/* Building guest programs and wrapping them into ELF files: see program.h. */
#include "program.h"
#include "encode.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *pointer)
{
    if (!pointer) {
        fputs("tests/tiers: out of memory\n", stderr);
        abort();
    }
    return pointer;
}

void program_init(struct program *program, size_t data_bytes)
{
    if (data_bytes == 0 || data_bytes > PROGRAM_DATA_MAX_BYTES) {
        fprintf(stderr, "tests/tiers: a program with %zu bytes of data does not fit\n", data_bytes);
        abort();
    }
    *program = (struct program){.code_cap = 4096, .data_bytes = data_bytes};
    program->code = must(malloc(program->code_cap));
    program->data = must(calloc(1, data_bytes));
}

void program_free(struct program *program)
{
    free(program->code);
    free(program->data);
    *program = (struct program){0};
}

uint64_t program_pc(const struct program *program)
{
    return PROGRAM_CODE_GPA + program->code_bytes;
}

void program_put_sized(struct program *program, uint32_t bits, unsigned len_bytes)
{
    if (program->code_bytes + len_bytes > program->code_cap) {
        program->code_cap *= 2;
        program->code = must(realloc(program->code, program->code_cap));
    }
    if (program->code_bytes + len_bytes > PROGRAM_CODE_MAX_BYTES) {
        fputs("tests/tiers: a program's code does not fit: take fewer blocks\n", stderr);
        abort();
    }
    memcpy(program->code + program->code_bytes, &bits, len_bytes);
    program->code_bytes += len_bytes;
}

void program_put(struct program *program, uint32_t bits)
{
    program_put_sized(program, bits, 4);
}

void program_la(struct program *program, unsigned rd, uint64_t gpa)
{
    int64_t offset = (int64_t)(gpa - program_pc(program));
    /* addi sign-extends its part, so the upper part is rounded to the nearest 4 KiB. */
    program_put(program, enc_auipc(rd, (uint32_t)((offset + 0x800) >> 12) & 0xfffff));
    program_put(program, enc_addi(rd, rd, (int32_t)(offset & 0xfff)));
}

void program_li(struct program *program, unsigned rd, int32_t value)
{
    program_put(program, enc_lui(rd, ((uint32_t)value + 0x800) >> 12));
    program_put(program, enc_addiw(rd, rd, value & 0xfff));
}

void program_jump_back(struct program *program, uint64_t gpa)
{
    program_put(program, enc_jal(REG_ZERO, (int32_t)(gpa - program_pc(program))));
}

void program_end(struct program *program)
{
    program_li(program, REG_A0, 1);
    program_la(program, REG_A1, PROGRAM_DATA_GPA);
    program_li(program, REG_A2, (int32_t)program->data_bytes);
    program_li(program, REG_A7, PROGRAM_SYS_WRITE);
    program_put(program, enc_ecall());
    program_li(program, REG_A0, 0);
    program_li(program, REG_A7, PROGRAM_SYS_EXIT);
    program_put(program, enc_ecall());
}

static Elf64_Phdr segment(uint32_t flags, uint64_t offset, uint64_t gpa, uint64_t bytes)
{
    return (Elf64_Phdr){.p_type = PT_LOAD,
                        .p_flags = flags,
                        .p_offset = offset,
                        .p_vaddr = gpa,
                        .p_paddr = gpa,
                        .p_filesz = bytes,
                        .p_memsz = bytes,
                        .p_align = 0x1000};
}

uint8_t *program_elf(const struct program *program, size_t *len)
{
    const uint32_t rvc_double_abi = 0x1 | 0x4;
    uint64_t code_offset = 0x1000;
    uint64_t data_offset = code_offset + ((program->code_bytes + 0xfff) & ~(uint64_t)0xfff);
    Elf64_Ehdr header = {.e_type = ET_EXEC,
                         .e_machine = EM_RISCV,
                         .e_version = EV_CURRENT,
                         .e_entry = PROGRAM_CODE_GPA,
                         .e_phoff = sizeof(Elf64_Ehdr),
                         .e_flags = rvc_double_abi,
                         .e_ehsize = sizeof(Elf64_Ehdr),
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 2};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    Elf64_Phdr segments[2] = {segment(PF_R | PF_X, code_offset, PROGRAM_CODE_GPA, program->code_bytes),
                              segment(PF_R | PF_W, data_offset, PROGRAM_DATA_GPA, program->data_bytes)};

    *len = data_offset + program->data_bytes;
    uint8_t *image = must(calloc(1, *len));
    memcpy(image, &header, sizeof(header));
    memcpy(image + sizeof(header), segments, sizeof(segments));
    memcpy(image + code_offset, program->code, program->code_bytes);
    memcpy(image + data_offset, program->data, program->data_bytes);
    return image;
}
