/* Running a test program under QEMU's user-mode emulator: an image in a memfd, its output in another. No temporary
 * files, so that interrupted tests leave nothing behind. See subject.h.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QEMU_CPU_SECONDS = 120 };

void subject_result_free(struct subject_result *result)
{
    free(result->output);
    result->output = NULL;
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EIO;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The child: standard output is the result file; a program that hangs is ended by the CPU time limit. */
static void __attribute__((noreturn)) become_qemu(const char *qemu, const struct qemu_run *run)
{
    char image[32];
    snprintf(image, sizeof(image), "/proc/self/fd/%d", run->image_fd);
    struct rlimit limit = {QEMU_CPU_SECONDS, QEMU_CPU_SECONDS};
    setrlimit(RLIMIT_CPU, &limit);
    if (dup2(run->output_fd, STDOUT_FILENO) >= 0)
        execl(qemu, qemu, "-cpu", "max", image, (char *)NULL);
    _exit(127);
}

void qemu_start(const char *qemu, const struct program *program, struct qemu_run *run)
{
    size_t len;
    uint8_t *elf = program_elf(program, &len);
    *run = (struct qemu_run){.pid = -1, .output_bytes = program->data_bytes};
    run->image_fd = memfd_create("program", 0);
    run->output_fd = memfd_create("output", 0);
    if (run->image_fd < 0 || run->output_fd < 0 || write_all(run->image_fd, elf, len))
        snprintf(run->error, sizeof(run->error), "cannot make the program's file: %s", strerror(errno));
    free(elf);
    if (run->error[0])
        return;
    fflush(NULL);
    run->pid = fork();
    if (run->pid == 0)
        become_qemu(qemu, run);
    if (run->pid < 0)
        snprintf(run->error, sizeof(run->error), "cannot fork: %s", strerror(errno));
}

static bool child_succeeded(pid_t pid, char *why, size_t len)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            snprintf(why, len, "waiting for qemu-riscv64: %s", strerror(errno));
            return false;
        }
    }
    if (WIFSIGNALED(status))
        snprintf(why, len, "qemu-riscv64 ended by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        snprintf(why, len, "qemu-riscv64 ended with exit code %d", WEXITSTATUS(status));
    return status == 0;
}

static bool read_output(const struct qemu_run *run, struct subject_result *out)
{
    out->output = malloc(run->output_bytes);
    if (!out->output)
        return false;
    size_t done = 0;
    while (done < run->output_bytes) {
        ssize_t n = pread(run->output_fd, out->output + done, run->output_bytes - done, (off_t)done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    if (done == run->output_bytes)
        return true;
    snprintf(out->why, sizeof(out->why), "qemu-riscv64 wrote %zu of %zu bytes", done, run->output_bytes);
    return false;
}

void qemu_finish(struct qemu_run *run, struct subject_result *out)
{
    *out = (struct subject_result){0};
    if (run->pid < 0)
        memcpy(out->why, run->error, sizeof(run->error));
    else if (child_succeeded(run->pid, out->why, sizeof(out->why)))
        out->ended = read_output(run, out);
    if (run->image_fd >= 0)
        close(run->image_fd);
    if (run->output_fd >= 0)
        close(run->output_fd);
    run->pid = -1;
}

void qemu_run(const char *qemu, const struct program *program, struct subject_result *out)
{
    struct qemu_run run;
    qemu_start(qemu, program, &run);
    qemu_finish(&run, out);
}

/* The last line a command prints. */
static bool last_line_of(const char *command, char *line, size_t len)
{
    FILE *pipe = popen(command, "r");
    if (!pipe)
        return false;
    line[0] = '\0';
    while (fgets(line, (int)len, pipe))
        line[strcspn(line, "\n")] = '\0';
    return pclose(pipe) == 0 && line[0] != '\0';
}

bool qemu_find(const char *fetch, char *path, size_t len, char *why, size_t why_len)
{
    const char *given = getenv("TUFF_QEMU_USER");
    char command[4096];
    if (given) {
        snprintf(path, len, "%s", given);
    } else if (fetch) {
        snprintf(command, sizeof(command), "'%s' </dev/null", fetch);
        if (!last_line_of(command, path, len)) {
            snprintf(why, why_len, "%s could not get qemu-user 10 (no network?); set TUFF_QEMU_USER to a qemu-riscv64",
                     fetch);
            return false;
        }
    } else {
        snprintf(why, why_len, "no qemu-riscv64: set TUFF_QEMU_USER to version 10 or newer");
        return false;
    }
    if (access(path, X_OK) == 0)
        return true;
    snprintf(why, why_len, "'%s' cannot be executed: set TUFF_QEMU_USER to a qemu-riscv64", path);
    return false;
}
