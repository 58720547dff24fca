"""The page of results (HTML without scripts or anything from a network), the README's table, and the picture beside it; all of them from the
same headline, so that they cannot differ."""
from xml.sax.saxutils import escape

from . import analysis, picture, report, stats, store

README_BEGIN, README_END = '<!-- benchmarks: begin -->', '<!-- benchmarks: end -->'
HEADLINE = ('', 'speed against QEMU', 'worst program', 'best program', 'repetitions')
TITLES = {'boot': 'Boot', 'guest': 'Programs in the guest', 'micro': 'The engine alone', 'vm': 'A Debian system',
          'kvm': 'Ring 3 under KVM'}
CLASS_NAMES = {'integer': 'integer programs', 'float': 'floating-point programs', 'system': 'system programs',
               'translation': 'translation'}
STYLE = """body { font-family: sans-serif; max-width: 64em; margin: 2em auto; padding: 0 1em; line-height: 1.4; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 } th, td { border-bottom: 1px solid #ddd; padding: .2em .7em; text-align: right }
th:first-child, td:first-child { text-align: left } .slower { color: #a40000 } .faster { color: #1a6b1a } .unclear { color: #777 }
svg { max-width: 100%; height: auto } tr.mean td { font-weight: bold }"""


def with_interval(compared):
    if not compared:
        return '-'
    return '%s (%s to %s)' % tuple(report.number(compared[key]) for key in ('ratio', 'low', 'high'))


def headline_cells(row):
    what, compared, worst, best, *_ = row
    return [CLASS_NAMES.get(what, what), with_interval(compared)] + [
        '%s %s' % (end[1], report.number(end[0])) if end else '' for end in (worst, best)] + [
        str(compared['repetitions']) if compared else '-']


def setting(row):
    """What a headline was measured on and how, for people."""
    group, subject, peer = row[4:]
    return '%s, %s, commit %s%s' % (group.cpu, peer.version, group.commit[:12], ' with changes' if group.modified else '')


def markdown(headline):
    """The README's table."""
    lines = ['| ' + ' | '.join(HEADLINE) + ' |', '|---' * len(HEADLINE) + '|']
    lines += ['| ' + ' | '.join(headline_cells(row)) + ' |' for row in headline]
    return '\n'.join(lines + ['', 'Measured on: ' + '; '.join(sorted({setting(row) for row in headline})) + '.', ''])


def put_into_readme(readme, headline):
    """The README's text with its table replaced; None when it has no place for one."""
    before, begin, rest = readme.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not begin or not end:
        return None
    return before + begin + '\n\n' + markdown(headline) + '\n' + end + after


def headline_picture(headline):
    """One bar a program of each class, and boot."""
    rows = []
    for what, compared, _, _, group, subject, peer in headline:
        if what.startswith('boot'):
            rows.append((what, 'boot', compared, False))
            continue
        rows += [(item, what, group.comparison(subject, peer, [item]), False) for item in group.classes()[what]]
        rows.append(('mean, ' + what, what, compared, True))
    captions = sorted({setting(row) for row in headline})
    return picture.draw(rows, 'Tuff against QEMU (system emulation): more is better, QEMU is 1', '; '.join(captions))


def html_table(header, rows):
    """rows: [(CSS class, cells)], a cell being text or (text, CSS class)."""
    def cell(tag, content):
        content, class_ = content if isinstance(content, tuple) else (content, '')
        return '<%s%s>%s</%s>' % (tag, ' class="%s"' % class_ if class_ else '', escape(str(content)), tag)

    out = ['<table>', '<tr>' + ''.join(cell('th', content) for content in header) + '</tr>']
    out += ['<tr%s>' % (' class="%s"' % class_ if class_ else '') + ''.join(cell('td', content) for content in cells) + '</tr>'
            for class_, cells in rows]
    return '\n'.join(out + ['</table>'])


