/* Snapshots of a machine: when they are taken, and starting from one. Part of libtuff's public interface
 * (machine/machine.h). The file is that of docs/snapshot-format.md. */
#ifndef TUFF_MACHINE_MACHINE_SNAPSHOT_H
#define TUFF_MACHINE_MACHINE_SNAPSHOT_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine;
struct machine_config;
struct machine_restore;

struct machine_snapshot_config {
    const char *file;  /* made where it is missing; NULL: no snapshots, and no events */
    uint64_t at_insns; /* one, named "insns-N", when hart 0 has retired so many instructions; 0: none */
    uint64_t every_ns; /* one, named "auto-N", so often; 0: none */
    unsigned keep;     /* of those the last so many stay; 0: all */
    bool on_exit;      /* one, named "exit-N", when the run ends and the guest could go on */
    int level;         /* zlib's; 0: 1 */
};

/* What a guest's time does at a restore. */
enum machine_restore_time {
    MACHINE_RESTORE_CONTINUE,  /* goes on where it stood */
    MACHINE_RESTORE_HOST_TIME, /* as much has passed as on the host */
};

struct machine_snapshot_result {
    char name[64], parent[64]; /* parent "": it has none */
    uint64_t pause_us, save_us, new_pages, new_bytes;
};

/* Takes a snapshot while the machine runs: memory is written while the guest goes on, and it stands still for the state
 * and the pages that it changed last. After the first one only pages that changed since are looked at. `name` NULL:
 * "manual-N" is chosen. Any thread but a hart's or an event loop's; one at a time, others wait. Returns 0, or a
 * negative errno with a line in `err`: -EINVAL (no file was configured), -ECANCELED (the machine is ending), ... */
TUFF_MUST_CHECK int machine_snapshot(struct machine *machine, const char *name, struct machine_snapshot_result *result,
                                     struct error *err);

/* Takes a snapshot out of a file, and then what it has in the images of its machine's disks, which are found by the
 * paths in its settings; only internal snapshots are deleted there whose names say that they were made for one of this
 * name. What stays in an image (a running machine has it, it is gone, ..) is a warning in the log and no failure.
 * `disks` false: images are left alone. Any thread. Returns 0, -ENOENT (no such snapshot) or another negative errno
 * with a line in `err`. */
TUFF_MUST_CHECK int machine_snapshot_delete(const char *file, const char *name, bool disks, struct error *err);

/* Opens a snapshot to start from; `name` NULL: the newest. Everything but the memory is read and checked. Returns 0, or
 * a negative errno with a line in `err`. The caller owns *out. */
TUFF_MUST_CHECK int machine_restore_open(const char *file, const char *name, enum machine_restore_time time,
                                         struct machine_restore **out, struct error *err);
/* NULL is allowed. After the machine that was made from it has been destroyed. */
void machine_restore_close(struct machine_restore *restore);
/* Makes `config`, which has the defaults or choices that do not belong to the machine (tiers, serial port, network of
 * the host, shared directories), that of the snapshot's machine, to start from it: machine_create() then makes the
 * machine as it stood. Its strings are `restore`'s. Disks, networks, shared directories and a vsock have to be in
 * `config` already, as a file must not choose what of the host a guest sees. Returns 0, or a negative errno with a line
 * in `err`. */
TUFF_MUST_CHECK int machine_restore_config(struct machine_restore *restore, struct machine_config *config,
                                           struct error *err);
/* The snapshot's name. */
const char *machine_restore_name(const struct machine_restore *restore);

#endif
