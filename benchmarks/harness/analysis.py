"""From the database's figures to what is shown: which sessions belong together, ratios, class means, verdicts."""
import json

from . import report, stats

# What makes sessions comparable, of the options they ran with; how many repetitions and which programs does not.
CONDITIONS = ('seconds', 'warmup', 'memory', 'cpus', 'cmdline', 'no_pin', 'quick')


class Side:
    """A side as it appears in several sessions: the same program, version and options."""

    def __init__(self, label, kind, version, options, program):
        self.kind, self.version, self.options, self.program = kind, version, options, program
        self.peer = kind != 'tuff' or label.startswith('old')
        self.base = 'old' if label.startswith('old') else kind
        self.key = (self.base, version, tuple(options), program)

    def name(self):
        """For people: kind and what is unusual about it."""
        return ' '.join([{'tuff': 'Tuff', 'qemu': 'QEMU', 'native': 'native', 'old': 'Tuff before'}.get(self.base, self.base)]
                        + list(self.options))


class Group:
    """Figures of one suite taken with the same sides under the same conditions, maybe in several sessions."""

    def __init__(self, suite, commit, modified, cpu, kernel, conditions):
        self.suite, self.commit, self.modified, self.cpu, self.kernel = suite, commit, modified, cpu, kernel
        self.conditions = conditions
        self.sides = {}  # key: Side
        self.items = {}  # item: (class, unit, more is better)
        self.values = {}  # (side key, item): {(session, rep): value}
        self.times, self.noisy = set(), False

    def subjects(self):
        mine = [side for side in self.sides.values() if not side.peer]
        return mine or list(self.sides.values())[:1]

    def peers(self):
        mine = [side.key for side in self.subjects()]
        return [side for side in self.sides.values() if side.key not in mine]

    def repetitions(self):
        return max(len(values) for values in self.values.values())

    def median(self, side, item):
        return report.median(list(self.values.get((side.key, item), {}).values()))

    def comparison(self, subject, peer, items):
        """stats.compare() of one item, or of the geometric mean of several over the repetitions that have all of them."""
        def scores(side):
            tables = [self.values.get((side.key, item), {}) for item in items]
            common = set.intersection(*(set(table) for table in tables))
            better = [1 if self.items[item][2] else -1 for item in items]
            return {run: report.geometric_mean([table[run] ** sign for table, sign in zip(tables, better)])
                    for run in sorted(common)}

        mine, theirs = scores(subject), scores(peer)
        return stats.compare(list(mine.values()), list(theirs.values()), [(mine[run], theirs[run]) for run in mine if run in theirs])

    def classes(self):
        """{class: items}, in the order of the suite."""
        found = {}
        for item, (class_, _, _) in self.items.items():
            found.setdefault(class_, []).append(item)
        return found


def load(database):
    """Every group, oldest first."""
    groups, sides_of = {}, {}
    for session, *rest, options, program in database.execute(
            'SELECT session, label, kind, version, options, program FROM sides ORDER BY id'):
        sides_of.setdefault(session, {})[rest[0]] = Side(*rest, json.loads(options), program)
    rows = database.execute(
        'SELECT s.id, s.time, s.tree, s.modified, s.cpu, s.kernel, s.options, s.noisy, d.label, m.suite, m.item, m.class, m.unit, '
        'm.more_is_better, m.rep, m.value FROM samples m JOIN sides d ON d.id = m.side JOIN sessions s ON s.id = d.session '
        'ORDER BY s.time, s.id, d.id, m.suite, m.item, m.rep')
    for session, time, tree, modified, cpu, kernel, options, noisy, label, suite, item, class_, unit, better, rep, value in rows:
        side, given = sides_of[session][label], json.loads(options)
        conditions = {name: given.get(name) for name in CONDITIONS}
        present = tuple(sorted(str(other.key) for other in sides_of[session].values()))
        key = (suite, tree, modified, cpu, kernel, tuple(conditions.items()), present)
        group = groups.setdefault(key, Group(suite, tree, modified, cpu, kernel, conditions))
        group.sides.setdefault(side.key, side)
        group.items.setdefault(item, (class_, unit, bool(better)))
        group.values.setdefault((side.key, item), {})[(session, rep)] = value
        group.times.add(time)
        group.noisy = group.noisy or bool(noisy)
    order = {'integer': 0, 'float': 1, 'system': 2, 'translation': 3}
    for group in groups.values():
        group.items = dict(sorted(group.items.items(), key=lambda entry: order.get(entry[1][0], len(order))))
    return list(groups.values())


def headline(groups):
    """What the README shows: [(what, comparison, worst (item, ratio), best (item, ratio), group, subject, peer)] of the newest groups in which
    plain Tuff (no options) met plain QEMU, boot and each class of guest programs."""
    found = {}
    for group in groups:
        subject = next((side for side in group.subjects() if side.base == 'tuff' and not side.options), None)
        peer = next((side for side in group.peers() if side.base == 'qemu' and not side.options), None)
        if not subject or not peer or group.suite not in ('boot', 'guest'):
            continue
        if group.suite == 'boot':
            for item in ('to userland', 'peak memory'):
                found['boot, ' + item] = (group.comparison(subject, peer, [item]), None, None, group, subject, peer)
            continue
        for class_, items in group.classes().items():
            ratios = []
            for item in items:
                compared = group.comparison(subject, peer, [item])
                if compared:
                    ratios.append((compared['ratio'], item))
            if ratios:
                found[class_] = (group.comparison(subject, peer, items), min(ratios), max(ratios), group, subject, peer)
    order = ('boot, to userland', 'boot, peak memory', 'integer', 'float', 'system')
    return [(what, *found[what]) for what in order if what in found]
