"""What the guest's benchmark executable prints (guest/bench.c), from lines to ratios."""
from . import report

CLASSES = ('integer', 'float', 'system')


def result_of(words, host_seconds):
    """The result in a line's words, or None where they are not numbers: a kernel message may have got between them."""
    try:
        return {'iterations': int(words[1]), 'seconds': float(words[2]), 'score': float(words[3]),
                'host_seconds': host_seconds}
    except ValueError:
        return None


def parse(lines, names):
    """{name: result} from the lines of the benchmark executable; host seconds are those between its mark and its result."""
    results, starts = {}, {}
    for moment, line in lines:
        words = line.split()
        if len(words) == 2 and words[0] == '@start':
            starts[words[1]] = moment
        elif len(words) >= 2 and words[0] in names and words[1] == 'FAILED':
            results[words[0]] = {'failed': ' '.join(words[2:])}
        elif len(words) == 4 and words[0] in names and words[0] in starts:
            result = result_of(words, moment - starts[words[0]])
            if result:
                results[words[0]] = result
    return results


def scores(results, name):
    """The score of each repetition, None where there is none."""
    return [parsed.get(name, {}).get('score') for parsed in results]


def summarise(sides, programs, results):
    first, summary = sides[0].label, {'programs': {}, 'geometric_means': {}}
    for name, class_, unit in programs:
        row = {'class': class_, 'unit': unit, 'median': {}, 'spread': {}, 'ratio': {}}
        for side in sides:
            mine = scores(results[side.label], name)
            known = [score for score in mine if score]
            row['median'][side.label] = report.median(known)
            row['spread'][side.label] = report.spread(known) if known else None
            if side.label != first:
                row['ratio'][side.label] = report.median(report.paired_ratios(scores(results[first], name), mine))
        summary['programs'][name] = row
    for class_ in CLASSES:
        rows = [row for row in summary['programs'].values() if row['class'] == class_]
        # A mean over the programs that happen to work would be better than the truth.
        means = {}
        for side in sides[1:]:
            ratios = [row['ratio'][side.label] for row in rows]
            means[side.label] = report.geometric_mean(ratios) if ratios and all(ratios) else None
        if rows:
            summary['geometric_means'][class_] = means
    return summary
