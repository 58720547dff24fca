/* base/sandbox.h: what a thread that got out of control would try. Each case has a process of its own (Check forks), as
 * a sandbox is for good. */
#include "run_suite.h"
#include "sanitized.h"

#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int report[2];

static void begin(struct sandbox_settings settings)
{
    struct error err;

    ck_assert_int_eq(pipe(report), 0);
    settings.report_fd = report[1];
    ck_assert_int_eq(sandbox_start(&settings, &err), 0);
}

/* One thread of a kind; fn runs on it, signals blocked as those of devices have them. */
struct thread {
    enum sandbox_kind kind;
    void (*fn)(void);
};

static void *confined(void *opaque)
{
    struct thread *thread = opaque;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    sandbox_enter(thread->kind);
    thread->fn();
    return NULL;
}

static void on_thread(enum sandbox_kind kind, void (*fn)(void))
{
    struct thread thread = {kind, fn};
    pthread_t id;

    ck_assert_int_eq(pthread_create(&id, NULL, confined, &thread), 0);
    pthread_join(id, NULL);
}

/* The result is EPERM; the line on the report pipe names the call. */
#define refused(call, name)                                                                     \
    do {                                                                                        \
        errno = 0;                                                                              \
        ck_assert_int_eq((long)(call), -1);                                                     \
        ck_assert_msg(errno == EPERM, "%s: errno %d", name, errno);                             \
        char text_[256] = "";                                                                   \
        ck_assert_int_gt(read(report[0], text_, sizeof(text_) - 1), 0);                         \
        ck_assert_msg(strstr(text_, "was refused system call " name " ") != NULL, "%s", text_); \
    } while (0)

static void try_processes(void)
{
    char *const argv[] = {"true", NULL};

    refused(execve("/bin/true", argv, argv), "execve");
    refused(syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), NULL, NULL), "ptrace");
    refused(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0), "process_vm_readv");
    refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), "clone");
    refused(syscall(SYS_fork), "fork");
    refused(syscall(SYS_kill, getppid(), SIGTERM), "kill");
    refused(syscall(SYS_tgkill, getppid(), getppid(), SIGTERM), "tgkill");
    refused(syscall(SYS_unshare, 0), "unshare");
    refused(syscall(SYS_bpf, 0, NULL, 0), "bpf");
    refused(syscall(SYS_userfaultfd, 0), "userfaultfd");
    errno = 0;
    ck_assert_int_eq(syscall(SYS_clone3, NULL, 0), -1);
    ck_assert_int_eq(errno, ENOSYS);
}

static void try_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(page, MAP_FAILED);
    refused(syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), "mprotect");
    refused(syscall(SYS_mmap, NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
    ck_assert_int_eq(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
    ck_assert_int_eq(munmap(page, 4096), 0);
}

static void try_files(void)
{
    refused(open("/etc/passwd", O_RDONLY), "openat");
    refused(syscall(SYS_open, "/etc/passwd", O_RDONLY), "open");
    refused(unlink("/etc/passwd"), "unlink");
    refused(syscall(SYS_io_uring_setup, 1, NULL), "io_uring_setup");
}

static void try_sockets(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};

    refused(socket(AF_INET, SOCK_STREAM, 0), "socket");
    refused(connect(report[0], (struct sockaddr *)&address, sizeof(address)), "connect");
    refused(sendto(report[0], "", 0, 0, (struct sockaddr *)&address, sizeof(address)), "sendto");
}

static void try_captured(void)
{
    try_processes();
    try_memory();
    try_files();
    try_sockets();
    refused(ioctl(0, TIOCSTI, "x"), "ioctl");
}

static const enum sandbox_kind captured_kinds[] = {SANDBOX_VCPU, SANDBOX_DEVICE, SANDBOX_COMPILE};

START_TEST(captured_thread_is_refused_programs_files_and_sockets)
{
    begin((struct sandbox_settings){0});
    on_thread(captured_kinds[_i], try_captured);
}
END_TEST

static atomic_bool inner_ran;

static void *inner(void *opaque)
{
    sandbox_enter(SANDBOX_DEVICE);
    atomic_store(&inner_ran, true);
    return NULL;
}

/* What devices do all the time. */
static void work(void)
{
    pthread_t id;
    int pipes[2];
    char byte = 1;

    free(malloc(1 << 24));
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_eq(write(pipes[1], &byte, 1), 1);
    ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
    ck_assert_int_eq(pthread_create(&id, NULL, inner, NULL), 0);
    pthread_setname_np(id, "inner");
    ck_assert_int_eq(pthread_kill(id, 0), 0);
    pthread_join(id, NULL);
    ck_assert(atomic_load(&inner_ran));
}

START_TEST(confined_thread_does_its_work)
{
    begin((struct sandbox_settings){0});
    on_thread(captured_kinds[_i], work);
}
END_TEST

static void open_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_ge(fd, 0);
    close(fd);
    refused(open("/etc/passwd", O_RDONLY), "openat");
    refused(syscall(SYS_execve, "/bin/true", NULL, NULL), "execve");
}

