/* A machine's parts, shared by the files that compose it (machine.c), wire its devices (machine_devices.c) and run its
 * harts (hart_thread.c).
 *
 * Lock order: pause_lock, then a machine_hart's lock, then nothing; the machine's end_lock, then nothing. The last two
 * are not held while calling a device, a vCPU or the loop.
 */
#ifndef TUFF_MACHINE_MACHINE_INTERNAL_H
#define TUFF_MACHINE_MACHINE_INTERNAL_H

#include "base/loop.h"
#include "dev/device.h"
#include "dev/virtio/virtio.h"
#include "engine/vcpu.h"
#include "machine/board_virt.h"
#include "machine/channel.h"
#include "machine/console_backend.h"
#include "machine/loader.h"
#include "machine/loader_pc.h"
#include "machine/machine.h"
#include "machine/placement.h"
#include "machine/sbi.h"
#include "mem/mem.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MACHINE_DEVICES_MAX = 96, MACHINE_VIRTIO_MAX = 32, MACHINE_INSNS_PER_TICK = 10 };

/* One hart: its vCPU, its thread, and where it stands in SBI's hart state machine. */
struct machine_hart {
    struct machine *machine;
    struct vcpu *vcpu;
    uint32_t index;
    pthread_t thread;
    bool thread_started;
    int schedstat_fd;      /* of its thread: how long it ran, and waited to run; -1: not known */
    _Atomic int thread_id; /* the kernel's; 0: does not run */
    _Atomic bool counts;   /* somebody wants them up to date */
    struct loop_timer *timer;
    _Atomic int state; /* enum sbi_hsm_state */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* something a halted or stopped hart must look at; CLOCK_MONOTONIC */
    bool signalled;

    _Atomic int debug_action;   /* enum gdb_action: what it does between two pauses */
    _Atomic bool debug_stopped; /* it came to a point or has done its step, and holds */

    /* What the hart does when it starts or resumes; written before `state` says so. */
    uint64_t start_pc, start_arg;
    bool resume_retentive;
};

struct machine_pc;
struct accel_vm;
struct virtio_mmio_config;
struct virtio_pci_config;

struct machine {
    struct machine_config config;
    struct mem *mem;
    struct accel_vm *accel;    /* NULL: the engine runs the guest */
    struct device *accel_chip; /* of those below: interrupt controllers that it emulates; NULL: none */
    struct placement placement;
    struct machine_pc *pc; /* the board of an x86 guest; NULL: board_virt */
    struct store *store;   /* NULL: none */
    uint64_t run_start_ns;
    struct region_cache *regions; /* NULL: interpreting only */
    struct symbols *symbols;      /* names of guest code; NULL: not wanted */
    struct loop *loop;            /* timers, console */
    struct loop *devices_loop;    /* virtio queues and what is behind them */
    struct gdb_server *gdb;       /* NULL: no debugger can come */
    struct sbi *sbi;              /* NULL for bare-metal programs and firmware */
    struct vcpu_env_ops env;
    struct machine_hart *harts;
    uint32_t hart_count;
    struct vcpu *vcpus[BOARD_HARTS_MAX];

    struct device *devices[MACHINE_DEVICES_MAX];
    unsigned device_count;
    struct device *plic, *aplic, *imsic; /* NULL: not of this machine */
    uint32_t timebase_hz;                /* of the guest's time, as its tree says */
    uint32_t irq_parent;                 /* phandle of the controller that devices are wired to */
    struct device *uart, *rtc, *htif, *watchdog;
    struct device *vmgenid, *pvpanic; /* NULL: restored from a snapshot that has none */
    _Atomic unsigned panics;          /* that the guest told of */
    machine_panicked_fn panicked;
    void *panicked_opaque;
    struct device *pcie;
    struct device *pflash;
    int pflash_fds[2];                              /* -1: not kept */
    struct virtio_device *disks[MACHINE_DISKS_MAX]; /* of those below */
    struct machine_disk_image disk_images[MACHINE_DISKS_MAX];
    struct block_image *images[MACHINE_DISKS_MAX]; /* the disks' or the SCSI adapter's, while these are there */
    struct virtio_device *virtio[MACHINE_VIRTIO_MAX];
    struct device *virtio_pci[MACHINE_VIRTIO_MAX]; /* their transports, where they are functions of the PCI bus */
    unsigned virtio_count;
    struct virtio_device *virtio_console, *balloon; /* NULL: not of this machine */
    struct virtio_device *nets[MACHINE_NETS_MAX];
    struct machine_channel_end {
        struct machine *machine;
        struct channel *channel; /* NULL: not made (yet) */
        unsigned port;
    } channels[MACHINE_CHANNELS_MAX];
    struct virtio_device *keyboard;    /* the first; NULL: none */
    _Atomic bool virtio_console_spoke; /* the guest has written to it: what is typed goes there */
    struct loop_timer *rtc_timer, *htif_timer, *watchdog_timer;
    struct console_backend *console;
    struct device *second_uart; /* NULL: one port */
    struct console_backend *second_console;
    machine_console_fn second_output;
    void *second_output_opaque;
    machine_console_fn console_output;
    void *console_output_opaque;

