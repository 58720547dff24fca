"""Tests of statistics, database and page, on made-up results; nothing is measured: python3 -m unittest discover benchmarks"""
import itertools
import json
import math
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import analysis, page, picture, stats, store  # noqa: E402

RUN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'run')


class Intervals(unittest.TestCase):
    def test_order_statistics_are_those_of_the_tables(self):
        """Conover, Practical Nonparametric Statistics, table of the sign test: which order statistics give 95 %."""
        for count, first, coverage in ((6, 1, 0.96875), (10, 2, 0.978516), (20, 6, 0.958610)):
            low, high, covered = stats.median_interval(list(range(1, count + 1)))
            self.assertEqual((low, high), (first, count + 1 - first))
            self.assertAlmostEqual(covered, coverage, 5)

    def test_few_values_say_what_they_cover(self):
        self.assertEqual(stats.median_interval([3.0, 1.0, 2.0]), (1.0, 3.0, 0.75))
        self.assertEqual(stats.median_interval([5.0]), (5.0, 5.0, 0.0))
        self.assertIsNone(stats.median_interval([]))

    def test_interval_covers_the_median_as_often_as_it_says(self):
        generator, hits, turns = random.Random(1), 0, 2000
        for _ in range(turns):
            low, high, coverage = stats.median_interval([generator.expovariate(1) for _ in range(8)])
            hits += low <= math.log(2) <= high
        self.assertAlmostEqual(hits / turns, coverage, delta=0.02)


class MannWhitney(unittest.TestCase):
    def test_example_of_hollander_and_wolfe(self):
        """Nonparametric Statistical Methods, permeability of membranes: W = 35, one-sided p = 0.1272."""
        mine = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
        theirs = [1.15, 0.88, 0.90, 0.74, 1.21]
        self.assertAlmostEqual(stats.mann_whitney(mine, theirs), 0.2544, 4)
        self.assertAlmostEqual(stats.mann_whitney(theirs, mine), 0.2544, 4)

    def test_separated_sets_have_the_least_p(self):
        for count, p in ((2, 1 / 3), (3, 0.1), (4, 2 / 70), (5, 2 / 252)):
            self.assertAlmostEqual(stats.mann_whitney(list(range(count)), list(range(10, 10 + count))), p)
            self.assertAlmostEqual(stats.least_p(count, count), p)

    def test_ties_agree_with_all_divisions(self):
        generator = random.Random(2)
        for _ in range(20):
            mine, theirs = [generator.randrange(4) for _ in range(4)], [generator.randrange(4) for _ in range(5)]
            ranks = stats.midranks_doubled(mine + theirs)
            middle = sum(ranks) * 4 / 9
            sums = [sum(ranks[i] for i in chosen) for chosen in itertools.combinations(range(9), 4)]
            expected = sum(abs(s - middle) >= abs(sum(ranks[:4]) - middle) - 1e-9 for s in sums) / len(sums)
            self.assertAlmostEqual(stats.mann_whitney(mine, theirs), expected)

    def test_equal_sets_do_not_differ(self):
        self.assertEqual(stats.mann_whitney([1, 1, 1], [1, 1, 1]), 1.0)


def compared(mine, theirs):
    return stats.compare(mine, theirs, list(zip(mine, theirs)))


class Verdicts(unittest.TestCase):
    def test_a_clear_difference_is_seen(self):
        slow, fast = [100, 101, 99, 100, 102], [120, 121, 119, 122, 120]
        self.assertEqual(compared(slow, fast)['verdict'], 'slower')
        self.assertEqual(compared(fast, slow)['verdict'], 'faster')

    def test_quiet_and_equal_is_same(self):
        self.assertEqual(compared([100, 101, 99, 100, 102], [101, 100, 100, 99, 101])['verdict'], 'same')

    def test_a_sure_difference_below_the_floor_is_none(self):
        result = compared([100.0, 100.1, 100.2, 100.3, 100.4], [101.0, 101.1, 101.2, 101.3, 101.4])
        self.assertLess(result['p'], stats.ALPHA)
        self.assertEqual(result['verdict'], 'same')

    def test_noise_raises_the_threshold(self):
        quiet, loud = compared([100, 101, 99, 100], [100, 99, 101, 100]), compared([100, 160, 70, 120], [90, 150, 80, 130])
        self.assertEqual(quiet['threshold'], stats.FLOOR)
        self.assertGreater(loud['threshold'], 0.1)
        self.assertEqual(loud['verdict'], 'unclear')

    def test_too_few_repetitions_have_no_verdict(self):
        self.assertEqual(compared([100, 100, 100], [200, 200, 200])['verdict'], 'unclear')

    def test_nothing_compared_with_nothing_is_none(self):
        self.assertIsNone(compared([], [1.0]))

    def test_the_same_machine_twice_is_rarely_judged_different(self):
        generator, wrong = random.Random(3), 0
        for _ in range(500):
            draw = [math.exp(generator.gauss(0, 0.05)) for _ in range(12)]
            wrong += compared(draw[:6], draw[6:])['verdict'] in ('faster', 'slower')
        self.assertLess(wrong, 25)


