/* See sandbox.h. The filters are made by sandbox_filters.c when Tuff is built; entering one is a system call. */
#include "base/sandbox.h"

#include "base/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of a SIGSYS's si_code; glibc of Debian 12 has no name for it. */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

/* Sanitizers read /proc and start threads and programs of their own at times that are theirs to choose. */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#include "sandbox_filters.inc"

static struct {
    struct sandbox_settings settings;
    bool on, has_seccomp, has_capabilities;
    const char *seccomp_why, *landlock_why; /* why they are not in force */
    int landlock_abi;                       /* 0: the kernel has none */
    int shared_rules;                       /* ruleset of SANDBOX_SHARE, or -1 */
    int no_file_rules;                      /* ruleset that allows nothing, or -1 */
    atomic_uint refusals;
    const char *why_not;
} sandbox = {.shared_rules = -1, .no_file_rules = -1, .why_not = "off"};

/* ---- refusals ---- */

static const char *call_name(int number)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(call_names); i++) {
        if (call_names[i].number == number)
            return call_names[i].name;
    }
    return "";
}

/* glibc looks there once when it gives memory back, with its locks held, and does without. */
static bool is_allocators(const siginfo_t *info, const ucontext_t *context)
{
#ifdef __x86_64__
    const char *path = (const char *)context->uc_mcontext.gregs[REG_RSI];
#elif defined(__aarch64__)
    const char *path = (const char *)context->uc_mcontext.regs[1];
#elif defined(__riscv)
    const char *path = (const char *)context->uc_mcontext.__gregs[REG_A0 + 1];
#else
#error "which register has the path of openat()?"
#endif
    return info->si_syscall == SYS_openat && strcmp(path, "/proc/sys/vm/overcommit_memory") == 0;
}

static void set_result(ucontext_t *context, long value)
{
#ifdef __x86_64__
    context->uc_mcontext.gregs[REG_RAX] = value;
#elif defined(__aarch64__)
    context->uc_mcontext.regs[0] = (unsigned long long)value;
#elif defined(__riscv)
    context->uc_mcontext.__gregs[REG_A0] = (unsigned long)value;
#else
#error "which register has the result of a system call?"
#endif
}

/* A refused system call, on the thread that made it. Only what may be called in a signal handler. The first 100 are
 * told: a thread out of control shall not fill a disk. A call without a name is younger than libseccomp, and so than
 * this program: ENOSYS has libraries take the older one. */
static void on_refusal(int number, siginfo_t *info, void *opaque)
{
    ucontext_t *context = opaque;
    int saved = errno, len;
    char line[192], thread[16] = "";

    if (info->si_code != SYS_SECCOMP) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    const char *name = call_name(info->si_syscall);
    set_result(context, *name ? -EPERM : -ENOSYS);
    if (!is_allocators(info, context) && atomic_fetch_add(&sandbox.refusals, 1) < 100 &&
        sandbox.settings.report_fd >= 0) {
        prctl(PR_GET_NAME, thread);
        len =
            snprintf(line, sizeof(line),
                     "tuff: sandbox: thread %s was refused system call %s (%d); if that is a mistake: --sandbox=off\n",
                     thread, *name ? name : "unknown", info->si_syscall);
        (void)!write(sandbox.settings.report_fd, line, (size_t)len);
    }
    errno = saved;
}

static int catch_refusals(void)
{
    struct sigaction action = {.sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO};

    sigfillset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL) ? -errno : 0;
}

/* A blocked SIGSYS would end the process. */
static void unblock_refusals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- filters ---- */

static const struct {
    const struct sock_filter *insns;
    size_t count;
} filters[] = {
    {filter_0, TUFF_ARRAY_LEN(filter_0)}, {filter_1, TUFF_ARRAY_LEN(filter_1)}, {filter_2, TUFF_ARRAY_LEN(filter_2)},
    {filter_3, TUFF_ARRAY_LEN(filter_3)}, {filter_4, TUFF_ARRAY_LEN(filter_4)},
};

static int apply_filter(unsigned which, unsigned flags)
{
    struct sock_filter insns[BPF_MAXINSNS];
    struct sock_fprog program = {.len = (unsigned short)filters[which].count, .filter = insns};

    memcpy(insns, filters[which].insns, filters[which].count * sizeof(*insns));
    for (size_t i = 0; i < program.len; i++) {
        if (insns[i].k == SANDBOX_PID)
            insns[i].k = (uint32_t)getpid();
    }
    long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return rc < 0 ? -errno : rc ? -EBUSY : 0; /* above 0: a thread has a filter of its own */
}