    struct boot_image image;   /* entered first */
    struct boot_image payload; /* what firmware starts; end 0: none */
    bool has_image;
    void *dtb;
    size_t dtb_len;
    uint64_t dtb_gpa;
    uint64_t info_gpa; /* fw_dynamic_info; 0: none */

    _Atomic uint64_t clock;      /* guest time: machine_pause.c */
    _Atomic int64_t tick_offset; /* added by a guest that writes mtime */

    pthread_mutex_t end_lock;
    pthread_cond_t end_changed;
    _Atomic bool ending;
    struct machine_result result;

    struct machine_snapshots *snapshots; /* NULL: no file for them */
    pthread_mutex_t park_lock;           /* machine_state.c: event loops that stand still */
    pthread_cond_t park_changed;
    unsigned parked;
    bool parking;

    pthread_mutex_t pause_lock;
    pthread_cond_t pause_changed;
    unsigned pauses;        /* not yet resumed */
    unsigned harts_running; /* threads between machine_hart_enter() and machine_hart_leave() */
    _Atomic bool pausing;   /* pauses != 0 */
};

/* Adds a device to the machine's list. */
int machine_device_keep(struct machine *m, struct device *dev) TUFF_MUST_CHECK;
/* The line into a hart for an interrupt of its mip. */
struct irq_line machine_hart_line(struct machine *m, uint32_t hart, enum vcpu_irq irq);

/* machine_devices.c: creates every device of the board and its console. `fdt` is the tree they add themselves to, or
 * NULL. */
int machine_devices_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_devices_fdt(struct machine *m, void *fdt, struct error *err) TUFF_MUST_CHECK;
void machine_devices_destroy(struct machine *m);

int machine_consoles_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_test_create(struct machine *m, uint64_t gpa) TUFF_MUST_CHECK;
/* Resets all devices, once all are there. */
void machine_devices_reset(struct machine *m);

/* machine_accel.c: does KVM run it? 0, or a negative errno with the reason. Then the virtual machine, after RAM. */
bool machine_is_pc(const struct machine_config *config);
/* Does it run a riscv64 guest of that configuration? */
int machine_accel_riscv(const struct machine_config *config, struct error *err) TUFF_MUST_CHECK;
int machine_accel_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
/* riscv64: the ISA and the timebase become what KVM's harts have, and the interrupt controllers of MSIs are KVM's. Once
 * the harts are there, before the guest is told. */
int machine_accel_harts(struct machine *m, struct error *err) TUFF_MUST_CHECK;

/* machine_pc.c: a PC's memory, devices, vCPUs and kernel; what is of a virtio slot there. */
int machine_pc_check(const struct machine_config *config, struct error *err) TUFF_MUST_CHECK;
int machine_pc_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_pc_slot(struct machine *m, unsigned n, struct virtio_mmio_config *config) TUFF_MUST_CHECK;
int machine_pc_function(struct machine *m, struct virtio_pci_config *config) TUFF_MUST_CHECK;
void machine_pc_destroy(struct machine *m);

