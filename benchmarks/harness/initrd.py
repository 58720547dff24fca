"""Archives that are put behind the guest image's own initramfs: the kernel unpacks one after the other, and a later file
replaces an earlier one of the same name.

The format is "newc" of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: a header of hexadecimal
fields, the name, the data, each padded to four bytes."""
import os
import stat

ALIGNMENT = 512


def entry(inode, name, mode, data=b''):
    encoded = name.encode() + b'\0'
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b'070701' + b''.join(b'%08x' % field for field in fields)
    padded = header + encoded
    padded += bytes(-len(padded) % 4) + data
    return padded + bytes(-len(padded) % 4)


def archive(files):
    """files: {guest path: (permissions, bytes)}; the directories on the way are made."""
    directories = set()
    for path in files:
        parts = path.strip('/').split('/')[:-1]
        directories.update('/'.join(parts[:n + 1]) for n in range(len(parts)))
    out, inode = [], 1
    for name in sorted(directories):
        out.append(entry(inode, name, stat.S_IFDIR | 0o755))
        inode += 1
    for path, (permissions, data) in sorted(files.items()):
        out.append(entry(inode, path.strip('/'), stat.S_IFREG | permissions, data))
        inode += 1
    out.append(entry(0, 'TRAILER!!!', 0))
    joined = b''.join(out)
    return joined + bytes(-len(joined) % ALIGNMENT)


def append(base, files, out):
    """Writes base's bytes and an archive of `files` to `out`. An archive starts at a multiple of four bytes."""
    with open(base, 'rb') as base_file:
        data = base_file.read()
    with open(out + '.new', 'wb') as out_file:
        out_file.write(data + bytes(-len(data) % ALIGNMENT) + archive(files))
    os.replace(out + '.new', out)
