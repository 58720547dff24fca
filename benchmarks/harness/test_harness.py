"""Tests of the harness that need no virtual machine: python3 -m unittest discover benchmarks"""
import os
import stat
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import guest, initrd, picture, report, vm  # noqa: E402


class Side:
    def __init__(self, label):
        self.label = label


class Results(unittest.TestCase):
    def test_result_line_gives_score_and_host_seconds(self):
        lines = [(1.0, '@start core'), (3.5, 'core 10 2.400000 66.5')]
        self.assertEqual(guest.parse(lines, ['core']),
                         {'core': {'iterations': 10, 'seconds': 2.4, 'score': 66.5, 'host_seconds': 2.5}})

    def test_failed_line_is_a_failure(self):
        lines = [(1.0, '@start core'), (2.0, 'core FAILED expected 1 got 2')]
        self.assertEqual(guest.parse(lines, ['core']), {'core': {'failed': 'expected 1 got 2'}})

    def test_failed_line_of_four_words_is_a_failure(self):
        self.assertEqual(guest.parse([(1.0, '@start fib'), (2.0, 'fib FAILED fork: interrupted')], ['fib']),
                         {'fib': {'failed': 'fork: interrupted'}})

    def test_kernel_messages_are_no_results(self):
        lines = [(1.0, '[    0.1] core: one two'), (1.1, 'core'), (1.2, 'core 1 2 3'), (1.3, 'other 1 2 3'),
                 (1.4, '@start core'), (1.5, 'core 12 0.5 [1.0]random:')]
        self.assertEqual(guest.parse(lines, ['core']), {})

    def test_ratio_pairs_repetitions(self):
        sides, programs = [Side('a'), Side('b')], [('core', 'integer', 'rounds/s')]
        results = {'a': [{'core': {'score': s}} for s in (10.0, 20.0, 40.0)],
                   'b': [{'core': {'score': s}} for s in (5.0, 10.0, 10.0)]}
        summary = guest.summarise(sides, programs, results)
        row = summary['programs']['core']
        self.assertEqual(row['ratio'], {'b': 2.0})
        self.assertEqual(row['median'], {'a': 20.0, 'b': 10.0})
        self.assertEqual(row['spread']['a'], 1.5)
        self.assertAlmostEqual(summary['geometric_means']['integer']['b'], 2.0)

    def test_missing_program_leaves_no_mean(self):
        sides = [Side('a'), Side('b')]
        programs = [('core', 'integer', 'x'), ('fib', 'integer', 'x')]
        results = {'a': [{'core': {'score': 1.0}, 'fib': {'failed': 'x'}}],
                   'b': [{'core': {'score': 1.0}, 'fib': {'score': 1.0}}]}
        self.assertIsNone(guest.summarise(sides, programs, results)['geometric_means']['integer']['b'])


class Numbers(unittest.TestCase):
    def test_geometric_mean_of_reciprocals_is_one(self):
        self.assertAlmostEqual(report.geometric_mean([4.0, 0.25]), 1.0)

    def test_number_keeps_three_digits(self):
        self.assertEqual([report.number(v) for v in (0.01234, 1.234, 1234.0, 1234567.0, 0, None)],
                         ['0.0123', '1.23', '1234', '1.23e+06', '0', '-'])

    def test_table_aligns_columns(self):
        self.assertEqual(report.table(['', 'x'], [['long', '1'], ['a', '10']]),
                         '       x\n--------\nlong   1\na     10')


def rows_of(ratio):
    compared = {'ratio': ratio, 'low': ratio / 1.1, 'high': ratio * 1.1} if ratio else None
    return [('core', 'integer', compared, False), ('mean', 'integer', compared, True)]


class Picture(unittest.TestCase):
    def bars(self, ratio):
        svg = picture.draw(rows_of(ratio), 'a against b', 'made of <&>')
        namespace = '{http://www.w3.org/2000/svg}'
        rectangles = ElementTree.fromstring(svg).findall(namespace + 'rect')[1:]
        lines = ElementTree.fromstring(svg).findall(namespace + 'line')
        # Black lines that stand: the axis; those that lie are intervals.
        one = [float(line.get('x1')) for line in lines if line.get('stroke') == '#000' and line.get('x1') == line.get('x2')]
        return one, [(float(r.get('x')), float(r.get('width'))) for r in rectangles]

    def test_faster_is_right_of_one(self):
        one, bars = self.bars(4.0)
        self.assertEqual((len(one), len(bars)), (1, 2))
        self.assertTrue(all(abs(x - one[0]) < 0.2 and width > 100 for x, width in bars), (one, bars))

    def test_slower_is_left_of_one(self):
        one, bars = self.bars(0.25)
        self.assertTrue(all(abs(x + width - one[0]) < 0.2 and width > 100 for x, width in bars), (one, bars))

    def test_no_ratio_no_picture(self):
        self.assertIsNone(picture.draw(rows_of(None), 'a', ''))


