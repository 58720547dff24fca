"""Results of measurements in SQLite: sessions (one invocation of benchmarks/run), their sides, and every single figure.

A session comes from the object that --json writes; one that is there already is not added again."""
import hashlib
import json
import sqlite3

APPLICATION_ID = 0x54754265  # "TuBe"
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE sessions(
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, time TEXT NOT NULL, tree TEXT NOT NULL, modified INTEGER NOT NULL,
  cpu TEXT NOT NULL, host TEXT NOT NULL, options TEXT NOT NULL, kernel TEXT, noisy INTEGER NOT NULL) STRICT;
CREATE TABLE sides(
  id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE, label TEXT NOT NULL,
  kind TEXT NOT NULL, version TEXT NOT NULL, options TEXT NOT NULL, program TEXT, UNIQUE(session, label)) STRICT;
CREATE TABLE samples(
  side INTEGER NOT NULL REFERENCES sides(id) ON DELETE CASCADE, suite TEXT NOT NULL, item TEXT NOT NULL, class TEXT NOT NULL,
  unit TEXT NOT NULL, more_is_better INTEGER NOT NULL, rep INTEGER NOT NULL, value REAL NOT NULL,
  PRIMARY KEY(side, suite, item, rep)) STRICT, WITHOUT ROWID;
"""
BOOT_ITEMS = {'userland_seconds': ('to userland', 's'), 'seconds': ('to power-off', 's'), 'cpu_seconds': ('CPU time', 's'),
              'peak_rss_bytes': ('peak memory', 'bytes')}
# A run beside which others used more than this share of a CPU is no measurement: it stays in the JSON, but gives no figures.
FOREIGN_LIMIT = 0.15


class Damaged(Exception):
    """The file is no database of results; the text is for the user."""


def open_database(path):
    """A connection; the schema is made in an empty file. path may be ':memory:'."""
    database = sqlite3.connect(path)
    try:
        known = database.execute('PRAGMA application_id').fetchone()[0], database.execute('PRAGMA user_version').fetchone()[0]
        tables = database.execute('SELECT count(*) FROM sqlite_master').fetchone()[0]
        if known == (0, 0) and tables == 0:
            database.executescript('PRAGMA application_id = %d; PRAGMA user_version = %d; %s' % (
                APPLICATION_ID, SCHEMA_VERSION, SCHEMA))
        elif known != (APPLICATION_ID, SCHEMA_VERSION):
            raise Damaged('%s: not a database of benchmark results, or of another version' % path)
        database.execute('PRAGMA foreign_keys = ON')
    except sqlite3.Error as error:
        database.close()
        raise Damaged('%s: %s' % (path, error)) from None
    return database


def disturbed(run):
    return bool(run.get('seconds')) and run.get('foreign_seconds', 0) > FOREIGN_LIMIT * run['seconds']


def samples_of(result):
    """(label, suite, item, class, unit, more is better, rep, value) of each figure in what --json wrote."""
    for label, runs in result.get('boot', {}).items():
        for rep, run in enumerate(runs):
            for key, (item, unit) in BOOT_ITEMS.items():
                if run.get(key) and not disturbed(run):
                    yield label, 'boot', item, 'boot', unit, False, rep, run[key]
    programs = result.get('guest_summary', {}).get('programs', {})
    for label, runs in result.get('guest', {}).items():
        for rep, run in enumerate(runs):
            for name, row in programs.items():
                score = run['programs'].get(name, {}).get('score')
                if score and not disturbed(run):
                    yield label, 'guest', name, row['class'], row['unit'], True, rep, score
    for suite in ('micro', 'vm', 'kvm'):
        for item, entry in result.get(suite, {}).items():
            for label, values in entry['sides'].items():
                for rep, value in enumerate(values):
                    if value:
                        yield label, suite, item, suite, entry['unit'], entry['more_is_better'], rep, value


def add(database, result):
    """Adds a session; its number, or None when it was there or has no figures."""
    samples = list(samples_of(result))
    digest = hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()
    if not samples or database.execute('SELECT 1 FROM sessions WHERE digest = ?', (digest,)).fetchone():
        return None
    with database:
        session = database.execute(
            'INSERT INTO sessions(digest, time, tree, modified, cpu, host, options, kernel, noisy) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)',
            (digest, result['time'], result['tree']['commit'] or 'unknown', bool(result['tree']['modified']), result['host']['cpu'],
             json.dumps(result['host'], sort_keys=True), json.dumps({**result['options'], 'cpu': result['cpu']}, sort_keys=True),
             result.get('guest_kernel'), bool(result.get('noisy')))).lastrowid
        sides = {}
        for side in result['sides']:
            sides[side['label']] = database.execute(
                'INSERT INTO sides(session, label, kind, version, options, program) VALUES(?, ?, ?, ?, ?, ?)',
                (session, side['label'], side['kind'], side['version'] or 'unknown', json.dumps(side['options']),
                 side.get('program'))).lastrowid
        database.executemany('INSERT INTO samples VALUES(?, ?, ?, ?, ?, ?, ?, ?)',
                             [(sides[label], *rest) for label, *rest in samples])
    return session


def add_files(database, paths):
    """Adds what --json wrote to each of these files, oldest session first."""
    results = []
    for path in paths:
        try:
            with open(path, encoding='utf-8') as file:
                result = json.load(file)
            results.append((result['time'], path, result))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Damaged('%s: not a result of benchmarks/run: %s' % (path, error)) from None
    for _, path, result in sorted(results, key=lambda entry: entry[:2]):
        try:
            if add(database, result) is None and not any(samples_of(result)):
                raise Damaged('%s: there are no figures in it' % path)
        except (KeyError, TypeError, AttributeError, sqlite3.Error) as error:
            raise Damaged('%s: not a result of benchmarks/run: %r' % (path, error)) from None
