"""Ratios as a picture: one bar a program on a logarithmic axis, to the right of the line at 1 when the first side is faster.
SVG, written directly; the text is the same as the table's."""
import math
from xml.sax.saxutils import escape

from . import report

ROW, BAR, NAME_WIDTH, PLOT_WIDTH, VALUE_WIDTH, TOP = 18, 12, 130, 560, 60, 56
COLOURS = {'integer': '#3b6ea5', 'float': '#b5651d', 'system': '#5b8c5a'}
TICKS = [mantissa * 10.0 ** power for power in range(-4, 5) for mantissa in (1, 2, 5)]


def rows_of(summary, label):
    """(text, class, ratio, is mean) of each program and, below each class, of its geometric mean."""
    rows = []
    for class_, means in summary['geometric_means'].items():
        rows += [(name, class_, row['ratio'][label], False) for name, row in summary['programs'].items()
                 if row['class'] == class_ and row['ratio'].get(label)]
        if means.get(label):
            rows.append(('mean, ' + class_, class_, means[label], True))
    return rows


def text(x, y, content, anchor='start', weight='normal'):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" font-weight="%s">%s</text>' % (x, y, anchor, weight, escape(content))


def draw(summary, first, label, caption):
    """The SVG of the first side's ratios to `label`, or None when there are none."""
    rows = rows_of(summary, label)
    if not rows:
        return None
    low = math.log(min([ratio for _, _, ratio, _ in rows] + [1.0])) - 0.1
    high = math.log(max([ratio for _, _, ratio, _ in rows] + [1.0])) + 0.1

    def x_of(ratio):
        return NAME_WIDTH + (math.log(ratio) - low) / (high - low) * PLOT_WIDTH

    width, bottom = NAME_WIDTH + PLOT_WIDTH + VALUE_WIDTH, TOP + ROW * len(rows)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">' % (
        width, bottom + 24), '<rect width="100%" height="100%" fill="white"/>',
        text(8, 18, '%s against %s: speed ratio, more is better' % (first, label), weight='bold'), text(8, 36, caption)]
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/>' % (
                x_of(tick), x_of(tick), TOP - 6, bottom, '#000' if tick == 1 else '#ddd'))
            out.append(text(x_of(tick), bottom + 16, '%g' % tick, 'middle'))
    for number, (name, class_, ratio, is_mean) in enumerate(rows):
        y, left, right = TOP + ROW * number, min(x_of(ratio), x_of(1.0)), max(x_of(ratio), x_of(1.0))
        weight = 'bold' if is_mean else 'normal'
        out.append(text(8, y + BAR - 1, name, weight=weight))
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" fill-opacity="%s"/>' % (
            left, y, right - left, BAR, COLOURS[class_], '1' if is_mean else '0.7'))
        out.append(text(NAME_WIDTH + PLOT_WIDTH + 6, y + BAR - 1, report.number(ratio), weight=weight))
    return '\n'.join(out + ['</svg>', ''])