def group_section(group):
    conditions = ', '.join('%s %s' % (name.replace('_', ' '), value) for name, value in group.conditions.items()
                           if value not in (None, False, ''))
    out = ['<h2>%s</h2>' % escape(TITLES[group.suite]), '<p>%s</p>' % escape(
        '%s; commit %s%s; %s; at most %d repetitions; %s. %s' % (
            group.cpu, group.commit[:12], ' with changes' if group.modified else '',
            ', '.join('%s: %s' % (side.name(), side.version) for side in group.sides.values()), group.repetitions(), conditions,
            'Others used more than 3 % of a CPU beside some of these runs.' if group.noisy else ''))]
    for peer in group.peers():
        rows, subjects = [], group.subjects()
        for class_, items in group.classes().items():
            lines = [(item, [item], '') for item in items]
            if len(items) > 1 and group.suite != 'boot':
                lines.append(('mean, ' + class_, items, 'mean'))
            for name, parts, style in lines:
                single, cells = len(parts) == 1, []
                for subject in subjects:
                    compared = group.comparison(subject, peer, parts)
                    cells.append(report.number(group.median(subject, parts[0])) if single else '')
                    cells.append(with_interval(compared))
                    cells += [report.number(compared['p'], 2), (compared['verdict'], compared['verdict'])] if compared else ['-', '-']
                rows.append((style, [name, group.items[parts[0]][1] if single else '',
                                     report.number(group.median(peer, parts[0])) if single else ''] + cells))
        header = ['', 'unit', peer.name()]
        for subject in subjects:
            header += [subject.name(), 'ratio', 'p', 'verdict']
        out.append(html_table(header, rows))
        for subject in subjects:
            bars = []
            for class_, items in group.classes().items():
                bars += [(item, class_, group.comparison(subject, peer, [item]), False) for item in items]
                if len(items) > 1 and group.suite != 'boot':
                    bars.append(('mean, ' + class_, class_, group.comparison(subject, peer, items), True))
            drawn = picture.draw(bars, '%s against %s: more is better' % (subject.name(), peer.name()), group.cpu)
            out.append(drawn or '')
    return out


def tiers_section(groups):
    """Ratio to QEMU of each class, by the options that Tuff ran with."""
    rows = []
    for group in groups:
        for peer in group.peers():
            if peer.base != 'qemu' or group.suite != 'guest':
                continue
            for subject in group.subjects():
                for class_, items in group.classes().items():
                    rows.append(('', [subject.name(), class_, group.commit[:12], with_interval(group.comparison(subject, peer, items)),
                                      group.repetitions()]))
    if not rows:
        return []
    return ['<h2>By tier</h2>', html_table(['', 'class', 'commit', 'mean ratio to QEMU', 'repetitions'], rows)]


def history_section(groups):
    """Plain Tuff against plain QEMU, by commit."""
    series = {}
    for group in groups:
        for row in analysis.headline([group]):
            series.setdefault(row[0], []).append((group.commit, row[1]))
    out = []
    for what, points in series.items():
        drawn = picture.draw_history(points, 'Tuff against QEMU: ' + CLASS_NAMES.get(what, what))
        out.append(drawn or '')
    return ['<h2>By commit</h2>'] + out if out else []


def html(groups):
    headline = analysis.headline(groups)
    out = ['<!DOCTYPE html>', '<html lang="en"><head><meta charset="utf-8"><title>Tuff: measured</title>', '<style>', STYLE, '</style></head><body>',
           '<h1>Tuff: measured</h1>',
           '<p>Made by <code>benchmarks/run report</code> from recorded figures; docs/performance.md says how they are measured. A ratio above 1 '
           'means that Tuff is better (faster, or smaller). It is the median over neighbouring runs, with the interval that covers the median with '
           '%.0f %% or, below six repetitions, between their extremes. p is the Mann-Whitney test\'s. A verdict wants p below %g and a ratio that '
           'is further from 1 than twice the standard error that the scatter of both sides gives it, at least %.0f %%; fewer than four '
           'repetitions a side cannot give one. '
           'Runs beside which others used more than %.0f %% of a CPU are left out.</p>' % (100 * stats.CONFIDENCE, round(stats.ALPHA, 3), 100 * stats.FLOOR, 100 * store.FOREIGN_LIMIT)]
    if headline:
        out += ['<h2>In short</h2>', html_table(HEADLINE, [('', headline_cells(row)) for row in headline]),
                '<p>%s</p>' % escape('; '.join(sorted({setting(row) for row in headline}))), headline_picture(headline) or '']
    out += tiers_section(groups) + history_section(groups)
    for group in reversed(groups):
        out += group_section(group)
    return '\n'.join(out + ['</body></html>', ''])
