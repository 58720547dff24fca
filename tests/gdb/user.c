/* A user program for gdb-tests: what it prints depends on what a debugger lets `compute` have. No C library. */
static long syscall3(long number, long a, long b, long c)
{
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}

enum { SYS_WRITE = 64, SYS_EXIT = 93 };

volatile long calls;

__attribute__((noinline)) long compute(long n);
__attribute__((noinline)) long compute(long n)
{
    calls++;
    return n * 2;
}

void _start(void);
void _start(void)
{
    char text[] = "result 00\n";
    long n = 0;

    for (long i = 0; i < 10; i++)
        n = compute(i);
    text[7] = (char)('0' + n / 10 % 10);
    text[8] = (char)('0' + n % 10);
    syscall3(SYS_WRITE, 1, (long)text, sizeof(text) - 1);
    syscall3(SYS_EXIT, 0, 0, 0);
}
