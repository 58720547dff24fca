/* The PC's runtime: descriptors, vectors, exceptions as values, other processors. */
#include "rt.h"

enum { STACK_BYTES = 1 << 14, UART = 0x3f8, TRAMPOLINE = 0x8000, UNDEFINED = 6 };

/* What start.S's common part left on the stack. */
struct frame {
    uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax, vector, error, rip, cs, rflags, rsp, ss;
};

uint64_t rt_tables[6][512] __attribute__((aligned(4096)));
uint8_t rt_stacks[RT_PROCESSORS_MAX][STACK_BYTES] __attribute__((aligned(16)));
static uint8_t interrupt_stack[STACK_BYTES] __attribute__((aligned(16)));
uint8_t rt_user_stack[STACK_BYTES] __attribute__((aligned(16)));
volatile uint64_t rt_taken[256];
static volatile uint32_t arrived[RT_PROCESSORS_MAX];
static struct rt_exception exception;
static volatile bool trying;

extern uint64_t rt_gdt_task[2];
extern char rt_vectors[], rt_trampoline[], rt_trampoline_end[], rt_user_end[];
uint64_t rt_call(uint64_t (*fn)(uint64_t argument), uint64_t argument, bool user);
_Noreturn void rt_unwind(uint64_t result);
void rt_begin(unsigned id);
void rt_vector(struct frame *frame);
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int value, size_t len);

/* clang may call these for struct copies. */
void *memcpy(void *to, const void *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((volatile uint8_t *)to)[i] = (uint8_t)value;
    return to;
}

void rt_console_char(char c)
{
    while (!(rt_in8(UART + 5) & 0x20))
        ;
    rt_out8(UART, (uint8_t)c);
}

void rt_exit(unsigned code)
{
    *rt_mmio32(RT_TEST) = code ? code << 16 | 0x3333 : 0x5555;
    for (;;)
        ;
}

/* ---- vectors ---- */

void rt_vector(struct frame *frame)
{
    rt_taken[frame->vector]++;
    /* How ring 3 comes back: some kinds of KVM emulate neither INT n nor SYSCALL there. */
    if (frame->vector == UNDEFINED && frame->rip == (uint64_t)rt_user_end)
        rt_unwind(frame->rax);
    if (frame->vector >= 32) {
        if (frame->vector != RT_VECTOR_SPURIOUS)
            *rt_lapic(0xb0) = 0;
        return;
    }
    exception = (struct rt_exception){.vector = frame->vector, .error = frame->error, .rip = frame->rip};
    __asm__ volatile("mov %%cr2, %0" : "=r"(exception.address));
    if (!trying) {
        rt_print("FAIL unexpected exception: vector=%d error=%x rip=%x cr2=%x", (int64_t)exception.vector,
                 exception.error, exception.rip, exception.address);
        rt_exit(2);
    }
    trying = false;
    rt_unwind(0);
}

static bool attempt(uint64_t (*fn)(uint64_t argument), uint64_t argument, bool user, struct rt_exception *out,
                    uint64_t *result)
{
    trying = true;
    *result = rt_call(fn, argument, user);
    bool faulted = !trying;
    trying = false;
    *out = exception;
    return faulted;
}

bool rt_try(uint64_t (*fn)(uint64_t argument), uint64_t argument, struct rt_exception *out, uint64_t *result)
{
    return attempt(fn, argument, false, out, result);
}

bool rt_try_user(uint64_t (*fn)(uint64_t argument), uint64_t argument, struct rt_exception *out, uint64_t *result)
{
    return attempt(fn, argument, true, out, result);
}

/* ---- descriptors ---- */

static struct {
    uint32_t reserved0;
    uint64_t rsp[3], reserved1, ist[7], reserved2;
    uint16_t reserved3, io_map;
} __attribute__((packed)) task;

static uint64_t idt[256][2] __attribute__((aligned(16)));

static void load_idt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(idt) - 1, (uint64_t)idt};

    __asm__ volatile("lidt %0" ::"m"(pointer));
}

static void make_descriptors(void)
{
    uint64_t at = (uint64_t)&task;

    for (unsigned i = 0; i < 256; i++) {
        uint64_t to = (uint64_t)rt_vectors + i * 16;
        idt[i][0] = (to & 0xffff) | RT_CODE64 << 16 | 0x8e00ull << 32 | (to >> 16 & 0xffff) << 48;
        idt[i][1] = to >> 32;
    }
    task.rsp[0] = (uint64_t)interrupt_stack + STACK_BYTES;
    task.io_map = sizeof(task);
    rt_gdt_task[0] = (sizeof(task) - 1) | (at & 0xffffff) << 16 | 0x89ull << 40 | (at >> 24 & 0xff) << 56;
    rt_gdt_task[1] = at >> 32;
    __asm__ volatile("ltr %0" ::"r"((uint16_t)0x30));
}

/* ---- processors ---- */

__attribute__((weak)) void bare_secondary(unsigned id)
{
}

static void wait(uint64_t ticks)
{
    for (uint64_t end = rt_now() + ticks; rt_now() < end;)
        ;
}

bool rt_start_processor(unsigned id)
{
    memcpy((void *)(uintptr_t)TRAMPOLINE, rt_trampoline, (size_t)(rt_trampoline_end - rt_trampoline));
    *rt_lapic(0x310) = id << 24;
    *rt_lapic(0x300) = 0x4500; /* INIT */
    wait(100000);
    for (unsigned i = 0; i < 2 && !arrived[id]; i++) {
        *rt_lapic(0x310) = id << 24;
        *rt_lapic(0x300) = 0x4600 | TRAMPOLINE >> 12;
        wait(20000);
    }
    for (uint64_t end = rt_now() + 100000000; !arrived[id] && rt_now() < end;)
        ;
    return arrived[id];
}

void rt_begin(unsigned id)
{
    if (id) {
        load_idt();
        *rt_lapic(0xf0) = 0x100 | RT_VECTOR_SPURIOUS;
        arrived[id] = 1;
        bare_secondary(id);
        return;
    }
    make_descriptors();
    load_idt();
    /* The 8259s are silent; the local APIC is on. */
    rt_out8(0x21, 0xff);
    rt_out8(0xa1, 0xff);
    *rt_lapic(0xf0) = 0x100 | RT_VECTOR_SPURIOUS;
    bare_main();
    rt_print(rt_failed() ? "end: failed" : "end: passed");
    rt_exit(rt_failed() ? 1 : 0);
}

/* start.S wants the top as a symbol. */
__asm__(".globl rt_user_stack_top\n.set rt_user_stack_top, rt_user_stack + 16384 - 64\n");
