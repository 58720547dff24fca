#!/usr/bin/env python3
"""What the benchmark programs must compute, found in another way than they do.

Hashes and checksums come from Python's own modules, sorted data from sorted(), hash tables from dict, products of matrices
and big numbers from Python's integers, the Fourier transform from its definition. Where a program's work is its own
definition (core, records), this is a second writing of it.

    expected.py                    writes expected.h to standard output
    expected.py --check FILE       fails when FILE is not what would be written
    expected.py --deflate STREAM   fails when zlib does not decompress STREAM to the compress program's text
"""
import cmath
import collections
import hashlib
import math
import sys
import zlib

M64 = (1 << 64) - 1


class Random:
    """SplitMix64, the twin of bench_random()."""

    def __init__(self, state):
        self.state = state

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & M64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        return z ^ (z >> 31)


def fold(total, value):
    return (((total ^ (value & M64)) * 0x100000001B3) + (total >> 47)) & M64


def fold_all(values, total=0):
    for value in values:
        total = fold(total, value)
    return total


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


# CRC-16/ARC by a table of bytes; the program goes bit by bit.
CRC16_TABLE = []
for byte in range(256):
    crc_of_byte = byte
    for _ in range(8):
        crc_of_byte = crc_of_byte >> 1 ^ (0xA001 if crc_of_byte & 1 else 0)
    CRC16_TABLE.append(crc_of_byte)


def crc16(crc, values):
    for value in values:
        for byte in (value & 0xFF, value >> 8 & 0xFF):
            crc = crc >> 8 ^ CRC16_TABLE[(crc ^ byte) & 0xFF]
    return crc


def core_list(crc, rng):
    keys = [signed(rng.next(), 16) for _ in range(256)]
    searched = [rng.next() % 320 for _ in range(32)]
    crc = crc16(crc, [keys[i] if i < 256 else 0xFFFF for i in searched])
    return crc16(crc16(crc, sorted(keys)), keys)


def core_matrix(crc, rng):
    a, b = [], []
    for _ in range(24):
        row_a, row_b = [], []
        for _ in range(24):
            row_a.append(rng.next() % 4096 - 2048)
            row_b.append(rng.next() % 4096 - 2048)
        a.append(row_a)
        b.append(row_b)
    columns = list(zip(*b))
    out = []
    for row in a:
        for column in columns:
            products = [x * y for x, y in zip(row, column)]
            total = sum(products) + sum(((p >> 2) & 0xF) * ((p >> 5) & 0x7F) for p in products)
            out.append((total ^ (total >> 16)) & 0xFFFF)
    return crc16(crc, out)


START, SIGN, INTEGER, POINT, EXPONENT, WORD, BAD = range(7)


def core_next(state, c):
    digit, letter = c.isdigit(), 'a' <= c <= 'z'
    if state == START:
        return INTEGER if digit else SIGN if c in '+-' else WORD if letter else BAD
    if state == SIGN:
        return INTEGER if digit else BAD
    if state in (INTEGER, POINT):
        if state == INTEGER and c == '.':
            return POINT
        return state if digit else EXPONENT if c == 'e' else BAD
    if state == EXPONENT:
        return state if digit else BAD
    return WORD if state == WORD and letter else BAD


def core_text(crc, rng):
    alphabet = '0123456789012345,,,,+-..eeab'
    text = ''.join(alphabet[rng.next() % len(alphabet)] for _ in range(1024))
    ends, visits = [0] * 7, [0] * 7
    tokens = text.split(',')
    for number, token in enumerate(tokens):
        state = START
        for c in token:
            state = core_next(state, c)
            visits[state] += 1
        if number + 1 < len(tokens):
            ends[state] += 1
    return crc16(crc, [value for pair in zip(ends, visits) for value in pair])


def core():
    crc, rounds = 0, []
    for _ in range(16):
        rng = Random(crc)
        crc = core_text(core_matrix(core_list(crc, rng), rng), rng)
        rounds.append(crc)
    return fold_all(rounds)


def toward_zero(a, b):
    quotient = abs(a) // b * (1 if a >= 0 else -1)
    return quotient, a - quotient * b