def result(commit='c' * 40, time='2026-01-01T00:00:00Z', speed=2.0, command=None, reps=4, first_options=(), peer='qemu'):
    """What a session of two programs and boots writes with --json; Tuff is `speed` times as fast as the other side."""
    def runs(factor):
        return [{'programs': {'core': {'score': (100 + rep) * factor}, 'nbody': {'score': (50 - rep) * factor}}} for rep in range(reps)]

    def boots(factor):
        return [{'userland_seconds': (2 + rep / 100) / factor, 'seconds': 3.0, 'cpu_seconds': 3.0, 'peak_rss_bytes': 1e8 * factor}
                for rep in range(reps)]

    summary = {'programs': {'core': {'class': 'integer', 'unit': 'rounds/s'}, 'nbody': {'class': 'float', 'unit': 'steps/s'}}}
    made = {'time': time, 'host': {'cpu': 'A <CPU> & more'}, 'tree': {'commit': commit, 'modified': False}, 'cpu': 1,
            'guest_kernel': 'vmlinux', 'options': {'seconds': 1, 'warmup': 0, 'command': command},
            'sides': [{'label': 'tuff', 'kind': 'tuff', 'version': 'tuff 1', 'options': list(first_options)},
                      {'label': peer, 'kind': 'tuff' if peer == 'old' else peer, 'version': 'other 2', 'options': []}]}
    if command in (None, 'guest'):
        made.update(guest={'tuff': runs(speed), peer: runs(1.0)}, guest_summary=summary)
    if command in (None, 'boot'):
        made.update(boot={'tuff': boots(speed), peer: boots(1.0)})
    return made


def loaded(*results):
    database = store.open_database(':memory:')
    for entry in results:
        store.add(database, entry)
    return analysis.load(database)


class Database(unittest.TestCase):
    def test_figures_come_back(self):
        groups = {group.suite: group for group in loaded(result())}
        guest, boot = groups['guest'], groups['boot']
        tuff, qemu = guest.subjects()[0], guest.peers()[0]
        self.assertEqual(guest.median(tuff, 'core'), 203.0)
        self.assertAlmostEqual(guest.comparison(tuff, qemu, ['core'])['ratio'], 2.0)
        # Less is better there, and a ratio above 1 means better all the same.
        self.assertAlmostEqual(boot.comparison(tuff, qemu, ['to userland'])['ratio'], 2.0)
        self.assertAlmostEqual(boot.comparison(tuff, qemu, ['peak memory'])['ratio'], 0.5)

    def test_a_session_is_kept_once(self):
        database = store.open_database(':memory:')
        self.assertEqual([store.add(database, result()), store.add(database, result())], [1, None])
        self.assertEqual(database.execute('SELECT count(*) FROM sessions').fetchone(), (1,))

    def test_pieces_of_one_measurement_are_put_together(self):
        group, = loaded(result(command='guest'), result(command='guest', time='2026-01-02T00:00:00Z'))
        self.assertEqual(group.repetitions(), 8)

    def test_other_commits_and_other_conditions_are_apart(self):
        other = result(command='guest', time='2026-01-03T00:00:00Z')
        other['options']['warmup'] = 3
        self.assertEqual(len(loaded(result(command='guest'), result(command='guest', commit='d' * 40), other)), 3)

    def test_an_earlier_build_is_a_peer(self):
        group, = loaded(result(command='guest', peer='old', speed=0.5))
        self.assertEqual(group.peers()[0].name(), 'Tuff before')
        self.assertEqual(group.comparison(group.subjects()[0], group.peers()[0], ['core'])['verdict'], 'slower')

    def test_a_failed_program_leaves_no_figure(self):
        failed = result(command='guest')
        failed['guest']['tuff'][1]['programs']['core'] = {'failed': 'wrong'}
        group, = loaded(failed)
        self.assertEqual(group.comparison(group.subjects()[0], group.peers()[0], ['core'])['repetitions'], 3)

    def test_a_disturbed_run_gives_no_figure(self):
        beside = result(command='guest')
        for rep, run in enumerate(beside['guest']['tuff']):
            run.update(seconds=10.0, foreign_seconds=2.0 if rep == 0 else 1.0)
        group, = loaded(beside)
        self.assertEqual(group.comparison(group.subjects()[0], group.peers()[0], ['core'])['repetitions'], 3)

    def test_other_files_are_refused(self):
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, 'x')
            with open(path, 'wb') as file:
                file.write(b'not a database at all' * 100)
            with self.assertRaises(store.Damaged):
                store.open_database(path)
            other = sqlite3.connect(path + '2')
            other.execute('CREATE TABLE t(x)')
            other.close()
            with self.assertRaises(store.Damaged):
                store.open_database(path + '2')
            with self.assertRaises(store.Damaged):
                store.add_files(store.open_database(':memory:'), [path])
            for text in ('[]', '{"time": "x"}', '{}'):
                with open(path, 'w', encoding='utf-8') as file:
                    file.write(text)
                with self.assertRaises(store.Damaged, msg=text):
                    store.add_files(store.open_database(':memory:'), [path])


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.rows, self.addresses, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ('src', 'href')]
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ('td', 'th')

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def table_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith('|') and not line.startswith('|--')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


