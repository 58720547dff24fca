/* Makes the filters of base/sandbox.c, when Tuff is built: libseccomp takes a millisecond for each, which a run need
 * not spend. Writes a C file: for each filter its BPF, and a table of names. It is run on the machine that it was built
 * for, as everything here is.
 *
 * The lists of all kinds have what any worker needs that may be started from there: filters add up, and a disk worker
 * is started by whichever thread queues a request.
 */
#include "base/compiler.h"
#include "base/sandbox_internal.h"

#include <errno.h>
#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* clang-format would put one call a line. */
// clang-format off
/* What every worker needs: memory, waiting, time, and I/O on what is open. */
#define COMMON_CALLS(X) \
    X(read) X(write) X(readv) X(writev) X(pread64) X(pwrite64) X(preadv) X(pwritev) X(preadv2) X(pwritev2) \
    X(lseek) X(fsync) X(fdatasync) X(sync_file_range) X(fallocate) X(ftruncate) X(fadvise64) \
    X(copy_file_range) X(close) X(dup) X(fstat) X(newfstatat) X(statx) X(fstatfs) X(fcntl) X(flock) X(splice) \
    X(pipe2) X(munmap) X(mremap) X(madvise) X(brk) X(msync) X(mlock) X(munlock) X(mbind) X(membarrier) \
    X(memfd_create) X(arch_prctl) X(futex) X(futex_waitv) X(rseq) X(set_robust_list) X(get_robust_list) \
    X(restart_syscall) X(set_tid_address) X(exit) X(exit_group) X(rt_sigaction) X(rt_sigprocmask) \
    X(rt_sigreturn) X(rt_sigtimedwait) X(rt_sigpending) X(sigaltstack) X(gettid) X(getpid) X(getppid) \
    X(getuid) X(geteuid) X(getgid) X(getegid) X(getcpu) X(getrusage) X(times) X(sysinfo) X(uname) X(prlimit64) \
    X(getrlimit) X(sched_yield) X(sched_getaffinity) X(sched_setaffinity) X(sched_getparam) \
    X(sched_getscheduler) X(set_mempolicy) X(get_mempolicy) X(setpriority) X(getpriority) X(nanosleep) \
    X(clock_nanosleep) X(clock_gettime) X(clock_getres) X(gettimeofday) X(time) X(getrandom) X(epoll_create1) \
    X(epoll_ctl) X(epoll_wait) X(epoll_pwait) X(epoll_pwait2) X(eventfd2) X(signalfd4) X(timerfd_create) \
    X(timerfd_settime) X(timerfd_gettime) X(poll) X(ppoll) X(select) X(pselect6) X(io_uring_enter) X(recvmsg) \
    X(recvfrom) X(recvmmsg) X(sendmsg) X(sendmmsg) X(shutdown) X(accept4) X(getsockopt) X(getsockname) \
    X(getpeername) X(capget) X(capset) X(landlock_create_ruleset) X(landlock_restrict_self)

#define SOCKET_CALLS(X) \
    X(socket) X(socketpair) X(connect) X(bind) X(listen) X(accept) X(setsockopt) X(sendto)

#define FILE_CALLS(X) \
    X(open) X(openat) X(openat2) X(creat) X(access) X(faccessat) X(faccessat2) X(stat) X(lstat) X(statfs) \
    X(readlink) X(readlinkat) X(getcwd) X(getdents64) X(mkdir) X(mkdirat) X(rmdir) X(unlink) X(unlinkat) \
    X(rename) X(renameat) X(renameat2) X(link) X(linkat) X(symlink) X(symlinkat) X(truncate) X(mknod) \
    X(mknodat) X(chmod) X(fchmod) X(fchmodat) X(chown) X(fchown) X(fchownat) X(utimensat) X(umask) X(syncfs) \
    X(getxattr) X(lgetxattr) X(fgetxattr) X(setxattr) X(lsetxattr) X(fsetxattr) X(listxattr) X(llistxattr) \
    X(flistxattr) X(removexattr) X(lremovexattr) X(fremovexattr) X(io_uring_setup) X(io_uring_register) \
    X(landlock_add_rule) X(semop) X(semtimedop) X(semctl) X(shmdt) X(shmctl)

/* What no thread of the process does. (A new process it may start: what reads a guest's disk for its kernel is one.) */
#define REFUSED_CALLS(X) \
    X(execve) X(execveat) X(ptrace) X(process_vm_readv) X(process_vm_writev) X(kcmp) X(pidfd_getfd) \
    X(process_madvise) X(open_by_handle_at) X(name_to_handle_at) X(mount) X(umount2) X(move_mount) X(fsopen) \
    X(fsmount) X(open_tree) X(mount_setattr) X(pivot_root) X(chroot) X(setns) X(unshare) X(bpf) \
    X(perf_event_open) X(kexec_load) X(kexec_file_load) X(init_module) X(finit_module) X(delete_module) \
    X(reboot) X(swapon) X(swapoff) X(add_key) X(request_key) X(keyctl) X(iopl) X(ioperm) X(modify_ldt) \
    X(personality) X(acct) X(quotactl) X(settimeofday) X(clock_settime) X(clock_adjtime) X(adjtimex) \
    X(sethostname) X(setdomainname) X(syslog) X(vhangup) X(fanotify_init) X(lookup_dcookie)