def records_interest(balance, percent):
    whole, part = toward_zero(balance, 100)
    return whole * percent + toward_zero(part * percent, 100)[0]


def records_move(account, amount):
    account['balance'] += amount
    account['movements'] += 1
    balance = account['balance']
    account['balance'] = balance - records_interest(balance, 12) if balance < 0 else balance + records_interest(balance, 3)
    if abs(account['balance']) > 1000000:
        account['balance'] = amount
    overdrawn = account['balance'] < 0
    # cash, credit, savings, closed
    account['kind'] = ((1, 2), (3, 0), (0, 2), (0, 0))[account['kind']][0 if overdrawn else 1]


def records():
    owners = ('a customer of long standing, 1st', 'a customer of long standing, 2nd', 'a customer of no standing, 3rd.',
              'another customer altogether')

    def opened(kind, owner, balance):
        return {'kind': kind, 'balance': balance, 'movements': 0, 'owner': list(owner[:31])}

    accounts = [opened(i % 4, owners[i % 2], 100 * i) for i in range(8)]
    table = [[0] * 50 for _ in range(50)]
    history = [0] * 50
    for n in range(4000):
        at, after = n % 8, (n + 1) % 8
        records_move(accounts[at], n if n % 3 else -2 * n)
        if accounts[at]['kind'] == 3:
            accounts[at] = opened(0, owners[n % 4], n)
        elif accounts[at]['owner'] == accounts[after]['owner']:
            accounts[after] = dict(accounts[at], owner=list(accounts[at]['owner']))
        owner = accounts[at]['owner']
        c = owner[n % 16]
        owner[n % 16] = chr(ord(c) + 1) if 'a' <= c < 'z' else 'a'
        row, where = table[n % 50], n % 47
        history[where] = accounts[at]['balance']
        history[where + 1] = history[where] + row[where]
        row[where + 2] = where
        for i in (where, where + 1):
            row[i] += history[i] & 0xFF
    total = 0
    for account in accounts:
        total = fold_all([account['balance'] & 0xFFFFFFFF, account['movements'] * 4 + account['kind']], total)
        total = fold_all(map(ord, account['owner']), total)
    for i in range(50):
        total = fold_all([history[i] & 0xFFFFFFFF] + [value & 0xFFFFFFFF for value in table[i]], total)
    return total


def sha256():
    rng = Random(256)
    data = bytes(rng.next() & 0xFF for _ in range(256 * 1024))
    return int.from_bytes(hashlib.sha256(data).digest()[:8], 'big')


