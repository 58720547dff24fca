/* libtuff: a virtual machine from a configuration. The composition root; the only header that cli/ and embedders need.
 *
 * A machine owns its memory, devices, vCPUs and threads. Several may live in one process.
 */
#ifndef TUFF_MACHINE_MACHINE_H
#define TUFF_MACHINE_MACHINE_H

#include "base/compiler.h"
#include "base/error.h"
#include "engine/isa/riscv/isa.h"
#include "engine/tier.h"
#include "machine/machine_snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine;

enum machine_clock { MACHINE_CLOCK_HOST, MACHINE_CLOCK_INSNS };

/* Interrupt controllers: the PLIC, or those of the Advanced Interrupt Architecture. */
enum machine_aia { MACHINE_AIA_NONE, MACHINE_AIA_APLIC, MACHINE_AIA_APLIC_IMSIC };

/* What runs the guest's code. AUTO: the host's processor through KVM where the guest is of its instruction set and KVM
 * works, else the tiers that the configuration says. */
/* What RAM is made of: transparent huge pages where the host has them, none, or those of the host's pool. */
enum machine_huge_pages { MACHINE_HUGE_PAGES_AUTO, MACHINE_HUGE_PAGES_OFF, MACHINE_HUGE_PAGES_RESERVED };

enum machine_accel { MACHINE_ACCEL_AUTO, MACHINE_ACCEL_KVM, MACHINE_ACCEL_TIERS };

/* How the guest reaches its virtio devices: as functions of the PCI bus, or in the board's slots. */
enum machine_virtio { MACHINE_VIRTIO_PCI, MACHINE_VIRTIO_MMIO };

/* Where the first serial port's bytes go and come from. */
enum machine_serial { MACHINE_SERIAL_STDIO, MACHINE_SERIAL_NULL, MACHINE_SERIAL_FILE, MACHINE_SERIAL_PTY };

/* A disk: virtio-blk before an image (dev/block/node.h says what the formats are, and what AUTO believes). */
enum machine_disk_format { MACHINE_DISK_AUTO, MACHINE_DISK_RAW, MACHINE_DISK_QCOW2 };
enum { MACHINE_DISKS_MAX = 8, MACHINE_DISK_QUEUES_MAX = 16, MACHINE_DISK_SERIAL_MAX = 20 };
struct machine_disk {
    const char *path;
    enum machine_disk_format format;
    bool read_only;
    bool snapshot;        /* what is written is thrown away */
    const char *at;       /* its contents are those of this internal snapshot (qcow2), with `read_only` or `snapshot` */
    bool direct;          /* past the host's page cache */
    bool scsi;            /* a unit of the SCSI adapter; without `queues` and limits */
    unsigned queues;      /* 0: 1 */
    const char *serial;   /* NULL: none */
    uint64_t bytes_per_s; /* 0: no limit, as the next one */
    uint64_t ops_per_s;
};

/* A network device and what is on the host's side of it. */
enum machine_net_kind {
    MACHINE_NET_USER,   /* a network of the guest's own behind the host's sockets; needs no privileges */
    MACHINE_NET_TAP,    /* an interface of the host */
    MACHINE_NET_SOCKET, /* a wire to another virtual machine that is given the same path */
};
enum { MACHINE_NETS_MAX = 8, MACHINE_FORWARDS_MAX = 32, MACHINE_NET_PAIRS_MAX = 8 };
struct machine_net {
    enum machine_net_kind kind;
    const char *where;                          /* tap: the interface, NULL: a new one; socket: the path */
    const char *forwards[MACHINE_FORWARDS_MAX]; /* user: PROTO:[HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT */
    unsigned forward_count;
    bool restricted; /* user: the guest reaches nothing outside */
    uint8_t mac[6];  /* all zero: chosen */
    uint16_t mtu;    /* 0: the largest */
    uint16_t pairs;  /* queue pairs; 0: 1 */
    /* In each direction; 0: no limit. */
    uint64_t bytes_per_s, packets_per_s;
};

/* A directory of the host that the guest mounts by its tag. */
enum { MACHINE_SHARES_MAX = 8 };
struct machine_share {
    const char *path;
    const char *tag;
    bool read_only;
    bool squash; /* the guest sees everything as `uid`'s and `gid`'s */
    uint32_t uid, gid;
};