START_TEST(device_with_sockets_opens_sockets_and_no_files)
{
    begin((struct sandbox_settings){.device_sockets = true});
    on_thread(SANDBOX_DEVICE, open_socket);
}
END_TEST

static char shared[] = "/tmp/tuff-sandbox-test.XXXXXX";

static void use_share(void)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "%s/file", shared);
    fd = open(path, O_CREAT | O_RDWR, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(unlink(path), 0);
    refused(socket(AF_INET, SOCK_STREAM, 0), "socket");
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 2)
        return; /* nothing keeps it to its directory but itself */
    ck_assert_int_eq(open("/etc/passwd", O_RDONLY), -1);
    ck_assert_int_eq(errno, EACCES);
}

START_TEST(share_reaches_its_directory_alone)
{
    ck_assert_ptr_nonnull(mkdtemp(shared));
    begin((struct sandbox_settings){.shared = {shared}, .shared_count = 1});
    on_thread(SANDBOX_SHARE, use_share);
    ck_assert_int_eq(rmdir(shared), 0);
}
END_TEST

static void serve(void)
{
    int fd = open("/etc/passwd", O_RDONLY);

    ck_assert_int_ge(fd, 0);
    close(fd);
    refused(syscall(SYS_execve, "/bin/true", NULL, NULL), "execve");
    refused(syscall(SYS_fork), "fork");
}

START_TEST(service_opens_files_and_starts_no_program)
{
    begin((struct sandbox_settings){0});
    on_thread(SANDBOX_SERVICE, serve);
}
END_TEST