def compress_text():
    rng, letters, words, text = Random(1951), 'etaoinshrdlucmfwypvbgkjqxz', [], []
    for _ in range(512):
        word = []
        for _ in range(2 + rng.next() % 9):
            a, b = rng.next() % 26, rng.next() % 26
            word.append(letters[min(a, b)])
        words.append(''.join(word))
    length, limit = 0, 64 * 1024
    while length < limit:
        a, b = rng.next() % 512, rng.next() % 512
        word = words[a * b // 512]
        length += len(word)
        text.append(word)
        if length < limit:
            text.append(' ' if rng.next() % 12 else '\n')
            length += 1
    return ''.join(text)[:limit].encode()


def compress():
    text = compress_text()
    return len(text) << 32 | zlib.crc32(text)


def interp():
    paths = 0
    for n in range(1, 701):
        while n != 1:
            n = 3 * n + 1 if n & 1 else n >> 1
            paths += 1
    return paths << 32 | sum(math.gcd(n, 720) for n in range(1, 701))


def sort():
    rng = Random(42)
    return fold_all(sorted(rng.next() & 0xFFFFFFFF for _ in range(16384)))


def hash_table():
    rng = Random(7)
    counts = collections.Counter(1 + rng.next() % 32768 for _ in range(40000))
    total = 0
    for _ in range(40000):
        total = (total * 3 + counts.get(1 + rng.next() % 65536, 0)) & M64
    return total


def fib():
    a, b = 0, 1
    for _ in range(26):
        a, b = b, a + b
    return a


def sieve():
    limit = 1 << 20
    prime = bytearray([1]) * limit
    prime[0:2] = b'\0\0'
    for n in range(2, math.isqrt(limit) + 1):
        if prime[n]:
            prime[n * n::n] = bytes(len(range(n * n, limit, n)))
    primes = [n for n in range(limit) if prime[n]]
    return sum(primes) << 20 ^ len(primes)


def bignum():
    rng = Random(2048)
    x = sum(rng.next() << 64 * i for i in range(32))
    for n in range(200):
        x = (x * x >> 16 * 64) & ((1 << 2048) - 1) ^ n
    return fold_all(x >> 64 * i & M64 for i in range(32))


def strings():
    rng, words = Random(11), []
    for _ in range(512):
        words.append(bytes(ord('a') + rng.next() % 4 for _ in range(rng.next() % 200)))
    first = fold_all(map(len, words))
    second = 0
    for i, a in enumerate(words):
        b = words[(i * 7 + 1) % 512]
        second = fold(second, (a > b) - (a < b) + 1)
        found = b.rfind(a[:1]) if a else -1
        second = fold(second, found if found >= 0 else 999)
    joined, third = b''.join(word + b';' for word in words), 0
    for i in range(16):
        shift = 1 + i * 5
        long_a = bytearray([ord('a') + i]) * 65536
        long_a[shift:shift + 4096] = joined[:4096]
        long_b = long_a[:shift] + long_a[:65536 - shift]
        position = long_b.find(b';')
        third = fold_all([max(position, 0), int(long_a[:65536 - shift] == long_b[shift:]),
                          long_b[-1] << 8 | long_b[shift]], third)
    return first ^ (second * 3 & M64) ^ (third * 5 & M64)


def chase(count, steps):
    rng = Random(count)
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        j = rng.next() % i
        order[i], order[j] = order[j], order[i]
    at = 0
    for _ in range(steps):
        at = order[at]
    return at


def nbody():
    solar_mass, year = 4 * math.pi ** 2, 365.24
    planets = (
        ((0, 0, 0), (0, 0, 0), 1),
        ((4.84143144246472090, -1.16032004402742839, -0.103622044471123109),
         (0.00166007664274403694, 0.00769901118419740425, -0.0000690460016972063023), 0.000954791938424326609),
        ((8.34336671824457987, 4.12479856412430479, -0.403523417114321381),
         (-0.00276742510726411619, 0.00499852801234917238, 0.0000230417297573763929), 0.000285885980666130812),
        ((12.8943695621391310, -15.1111514016986312, -0.223307578892655734),
         (0.00296460137564761618, 0.00237847173959480950, -0.0000296589568540237556), 0.0000436624404335156298),
        ((15.3796971148509165, -25.9193146099879641, 0.179258772950371181),
         (0.00268067772490389322, 0.00162824170038242295, -0.0000951592254519715870), 0.0000515138902046611451))
    x = [list(p[0]) for p in planets]
    v = [[c * year for c in p[1]] for p in planets]
    m = [p[2] * solar_mass for p in planets]
    v[0] = [-math.fsum(v[i][k] * m[i] for i in range(5)) / m[0] for k in range(3)]
    for _ in range(5000):
        for i in range(5):
            for j in range(5):
                if i != j:
                    d = [x[j][k] - x[i][k] for k in range(3)]
                    pull = 0.01 * m[j] / math.dist(x[i], x[j]) ** 3
                    v[i] = [v[i][k] + d[k] * pull for k in range(3)]
        x = [[x[i][k] + 0.01 * v[i][k] for k in range(3)] for i in range(5)]
    energy = math.fsum(0.5 * m[i] * math.fsum(c * c for c in v[i]) for i in range(5))
    energy -= math.fsum(m[i] * m[j] / math.dist(x[i], x[j]) for i in range(5) for j in range(i + 1, 5))
    return energy + x[1][0]


def matmul():
    rng, a, b = Random(3), [], []
    for _ in range(112):
        row_a, row_b = [], []
        for _ in range(112):
            row_a.append(rng.next() % 2001 - 1000)
            row_b.append(rng.next() % 2001 - 1000)
        a.append(row_a)
        b.append(row_b)
    columns = list(zip(*b))
    return fold_all(sum(x * y for x, y in zip(row, column)) for row in a for column in columns)


def fft():
    rng, points = Random(4), 4096
    signal = []
    for _ in range(points):
        re = (rng.next() % 4096) / 2048 - 1
        im = (rng.next() % 4096) / 2048 - 1
        signal.append(complex(re, im))
    total = 0
    for i in range(1, 17):
        line = i * 251 % points
        terms = [s * cmath.exp(-2j * math.pi * (line * n % points) / points) for n, s in enumerate(signal)]
        total += i * math.fsum(t.real for t in terms) + (17 - i) * math.fsum(t.imag for t in terms)
    return total


def mandelbrot():
    total = 0
    for j in range(96):
        for i in range(96):
            c, z, n = complex(-2.0 + 2.5 * i / 96, -1.25 + 2.5 * j / 96), 0j, 0
            while n < 200 and z.real * z.real + z.imag * z.imag <= 4:
                z = z * z + c
                n += 1
            total += n
    return total


def spectral():
    size = 120
    matrix = [[1.0 / ((i + j) * (i + j + 1) // 2 + i + 1) for j in range(size)] for i in range(size)]
    columns = list(zip(*matrix))

    def times(rows, vector):
        return [math.fsum(a * b for a, b in zip(row, vector)) for row in rows]

    u, v = [1.0] * size, None
    for _ in range(10):
        v = times(columns, times(matrix, u))
        u = times(columns, times(matrix, v))
    return math.sqrt(math.fsum(a * b for a, b in zip(u, v)) / math.fsum(b * b for b in v))


def stream():
    s = math.sqrt(2) - 1
    values = [1 + (i * 32749 % (1 << 21)) % 1000 for i in range(64)]
    return math.fsum(a + 2 * s * a + 3 * (a + s * a) for a in values)


INTEGERS = (('CORE', core), ('RECORDS', records), ('SHA256', sha256), ('COMPRESS', compress), ('INTERP', interp),
            ('SORT', sort), ('HASH_TABLE', hash_table), ('FIB', fib), ('SIEVE', sieve), ('BIGNUM', bignum),
            ('STRINGS', strings), ('CHASE_1M', lambda: chase(16384, 16 * 16384 - 1000)),
            ('CHASE_64M', lambda: chase(1 << 20, (1 << 20) - 1000)), ('MATMUL', matmul))
REALS = (('NBODY', nbody), ('FFT', fft), ('MANDELBROT', mandelbrot), ('SPECTRAL', spectral), ('STREAM', stream))


def header():
    lines = ['/* Made by expected.py: what the programs must compute. */', '#ifndef BENCH_EXPECTED_H',
             '#define BENCH_EXPECTED_H', '']
    lines += ['#define EXPECTED_%s 0x%016Xu' % (name, function()) for name, function in INTEGERS]
    lines += ['#define EXPECTED_%s %.17g' % (name, function()) for name, function in REALS]
    return '\n'.join(lines + ['', '#endif', ''])


def check_deflate(path):
    with open(path, 'rb') as stream_file:
        packed = stream_file.read()
    inflater = zlib.decompressobj(-15)
    text = inflater.decompress(packed) + inflater.flush()
    if not inflater.eof or text != compress_text():
        return 'zlib does not get the text back from %s' % path
    print('deflate: zlib agrees: %d bytes from %d' % (len(text), len(packed)))
    return None


def same_values(a, b):
    """Equal lines; reals may differ in the last digits, which depend on the host's mathematical library."""
    pairs = list(zip(a.split(), b.split()))
    return len(a.split()) == len(b.split()) and all(
        x == y or ('.' in x + y and math.isclose(float(x), float(y), rel_tol=1e-13)) for x, y in pairs)


def main(arguments):
    if not arguments:
        sys.stdout.write(header())
        return None
    if len(arguments) == 2 and arguments[0] == '--check':
        with open(arguments[1], encoding='ascii') as old:
            return None if same_values(old.read(), header()) else '%s is not what expected.py computes' % arguments[1]
    if len(arguments) == 2 and arguments[0] == '--deflate':
        return check_deflate(arguments[1])
    return __doc__


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