class Initrd(unittest.TestCase):
    def test_cpio_reads_back_what_was_packed(self):
        files = {'/init': (0o755, b'#!/bin/sh\n'), '/a/b/data': (0o640, bytes(range(256)) * 3)}
        with tempfile.TemporaryDirectory() as work:
            subprocess.run(['cpio', '--quiet', '--extract', '--no-absolute-filenames', '--make-directories'], cwd=work,
                           input=initrd.archive(files), check=True)
            for path, (mode, data) in files.items():
                with open(work + path, 'rb') as unpacked:
                    self.assertEqual(unpacked.read(), data)
                self.assertEqual(stat.S_IMODE(os.stat(work + path).st_mode), mode)

    def test_second_archive_starts_aligned(self):
        with tempfile.TemporaryDirectory() as work:
            base, out = os.path.join(work, 'base'), os.path.join(work, 'out')
            with open(base, 'wb') as base_file:
                base_file.write(b'x' * 1001)
            initrd.append(base, {'/init': (0o755, b'')}, out)
            with open(out, 'rb') as out_file:
                data = out_file.read()
            self.assertEqual(data[:1024], b'x' * 1001 + bytes(23))
            self.assertEqual(data[1024:1030], b'070701')


def run_shell(script, timeout=20):
    return vm.execute(['sh', '-c', script], None, timeout)


class Execution(unittest.TestCase):
    def test_mark_is_timed_when_it_comes(self):
        run = run_shell("echo before; sleep 0.3; printf '\\036userland\\036\\r\\n'; sleep 0.3; echo after")
        self.assertTrue(0.3 <= run.userland_seconds < run.seconds - 0.2, (run.userland_seconds, run.seconds))
        self.assertEqual([line for _, line in run.lines], ['before', '\x1euserland\x1e', 'after'])

    def test_mark_cut_in_two_is_seen(self):
        run = run_shell("printf '\\036user'; sleep 0.1; printf 'land\\036'")
        self.assertIsNotNone(run.userland_seconds)

    def test_no_mark_is_no_userland(self):
        self.assertIsNone(run_shell('echo userland').userland_seconds)

    def test_process_that_hangs_is_ended(self):
        run = run_shell('exec sleep 60', timeout=0.3)
        self.assertTrue(run.timed_out)
        self.assertLess(run.seconds, 20)

    def test_exit_code_and_stats_are_kept(self):
        run = run_shell('echo warning >&2; echo \'{"instructions": 5}\' >&2; exit 3')
        self.assertEqual(run.exit_code, 3)
        self.assertEqual(run.stats(), {'instructions': 5})

    def test_damaged_stats_are_none(self):
        self.assertIsNone(run_shell("echo '{\"instructions\": ' >&2").stats())

    def test_cpu_time_and_memory_are_the_process_own(self):
        run = run_shell('i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done')
        self.assertGreater(run.cpu_seconds, 0.01)
        self.assertGreater(run.peak_rss_bytes, 500000)


class Sides(unittest.TestCase):
    def test_unknown_kind_is_refused(self):
        with self.assertRaises(vm.Failure):
            vm.Side('bochs', 'bochs', 'tuff')

    def test_missing_program_is_refused(self):
        with self.assertRaises(vm.Failure):
            vm.Side('qemu=/no/such/program', 'qemu', 'tuff')

    def test_options_follow_the_program(self):
        side = vm.Side('tuff=/bin/sh --clock "a b"', 'tuff', 'tuff')
        command = side.command(vm.Guest('k', 'i', 'c', '1G', 1))
        self.assertEqual((command[0], command[-2:]), ('/bin/sh', ['--clock', 'a b']))

    def test_failed_boot_says_what_the_guest_said_last(self):
        side = vm.Side('tuff=/bin/echo', 'tuff', 'tuff')
        with self.assertRaisesRegex(vm.Failure, 'before it reached userland(.|\n)*--kernel the-kernel'):
            vm.boot(side, vm.Guest('the-kernel', 'i', 'c', '1G', 1), None, 10)


if __name__ == '__main__':
    unittest.main()