static unsigned filter_of(enum sandbox_kind kind)
{
    const struct sandbox_settings *s = &sandbox.settings;
    unsigned compile = s->compile_files ? SANDBOX_FILTER_FILES : 0;
    unsigned device = (s->device_sockets ? SANDBOX_FILTER_SOCKETS : 0) | (s->device_files ? SANDBOX_FILTER_FILES : 0);

    switch (kind) {
    case SANDBOX_VCPU:
        return s->vcpu_compiles ? compile : 0;
    case SANDBOX_DEVICE:
        return device;
    case SANDBOX_SHARE:
        return SANDBOX_FILTER_FILES;
    case SANDBOX_COMPILE:
        return compile;
    case SANDBOX_SERVICE:
        break;
    }
    return SANDBOX_FILTER_FILES | SANDBOX_FILTER_SOCKETS;
}

/* ---- capabilities ---- */

#define CAP(name) (1ULL << CAP_##name)
static const uint64_t file_caps = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(FSETID);
/* For opening again, after a guest's reboot, what the options name, and for placing threads and memory. */
static const uint64_t process_caps = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(FSETID) |
                                     CAP(MKNOD) | CAP(NET_ADMIN) | CAP(NET_BIND_SERVICE) | CAP(SYS_NICE) |
                                     CAP(SYS_PTRACE) | CAP(IPC_LOCK) | CAP(SYS_RESOURCE);

