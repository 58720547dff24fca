/* What the demonstration's shell can do: facts about the machine, some integer and floating-point work, and the test
 * device's ways to end. */
#include "demo.h"

enum {
    SIEVE_BYTES = 1 << 20,
    TEST_PASS = 0x5555,
    TEST_FAIL = 0x3333,
    TEST_RESET = 0x7777,
    TICKS_A_MILLISECOND = 10000, /* the virt board's timebase is 10 MHz */
};

static volatile uint32_t *const test_device = (volatile uint32_t *)0x100000;
static const struct tree_facts *tree;
static uint64_t boot_hart;

void commands_init(uint64_t hart, const struct tree_facts *facts)
{
    boot_hart = hart;
    tree = facts;
}

void machine_end(uint32_t code)
{
    *test_device = code ? code << 16 | TEST_FAIL : TEST_PASS;
    for (;;)
        __asm__ volatile("wfi");
}

static uint64_t milliseconds(void)
{
    uint64_t ticks;

    __asm__ volatile("rdtime %0" : "=r"(ticks));
    return ticks / TICKS_A_MILLISECOND;
}

/* A decimal number, or `fallback` where there is none. */
static uint64_t number(const char *text, uint64_t fallback)
{
    uint64_t value = 0;

    if (*text < '0' || *text > '9')
        return fallback;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

static void put_elapsed(uint64_t begin)
{
    put_text(" in ");
    put_number(milliseconds() - begin);
    put_text(" ms\n");
}

static void cpuinfo(const char *argument)
{
    uint64_t misa, vendor, architecture, implementation;

    (void)argument;
    __asm__ volatile("csrr %0, misa" : "=r"(misa));
    __asm__ volatile("csrr %0, mvendorid" : "=r"(vendor));
    __asm__ volatile("csrr %0, marchid" : "=r"(architecture));
    __asm__ volatile("csrr %0, mimpid" : "=r"(implementation));
    put_text("misa     ");
    put_hex(misa);
    put_text("  rv64");
    for (const char *letter = "IMAFDQCBVH"; *letter; letter++) {
        if (misa >> (*letter - 'A') & 1)
            put_char((char)(*letter + ('a' - 'A')));
    }
    put_text("\nvendor   ");
    put_hex(vendor);
    put_text(", architecture ");
    put_hex(architecture);
    put_text(", implementation ");
    put_hex(implementation);
    put_text("\nhart     ");
    put_number(boot_hart);
    if (!tree->valid) {
        put_text("\nno device tree\n");
        return;
    }
    put_text(" of ");
    put_number(tree->harts);
    put_text("\nboard    ");
    put_text(tree->model);
    put_text("\nisa      ");
    put_text(tree->isa);
    put_text("\nmemory   ");
    put_number(tree->memory_bytes >> 20);
    put_text(" MiB\n");
}

static unsigned iterations(double x, double y, unsigned limit)
{
    double a = 0, b = 0;
    unsigned count = 0;

    for (; count < limit && a * a + b * b <= 4; count++) {
        double next = a * a - b * b + x;
        b = 2 * a * b + y;
        a = next;
    }
    return count;
}

static void mandelbrot(const char *argument)
{
    static const char shades[] = " .:-=+*#%@";
    uint64_t begin = milliseconds(), total = 0;
    uint64_t limit = number(argument, 200);

    if (limit < 1 || limit > 100000)
        limit = 200;
    for (int row = 0; row < 24; row++) {
        for (int column = 0; column < 72; column++) {
            unsigned count = iterations(-2.2 + column * (3.2 / 72), -1.2 + row * 0.1, (unsigned)limit);
            total += count;
            put_char(count == limit ? '@' : shades[count % 9]);
        }
        put_char('\n');
    }
    put_number(total);
    put_text(" iterations");
    put_elapsed(begin);
}

static void primes(const char *argument)
{
    static uint8_t composite[SIEVE_BYTES];
    uint64_t begin = milliseconds(), count = 0, last = 0;
    uint64_t limit = number(argument, SIEVE_BYTES);

    if (limit > SIEVE_BYTES)
        limit = SIEVE_BYTES;
    for (uint64_t i = 0; i < limit; i++)
        composite[i] = 0;
    for (uint64_t i = 2; i < limit; i++) {
        if (composite[i])
            continue;
        count++;
        last = i;
        for (uint64_t multiple = i * i; multiple < limit; multiple += i)
            composite[multiple] = 1;
    }
    put_number(count);
    put_text(" primes below ");
    put_number(limit);
    put_text(", the last ");
    put_number(last);
    put_elapsed(begin);
}

static void poweroff(const char *argument)
{
    machine_end((uint32_t)(number(argument, 0) & 0xffff));
}

static void reboot(const char *argument)
{
    (void)argument;
    *test_device = TEST_RESET;
    for (;;)
        __asm__ volatile("wfi");
}

static void help(const char *argument);

static const struct command commands[] = {
    {"help", "list the commands", help},
    {"cpuinfo", "what this machine is", cpuinfo},
    {"mandelbrot", "[N] draw the Mandelbrot set, at most N iterations a point", mandelbrot},
    {"primes", "[N] count the primes below N (at most 1048576)", primes},
    {"poweroff", "[CODE] end, with an exit code", poweroff},
    {"reboot", "start again", reboot},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]), HELP_COLUMN = 12 };

static void help(const char *argument)
{
    (void)argument;
    for (unsigned i = 0; i < COMMANDS; i++) {
        unsigned column = 2;
        put_text("  ");
        put_text(commands[i].name);
        for (const char *c = commands[i].name; *c; c++)
            column++;
        for (; column < HELP_COLUMN + 2; column++)
            put_char(' ');
        put_text(commands[i].help);
        put_char('\n');
    }
}

void command_line(char *line)
{
    char *argument;

    while (*line == ' ')
        line++;
    if (!*line)
        return;
    for (argument = line; *argument && *argument != ' ';)
        argument++;
    while (*argument == ' ')
        *argument++ = '\0';
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (text_equal(line, commands[i].name)) {
            commands[i].run(argument);
            return;
        }
    }
    put_text("unknown command: ");
    put_text(line);
    put_text(" (try help)\n");
}
