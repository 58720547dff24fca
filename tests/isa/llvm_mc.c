/* Runs llvm-mc on a file with one bracketed encoding a line. Instructions come back in order on standard output; what
 * is not one is named by its line in a warning on standard error, so the two together say which answer belongs to which
 * line. */
#include "llvm_mc.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 256, LINE_BYTES = 1024 };

struct scratch {
    char directory[PATH_BYTES];
    char input[PATH_BYTES + 8], output[PATH_BYTES + 8], errors[PATH_BYTES + 8];
};

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(99);
}

static FILE *open_or_give_up(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);

    if (!file)
        give_up("cannot open %s", path);
    return file;
}

static void scratch_create(struct scratch *s)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(s->directory, sizeof(s->directory), "%s/tuff-isa-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(s->directory))
        give_up("cannot make a directory like %s", s->directory);
    snprintf(s->input, sizeof(s->input), "%s/input", s->directory);
    snprintf(s->output, sizeof(s->output), "%s/output", s->directory);
    snprintf(s->errors, sizeof(s->errors), "%s/errors", s->directory);
}

static void scratch_remove(const struct scratch *s)
{
    unlink(s->input);
    unlink(s->output);
    unlink(s->errors);
    rmdir(s->directory);
}

static void write_input(const struct scratch *s, const uint32_t *encodings, size_t count)
{
    FILE *file = open_or_give_up(s->input, "w");

    for (size_t i = 0; i < count; i++) {
        uint32_t e = encodings[i];

        if ((e & 3) == 3)
            fprintf(file, "[0x%02x 0x%02x 0x%02x 0x%02x]\n", e & 0xff, e >> 8 & 0xff, e >> 16 & 0xff, e >> 24);
        else
            fprintf(file, "[0x%02x 0x%02x]\n", e & 0xff, e >> 8 & 0xff);
    }
    if (fclose(file) != 0)
        give_up("cannot write %s", s->input);
}

static void run(const struct scratch *s, const char *attributes)
{
    char command[2 * LINE_BYTES];
    int status;
    int length =
        snprintf(command, sizeof(command), LLVM_MC " --disassemble -triple=riscv64 -mattr=%s -M no-aliases %s >%s 2>%s",
                 attributes, s->input, s->output, s->errors);

    if (length < 0 || (size_t)length >= sizeof(command))
        give_up("the command for llvm-mc is too long");
    status = system(command);
    /* it exits with 1 when any line was no instruction */
    if (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
        give_up("failed: %s", command);
}

/* Marks the lines that are no instructions. */
static void read_errors(const struct scratch *s, bool *invalid, size_t count)
{
    FILE *file = open_or_give_up(s->errors, "r");
    char line[LINE_BYTES];

    while (fgets(line, sizeof(line), file)) {
        unsigned long number;

        if (!strstr(line, "warning:"))
            continue; /* the source line and the caret under it */
        if (!strstr(line, "invalid instruction encoding") || strncmp(line, s->input, strlen(s->input)) != 0)
            give_up("llvm-mc says: %s", line);
        number = strtoul(line + strlen(s->input) + 1, NULL, 10);
        if (number == 0 || number > count)
            give_up("llvm-mc speaks of a line that is not there: %s", line);
        invalid[number - 1] = true;
    }
    fclose(file);
}

static void normalise(const char *from, char *to, size_t to_bytes)
{
    size_t used = 0;

    for (const char *c = from; *c && used + 2 < to_bytes; c++) {
        bool blank = *c == ' ' || *c == '\t' || *c == '\n';

        if (!blank)
            to[used++] = *c;
        else if (used && to[used - 1] != ' ')
            to[used++] = ' ';
    }
    while (used && to[used - 1] == ' ')
        used--;
    to[used] = 0;
}

static bool is_directive(const char *text)
{
    return text[0] == '.' || text[0] == 0;
}

static void read_output(const struct scratch *s, const bool *invalid, struct llvm_mc_line *lines, size_t count)
{
    FILE *file = open_or_give_up(s->output, "r");
    char line[LINE_BYTES], text[LLVM_MC_TEXT_BYTES];
    size_t at = 0;

    while (fgets(line, sizeof(line), file)) {
        normalise(line, text, sizeof(text));
        if (is_directive(text))
            continue;
        while (at < count && invalid[at])
            at++;
        if (at == count)
            give_up("llvm-mc gave more instructions than it was asked for: %s", line);
        memcpy(lines[at++].text, text, sizeof(text));
    }
    fclose(file);
    while (at < count && invalid[at])
        at++;
    if (at != count)
        give_up("llvm-mc gave no answer for line %zu", at + 1);
}

struct llvm_mc_line *llvm_mc_disassemble(const uint32_t *encodings, size_t count, const char *attributes)
{
    struct llvm_mc_line *lines = calloc(count, sizeof(*lines));
    bool *invalid = calloc(count, sizeof(*invalid));
    struct scratch s;

    if (!lines || !invalid)
        give_up("out of memory");
    scratch_create(&s);
    write_input(&s, encodings, count);
    run(&s, attributes);
    read_errors(&s, invalid, count);
    read_output(&s, invalid, lines, count);
    scratch_remove(&s);
    free(invalid);
    return lines;
}