START_TEST(process_starts_no_program_and_debugs_nobody)
{
    begin((struct sandbox_settings){0});
    refused(syscall(SYS_execve, "/bin/true", NULL, NULL), "execve");
    refused(syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), NULL, NULL), "ptrace");
    refused(syscall(SYS_mmap, NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
}
END_TEST

START_TEST(without_a_start_nothing_is_refused)
{
    char text[160];
    int fd;

    sandbox_enter(SANDBOX_DEVICE);
    fd = open("/etc/passwd", O_RDONLY);
    ck_assert_int_ge(fd, 0);
    close(fd);
    sandbox_describe(text, sizeof(text));
    ck_assert_str_eq(text, "off");
}
END_TEST

/* ---- kernels and containers that refuse ---- */

/* From here on `call` fails with `error`; with `argument` >= 0 that alone is meant as its first one. */
static void have_refused(unsigned call, int argument, unsigned error)
{
    struct sock_filter insns[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | (argument < 0 ? BPF_JGE : BPF_JEQ) | BPF_K, argument < 0 ? 0 : (unsigned)argument, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = TUFF_ARRAY_LEN(insns), .filter = insns};

    /* Without privileges the kernel wants this before; the call for it can then be refused all the same. */
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static const struct refusing {
    unsigned call;
    int argument;
    unsigned error;
    const char *said; /* in what is in force */
} refusing[] = {
    {SYS_seccomp, -1, EPERM, "seccomp refused, "},
    {SYS_prctl, PR_GET_SECCOMP, EINVAL, "no seccomp in this kernel, "},
    {SYS_prctl, PR_SET_NO_NEW_PRIVS, EPERM, "off (the kernel does not let new privileges be given up)"},
    {SYS_capset, -1, EPERM, "capabilities kept, "},
    {SYS_landlock_restrict_self, -1, EPERM, "Landlock refused, "},
};

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 2;
}

static void nothing(void)
{
}

START_TEST(what_the_kernel_refuses_is_left_out_and_said)
{
    const struct refusing *r = &refusing[_i];
    char text[160];

    if (r->call == SYS_landlock_restrict_self && !has_landlock())
        return;
    have_refused(r->call, r->argument, r->error);
    begin((struct sandbox_settings){0});
    on_thread(SANDBOX_DEVICE, nothing); /* ends the process if it is not as sandbox_start() found it */
    sandbox_describe(text, sizeof(text));
    ck_assert_msg(strstr(text, r->said) != NULL, "%s", text);
}
END_TEST

START_TEST(what_is_required_and_refused_is_an_error)
{
    const struct refusing *r = &refusing[_i];
    struct error err = {0};

    if (r->call == SYS_landlock_restrict_self && !has_landlock())
        return;
    have_refused(r->call, r->argument, r->error);
    ck_assert_int_lt(sandbox_start(&(struct sandbox_settings){.required = true, .report_fd = -1}, &err), 0);
    ck_assert_msg(strncmp(err.text, "sandbox, ", 9) == 0, "%s", err.text);
}
END_TEST

START_TEST(kernel_without_landlock_is_taken_even_if_required)
{
    char text[160];

    have_refused(SYS_landlock_create_ruleset, -1, ENOSYS);
    begin((struct sandbox_settings){.required = true});
    on_thread(SANDBOX_DEVICE, try_captured);
    sandbox_describe(text, sizeof(text));
    ck_assert_msg(strstr(text, "seccomp, ") == text && strstr(text, "no Landlock in this kernel") != NULL, "%s", text);
}
END_TEST

/* Each is started by the one before, as disk workers are: more than the 16 layers that Landlock takes. */
static void *chained(void *opaque)
{
    const int *left = opaque;
    int fewer = *left - 1;
    pthread_t id;

    sandbox_enter(SANDBOX_DEVICE);
    if (*left == 0) {
        try_files();
        return NULL;
    }
    ck_assert_int_eq(pthread_create(&id, NULL, chained, &fewer), 0);
    pthread_join(id, NULL);
    return NULL;
}

START_TEST(chain_of_threads_stays_confined)
{
    int left = 40;
    pthread_t id;

    begin((struct sandbox_settings){0});
    ck_assert_int_eq(pthread_create(&id, NULL, chained, &left), 0);
    pthread_join(id, NULL);
}
END_TEST

static void call_what_is_too_new(void)
{
    char text[256] = "";

    errno = 0;
    ck_assert_int_eq(syscall(1023), -1);
    ck_assert_int_eq(errno, ENOSYS);
    ck_assert_int_gt(read(report[0], text, sizeof(text) - 1), 0);
    ck_assert_ptr_nonnull(
        strstr(text, "was refused system call unknown (1023); if that is a mistake: --sandbox=off\n"));
    refused(syscall(SYS_timer_create, 0, NULL, NULL), "timer_create"); /* a name that no list has */
}

START_TEST(refusals_name_any_call_and_the_option)
{
    begin((struct sandbox_settings){0});
    on_thread(SANDBOX_DEVICE, call_what_is_too_new);
}
END_TEST

static bool has_sandbox(void)
{
    return !TEST_SANITIZED; /* see sandbox.c */
}

int main(void)
{
    Suite *suite = suite_create("sandbox");
    TCase *tc = tcase_create("threads");

    tcase_add_test(tc, without_a_start_nothing_is_refused);
    if (has_sandbox()) {
        tcase_add_loop_test(tc, captured_thread_is_refused_programs_files_and_sockets, 0,
                            (int)TUFF_ARRAY_LEN(captured_kinds));
        tcase_add_loop_test(tc, confined_thread_does_its_work, 0, (int)TUFF_ARRAY_LEN(captured_kinds));
        tcase_add_test(tc, device_with_sockets_opens_sockets_and_no_files);
        tcase_add_test(tc, share_reaches_its_directory_alone);
        tcase_add_test(tc, service_opens_files_and_starts_no_program);
        tcase_add_test(tc, process_starts_no_program_and_debugs_nobody);
        tcase_add_loop_test(tc, what_the_kernel_refuses_is_left_out_and_said, 0, (int)TUFF_ARRAY_LEN(refusing));
        tcase_add_loop_test(tc, what_is_required_and_refused_is_an_error, 0, (int)TUFF_ARRAY_LEN(refusing));
        tcase_add_test(tc, kernel_without_landlock_is_taken_even_if_required);
        tcase_add_test(tc, chain_of_threads_stays_confined);
        tcase_add_test(tc, refusals_name_any_call_and_the_option);
    }
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
