"""Ratios as pictures, SVG written directly, so that they need no network and no library: bars on a logarithmic axis, to the right of the
line at 1 when Tuff is faster, each with its interval; and a line of ratios over commits."""
import math
from xml.sax.saxutils import escape

from . import report

ROW, BAR, NAME_WIDTH, PLOT_WIDTH, VALUE_WIDTH, TOP = 18, 12, 130, 560, 60, 56
COLOURS = {'integer': '#3b6ea5', 'float': '#b5651d', 'system': '#5b8c5a', 'boot': '#7a5195'}
OTHER_COLOUR = '#666666'
TICKS = [mantissa * 10.0 ** power for power in range(-4, 5) for mantissa in (1, 2, 5)]


def text(x, y, content, anchor='start', weight='normal'):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" font-weight="%s">%s</text>' % (x, y, anchor, weight, escape(content))


def opening(width, height):
    return ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" '
            'font-size="12">' % (width, height, width, height), '<rect width="100%" height="100%" fill="white"/>']


def draw(rows, title, caption):
    """rows: [(name, class, compared, is mean)], compared as stats.compare() gives it; None when none of them has one."""
    rows = [row for row in rows if row[2]]
    if not rows:
        return None
    low = math.log(min([compared['low'] for _, _, compared, _ in rows] + [1.0])) - 0.1
    high = math.log(max([compared['high'] for _, _, compared, _ in rows] + [1.0])) + 0.1

    def x_of(ratio):
        return NAME_WIDTH + (math.log(ratio) - low) / (high - low) * PLOT_WIDTH

    width, bottom = NAME_WIDTH + PLOT_WIDTH + VALUE_WIDTH, TOP + ROW * len(rows)
    out = opening(width, bottom + 24) + [text(8, 18, title, weight='bold'), text(8, 36, caption)]
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/>' % (
                x_of(tick), x_of(tick), TOP - 6, bottom, '#000' if tick == 1 else '#ddd'))
            out.append(text(x_of(tick), bottom + 16, '%g' % tick, 'middle'))
    for number, (name, class_, compared, is_mean) in enumerate(rows):
        ratio, y = compared['ratio'], TOP + ROW * number
        left, right, weight = min(x_of(ratio), x_of(1.0)), max(x_of(ratio), x_of(1.0)), 'bold' if is_mean else 'normal'
        out.append(text(8, y + BAR - 1, name, weight=weight))
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" fill-opacity="%s"/>' % (
            left, y, right - left, BAR, COLOURS.get(class_, OTHER_COLOUR), '1' if is_mean else '0.6'))
        out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#000"/>' % (
            x_of(compared['low']), x_of(compared['high']), y + BAR // 2, y + BAR // 2))
        out.append(text(NAME_WIDTH + PLOT_WIDTH + 6, y + BAR - 1, report.number(ratio), weight=weight))
    return '\n'.join(out + ['</svg>', ''])


def draw_history(points, title):
    """points: [(commit, compared)], oldest first: the ratio at each commit and its interval, on a logarithmic axis; None for none."""
    points = [point for point in points if point[1]]
    if not points:
        return None
    low = math.log(min([compared['low'] for _, compared in points] + [1.0])) - 0.1
    high = math.log(max([compared['high'] for _, compared in points] + [1.0])) + 0.1
    left, plot, height = 60, 160, 240
    width = left + max(260, 80 * len(points)) + 20

    def y_of(ratio):
        return 40 + plot - (math.log(ratio) - low) / (high - low) * plot

    def x_of(number):
        return left + 40 + 80 * number

    out = opening(width, height) + [text(8, 18, title, weight='bold')]
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s"/>' % (
                left, width - 10, y_of(tick), y_of(tick), '#000' if tick == 1 else '#ddd'))
            out.append(text(left - 6, y_of(tick) + 4, '%g' % tick, 'end'))
    out.append('<polyline fill="none" stroke="%s" points="%s"/>' % (COLOURS['integer'], ' '.join(
        '%d,%.1f' % (x_of(number), y_of(compared['ratio'])) for number, (_, compared) in enumerate(points))))
    for number, (commit, compared) in enumerate(points):
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#000"/>' % (
            x_of(number), x_of(number), y_of(compared['low']), y_of(compared['high'])))
        out.append('<circle cx="%d" cy="%.1f" r="4" fill="%s"/>' % (x_of(number), y_of(compared['ratio']), COLOURS['integer']))
        out.append(text(x_of(number), height - 20, commit[:8], 'middle'))
    return '\n'.join(out + ['</svg>', ''])
