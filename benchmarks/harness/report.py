"""Medians, ratios, tables."""
import math
import statistics


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    """Greatest less least, over the median: how far repetitions lie apart."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else None


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else None


def paired_ratios(mine, peers):
    """Ratio of each repetition to the peer's run beside it, so that slow drift of the machine cancels."""
    return [a / b for a, b in zip(mine, peers) if a and b]


def number(value, digits=3):
    if value is None:
        return '-'
    if value == 0:
        return '0'
    if abs(value) >= 1e5:
        return '%.*g' % (digits, value)
    return '%.*f' % (max(0, digits - 1 - math.floor(math.log10(abs(value)))), value)


def percent(value):
    return '-' if value is None else '%.0f%%' % (100 * value)


def table(header, rows):
    """The first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [header] + rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        lines.append('  '.join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip())
    lines.insert(1, '-' * len(lines[0]))
    return '\n'.join(lines)
