/* What the files of machine/ call of its snapshots (machine_snapshot.c, machine_restore.c). */
#ifndef TUFF_MACHINE_MACHINE_SNAPSHOTS_H
#define TUFF_MACHINE_MACHINE_SNAPSHOTS_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct machine;
struct machine_restore;

/* Opens the configuration's file, after everything of the machine was made. Nothing where there is none. */
int machine_snapshots_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
void machine_snapshots_destroy(struct machine *m);
/* Before the harts run; and after they have ended: takes the one at exit. */
int machine_snapshots_start(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_snapshots_stop(struct machine *m, struct error *err) TUFF_MUST_CHECK;
/* Any thread: the machine is ending, nobody waits for a snapshot any more. */
void machine_snapshots_wake(struct machine *m);
/* The machine is what the snapshot says. */
void machine_snapshots_restored(struct machine *m, const char *name, int64_t id, const char *file);

/* The instructions at which hart 0 stops for a snapshot; UINT64_MAX: not. Its thread then calls the second, outside
 * vcpu_run(), which returns when the snapshot has been taken. */
uint64_t machine_snapshots_at(const struct machine *m);
void machine_snapshots_reached(struct machine *m);

/* Any thread: notes what happened, in the file if there is one. */
void machine_event(struct machine *m, const char *kind, const char *detail);

/* machine_disk_snapshot.c: internal snapshots in the images of the disks that can be written. Is each of them qcow2? */
int machine_disks_can_snapshot(struct machine *m, struct error *err) TUFF_MUST_CHECK;
/* Writes out what is held back, so that less is to do when the machine stands. Any thread. */
void machine_disks_write_out(struct machine *m);
/* In all of them or in none. While the machine is settled, as the next one. */
int machine_disks_snapshot(struct machine *m, const char *name, struct error *err) TUFF_MUST_CHECK;
void machine_disks_forget_snapshot(struct machine *m, const char *name);

/* machine_restore.c. Is the machine to be restored a PC? */
bool machine_restore_is_pc(const struct machine_restore *restore);
/* Does the machine to be restored serve the SBI, has it flash, where is HTIF? */
bool machine_restore_has(const struct machine *m, const char *setting);
/* In place of loading files: memory and state. */
int machine_restore_load(struct machine *m, struct error *err) TUFF_MUST_CHECK;
/* Tells machine_snapshots_restored(). */
void machine_restore_note(struct machine *m);
/* Sets image.tohost and so on. */
void machine_restore_image(struct machine *m);

#endif