/* Of the calling thread; those it has not are not asked for. */
static int keep_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data))
        return -errno;
    for (unsigned i = 0; i < 2; i++) {
        data[i].effective &= (uint32_t)(keep >> (32 * i));
        data[i].permitted &= (uint32_t)(keep >> (32 * i));
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static uint64_t capabilities_of(enum sandbox_kind kind)
{
    switch (kind) {
    case SANDBOX_DEVICE:
        /* Sockets in the file system may be other users'. */
        return (sandbox.settings.network_admin ? CAP(NET_ADMIN) : 0) |
               (sandbox.settings.device_sockets ? CAP(NET_BIND_SERVICE) | CAP(DAC_OVERRIDE) : 0);
    case SANDBOX_SHARE:
        return file_caps | CAP(MKNOD);
    case SANDBOX_SERVICE:
        return file_caps | CAP(NET_BIND_SERVICE);
    case SANDBOX_COMPILE:
    case SANDBOX_VCPU:
        break;
    }
    return 0;
}

/* ---- Landlock ---- */

/* Headers of Debian 12 know the rights of the second version. */
#define RIGHTS_2 ((1ULL << 14) - 1)
#define RIGHT_TRUNCATE (1ULL << 14)

static uint64_t landlock_rights(void)
{
    return RIGHTS_2 | (sandbox.landlock_abi >= 3 ? RIGHT_TRUNCATE : 0);
}

static int new_rules(void)
{
    struct landlock_ruleset_attr attr = {.handled_access_fs = landlock_rights()};

    return (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
}

/* The first version could not allow renaming from one directory to another: it is not used. */
static int landlock_start(struct error *err)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    if (abi < 2)
        return 0;
    sandbox.landlock_abi = abi;
    sandbox.no_file_rules = new_rules();
    sandbox.shared_rules = new_rules();
    if (sandbox.no_file_rules < 0 || sandbox.shared_rules < 0)
        return error_set(err, -errno, "sandbox, Landlock, is refused by the kernel: %s", strerror(errno));
    for (size_t i = 0; i < sandbox.settings.shared_count; i++) {
        struct landlock_path_beneath_attr rule = {.allowed_access = landlock_rights()};
        rule.parent_fd = open(sandbox.settings.shared[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (rule.parent_fd < 0)
            continue; /* opening the share says so better */
        int rc =
            syscall(SYS_landlock_add_rule, sandbox.shared_rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ? -errno : 0;
        close(rule.parent_fd);
        if (rc)
            return error_set(err, rc, "sandbox, Landlock, is refused by the kernel for '%s': %s",
                             sandbox.settings.shared[i], strerror(-rc));
    }
    return 0;
}

static int landlock_enter(enum sandbox_kind kind)
{
    int rules = kind == SANDBOX_SHARE ? sandbox.shared_rules : sandbox.no_file_rules;

    if (!sandbox.landlock_abi || (kind != SANDBOX_SHARE && filter_of(kind) & SANDBOX_FILTER_FILES))
        return 0;
    /* The kernel takes 16, counted with those of who started this process and of the threads that started this one:
     * the probe's was taken, so one such thread has these rules already. */
    return syscall(SYS_landlock_restrict_self, rules, 0) && errno != E2BIG ? -errno : 0;
}

/* ---- entering ---- */

struct probe {
    bool landlock, seccomp;
    int landlock_rc, seccomp_rc;
};

/* What threads will ask for, on one that ends then: a kernel or container that refuses says so before the guest runs.
 */
static void *try_thread(void *opaque)
{
    struct probe *probe = opaque;

    unblock_refusals();
    if (probe->landlock)
        probe->landlock_rc = syscall(SYS_landlock_restrict_self, sandbox.no_file_rules, 0) ? -errno : 0;
    if (probe->seccomp)
        probe->seccomp_rc = apply_filter(0, 0);
    return NULL;
}

static int run_probe(struct probe *probe)
{
    pthread_t id;
    int rc = -pthread_create(&id, NULL, try_thread, probe);

    if (!rc)
        pthread_join(id, NULL);
    return rc;
}

static void leave_out_landlock(const char *why)
{
    if (sandbox.no_file_rules >= 0)
        close(sandbox.no_file_rules);
    if (sandbox.shared_rules >= 0)
        close(sandbox.shared_rules);
    sandbox.no_file_rules = sandbox.shared_rules = -1;
    sandbox.landlock_abi = 0;
    sandbox.landlock_why = why;
}

/* Of a part that the kernel refuses (rc; `err` says so already): an error where all of it is required, else it is left
 * out. */
static int landlock_result(int rc)
{
    if (!rc || sandbox.settings.required)
        return rc;
    leave_out_landlock("Landlock refused");
    return 0;
}

static int seccomp_result(int rc, bool known, struct error *err)
{
    if (!rc)
        rc = apply_filter(SANDBOX_FILTER_PROCESS, SECCOMP_FILTER_FLAG_TSYNC);
    sandbox.has_seccomp = !rc;
    if (!rc)
        return 0;
    sandbox.seccomp_why = known ? "seccomp refused" : "no seccomp in this kernel";
    if (!sandbox.settings.required)
        return 0;
    return error_set(err, rc, "sandbox, seccomp, is refused by the kernel: %s (--sandbox=off does without)",
                     strerror(-rc));
}

static int start_landlock_and_seccomp(struct error *err)
{
    bool known = prctl(PR_GET_SECCOMP) >= 0;
    int landlock_rc = landlock_start(err), seccomp_rc = known ? catch_refusals() : -ENOSYS;
    struct probe probe = {.landlock = !landlock_rc && sandbox.landlock_abi, .seccomp = !seccomp_rc};

    unblock_refusals();
    int rc = run_probe(&probe);
    if (probe.landlock)
        landlock_rc = rc ? rc : probe.landlock_rc;
    if (probe.landlock && landlock_rc)
        error_set(err, landlock_rc, "sandbox, Landlock, is refused by the kernel: %s", strerror(-landlock_rc));
    if (probe.seccomp)
        seccomp_rc = rc ? rc : probe.seccomp_rc;
    rc = landlock_result(landlock_rc);
    return rc ? rc : seccomp_result(seccomp_rc, known, err);
}

int sandbox_start(const struct sandbox_settings *settings, struct error *err)
{
    int rc;

    if (SANITIZED) {
        sandbox.why_not = "off (this build has sanitizers)";
        return 0;
    }
    sandbox.settings = *settings;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        rc = -errno;
        sandbox.why_not = "off (the kernel does not let new privileges be given up)";
        return settings->required ? error_set(err, rc, "sandbox, new privileges, cannot be given up: %s", strerror(-rc))
                                  : 0;
    }
    rc = keep_capabilities(process_caps);
    sandbox.has_capabilities = !rc;
    if (rc && settings->required)
        return error_set(err, rc, "sandbox, capabilities, cannot be given up: %s", strerror(-rc));
    rc = start_landlock_and_seccomp(err);
    sandbox.on = !rc;
    return rc;
}

void sandbox_enter(enum sandbox_kind kind)
{
    static const char failed[] = "tuff: sandbox: a thread could not be confined\n";
    int rc;

    if (!sandbox.on)
        return;
    unblock_refusals();
    rc = landlock_enter(kind);
    if (!rc && sandbox.has_capabilities)
        rc = keep_capabilities(capabilities_of(kind));
    if (!rc && sandbox.has_seccomp)
        rc = apply_filter(filter_of(kind), 0);
    if (rc) {
        (void)!write(sandbox.settings.report_fd, failed, sizeof(failed) - 1);
        abort();
    }
}

void sandbox_describe(char *text, size_t size)
{
    char landlock[32];

    if (!sandbox.on) {
        snprintf(text, size, "%s", sandbox.why_not);
        return;
    }
    snprintf(landlock, sizeof(landlock), "Landlock %d", sandbox.landlock_abi);
    snprintf(text, size, "%s, no new privileges, capabilities %s, %s, %u refused",
             sandbox.has_seccomp ? "seccomp" : sandbox.seccomp_why, sandbox.has_capabilities ? "dropped" : "kept",
             sandbox.landlock_abi   ? landlock
             : sandbox.landlock_why ? sandbox.landlock_why
                                    : "no Landlock in this kernel",
             atomic_load(&sandbox.refusals));
}