/* Sockets between the guest and UNIX sockets of the host (dev/vsock/vsock_host.h has their names). */
struct machine_vsock {
    const char *path; /* NULL: there are none */
    uint32_t cid;     /* the guest's context identifier */
};

/* A channel of the virtio console (Linux: /dev/virtio-ports/NAME), and a UNIX socket of the host at its other end. */
enum { MACHINE_CHANNELS_MAX = 7 };
struct machine_channel {
    const char *name; /* up to 63 bytes */
    const char *path;
};

/* A keyboard, mouse or tablet whose events a stream of the host has (dev/virtio/virtio_input.h). */
enum machine_input_kind { MACHINE_INPUT_KEYBOARD, MACHINE_INPUT_MOUSE, MACHINE_INPUT_TABLET };
enum { MACHINE_INPUTS_MAX = 4 };
struct machine_input {
    enum machine_input_kind kind;
    const char *path; /* NULL: a keyboard that has the power key alone to be pressed: machine_powerdown() */
};

/* A sound card; NULL: no such end. It exists when there is one. */
struct machine_sound {
    const char *wav;  /* what is played goes into that file */
    const char *alsa; /* or to ALSA's device of that name */
    const char *in;   /* what is recorded comes from that WAV file */
};

/* All strings are borrowed until machine_create() returns. Zero-initialise, call machine_config_default(), then set. */
struct machine_config {
    /* riscv64: Image, gzip-compressed Image, or ELF: direct boot in S-mode with SBI served by the VM. x86-64, which
     * makes the machine a PC run by KVM (machine/board_pc.h): bzImage, PVH or multiboot ELF. */
    const char *kernel;
    /* Bare-metal ELF started in M-mode; excludes kernel and firmware. x86: what kernel may be, or a boot sector. */
    const char *bare;
    const char *firmware; /* started in M-mode; then `kernel`, which need not be given, is what it starts in S-mode */
    const char *files;    /* FILE@ADDRESS, separated by commas: copied into RAM besides */
    /* Files of exactly 32 MiB behind the two banks of flash, which exist when one is given; NULL: erased and not kept.
     * What the guest changes is written back. Without firmware and kernel the first bank is what starts in M-mode. */
    const char *pflash[2];
    bool pflash_read_only[2];
    const char *initrd;
    const char *cmdline;
    const char *dtb; /* replaces the generated tree */
    uint64_t memory_bytes;
    uint32_t cpus;
    enum machine_serial serial;
    const char *serial_path; /* MACHINE_SERIAL_FILE */
    bool second_serial;      /* there is a second port: machine_set_second_output() */
    bool virtio_console;     /* a virtio terminal on the first port's back end, beside the UART */
    bool balloon;            /* there is one, which leaves the guest balloon_bytes */
    uint64_t balloon_bytes;  /* at most memory_bytes, which is as good as no balloon */
    enum machine_clock clock;
    enum machine_aia aia;
    enum machine_virtio virtio;
    uint64_t max_insns; /* per hart; UINT64_MAX: no limit */
    isa_set isa;        /* ISA_EXT bits */
    enum machine_accel accel;
    const char *affinity, *numa; /* machine/placement.h; NULL: nothing is asked for */
    enum machine_huge_pages huge_pages;
    bool interpret;                /* no LLVM tier */
    bool baseline;                 /* blocks are compiled one by one, where this build can; not with jit.verify */
    struct tier_config jit;        /* its `symbols` are the machine's to fill in */
    const char *version, *options; /* of this program and this run, as the database will have them; may be NULL */
    const char *cache;             /* database with what earlier runs learnt; NULL: none, and nothing is kept */
    const char *symbols;           /* files with names of guest code, separated by commas */
    const char *gdb;               /* where a debugger may connect (gdb/server.h); NULL: nowhere */
    bool wait_gdb;                 /* nothing runs before one lets it */
    struct machine_disk disks[MACHINE_DISKS_MAX];
    unsigned disk_count;
    struct machine_net nets[MACHINE_NETS_MAX];
    unsigned net_count;
    struct machine_share shares[MACHINE_SHARES_MAX];
    unsigned share_count;
    struct machine_vsock vsock;
    bool crypto; /* a virtio-crypto */
    struct machine_input inputs[MACHINE_INPUTS_MAX];
    unsigned input_count;
    struct machine_sound sound;
    struct machine_channel channels[MACHINE_CHANNELS_MAX];
    unsigned channel_count;
    struct machine_snapshot_config snapshots;
    struct machine_restore *restore; /* machine_restore_config() sets it; borrowed until machine_destroy() */
    bool name_regions;               /* machine_regions() will be asked: also an ELF kernel's own names are read */
};

