"""A guest that compiles: Debian's kernel with BusyBox (scripts/guest-image), and Debian's gcc on a disk
(scripts/unpacked-image).

The work is the same each time it runs: gcc compiles the guest benchmarks' sources, as many at a time as there are harts,
into memory or onto a disk, and the sum of all it made is said at the end."""
import os
import subprocess

from . import initrd
from .console import Failure

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = ('bash', 'coreutils', 'findutils', 'gcc', 'libc6-dev', 'make')
READY = b'ready to compile'
RESULT = b'result: '

COMPILED = b'compiled '

# Runs in the chroot: each file at each level, synced, so that a disk has it.
SCRIPT = """cd /run/src
for level in %(levels)s; do for f in *.c; do echo $level $f; done; done | xargs -P $(nproc) -n 2 sh -c \\
    'gcc -w -std=gnu17 -D_GNU_SOURCE -O$0 -c $1 -o /run/out/$0-$1.o && sync && echo compiled $0 $1 || echo FAILED'
echo result: $(cd /run/out && sha256sum *.o | sha256sum | cut -c 1-64)
"""
SET_UP = """set -e
./modules/load virtio_mmio virtio_blk ext4
! grep -q '^crc32c_generic ' modules/order || ./modules/load crc32c_generic
for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vda ] || sleep 0.3; done
mount -t ext4 -o ro,noload /dev/vda /mnt
mount -t proc proc /mnt/proc; mount -t devtmpfs devtmpfs /mnt/dev
mount -t tmpfs tmpfs /mnt/tmp; mount -t tmpfs tmpfs /mnt/run; mount -t tmpfs tmpfs /mnt/root
mkdir /mnt/run/src /mnt/run/out
%(out)s
cp /work/src/* /mnt/run/src; cp /work/compile /mnt/run/compile
dmesg -n 1
echo 'ready to 'compile
"""


def lines_of(*command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure('%s: %s' % (command[0], error)) from None


def files_under(directory):
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, 'rb') as source:
                yield os.path.relpath(path, directory), os.stat(path).st_mode & 0o777, source.read()


class CompilingGuest:
    """`out` is where the results go: 'memory', or the second disk, an ext4 file system, 'disk'."""

    def __init__(self, work, out='memory', levels='1'):
        lines = lines_of(os.path.join(TOP, 'scripts', 'guest-image'), '--modules')
        paths = dict(line.split(': ', 1) for line in lines if ': ' in line)
        if not {'kernel', 'initrd', 'modules'} <= paths.keys():
            raise Failure('scripts/guest-image made no guest')
        self.disk = lines_of(os.path.join(TOP, 'scripts', 'unpacked-image'), 'compile', '1500M', *PACKAGES)[-1]
        self.kernel, self.initrd = paths['kernel'], os.path.join(work, 'compiling-initrd')
        mount = 'mount -t ext4 /dev/vdb /mnt/run/out' if out == 'disk' else ''
        files = {'work/set-up': (0o755, (SET_UP % {'out': mount}).encode()),
                 'work/compile': (0o755, (SCRIPT % {'levels': levels}).encode())}
        for name, mode, data in files_under(paths['modules']):
            files['root/modules/' + name] = (mode, data)
        sources = os.path.join(TOP, 'benchmarks', 'guest')
        for name in sorted(os.listdir(sources)):
            if name.endswith(('.c', '.h', '.inc')):
                with open(os.path.join(sources, name), 'rb') as source:
                    files['work/src/' + name] = (0o644, source.read())
        initrd.append(paths['initrd'], files, self.initrd)

    def tuff_options(self):
        return ['--virtio=mmio', '--kernel', self.kernel, '--initrd', self.initrd, '--disk', self.disk + ',readonly']

    @staticmethod
    def log_in(machine):
        machine.expect(b"'poweroff' or 'exit' ends it.")
        machine.type('sh /work/set-up')
        machine.expect(READY)

    @staticmethod
    def begin(machine):
        machine.type('chroot /mnt /usr/bin/env PATH=/usr/bin:/bin LANG=C bash /run/compile')

    @staticmethod
    def result(machine, timeout=900):
        """Waits for the end of the work; returns the sum of what it made."""
        end = machine.expect(RESULT, timeout=timeout)
        machine.expect(b'\n', since=end)
        if b'FAILED' in machine.seen:
            raise Failure('the guest could not compile: %s' % machine.seen[-1000:].decode(errors='replace'))
        return machine.seen[end:end + 64].decode(errors='replace')
