/* What threads of this process may ask of the kernel: seccomp filters by kind of thread, no new privileges, few
 * capabilities, and Landlock where the kernel has it. docs/threat-model.md has the promises and their limits.
 *
 * sandbox_start() comes once, before other threads are started; until then, and without it, sandbox_enter() does
 * nothing, so programs that embed a machine choose for themselves. A system call that a filter refuses fails with EPERM
 * and is reported in one line with its name and the thread's. */
#ifndef TUFF_BASE_SANDBOX_H
#define TUFF_BASE_SANDBOX_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum sandbox_kind {
    SANDBOX_VCPU,    /* runs guest code and device registers: memory, waiting, and I/O on what is open */
    SANDBOX_DEVICE,  /* loops, disk and fault workers: the same, and sockets where a device has some */
    SANDBOX_SHARE,   /* 9p: files, of the shared directories alone where the kernel has Landlock */
    SANDBOX_COMPILE, /* LLVM: as a vCPU, and files where compiled code is kept or dumped */
    SANDBOX_SERVICE, /* terminal, control socket, debugger, snapshots, database: files and sockets, no new programs */
};

enum { SANDBOX_PATHS_MAX = 16 };

struct sandbox_settings {
    bool required;                         /* what the kernel refuses is an error; else it is left out */
    bool device_sockets;                   /* a device opens sockets while the guest runs */
    bool device_files;                     /* and files (the resolver's, ALSA's) */
    bool compile_files;                    /* compiling reads or writes files */
    bool vcpu_compiles;                    /* vCPUs compile themselves (--jit-sync) */
    bool network_admin;                    /* a tap: device threads keep CAP_NET_ADMIN */
    int report_fd;                         /* where refusals are told; -1: nowhere */
    const char *shared[SANDBOX_PATHS_MAX]; /* directories for SANDBOX_SHARE; borrowed by sandbox_start() alone */
    size_t shared_count;
};

/* Restricts the calling thread, and with it those that it will start: no new programs, no debugging of processes, no
 * mounts, modules or namespaces. What the kernel refuses, as in some containers, is left out, which sandbox_describe()
 * says; with `required` it is an error, and so is a kernel without seccomp: a negative errno with a line in err.
 * Landlock may be missing, and in builds with sanitizers everything is. Once a process. */
int sandbox_start(const struct sandbox_settings *settings, struct error *err) TUFF_MUST_CHECK;

/* Restricts the calling thread further, for good. Called first thing on it, before anything of the guest is looked at.
 * Ends the process where the kernel refuses what sandbox_start() tried: nothing runs less confined than was said. */
void sandbox_enter(enum sandbox_kind kind);

/* What is in force, as a line for the user. */
void sandbox_describe(char *text, size_t size);

#endif