class Page(unittest.TestCase):
    def setUp(self):
        self.groups = loaded(result(), result(commit='d' * 40, time='2026-02-01T00:00:00Z', speed=3.0),
                             result(command='guest', first_options=['--tier=interp'], speed=0.5))
        self.html = page.html(self.groups)

    def test_readme_table_is_the_pages(self):
        rows, cells = table_of(page.markdown(analysis.headline(self.groups))), Cells(self.html).rows
        self.assertGreaterEqual(len(rows), 4)
        for row in rows:
            self.assertIn(row, cells)

    def test_headline_is_the_newest_of_plain_tuff(self):
        row = next(row for row in analysis.headline(self.groups) if row[0] == 'integer')
        self.assertAlmostEqual(row[1]['ratio'], 3.0)
        self.assertEqual(row[4].commit, 'd' * 40)

    def test_where_it_loses_is_shown(self):
        cells = Cells(self.html).rows
        row = next(row for row in cells if row[:2] == ['Tuff --tier=interp', 'integer'])
        self.assertTrue(row[3].startswith('0.500'), row)
        self.assertTrue(any('slower' in row for row in cells))

    def test_needs_no_network_and_has_pictures(self):
        self.assertEqual(Cells(self.html).addresses, [])
        for piece in self.html.split('<svg ')[1:]:
            ElementTree.fromstring('<svg ' + piece.split('</svg>')[0] + '</svg>')
        self.assertGreaterEqual(self.html.count('<svg '), 5)
        self.assertNotIn('A <CPU>', self.html)

    def test_readme_without_a_place_is_left_alone(self):
        self.assertIsNone(page.put_into_readme('# Tuff\n', analysis.headline(self.groups)))
        text = page.put_into_readme('a %s old %s b' % (page.README_BEGIN, page.README_END), analysis.headline(self.groups))
        self.assertTrue(text.startswith('a ') and text.endswith(' b') and ' old ' not in text)

    def test_a_bar_left_of_one_when_slower(self):
        def bar(ratio):
            drawn = picture.draw([('core', 'integer', {'ratio': ratio, 'low': ratio, 'high': ratio}, False)], 'a', 'b')
            tree, name = ElementTree.fromstring(drawn), '{http://www.w3.org/2000/svg}'
            line = next(line for line in tree.iter(name + 'line') if line.get('stroke') == '#000')
            rect = [rect for rect in tree.iter(name + 'rect') if rect.get('fill-opacity')][0]
            return float(rect.get('x')) - float(line.get('x1'))

        self.assertLess(bar(0.5), -1)
        self.assertAlmostEqual(bar(2.0), 0, 1)
        self.assertIsNone(picture.draw([('core', 'integer', None, False)], 'a', 'b'))


class Command(unittest.TestCase):
    def run_report(self, *arguments):
        return subprocess.run([sys.executable, '-B', RUN, 'report', *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)

    def test_page_from_files_and_from_a_database(self):
        with tempfile.TemporaryDirectory() as work:
            path, html, base = (os.path.join(work, name) for name in ('a.json', 'a.html', 'a.db'))
            with open(path, 'w', encoding='utf-8') as file:
                json.dump(result(), file)
            done = self.run_report(path, '--page', html)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertEqual(self.run_report(path, '--page', html, '--check').returncode, 0)
            database = store.open_database(base)
            store.add(database, result())
            database.close()
            self.assertEqual(self.run_report('--db', base, '--page', html, '--check').returncode, 0)
            with open(html, 'a', encoding='utf-8') as file:
                file.write('x')
            self.assertEqual(self.run_report('--db', base, '--page', html, '--check').returncode, 1)

    def test_nothing_to_read_is_said(self):
        done = self.run_report('/nonexistent/x.json')
        self.assertEqual(done.returncode, 2)
        self.assertIn('/nonexistent/x.json', done.stdout)


if __name__ == '__main__':
    unittest.main()
