"""Starting a virtual machine, pinned, and listening to its serial line.

A side is one of the things compared: `tuff`, `old` (an earlier build of it), `qemu` or `native`, with the program and options of its own. All sides get the
same kernel, initramfs, command line, memory and number of harts."""
import copy
import json
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time

from . import host

# The guest's init says this first: until then it is "boot".
USERLAND_MARK = b'\x1euserland\x1e'


class Failure(Exception):
    """Something that makes the measurement impossible; the text is for the user."""


class Side:
    """KIND[=PROGRAM [OPTION ...]], as given with --vm."""

    def __init__(self, spec, label, default_tuff):
        self.kind, _, rest = spec.partition('=')
        if self.kind not in ('tuff', 'old', 'qemu', 'native'):
            raise Failure("--vm %s: a side is tuff, old, qemu or native, with =PROGRAM where it is not the usual one" % spec)
        if self.kind == 'old':
            # An earlier build is run like any other.
            if not rest:
                raise Failure('--vm old: which? --vm old=PROGRAM')
            self.kind = 'tuff'
        words = shlex.split(rest)
        self.label = label
        self.options = words[1:]
        usual = {'tuff': default_tuff, 'qemu': 'qemu-system-riscv64', 'native': None}[self.kind]
        self.program = words[0] if words else usual
        if self.program and not shutil.which(self.program):
            raise Failure('--vm %s: %s is not a program that can be run%s' % (
                spec, self.program, '; build Tuff first, or name it with --vm tuff=PROGRAM' if self.kind == 'tuff' else ''))

    def with_options(self, options):
        """The same side with more options."""
        other = copy.copy(self)
        other.options = self.options + options
        return other

    def version(self):
        return 'native' if self.kind == 'native' else host.first_line([self.program, '--version'])

    def describe(self):
        return {'label': self.label, 'kind': self.kind, 'version': self.version(), 'options': self.options,
                'program': self.program and host.digest(shutil.which(self.program))}

    def command(self, guest):
        if self.kind == 'qemu':
            return [self.program, '-M', 'virt', '-bios', 'default', '-smp', str(guest.cpus), '-m', guest.memory,
                    '-kernel', guest.kernel, '-initrd', guest.initrd, '-append', guest.cmdline, '-display', 'none',
                    '-monitor', 'none', '-serial', 'stdio', '-no-reboot'] + self.options
        # What earlier runs compiled is used only where it was asked for.
        kept = [] if any(o.startswith('--cache') for o in self.options) else ['--no-cache']
        return [self.program, 'boot', '--kernel', guest.kernel, '--initrd', guest.initrd, '--cmdline', guest.cmdline,
                '--memory', guest.memory, '--cpus', str(guest.cpus), '--no-reboot', '--stats=json'] + kept + self.options


class Guest:
    """What a VM boots."""

    def __init__(self, kernel, initrd, cmdline, memory, cpus):
        self.kernel, self.initrd, self.cmdline, self.memory, self.cpus = kernel, initrd, cmdline, memory, cpus


class Run:
    """What came of one process: lines of output with the time each was complete, the time of userland's mark, and use of the
    host."""

    def __init__(self):
        self.lines = []
        self.userland_seconds = None
        self.seconds = None
        self.exit_code = None
        self.cpu_seconds = None
        self.peak_rss_bytes = None
        self.foreign_seconds = None
        self.errors = ''
        self.timed_out = False

    def stats(self):
        """The object that tuff's --stats=json writes to standard error; None where there is none."""
        for line in reversed(self.errors.splitlines()):
            if line.startswith('{'):
                try:
                    return json.loads(line)
                except ValueError:
                    return None
        return None

    def summary(self):
        return {'userland_seconds': self.userland_seconds, 'seconds': self.seconds, 'cpu_seconds': self.cpu_seconds,
                'peak_rss_bytes': self.peak_rss_bytes, 'foreign_seconds': self.foreign_seconds,
                'exit_code': self.exit_code, 'stats': self.stats()}


class Listener:
    """Splits the serial line's bytes into lines and notes when they came."""

    def __init__(self, run, start):
        self.run, self.start, self.rest, self.seen = run, start, b'', b''

    def take(self, data):
        now = time.monotonic() - self.start
        if self.run.userland_seconds is None:
            # A mark may be cut in two by the pipe.
            self.seen = self.seen[-len(USERLAND_MARK):] + data
            if USERLAND_MARK in self.seen:
                self.run.userland_seconds = now
        self.rest += data
        *lines, self.rest = self.rest.split(b'\n')
        self.run.lines += [(now, line.decode(errors='replace').strip('\r')) for line in lines]


def pin(cpu):
    def in_child():
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
    return in_child


def read_until_end(process, listener, deadline):
    """Reads both pipes until they are closed; returns standard error's text, and whether the time was up."""
    errors, timed_out = b'', False
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0 and not timed_out:
                timed_out = True
                process.kill()
            for key, _ in selector.select(max(left, 0) if not timed_out else None):
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    listener.take(data)
                else:
                    errors += data
    return errors.decode(errors='replace'), timed_out


def execute(command, cpu, timeout):
    """Runs a command on one CPU and records everything about it."""
    run, noise, start = Run(), host.Noise(), time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=pin(cpu))
    try:
        run.errors, run.timed_out = read_until_end(process, Listener(run, start), start + timeout)
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.send_signal(signal.SIGKILL)
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    run.seconds = time.monotonic() - start
    run.exit_code = process.returncode
    run.cpu_seconds = usage.ru_utime + usage.ru_stime
    run.peak_rss_bytes = usage.ru_maxrss * 1024
    run.foreign_seconds = noise.foreign_seconds(run.cpu_seconds)
    return run


def boot(side, guest, cpu, timeout):
    """Boots to power-off. A guest that does not get to userland or does not end well is a failure, not a result."""
    run = execute(side.command(guest), cpu, timeout)
    problem = None
    if run.timed_out:
        problem = 'did not end within %g s (--timeout)' % timeout
    elif run.userland_seconds is None:
        problem = 'ended with %d before it reached userland' % run.exit_code
    elif run.exit_code != 0:
        problem = 'ended with %d' % run.exit_code
    if problem:
        last = [line for _, line in run.lines[-15:]] + run.errors.splitlines()[-5:]
        raise Failure('%s %s; its last lines:\n    %s' % (side.label, problem, '\n    '.join(last)))
    return run