/* Compiles what the database of a configuration wants compiled (engine/tier.h, region_bake()). Returns 0, or a negative
 * errno with a line in err: also -ENOTSUP without the LLVM tier. */
int machine_bake(const struct machine_config *config, bool (*progress)(void *opaque, uint32_t done, uint32_t all),
                 void *opaque, uint32_t *compiled, struct error *err) TUFF_MUST_CHECK;

/* How a machine's run ended. */
enum machine_end {
    MACHINE_END_POWEROFF, /* the guest powered off; exit_code is what it gave (0 unless a test device said otherwise) */
    MACHINE_END_REBOOT,   /* the guest asked for a reset */
    MACHINE_END_MAX_INSNS, /* --max-insns reached */
    MACHINE_END_QUIT,      /* machine_quit() */
    MACHINE_END_CRITICAL,  /* a hart met a trap that it could not take (critical error, triple fault), and stopped */
    MACHINE_END_ERROR,
};

struct machine_result {
    enum machine_end end;
    uint32_t exit_code;
};

void machine_config_default(struct machine_config *config);
/* Was this library built with the LLVM tier? */
bool machine_has_jit(void);
/* Can the baseline tier translate for this host? */
bool machine_has_baseline(void);

/* What machine_create() would let run the guest, as a line for the user: "KVM", or why not it and what instead. Reads
 * the head of the kernel or program. */
void machine_accel_describe(const struct machine_config *config, struct error *line);
bool machine_runs_on_kvm(const struct machine *machine);
/* Where its threads and its RAM are on the host, as a line for the user. */
void machine_placement_describe(const struct machine *machine, char *text, size_t size);

/* Checks the configuration, opens and loads every file, builds memory, devices, harts and the device tree. Nothing runs
 * yet. Returns 0, or a negative errno with one line in `err`. */
int machine_create(const struct machine_config *config, struct machine **out, struct error *err) TUFF_MUST_CHECK;
void machine_destroy(struct machine *machine);

/* Starts the harts and blocks until the machine ends. A reboot ends the run (the caller creates a new machine or
 * exits). */
int machine_run(struct machine *machine, struct machine_result *result, struct error *err) TUFF_MUST_CHECK;

/* Any thread: makes machine_run() return with MACHINE_END_QUIT. */
void machine_quit(struct machine *machine);

/* Where a debugger may connect, as gdb's `target remote` takes it; borrowed. NULL: nowhere. */
const char *machine_gdb_address(const struct machine *machine);

/* Makes the guest stand still. When machine_pause() returns, no hart is inside vcpu_run() and none will be before
 * machine_resume(), and guest time (not that of MACHINE_CLOCK_INSNS, which is none then) stands; the vCPUs' states may
 * be read and set. Devices go on with what they had begun. Pauses nest: each wants its machine_resume(). Also before
 * machine_run(), which then does not begin. Any thread but a hart's or an event loop's. Returns 0, or -ECANCELED (the
 * machine is ending, nothing to resume). */
int machine_pause(struct machine *machine) TUFF_MUST_CHECK;
void machine_resume(struct machine *machine);
/* Any thread. */
bool machine_is_paused(struct machine *machine);

/* The flattened device tree as the guest gets it; borrowed until machine_destroy(). */
const void *machine_dtb(const struct machine *machine, size_t *len);

/* Console input for MACHINE_SERIAL_STDIO arrives through here (cli/ owns the terminal); output goes through the sink.
 * Any thread. */
typedef void (*machine_console_fn)(void *opaque, const uint8_t *bytes, size_t len);
void machine_set_console_output(struct machine *machine, machine_console_fn output, void *opaque);
/* Returns how many bytes were taken; the rest is to be offered again later. */
size_t machine_console_input(struct machine *machine, const uint8_t *bytes, size_t len);
/* The same for the second port. */
void machine_set_second_output(struct machine *machine, machine_console_fn output, void *opaque);
size_t machine_second_input(struct machine *machine, const uint8_t *bytes, size_t len);
/* Any thread: the terminal behind the first port has that size (virtio_console). */
void machine_set_console_size(struct machine *machine, uint16_t columns, uint16_t rows);

