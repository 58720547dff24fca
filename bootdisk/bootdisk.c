/* Kernel and initial RAM disk of a disk image: the child process that reads them, and what is believed of its answer.
 */
#include "bootdisk/bootdisk.h"

#include "bootdisk/bootdisk_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_CPU_SECONDS = 60 };

/* ---- the child process ---- */

static int read_partitions(struct block_node *node, int kernel_fd, int initrd_fd, struct bootdisk_answer *answer)
{
    struct extent partitions[GPT_ENTRIES_MAX];
    int count = gpt_read(node, partitions), rc = -EMEDIUMTYPE;

    if (count < 0)
        return error_set(&answer->err, count, "its partition table cannot be read");
    for (int i = 0; i < count && (rc == -EMEDIUMTYPE || rc == -ENOENT); i++) {
        if (!partitions[i].bytes)
            continue;
        int other = ext_read(node, partitions[i], kernel_fd, initrd_fd, answer);
        answer->partition = (unsigned)i + 1;
        if (rc != -ENOENT || other != -EMEDIUMTYPE)
            rc = other;
    }
    return rc;
}

static int read_disk(const char *path, enum block_format format, int kernel_fd, int initrd_fd,
                     struct bootdisk_answer *answer)
{
    const struct node_options options = {.format = format, .no_lock = true};
    struct block_node *node;
    int rc = node_open(path, &options, &node, &answer->err);

    if (rc)
        return rc;
    rc = ext_read(node, (struct extent){0, node_size(node)}, kernel_fd, initrd_fd, answer);
    if (rc == -EMEDIUMTYPE)
        rc = read_partitions(node, kernel_fd, initrd_fd, answer);
    if (rc == -EMEDIUMTYPE)
        rc = error_set(&answer->err, -EINVAL,
                       "it has no ext2, ext3 or ext4 file system, neither as a whole nor in a "
                       "GUID partition");
    /* Nothing was written. */
    (void)node_close(node);
    return rc;
}

/* Faults end this process whatever handlers the other has; so does a file system that leads in circles. */
static void be_mortal(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU};
    const struct rlimit cpu = {CHILD_CPU_SECONDS, CHILD_CPU_SECONDS}, core = {0, 0};
    sigset_t none;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(faults); i++)
        (void)signal(faults[i], SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setrlimit(RLIMIT_CPU, &cpu);
    (void)setrlimit(RLIMIT_CORE, &core);
}

/* ---- the parent ---- */

static int wait_for(pid_t pid, const struct bootdisk_answer *answer, struct error *err)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return error_set(err, -errno, "the process that reads it was lost");
    }
    if (!WIFEXITED(status) || !answer->done)
        return error_set(err, -EINVAL,
                         "its file system is damaged: reading it failed (signal %d); check it with e2fsck",
                         WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 0;
}

/* The child runs on hostile data: its words are checked before they are passed on. */
static int take_answer(struct bootdisk_answer *answer, struct bootdisk *out, struct error *err)
{
    answer->err.text[sizeof(answer->err.text) - 1] = '\0';
    answer->kernel[sizeof(answer->kernel) - 1] = '\0';
    if (answer->rc)
        return error_set(err, answer->rc < 0 && answer->rc > -4096 ? answer->rc : -EINVAL, "%s", answer->err.text);
    strcpy(out->kernel, answer->kernel);
    out->partition = answer->partition;
    if (!answer->has_initrd) {
        close(out->initrd_fd);
        out->initrd_fd = -1;
    }
    return 0;
}

static int read_in_child(const char *path, enum block_format format, struct bootdisk_answer *answer,
                         struct bootdisk *out, struct error *err)
{
    pid_t pid = fork();

    if (pid < 0)
        return error_set(err, -errno, "no process can be started to read it: %s", strerror(errno));
    if (pid == 0) {
        be_mortal();
        answer->rc = read_disk(path, format, out->kernel_fd, out->initrd_fd, answer);
        answer->done = true;
        _exit(0);
    }
    int rc = wait_for(pid, answer, err);
    return rc ? rc : take_answer(answer, out, err);
}

int bootdisk_read(const char *path, enum block_format format, struct bootdisk *out, struct error *err)
{
    struct bootdisk_answer *answer =
        mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct error why = {0};
    int rc;

    *out = (struct bootdisk){.kernel_fd = memfd_create("kernel", MFD_CLOEXEC),
                             .initrd_fd = memfd_create("initrd", MFD_CLOEXEC)};
    if (answer == MAP_FAILED || out->kernel_fd < 0 || out->initrd_fd < 0)
        rc = error_set(&why, -ENOMEM, "not enough host memory or files, free some");
    else
        rc = read_in_child(path, format, answer, out, &why);
    if (answer != MAP_FAILED)
        munmap(answer, sizeof(*answer));
    if (rc) {
        bootdisk_close(out);
        return error_set(err, rc, "--disk, %s, cannot be booted from: %s; or give --kernel", path, why.text);
    }
    return 0;
}

void bootdisk_close(struct bootdisk *disk)
{
    if (disk->kernel_fd >= 0)
        close(disk->kernel_fd);
    if (disk->initrd_fd >= 0)
        close(disk->initrd_fd);
    disk->kernel_fd = disk->initrd_fd = -1;
}
