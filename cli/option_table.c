/* Every option of every command: the one list that popt's tables and --help are made from. Rows of a section stand
 * together. */
#include "cli/options.h"

enum {
    BOOT = OPTION_FOR_BOOT,
    RUN = OPTION_FOR_RUN,
    DISAS = OPTION_FOR_DISAS,
    TOP = OPTION_FOR_TOP,
    IMAGE = OPTION_FOR_IMAGE,
    CACHE = OPTION_FOR_CACHE,
    RUNS = OPTION_FOR_RUNS,
    PROFILE = OPTION_FOR_PROFILE,
    CTL = OPTION_FOR_CTL,
    LIVE = OPTION_FOR_LIVE,
    SNAPSHOT = OPTION_FOR_SNAPSHOT,
    EVENTS = OPTION_FOR_EVENTS
};

const struct option_row option_rows[] = {
    {OPTION_CONFIG, BOOT | RUN, OPTION_VALUE, "Configuration", "config", 0, "FILE",
     "take options from a JSON object too, whose members are called as\n"
     "the options: {\"memory\": \"512M\", \"disk\": [\"a.qcow2\"],\n"
     "\"no-reboot\": true}; the command line replaces what the file has"},
    {OPTION_KERNEL, BOOT, OPTION_VALUE, "Guest", "kernel", 'k', "FILE",
     "the kernel: a riscv64 Linux Image, the same compressed by gzip,\n"
     "or an ELF (vmlinux); with --bios it may also be a boot loader's\n"
     "flat binary. Without it and firmware: the kernel on the first\n"
     "--disk and its initrd (/vmlinuz or /vmlinux and /initrd.img, there\n"
     "or in /boot, of an ext4 file system, also one in a GUID partition)"},
    {OPTION_INITRD, BOOT, OPTION_VALUE, "Guest", "initrd", 'i', "FILE", "initial RAM file system for the kernel"},
    {OPTION_CMDLINE, BOOT, OPTION_VALUE, "Guest", "cmdline", 'a', "STRING",
     "the kernel's command line (default, for a kernel of the first disk:\n"
     "root=/dev/vda ro console=ttyS0, with the partition's number)"},
    {OPTION_BIOS, BOOT, OPTION_VALUE, "Guest", "bios", 'b', "FILE",
     "M-mode firmware, an ELF or a flat binary (OpenSBI's fw_dynamic or\n"
     "fw_jump, U-Boot): it runs first, provides the SBI in place of the\n"
     "virtual machine, and starts the kernel"},
    {OPTION_LOAD, BOOT | RUN, OPTION_LIST, "Guest", "load", 0, "FILE@ADDRESS",
     "copy a file into RAM, for a boot loader to find; several separated\n"
     "by commas"},
    {OPTION_PFLASH0, BOOT | RUN, OPTION_VALUE, "Guest", "pflash0", 0, "FILE[,readonly]",
     "first bank of flash, a file of 32 MiB, which is written back: what\n"
     "firmware starts where no kernel is given, and where there is none\n"
     "either, the firmware itself"},
    {OPTION_PFLASH1, BOOT | RUN, OPTION_VALUE, "Guest", "pflash1", 0, "FILE[,readonly]",
     "second bank of flash, likewise: variables of the firmware"},
    {OPTION_HEX, DISAS, OPTION_FLAG, "Input", "hex", 'x', NULL,
     "the arguments are instructions: 4 or 8 hexadecimal digits each"},
    {OPTION_ADDRESS, DISAS, OPTION_VALUE, "Input", "address", 0, "ADDRESS",
     "address of the first byte: decimal, or hexadecimal with 0x\n"
     "(default: 0)"},
    {OPTION_MEMORY, BOOT | RUN, OPTION_VALUE, "Machine", "memory", 'm', "SIZE",
     "RAM: a number with K, M, G or T behind it, as in 512M"},
    {OPTION_CPUS, BOOT | RUN, OPTION_VALUE, "Machine", "cpus", 'c', "N", "number of harts, which run in parallel"},
    {OPTION_ISA, BOOT | RUN | DISAS, OPTION_VALUE, "Machine", "isa", 0, "ISA",
     "ISA: a profile (rva20s64), a string (rv64imac_zba) or all\n"
     "(the default); then -NAME leaves an extension out, +NAME\n"
     "puts it back, as in rv64gc-d or -zba,-zbb; --isa=help lists\n"
     "the names"},
    {OPTION_AIA, BOOT | RUN, OPTION_VALUE, "Machine", "aia", 0, "WHICH",
     "interrupt controllers (default: none):\n"
     "  none         the PLIC\n"
     "  aplic        APLIC, wired to the harts\n"
     "  aplic-imsic  APLIC that sends MSIs, and the harts' IMSICs"},
    {OPTION_BALLOON, BOOT | RUN, OPTION_VALUE, "Machine", "balloon", 0, "SIZE",
     "a virtio balloon: a guest with its driver lives with SIZE of its\n"
     "memory, and gives back to this computer also what it does not use\n"
     "of that"},
    {OPTION_VIRTIO, BOOT | RUN, OPTION_VALUE, "Machine", "virtio", 0, "WHICH",
     "how the guest reaches its virtio devices (default: pci):\n"
     "  pci   functions of the PCI bus\n"
     "  mmio  the board's eight virtio-mmio slots"},
    {OPTION_DTB, BOOT | RUN, OPTION_VALUE, "Machine", "dtb", 0, "FILE",
     "give the guest this device tree instead of the generated one"},
    {OPTION_DUMP_DTB, BOOT | RUN, OPTION_VALUE, "Machine", "dump-dtb", 0, "FILE",
     "write the device tree to FILE (- for standard output) and\n"
     "leave without starting the guest"},
    {OPTION_SERIAL, BOOT | RUN | SNAPSHOT, OPTION_LIST, "Console", "serial", 's', "WHERE",
     "where the guest's serial port goes (default: stdio):\n"
     "  stdio   this terminal, or standard input and output\n"
     "  null    nowhere\n"
     "  file=F  output replaces the contents of file F\n"
     "  pty     a new pseudo-terminal, whose path is printed\n"
     "given again: a second port, at 0x10009000, which is not stdio"},
    {OPTION_VIRTIO_CONSOLE, BOOT | RUN, OPTION_FLAG, "Console", "virtio-console", 0, NULL,
     "a virtio terminal (Linux: hvc0) beside the first serial port, on\n"
     "the same WHERE; input goes to it once the guest has written to it"},
    {OPTION_CHANNEL, BOOT | RUN, OPTION_LIST, "Console", "channel", 0, "NAME,path=FILE",
     "a channel to a program here that connects to the UNIX socket FILE,\n"
     "one at a time; in the guest /dev/virtio-ports/NAME. Given again:\n"
     "another one, up to seven"},
    {OPTION_DISK, BOOT | RUN | SNAPSHOT, OPTION_LIST, "Devices", "disk", 'd', "FILE[,SETTING..]",
     "a disk (virtio-blk) with the contents of a disk image; given again,\n"
     "another one:\n"
     "  format=raw|qcow2|auto  auto, the default, goes by the file's name:\n"
     "                         .qcow2, else raw\n"
     "  readonly               the guest cannot write\n"
     "  snapshot               what the guest writes is thrown away\n"
     "  direct                 past this computer's page cache\n"
     "  scsi                   behind a SCSI adapter (virtio-scsi) that all\n"
     "                         such disks share\n"
     "  iops=N, bps=SIZE       at most N operations, SIZE bytes a second\n"
     "  queues=N               1 to 16 queues (default: 1)\n"
     "  serial=TEXT            the disk's serial number"},
    {OPTION_NET, BOOT | RUN | SNAPSHOT, OPTION_LIST, "Devices", "net", 'n', "KIND[,SETTING..]",
     "a network device; given again, another one:\n"
     "  user                  a network behind this computer's: the guest\n"
     "                        gets its address by DHCP\n"
     "    ,forward=FORWARD    as --forward\n"
     "    ,restrict           nothing the guest begins leaves it\n"
     "  tap[,ifname=NAME]     an interface of this computer\n"
     "  socket,path=FILE      a wire to the virtual machine that is given\n"
     "                        the same path\n"
     "and for each: mac=ADDRESS, mtu=BYTES, queues=N (pairs), rate=SIZE\n"
     "(bytes a second each way), packets=N (a second each way)"},
    {OPTION_FORWARD, BOOT | RUN | SNAPSHOT, OPTION_LIST, "Devices", "forward", 0, "PROTO:HOSTPORT:GUESTPORT",
     "let connections to a port of this computer (127.0.0.1) reach the\n"
     "guest, as in tcp:2222:22; with addresses:\n"
     "tcp:0.0.0.0:2222:10.0.2.15:22. Several separated by commas. Makes\n"
     "a --net=user if there is none"},
    {OPTION_SHARE, BOOT | RUN | SNAPSHOT, OPTION_LIST, "Devices", "share", 0, "DIR[,SETTING..]",
     "let the guest mount a directory of this computer (9p):\n"
     "  mount -t 9p -o trans=virtio,version=9p2000.L share /mnt\n"
     "with tag=TAG (default: share, share1, ..), readonly, and\n"
     "squash=UID:GID, whose everything then seems to be in the guest.\n"
     "Given again: another one"},
    {OPTION_VSOCK, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Devices", "vsock", 0, "cid=N,path=FILE",
     "sockets between the guest (AF_VSOCK, where it has number N, 3 or\n"
     "more) and UNIX sockets here: what it connects to port P of host 2\n"
     "arrives at FILE_P; a program here connects to FILE and writes\n"
     "CONNECT P and a line feed to reach port P in the guest"},
    {OPTION_CRYPTO, BOOT | RUN, OPTION_FLAG, "Devices", "crypto", 0, NULL,
     "a crypto device (virtio-crypto): ciphers, hashes and codes that\n"
     "this computer computes"},
    {OPTION_INPUT, BOOT | RUN, OPTION_LIST, "Devices", "input", 0, "KIND,path=FILE",
     "a keyboard, mouse or tablet, whose events are read from FILE: an\n"
     "event device of this computer (/dev/input/eventN), or a FIFO into\n"
     "which a program writes them in the same form. Given again: another.\n"
     "A keyboard without FILE has a power key: tuff ctl .. system_powerdown"},
    {OPTION_SOUND, BOOT | RUN, OPTION_LIST, "Devices", "sound", 0, "SETTING..",
     "a sound card: out=FILE (WAV) or alsa=DEVICE (default, hw:0, ..) for\n"
     "what the guest plays, in=FILE (WAV) for what it records"},
    {OPTION_ACCEL, BOOT | RUN, OPTION_VALUE, "Run", "accel", 0, "WHICH",
     "what runs the guest's code (default: auto):\n"
     "  auto    KVM where the guest is of this computer's instruction set\n"
     "          and KVM works, else as jit; given, a line says which\n"
     "  kvm     KVM, or nothing\n"
     "  jit     the tiers that --tier says; interp  --tier=interp"},
    {OPTION_AFFINITY, BOOT | RUN, OPTION_VALUE, "Run", "affinity", 0, "WHERE",
     "the CPUs of this computer that threads run on: auto (vCPUs one a\n"
     "core, compiling on their siblings, devices on what is left), or\n"
     "lists like vcpu=0-3+8,io=4,compile=5; vCPUs take theirs in turn"},
    {OPTION_NUMA, BOOT | RUN, OPTION_VALUE, "Run", "numa", 0, "NODE",
     "where RAM is: on this NUMA node alone, or interleave"},
    {OPTION_HUGE_PAGES, BOOT | RUN, OPTION_VALUE, "Run", "huge-pages", 0, "WHICH",
     "pages that RAM is made of (default: auto); --stats says how much is:\n"
     "  auto      huge ones as this computer gives them to shared memory\n"
     "            (/sys/kernel/mm/transparent_hugepage), and where the\n"
     "            guest works (Linux 6.1)\n"
     "  off       none\n"
     "  reserved  those of this computer's pool (vm.nr_hugepages), all of\n"
     "            RAM at once"},
    {OPTION_CLOCK, BOOT | RUN, OPTION_VALUE, "Run", "clock", 0, "CLOCK",
     "what the guest's time follows (default: host):\n"
     "  host    this computer's clock\n"
     "  insns   the instructions executed: a run with one hart can be\n"
     "          repeated exactly"},
    {OPTION_MAX_INSNS, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Run", "max-insns", 0, "N",
     "stop when a hart has executed N instructions: exit code 124"},
    {OPTION_NO_REBOOT, BOOT | RUN, OPTION_FLAG, "Run", "no-reboot", 0, NULL,
     "leave (exit code 0) when the guest reboots, instead of\n"
     "starting it again"},
    {OPTION_SANDBOX, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Run", "sandbox", 0, "on|off",
     "restrict what this process may ask of its kernel, should a guest\n"
     "get hold of it: no other program, no file or socket but those that\n"
     "its devices need (default: on, without what the kernel refuses;\n"
     "if given, a refusal is an error)"},
    {OPTION_GDB, BOOT | RUN, OPTION_VALUE, "Run", "gdb", 0, "WHERE",
     "let gdb debug the guest (target remote WHERE), on every tier:\n"
     "  :PORT       of this computer, from it alone\n"
     "  HOST:PORT   at that address of this computer; whoever reaches it\n"
     "              may do with the guest as they like\n"
     "  unix:PATH   a socket only you may connect to\n"
     "The guest runs until gdb connects, and on when it detaches"},
    {OPTION_WAIT_GDB, BOOT | RUN, OPTION_FLAG, "Run", "wait-gdb", 0, NULL,
     "with --gdb: start nothing before gdb is there and continues"},
    {OPTION_SNAPSHOT_FILE, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Snapshots", "snapshot-file", 0, "FILE",
     "keep snapshots of this machine, and what happens to it, in FILE,\n"
     "which is made where it is missing (tuff help snapshot)"},
    {OPTION_SNAPSHOT_AT, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Snapshots", "snapshot-at", 0, "insns=N",
     "take one, insns-N, when hart 0 has executed N instructions: the\n"
     "guest stands still at exactly that one until all is saved"},
    {OPTION_SNAPSHOT_EVERY, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Snapshots", "snapshot-every", 0, "SECONDS[,keep=N]",
     "take one, auto-1, auto-2, .., so often, while the guest goes on;\n"
     "with keep=N only the last N of them stay"},
    {OPTION_SNAPSHOT_ON_EXIT, BOOT | RUN | SNAPSHOT, OPTION_FLAG, "Snapshots", "snapshot-on-exit", 0, NULL,
     "take one, exit-1, exit-2, .., when you leave the guest, a signal\n"
     "does, or --max-insns is reached"},
    {OPTION_TIME, SNAPSHOT, OPTION_VALUE, "Snapshots", "time", 0, "WHICH",
     "restore: what the guest's time does (default: continue):\n"
     "  continue  goes on where it stood\n"
     "  host      as much has passed as on this computer (not for a PC)"},
    {OPTION_KEEP_DISKS, SNAPSHOT, OPTION_FLAG, "Snapshots", "keep-disks", 0, NULL,
     "delete: leave alone what the images of its disks have"},
    {OPTION_EVENT, EVENTS, OPTION_VALUE, "Events", "event", 0, "N",
     "replay: the configuration after event N (default: the last)"},
    {OPTION_TIER, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Tiers", "tier", 0, "TIER",
     "what runs guest code (default: all that was built in):\n"
     "  interp    the interpreter alone\n"
     "  baseline  the interpreter, and copied stencils for what runs a\n"
     "            second time or more\n"
     "  llvm      the interpreter, and LLVM for what runs often\n"
     "  all       the three of them"},
    {OPTION_JIT_THRESHOLD, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Tiers", "jit-threshold", 0, "N",
     "compile what ran N times; 0: at first sight\n"
     "(the same as --tune=threshold=N)"},
    {OPTION_JIT_SYNC, BOOT | RUN | SNAPSHOT, OPTION_FLAG, "Tiers", "jit-sync", 0, NULL,
     "wait for each compile instead of going on meanwhile: the same\n"
     "code is run in each run"},
    {OPTION_JIT_SAMPLE, BOOT | RUN, OPTION_VALUE, "Tiers", "jit-sample", 0, "1/N",
     "start regions at one block in N only, by address"},
    {OPTION_JIT_RANDOM, BOOT | RUN, OPTION_VALUE, "Tiers", "jit-random", 0, "SEED",
     "leave each block to the interpreter, to quick or to full regions\n"
     "by chance, the same for the same seed and address: for tests"},
    {OPTION_JIT_BISECT, BOOT | RUN, OPTION_VALUE, "Tiers", "jit-bisect", 0, "N",
     "compile the first N regions only, to find one that is wrong"},
    {OPTION_VERIFY, BOOT | RUN | SNAPSHOT, OPTION_CHOICE, "Tiers", "verify", 0, "N",
     "repeat each run of compiled code on the interpreter, or with\n"
     "=N every Nth, and stop with exit code 3 where they differ;\n"
     "one hart only"},
    {OPTION_JIT_PLANT, BOOT | RUN, OPTION_VALUE, "Tiers", "jit-plant", 0, "N",
     "miscompile region N on purpose, to try --verify and\n"
     "--jit-bisect"},
    {OPTION_TUNE, BOOT | RUN | SNAPSHOT, OPTION_LIST, "Tiers", "tune", 0, "NAME=N,..",
     "change numbers of the compile policy; --tune=help lists them"},
    {OPTION_CACHE, BOOT | RUN | SNAPSHOT | CACHE | RUNS | PROFILE, OPTION_VALUE, "Tiers", "cache", 0, "FILE",
     "keep compiled code and what is known of it in this database, for\n"
     "the next run (default with boot: code.db in tuff/ of your cache\n"
     "directory, or what TUFF_CACHE says; with run: none)"},
    {OPTION_NO_CACHE, BOOT | RUN | SNAPSHOT, OPTION_FLAG, "Tiers", "no-cache", 0, NULL,
     "neither use nor keep what earlier runs compiled"},
    {OPTION_RUN_NUMBER, PROFILE, OPTION_VALUE, "Database", "run", 0, "N",
     "of run N alone, as tuff runs numbers them (default: all, of which\n"
     "the later ones count for more)"},
    {OPTION_SYMBOLS, RUNS | PROFILE, OPTION_LIST, "Database", "symbols", 0, "FILE",
     "names of guest code: a riscv64 ELF, a System.map, or\n"
     "/proc/kallsyms saved in the guest; several separated by commas"},
    {OPTION_RUNS, CACHE, OPTION_VALUE, "Database", "runs", 0, "N",
     "gc: take out what was of no use in the last N runs (default: 16)"},
    {OPTION_DUMP, BOOT | RUN, OPTION_VALUE, "Compiler", "dump", 0, "WHAT[:WHICH]",
     "print each region that is compiled to standard error: guest\n"
     "(instructions), ir (as built), opt (optimised), asm; and block:\n"
     "the host code of each block that the baseline tier compiles;\n"
     "several separated by commas. WHICH leaves all out but region N,\n"
     "or what has code of a SYMBOL, at an address (0x...) or in a range\n"
     "(0xFROM-0xTO)"},
    {OPTION_PASSES, BOOT | RUN, OPTION_VALUE, "Compiler", "passes", 0, "LIST",
     "run these LLVM passes instead of the tier's own, in the syntax\n"
     "of LLVM's opt --passes"},
    {OPTION_PASS_PLUGIN, BOOT | RUN, OPTION_LIST, "Compiler", "pass-plugin", 0, "FILE",
     "load a shared object with passes, made for LLVM 19's new pass\n"
     "manager: --passes can name them, and what it hooks into LLVM's own\n"
     "pipelines (default<O2>: full regions) is run; several separated by\n"
     "commas"},
    {OPTION_PERF, BOOT | RUN, OPTION_FLAG, "Compiler", "perf-map", 0, NULL,
     "write /tmp/perf-PID.map, from which Linux perf names compiled\n"
     "regions"},
    {OPTION_JITDUMP, BOOT | RUN, OPTION_VALUE, "Compiler", "jitdump", 0, "DIR",
     "write DIR/jit-PID.dump, from which perf inject -j makes what\n"
     "perf report and perf annotate show: names and code"},
    {OPTION_GDB_JIT, BOOT | RUN, OPTION_FLAG, "Compiler", "gdb-jit", 0, NULL,
     "make compiled regions known to a gdb that is attached to this\n"
     "process: breakpoints on and backtraces through region_N"},
    {OPTION_SYMBOLS, BOOT | RUN, OPTION_LIST, "Compiler", "symbols", 0, "FILE",
     "names of guest code for --dump, --perf-map, --jitdump and\n"
     "--stats: a riscv64 ELF (a kernel that is one is read by\n"
     "itself), a System.map, or /proc/kallsyms saved in the guest; several\n"
     "separated by commas"},
    {OPTION_NAME, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Control", "name", 0, "NAME",
     "a name for the virtual machine, by which tuff ctl reaches it while\n"
     "it runs"},
    {OPTION_CONTROL, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Control", "control", 0, "unix:PATH",
     "make a socket that programs steer the virtual machine by, in the\n"
     "protocol of QEMU's clients (QMP)"},
    {OPTION_METRICS, BOOT | RUN | SNAPSHOT, OPTION_VALUE, "Control", "metrics", 0, "WHERE",
     "serve all counters to Prometheus (HTTP, /metrics) at unix:PATH or at\n"
     "127.0.0.1:PORT"},
    {OPTION_INTERVAL, LIVE, OPTION_VALUE, "Output", "interval", 'i', "SECONDS",
     "look every so many seconds (default: 1)"},
    {OPTION_COUNT, LIVE, OPTION_VALUE, "Output", "count", 'n', "N",
     "leave after N times (default: at the machine's end)"},
    {OPTION_STATS, BOOT | RUN | SNAPSHOT, OPTION_CHOICE, "Information", "stats", 0, "json|regions",
     "print statistics to standard error at the end: a table, with\n"
     "=regions also one of the compiled regions that were entered\n"
     "most, or with =json everything as one JSON object (the last\n"
     "line)"},
    {OPTION_LOG, BOOT | RUN | SNAPSHOT, OPTION_LIST, "Information", "log", 0, "SPEC",
     "log to standard error: subsystems separated by commas, each\n"
     "with =error, =warn, =info or =debug (default: debug);\n"
     "--log=help lists them"},
    {OPTION_FORMAT, IMAGE, OPTION_VALUE, "Image", "format", 'f', "FORMAT",
     "raw or qcow2: of the new image (default: qcow2), or of the file\n"
     "that info and check look at"},
    {OPTION_FROM_FORMAT, IMAGE, OPTION_VALUE, "Image", "from-format", 0, "FORMAT",
     "of the file that convert reads, where its name does not say it"},
    {OPTION_BACKING, IMAGE, OPTION_VALUE, "Image", "backing", 'b', "FILE",
     "the new image holds what differs from this one, which must not\n"
     "change afterwards; relative to the new image's directory"},
    {OPTION_BACKING_FORMAT, IMAGE, OPTION_VALUE, "Image", "backing-format", 0, "FORMAT",
     "of the backing file, where its name does not say it"},
    {OPTION_CLUSTER_SIZE, IMAGE, OPTION_VALUE, "Image", "cluster-size", 0, "SIZE",
     "space is taken in such pieces: 512 to 2M (default: 64K)"},
    {OPTION_QCOW2_VERSION, IMAGE, OPTION_VALUE, "Image", "qcow2-version", 0, "N", "2 or 3 (default: 3)"},
    {OPTION_LAZY_REFCOUNTS, IMAGE, OPTION_FLAG, "Image", "lazy-refcounts", 0, NULL,
     "write reference counts when the image is closed only: flushes are\n"
     "faster, opening after a crash is slower"},
    {OPTION_REPAIR, IMAGE, OPTION_FLAG, "Image", "repair", 0, NULL,
     "check makes the reference counts right and gives leaked space back"},
    {OPTION_HELP, CTL | LIVE | SNAPSHOT | EVENTS | BOOT | RUN | DISAS | IMAGE | TOP | CACHE | RUNS | PROFILE,
     OPTION_FLAG, "Information", "help", 'h', NULL, "print this help"},
    {OPTION_VERSION, TOP, OPTION_FLAG, "Information", "version", 'V', NULL, "print the version"},
};

const size_t option_row_count = TUFF_ARRAY_LEN(option_rows);
