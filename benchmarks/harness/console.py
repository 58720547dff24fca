"""A virtual machine with a person's shell on its console: lines are typed, and what comes back is waited for."""
import os
import re
import subprocess
import threading
import time

TICKS = os.sysconf('SC_CLK_TCK')


class Failure(Exception):
    """The measurement cannot be made; the text is for the user."""


class Machine:
    """One virtual machine, its console on pipes."""

    def __init__(self, command):
        self.start = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = b''
        self.first = None  # when the first byte came
        os.set_blocking(self.process.stdout.fileno(), True)
        self.changed = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            with self.changed:
                self.first = self.first or time.monotonic()
                self.seen += data
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def expect(self, text, since=0, timeout=600):
        """Waits until `text` has come after `since`; returns where it ends."""
        end = time.monotonic() + timeout
        with self.changed:
            while text not in self.seen[since:]:
                if getattr(self, 'ended', False) or time.monotonic() > end:
                    raise Failure('%r did not come; the last that came: %s' % (
                        text, self.seen[-2000:].decode(errors='replace')))
                self.changed.wait(1)
            return self.seen.index(text, since) + len(text)

    def type(self, text):
        self.process.stdin.write(text.encode() + b'\r')
        self.process.stdin.flush()

    def cpu_seconds(self):
        with open('/proc/%d/stat' % self.process.pid) as stat:
            fields = stat.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def command(self, text):
        """Runs a line in the guest's shell; returns its output."""
        since = len(self.seen)
        self.type(text + '; echo end-$((6 * 7))')
        end = self.expect(b'end-42', since)
        # Without what the shell tells a terminal, as that no text is pasted any more, at the beginning of the output.
        output = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]|\r', '', self.seen[since:end].decode(errors='replace'))
        if 'FAILED' in output:
            raise Failure(output)
        return output

    def end(self):
        self.type('poweroff')
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            raise Failure('the guest does not power off') from None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
