/* A program that has a virtual machine in it: runs a bare-metal ELF for riscv64, shows what it writes to its serial
 * port line by line, and says how it ended.
 *
 *   cc embed.c $(pkg-config --cflags --libs libtuff) -o embed
 *   ./embed guest.elf
 */
#include "machine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A line at a time. The function is called on a thread of the machine's. */
struct output {
    char line[256];
    size_t len;
};

static void take_output(void *opaque, const uint8_t *bytes, size_t len)
{
    struct output *output = opaque;

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n' || output->len + 1 == sizeof(output->line)) {
            printf("guest: %.*s\n", (int)output->len, output->line);
            output->len = 0;
        }
        if (bytes[i] != '\n')
            output->line[output->len++] = (char)bytes[i];
    }
}

/* Every counter is offered, those of each hart and the machine's own; one is of interest here. */
static void take_counter(void *opaque, uint32_t hart, const char *name, const char *text, uint64_t value)
{
    (void)text;
    if (hart != UINT32_MAX && strcmp(name, "insns") == 0)
        *(uint64_t *)opaque += value;
}

int main(int argc, char **argv)
{
    struct machine_config config = {0};
    struct machine_result result;
    struct machine *machine;
    struct output output = {.len = 0};
    struct error err;
    uint64_t instructions = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: %s ELF\n", argv[0]);
        return 2;
    }
    machine_config_default(&config);
    config.bare = argv[1];
    config.memory_bytes = 64 << 20;
    config.max_insns = 1000000000; /* for a guest that does not end */
    if (machine_create(&config, &machine, &err)) {
        fprintf(stderr, "%s: %s\n", argv[0], err.text);
        return 2;
    }
    machine_set_console_output(machine, take_output, &output);
    if (machine_run(machine, &result, &err)) {
        fprintf(stderr, "%s: %s\n", argv[0], err.text);
        machine_destroy(machine);
        return 3;
    }
    machine_stats(machine, take_counter, &instructions);
    printf("%s with code %" PRIu32 " after %" PRIu64 " instructions\n",
           result.end == MACHINE_END_POWEROFF ? "powered off" : "ended otherwise", result.exit_code, instructions);
    machine_destroy(machine);
    return result.end == MACHINE_END_POWEROFF ? 0 : 1;
}