/* Any thread: asks the guest, through its balloon, to live with that much memory. Returns 0, -ENODEV (no balloon) or
 * -EINVAL (more than it has). The guest may take its time, or refuse. */
int machine_set_balloon(struct machine *machine, uint64_t guest_bytes) TUFF_MUST_CHECK;

/* ---- what programs outside ask of a running machine (machine_control.c); any thread ---- */

/* Whom to tell when the guest's kernel says that it has panicked, or that its crash kernel takes over. Before
 * machine_run(); called on a vCPU's thread, at most 16 times. */
typedef void (*machine_panicked_fn)(void *opaque, bool crash_loaded);
void machine_set_panicked(struct machine *m, machine_panicked_fn panicked, void *opaque);

/* As if the guest had asked for a reset: machine_run() returns with MACHINE_END_REBOOT. */
void machine_reset(struct machine *machine);
/* Presses the power key of the machine's first keyboard: a guest that listens (systemd-logind does) shuts down. Returns
 * 0, -ENODEV (there is no keyboard) or -EAGAIN (the guest has no driver for it). */
int machine_powerdown(struct machine *machine) TUFF_MUST_CHECK;
/* How much of its memory the guest lives with, by what its balloon says it gave. Returns 0 or -ENODEV. */
int machine_get_balloon(struct machine *machine, uint64_t *guest_bytes) TUFF_MUST_CHECK;
/* The guest's instruction set, in QEMU's words: "riscv64" or "x86_64". */
const char *machine_target(const struct machine *machine);
/* Has harts that run bring their counters up to date, which takes them a millisecond at most; one that has compiled
 * code to itself might not for seconds. */
void machine_refresh_stats(struct machine *machine);
/* The host kernel's number of a hart's thread; 0: it does not run, or there is no such hart. */
int machine_hart_thread(const struct machine *machine, uint32_t hart);
/* What is in a disk's image. `format` is a static string. Returns 0 or -ENODEV. */
struct machine_disk_image {
    const char *format;
    uint64_t bytes; /* as the guest sees it */
    bool read_only;
};
int machine_disk_image(const struct machine *machine, unsigned disk, struct machine_disk_image *out) TUFF_MUST_CHECK;
/* The counters of a disk's device, as --stats has them, each by a call before this returns. Returns 0 or -ENODEV: there
 * is none, or it has none of its own, being one of a SCSI adapter's. */
int machine_disk_counters(const struct machine *machine, unsigned disk,
                          void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque) TUFF_MUST_CHECK;
/* Each virtio device in the order in which they were added: its name ("virtio-net") and number. */
void machine_each_virtio(const struct machine *machine, void (*fn)(void *opaque, const char *name, unsigned number),
                         void *opaque);

/* Path of the pseudo-terminal for MACHINE_SERIAL_PTY, else NULL. */
const char *machine_pty_path(const struct machine *machine);

/* Statistics after (or during) a run, one call a counter: `hart` is UINT32_MAX for the machine's own. */
typedef void (*machine_stat_fn)(void *opaque, uint32_t hart, const char *name, const char *text, uint64_t value);
void machine_stats(struct machine *machine, machine_stat_fn fn, void *opaque);

/* Limits what disk `disk` (by its place in the configuration) does from now on; 0: no limit. Any thread. Returns 0 or
 * -ENODEV. */
int machine_set_disk_limits(struct machine *machine, unsigned disk, uint64_t bytes_per_s,
                            uint64_t ops_per_s) TUFF_MUST_CHECK;

/* Limits the traffic of network device `net` (by its place in the configuration), in each direction, from now on. Any
 * thread. Returns 0 or -ENODEV. */
int machine_set_net_rates(struct machine *machine, unsigned net, uint64_t bytes_per_s,
                          uint64_t packets_per_s) TUFF_MUST_CHECK;

/* Each compiled region, in the order they were chosen, with name+0xoffset where the symbols have one (else NULL; valid
 * during the call). Not while the machine runs. Returns how many more there were than rows are kept of (65,536). */
typedef void (*machine_region_fn)(void *opaque, const struct tier_region *region, const char *label);
uint64_t machine_regions(struct machine *machine, machine_region_fn fn, void *opaque);

#endif