// clang-format on

#define X(name) SCMP_SYS(name),
static const int common_calls[] = {COMMON_CALLS(X)};
static const int socket_calls[] = {SOCKET_CALLS(X)};
static const int file_calls[] = {FILE_CALLS(X)};
static const int refused_calls[] = {REFUSED_CALLS(X)};
#undef X

static int add_calls(scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t count)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        if (calls[i] >= 0) /* negative: this architecture has no such call */
            rc = seccomp_rule_add(ctx, action, calls[i], 0);
    }
    return rc;
}

/* Memory that is writable and executable at once; clone3's flags lie in memory, where a filter cannot look, so glibc is
 * told to use clone; letting a terminal's owner "type"; another process's signals. */
static int add_to_all(scmp_filter_ctx ctx, uint32_t otherwise)
{
    const uint64_t both = PROT_WRITE | PROT_EXEC;
    const int maps[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect)};
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

    for (size_t i = 0; i < TUFF_ARRAY_LEN(maps) && rc == 0; i++) {
        if (otherwise == SCMP_ACT_ALLOW) {
            rc = seccomp_rule_add(ctx, SCMP_ACT_TRAP, maps[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, both, both));
        } else {
            rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, maps[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE, 0));
            if (rc == 0)
                rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, maps[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        }
    }
    if (otherwise == SCMP_ACT_ALLOW)
        return rc ? rc
                  : seccomp_rule_add(ctx, SCMP_ACT_TRAP, SCMP_SYS(ioctl), 1,
                                     SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI));
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 0);
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, SANDBOX_PID, 0));
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_EQ, SANDBOX_PID, 0));
    for (unsigned i = 0; i < 4 && rc == 0; i++) {
        static const int wanted[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_SET_TIMERSLACK};
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, (uint64_t)wanted[i], 0));
    }
    /* Threads that are started from here confine themselves further. */
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(seccomp), 0);
    return rc;
}

/* libseccomp writes BPF into a file only (2.5). */
static int print(scmp_filter_ctx ctx, int which)
{
    struct sock_filter insns[BPF_MAXINSNS];
    int fd = memfd_create("seccomp", MFD_CLOEXEC), rc;
    ssize_t got;

    if (fd < 0)
        return -errno;
    rc = seccomp_export_bpf(ctx, fd);
    got = rc ? 0 : pread(fd, insns, sizeof(insns), 0);
    close(fd);
    if (rc || got <= 0 || (size_t)got % sizeof(*insns))
        return rc ? rc : -EIO;
    printf("static const struct sock_filter filter_%d[] = {\n", which);
    for (size_t i = 0; i < (size_t)got / sizeof(*insns); i++)
        printf("    {%u, %u, %u, %u},\n", insns[i].code, insns[i].jt, insns[i].jf, insns[i].k);
    printf("};\n");
    return 0;
}

static int make_worker_filter(unsigned which)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
    int rc = ctx ? add_calls(ctx, SCMP_ACT_ALLOW, common_calls, TUFF_ARRAY_LEN(common_calls)) : -ENOMEM;

    if (rc == 0 && which & SANDBOX_FILTER_SOCKETS)
        rc = add_calls(ctx, SCMP_ACT_ALLOW, socket_calls, TUFF_ARRAY_LEN(socket_calls));
    else if (rc == 0) /* send() */
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, SCMP_A4(SCMP_CMP_EQ, 0, 0));
    if (rc == 0 && which & SANDBOX_FILTER_FILES)
        rc = add_calls(ctx, SCMP_ACT_ALLOW, file_calls, TUFF_ARRAY_LEN(file_calls));
    if (rc == 0)
        rc = add_to_all(ctx, SCMP_ACT_TRAP);
    if (rc == 0)
        rc = print(ctx, (int)which);
    seccomp_release(ctx);
    return rc;
}

static int make_process_filter(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int rc = ctx ? add_calls(ctx, SCMP_ACT_TRAP, refused_calls, TUFF_ARRAY_LEN(refused_calls)) : -ENOMEM;

    if (rc == 0)
        rc = add_to_all(ctx, SCMP_ACT_ALLOW);
    if (rc == 0)
        rc = print(ctx, SANDBOX_FILTER_PROCESS);
    seccomp_release(ctx);
    return rc;
}

/* Of all calls, for the line about a refusal. */
static void print_names(void)
{
    enum { NUMBERS_MAX = 1024 };

    printf("static const struct {\n    int number;\n    const char *name;\n} call_names[] = {\n");
    for (int number = 0; number < NUMBERS_MAX; number++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        if (name)
            printf("    {%d, \"%s\"},\n", number, name);
        free(name);
    }
    printf("};\n");
}

int main(void)
{
    int rc = make_process_filter();

    for (unsigned i = 0; i < SANDBOX_FILTER_PROCESS && rc == 0; i++)
        rc = make_worker_filter(i);
    if (rc) {
        fprintf(stderr, "filters could not be made: %s\n", strerror(-rc));
        return 1;
    }
    print_names();
    return fflush(stdout) ? 1 : 0;
}