/* machine_irqs.c: the interrupt controllers, and the line into a source of the one that devices are wired to. */
int machine_irqs_create(struct machine *m, const uint32_t *intc_phandles) TUFF_MUST_CHECK;
struct irq_line machine_irq_source(const struct machine *m, uint32_t source);
/* vcpu_env_ops' */
int machine_imsic_access(void *opaque, struct vcpu *vcpu, bool supervisor, uint32_t select, uint64_t *old,
                         uint64_t value, uint64_t mask);
uint64_t machine_imsic_top(void *opaque, struct vcpu *vcpu, bool supervisor, bool claim);

/* machine_disks.c: adds the configuration's. */
int machine_disks_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_scsi_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
/* machine_pci.c: the PCI Express bridge, after the interrupt controllers. */
int machine_pci_create(struct machine *m) TUFF_MUST_CHECK;

/* machine_virtio.c. machine_virtio_add() takes the device over, also when it fails. */
int machine_virtio_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_virtio_add(struct machine *m, struct virtio_device *dev, struct error *err) TUFF_MUST_CHECK;
/* Threads of devices: before the harts, and after the devices' loop has stopped. */
int machine_virtio_start(struct machine *m) TUFF_MUST_CHECK;
void machine_virtio_stop(struct machine *m);
void machine_channels_destroy(struct machine *m); /* before the loops, after the devices stopped calling */
void machine_virtio_stats(struct machine *m, machine_stat_fn fn, void *opaque);

/* machine_net.c, machine_share.c: the network devices and shared directories of the configuration. */
int machine_net_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_share_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
/* machine_desk.c: input devices and the sound card. */
int machine_inputs_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_sound_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;

/* machine_pflash.c: before the harts, which number the memory's frames. */
int machine_pflash_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
void machine_pflash_close(struct machine *m);

/* hart_thread.c */
int machine_harts_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
void machine_harts_destroy(struct machine *m);
/* Starts all threads; those that fail to start are told in `err` and the machine is asked to end. */
int machine_harts_start(struct machine *m, struct error *err) TUFF_MUST_CHECK;
void machine_harts_join(struct machine *m);
void machine_hart_signal(struct machine_hart *hart);
extern const struct sbi_ops machine_sbi_ops;

/* machine_gdb.c. Listens, where the configuration wants it; begins to serve; tells the client of the end. */
int machine_gdb_create(struct machine *m, struct error *err) TUFF_MUST_CHECK;
int machine_gdb_start(struct machine *m) TUFF_MUST_CHECK;
void machine_gdb_stop(struct machine *m, uint32_t exit_code);
void machine_gdb_destroy(struct machine *m);
/* On a hart's thread: is one step wanted of it? Is it to wait? Runs it, or does the step. */
bool machine_gdb_wants_step(struct machine_hart *hart);
bool machine_gdb_holds(struct machine_hart *hart);
enum vcpu_exit machine_gdb_run(struct machine_hart *hart, uint64_t max_insns);

/* Any thread: the first call decides how the machine ended. */
void machine_end(struct machine *m, enum machine_end end, uint32_t exit_code);

/* machine_pause.c. A hart's thread comes and goes by these, and calls machine_hart_yield() wherever it may stand still:
 * outside vcpu_run(), with nothing of the vCPU's at hand. */
void machine_hart_enter(struct machine *m);
void machine_hart_leave(struct machine *m);
void machine_hart_yield(struct machine *m);
/* The machine ends: nobody waits any more. */
void machine_pause_cancel(struct machine *m);

/* Guest time 0 is now. */
void machine_clock_start(struct machine *m);
/* Guest time is `guest_ns` now. Before the harts run. */
void machine_clock_set(struct machine *m, uint64_t guest_ns);
/* Nanoseconds of guest time under MACHINE_CLOCK_HOST: as the host's monotonic clock, but standing while the machine is
 * paused, and when the host's clock reaches one of its moments (UINT64_MAX: never). Any thread. */
uint64_t machine_guest_ns(struct machine *m);
uint64_t machine_guest_to_ns(struct machine *m, uint64_t guest_ns);
/* Ticks of the board's timebase. Any thread; under MACHINE_CLOCK_INSNS on hart 0's thread only. */
uint64_t machine_ticks(struct machine *m);
/* When the host's monotonic clock reaches a tick; UINT64_MAX stays. */
uint64_t machine_tick_to_ns(struct machine *m, uint64_t tick);

#endif
