/* `tuff disas`: machine code to assembler text, through the table that the engine decodes with. What it prints is what
 * the virtual machine would execute, extension by extension (--isa).
 */
#include "cli/command.h"
#include "cli/report.h"
#include "cli/values.h"

#include "engine/isa/riscv/decode.h"
#include "engine/isa/riscv/isa.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BYTES = 128, READ_STEP = 64 * 1024 };

static const char *const MAX_INPUT_TEXT = "256 MiB";
static const size_t MAX_INPUT_BYTES = 256u << 20;

struct bytes {
    uint8_t *data;
    size_t len, capacity;
};

static int bytes_reserve(struct bytes *bytes, size_t more)
{
    uint8_t *data;

    if (bytes->capacity - bytes->len >= more)
        return 0;
    data = realloc(bytes->data, bytes->capacity * 2 + more);
    if (!data)
        return -ENOMEM;
    bytes->data = data;
    bytes->capacity = bytes->capacity * 2 + more;
    return 0;
}

static int read_all(int fd, const char *name, struct bytes *bytes)
{
    ssize_t count = 1;

    while (count) {
        int rc = bytes_reserve(bytes, READ_STEP);
        if (rc) {
            report_error("input, %s, does not fit into host memory: give less of it", name);
            return rc;
        }
        count = read(fd, bytes->data + bytes->len, READ_STEP);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) {
            report_error("input, %s, cannot be read (%s): name another file", name, strerror(errno));
            return -EIO;
        }
        bytes->len += (size_t)count;
        if (bytes->len > MAX_INPUT_BYTES) {
            report_error("input, %s, is larger than %s: give a part of it", name, MAX_INPUT_TEXT);
            return -EFBIG;
        }
    }
    return 0;
}

static int check_input(const char *name, const struct bytes *bytes)
{
    if (!bytes->len) {
        report_error("input, %s, is empty: give a flat binary", name);
        return -EINVAL;
    }
    if (bytes->len >= 4 && memcmp(bytes->data, "\177ELF", 4) == 0) {
        report_error("input, %s, is an ELF: make it flat first, with llvm-objcopy -O binary", name);
        return -EINVAL;
    }
    return 0;
}

static int read_input(const char *path, struct bytes *bytes)
{
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int rc;

    if (fd < 0) {
        report_error("input, %s, cannot be opened (%s): give a flat binary, or --hex and instructions", name,
                     strerror(errno));
        return -errno;
    }
    rc = read_all(fd, name, bytes);
    if (!is_stdin)
        close(fd);
    return rc ? rc : check_input(name, bytes);
}

/* Appends one instruction given in digits, the most significant first, as bytes in memory order. */
static int add_hex_word(const char *word, struct bytes *bytes)
{
    const char *digits = strncmp(word, "0x", 2) == 0 ? word + 2 : word;
    size_t len = strlen(digits);
    char *end;
    unsigned long value;
    int rc;

    if ((len != 4 && len != 8) || strspn(digits, "0123456789abcdefABCDEF") != len) {
        report_error("--hex, '%s', is not an instruction: give 4 or 8 hexadecimal digits, like 00a50533", word);
        return -EINVAL;
    }
    rc = bytes_reserve(bytes, 4);
    if (rc) {
        report_error("--hex, '%s', does not fit into host memory: give less", word);
        return rc;
    }
    value = strtoul(digits, &end, 16);
    for (size_t i = 0; i < len / 2; i++)
        bytes->data[bytes->len++] = (uint8_t)(value >> (8 * i));
    return 0;
}

static int collect_hex(const struct option_values *values, struct bytes *bytes)
{
    if (!values->operand_count) {
        report_error("--hex, nothing given, needs instructions: give some, as in tuff disas --hex 00a50533");
        return -EINVAL;
    }
    for (size_t i = 0; i < values->operand_count; i++) {
        int rc = add_hex_word(values->operands[i], bytes);
        if (rc)
            return rc;
    }
    return 0;
}

static uint32_t load_le(const uint8_t *at, size_t len)
{
    uint32_t value = 0;

    for (size_t i = 0; i < len; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

/* Prints one instruction, or what is left when it is cut off, and returns its length. */
static size_t print_one(const uint8_t *at, size_t left, uint64_t address, isa_set isa)
{
    size_t want = left < 2 ? 2 : rv_insn_len_bytes((uint16_t)load_le(at, 2));
    char text[TEXT_BYTES];
    struct rv_insn insn;

    if (left < want) {
        printf("%16" PRIx64 ":  %0*x%*s  (cut off)\n", address, (int)left * 2, load_le(at, left), 8 - (int)left * 2,
               "");
        return left;
    }
    rv_decode(load_le(at, want), isa, &insn);
    if (insn.row == RV_ROW_illegal)
        snprintf(text, sizeof(text), "<illegal>");
    else
        rv_disassemble(&insn, text, sizeof(text));
    printf("%16" PRIx64 ":  %0*x%*s  %s\n", address, (int)want * 2, load_le(at, want), 8 - (int)want * 2, "", text);
    return want;
}

static int parse_disas(const struct option_values *values, uint64_t *address, isa_set *isa)
{
    struct error err;

    *address = 0;
    *isa = ISA_ALL;
    if (values->value[OPTION_ADDRESS] && values_address(values->value[OPTION_ADDRESS], address)) {
        report_error("--address, '%s', is not an address: give one like 0x80000000", values->value[OPTION_ADDRESS]);
        return -EINVAL;
    }
    if (values->value[OPTION_ISA] && values_isa(values->value[OPTION_ISA], isa, &err)) {
        report_error("%s", err.text);
        return -EINVAL;
    }
    if (!values->value[OPTION_HEX] && values->operand_count != 1) {
        report_error("argument, %s, is wrong: give one flat binary, or - for standard input, or --hex",
                     values->operand_count ? values->operands[1] : "no file");
        return -EINVAL;
    }
    return 0;
}

static int disas_run(const struct option_values *values)
{
    struct bytes bytes = {0};
    uint64_t address;
    isa_set isa;
    int rc;

    if (values->value[OPTION_ISA] && strcmp(values->value[OPTION_ISA], "help") == 0) {
        printf("%s\n", values_isa_names());
        return CLI_EXIT_OK;
    }
    rc = parse_disas(values, &address, &isa);
    if (!rc)
        rc = values->value[OPTION_HEX] ? collect_hex(values, &bytes) : read_input(values->operands[0], &bytes);
    for (size_t at = 0; !rc && at < bytes.len;)
        at += print_one(bytes.data + at, bytes.len - at, address + at, isa);
    free(bytes.data);
    return rc ? CLI_EXIT_USAGE : CLI_EXIT_OK;
}

const struct command command_disas = {
    .name = "disas",
    .usage = "[OPTIONS] FILE | - | --hex INSTRUCTION...",
    .summary = "disassemble riscv64 machine code",
    .description = "Prints the instructions in a flat binary (no ELF) or in the arguments, as the virtual\n"
                   "machine decodes them: address, encoding, assembler text without aliases.",
    .options = OPTION_FOR_DISAS,
    .examples = "  tuff disas --hex 00a50533 4505\n"
                "  tuff disas --address=0x80000000 firmware.bin\n"
                "  tuff disas --isa=rv64ima code.bin\n",
    .run = disas_run,
};
