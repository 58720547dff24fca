/* A machine that stands still and goes on (machine_pause()), with guests that count and guests that sleep. */
#include "machine/machine_internal.h"
#include "run_suite.h"

#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { HARTS = 2, TIMES = BOARD_RAM_GPA + 0x10000 };

/* Each hart counts in a0 and writes the time to a word of its own at TIMES; or sleeps for ever. */
static const uint32_t counting[] = {
    0x00010597, /* auipc a1, 0x10 */
    0xf1402373, /* csrr t1, mhartid */
    0x00331313, /* slli t1, t1, 3 */
    0x006585b3, /* add a1, a1, t1 */
    0x00150513, /* addi a0, a0, 1 */
    0xc0102373, /* csrr t1, time */
    0x0065b023, /* sd t1, 0(a1) */
    0xff5ff06f, /* j -12 */
};
static const uint32_t sleeping[] = {0x10500073 /* wfi */, 0xffdff06f /* j -4 */};

static struct machine *machine;
static struct machine_result result;
static pthread_t runner;
static char path[] = "/tmp/tuff-test-pause-XXXXXX";

static void write_elf(const uint32_t *code, size_t len)
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment;
        uint32_t code[16];
    } image = {
        .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC,
                   .e_machine = EM_RISCV,
                   .e_version = EV_CURRENT,
                   .e_entry = BOARD_RAM_GPA,
                   .e_phoff = sizeof(Elf64_Ehdr),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 1},
        .segment = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_X,
                    .p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
                    .p_vaddr = BOARD_RAM_GPA,
                    .p_paddr = BOARD_RAM_GPA,
                    .p_filesz = len,
                    .p_memsz = len,
                    .p_align = 4},
    };
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_uint_le(len, sizeof(image.code));
    memcpy(image.code, code, len);
    ck_assert_int_eq(write(fd, &image, sizeof(image)), sizeof(image));
    close(fd);
}

static void create(const uint32_t *code, size_t len)
{
    struct machine_config config = {0};
    struct error err = {0};

    write_elf(code, len);
    machine_config_default(&config);
    config.bare = path;
    config.cpus = HARTS;
    config.memory_bytes = 16 << 20;
    config.serial = MACHINE_SERIAL_NULL;
    ck_assert_msg(machine_create(&config, &machine, &err) == 0, "%s", err.text);
    unlink(path);
}

static void *run(void *opaque)
{
    struct error err;

    (void)opaque;
    ck_assert_int_eq(machine_run(machine, &result, &err), 0);
    return NULL;
}

static void start(void)
{
    ck_assert_int_eq(pthread_create(&runner, NULL, run, NULL), 0);
}

static void finish(void)
{
    pthread_join(runner, NULL);
    ck_assert_int_eq(result.end, MACHINE_END_QUIT);
    machine_destroy(machine);
}

static uint64_t count(uint32_t hart)
{
    struct vcpu_state state;

    vcpu_get_state(machine->vcpus[hart], &state);
    return state.x[10];
}

/* Until both harts have written a time later than `ticks`. */
static void wait_for_time(uint64_t ticks)
{
    for (uint32_t i = 0; i < HARTS; i++) {
        const _Atomic uint64_t *time = mem_ram_ptr(machine->mem, TIMES + i * 8, sizeof(*time));
        while (atomic_load(time) <= ticks)
            usleep(1000);
    }
}

START_TEST(harts_stand_and_go_on)
{
    create(counting, sizeof(counting));
    start();
    wait_for_time(0);
    for (int round = 0; round < 20; round++) {
        ck_assert_int_eq(machine_pause(machine), 0);
        ck_assert(machine_is_paused(machine));
        uint64_t ticks = machine_ticks(machine), before[HARTS];
        for (uint32_t i = 0; i < HARTS; i++)
            before[i] = count(i);
        usleep(2000);
        for (uint32_t i = 0; i < HARTS; i++)
            ck_assert_uint_eq(count(i), before[i]);
        ck_assert_uint_eq(machine_ticks(machine), ticks);
        machine_resume(machine);
        ck_assert(!machine_is_paused(machine));
        wait_for_time(ticks);
    }
    machine_quit(machine);
    finish();
}
END_TEST

START_TEST(pauses_nest)
{
    create(counting, sizeof(counting));
    start();
    wait_for_time(0);
    ck_assert_int_eq(machine_pause(machine), 0);
    ck_assert_int_eq(machine_pause(machine), 0);
    uint64_t before = count(1);
    machine_resume(machine);
    ck_assert(machine_is_paused(machine));
    usleep(2000);
    ck_assert_uint_eq(count(1), before);
    machine_resume(machine);
    wait_for_time(machine_ticks(machine));
    machine_quit(machine);
    finish();
}
END_TEST

START_TEST(a_paused_machine_does_not_begin)
{
    create(counting, sizeof(counting));
    ck_assert_int_eq(machine_pause(machine), 0);
    start();
    usleep(5000);
    ck_assert_uint_eq(count(0), 0);
    machine_resume(machine);
    wait_for_time(0);
    machine_quit(machine);
    finish();
}
END_TEST

START_TEST(sleeping_harts_pause_too)
{
    create(sleeping, sizeof(sleeping));
    start();
    for (int round = 0; round < 100; round++) {
        ck_assert_int_eq(machine_pause(machine), 0);
        ck_assert_uint_eq(machine->harts_running, 0);
        machine_resume(machine);
    }
    machine_quit(machine);
    finish();
}
END_TEST

/* Whoever ends a machine that stands still is not kept waiting, nor is who would pause it then. */
START_TEST(a_paused_machine_ends)
{
    create(counting, sizeof(counting));
    start();
    wait_for_time(0);
    ck_assert_int_eq(machine_pause(machine), 0);
    machine_quit(machine);
    pthread_join(runner, NULL);
    ck_assert_int_eq(result.end, MACHINE_END_QUIT);
    ck_assert_int_eq(machine_pause(machine), -ECANCELED);
    machine_resume(machine);
    machine_destroy(machine);
}
END_TEST

/* The time that harts wait for in WFI moves with the pause: compared as ticks, which stood. */
START_TEST(deadlines_move)
{
    create(sleeping, sizeof(sleeping));
    ck_assert_int_eq(machine_pause(machine), 0);
    uint64_t deadline = machine_ticks(machine) + 1000, first = machine_tick_to_ns(machine, deadline);
    usleep(2000);
    ck_assert_uint_ge(machine_tick_to_ns(machine, deadline), first + 2000000);
    machine_resume(machine);
    uint64_t resumed = machine_tick_to_ns(machine, deadline);
    usleep(1000);
    ck_assert_uint_eq(machine_tick_to_ns(machine, deadline), resumed);
    ck_assert_uint_eq(machine_tick_to_ns(machine, UINT64_MAX), UINT64_MAX);
    machine_destroy(machine);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pause");
    TCase *tcase = tcase_create("pause");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, harts_stand_and_go_on);
    tcase_add_test(tcase, pauses_nest);
    tcase_add_test(tcase, a_paused_machine_does_not_begin);
    tcase_add_test(tcase, sleeping_harts_pause_too);
    tcase_add_test(tcase, a_paused_machine_ends);
    tcase_add_test(tcase, deadlines_move);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
