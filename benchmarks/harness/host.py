"""What is known about the machine the measurement runs on, and how quiet it is.

No host name and no path outside the checkout gets into a report: reports are published."""
import hashlib
import os
import platform
import subprocess

TICKS = os.sysconf('SC_CLK_TCK')


def command_output(arguments, cwd=None):
    """Standard output of a command, stripped, or None."""
    try:
        done = subprocess.run(arguments, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors='replace').strip()


def first_line(arguments):
    out = command_output(arguments)
    return out.splitlines()[0] if out else None


def digest(path):
    """The beginning of a file's SHA-256: two builds say the same version."""
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def cpu_model():
    with open('/proc/cpuinfo', encoding='utf-8') as cpuinfo:
        for line in cpuinfo:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.machine()


def memory_bytes():
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def commit(top):
    """The commit the tree is at, and whether it has been changed since."""
    name = command_output(['git', 'rev-parse', 'HEAD'], cwd=top)
    changes = command_output(['git', 'status', '--porcelain', '--untracked-files=no'], cwd=top)
    return {'commit': name, 'modified': bool(changes)}


def describe():
    distribution = platform.freedesktop_os_release().get('PRETTY_NAME') if os.path.exists('/etc/os-release') else None
    return {'cpu': cpu_model(), 'cpus': os.cpu_count(), 'memory_bytes': memory_bytes(), 'kernel': platform.release(),
            'machine': platform.machine(), 'distribution': distribution, 'load_average': os.getloadavg()[0]}


class Noise:
    """CPU time that others used between two moments: all that was busy, less what is known to be ours, and what the hypervisor
    took. A busy sibling of the measured CPU halves its speed, so the whole machine counts, not only the one CPU."""

    def __init__(self):
        self.start = self.read()

    @staticmethod
    def read():
        with open('/proc/stat', encoding='ascii') as stat_file:
            fields = [int(field) for field in stat_file.readline().split()[1:9]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = fields
        own = os.times()
        return {'busy': (user + nice + system + irq + softirq) / TICKS, 'steal': steal / TICKS,
                'own': own.user + own.system}

    def foreign_seconds(self, vm_cpu_seconds):
        now = self.read()
        busy = now['busy'] - self.start['busy'] - (now['own'] - self.start['own']) - vm_cpu_seconds
        return max(0.0, busy) + now['steal'] - self.start['steal']
