"""What repetitions say: intervals for medians, a test of whether two sides differ, and verdicts that know the noise.

Nothing here supposes that figures are distributed normally; those of virtual machines are not: they have a hard lower edge and a long
tail. The repetitions are few, so distributions are counted out instead of approximated."""
import math
import statistics

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
# A difference below this is not worth a verdict, however sure it is: code that merely lies at other addresses makes as much.
FLOOR = 0.03
# Above this threshold a measurement is too noisy to say "same".
CEILING = 0.10
# The median absolute deviation of a normal distribution times this is its standard deviation.
MAD_SCALE = 1.4826
# Standard error of a median, in standard errors of a mean (normal distribution, many values).
MEDIAN_ERROR = math.sqrt(math.pi / 2)


def median_interval(values, confidence=CONFIDENCE):
    """(low, high, coverage) for the median of what `values` were drawn from: the k-th least and k-th greatest of them, k as large as
    `confidence` allows. From so few values that not even the extremes reach it, the extremes, with the coverage they do have.

    The median lies below the k-th least of n values with the probability that fewer than k of n fair coins show heads (David and
    Nagaraja, Order Statistics, section 7.1). None for no values."""
    ordered, count = sorted(values), len(values)
    if not count:
        return None

    def coverage(k):
        return 1 - 2 * sum(math.comb(count, i) for i in range(k)) / 2 ** count

    k = 1
    while 2 * (k + 1) <= count + 1 and coverage(k + 1) >= confidence:
        k += 1
    return ordered[k - 1], ordered[count - k], max(0.0, coverage(k))


def midranks_doubled(values):
    """Twice the rank of each value, equal values sharing the mean of theirs: whole numbers."""
    ordered = sorted(values)
    first, last = {}, {}
    for rank, value in enumerate(ordered, 1):
        first.setdefault(value, rank)
        last[value] = rank
    return [first[value] + last[value] for value in values]


def mann_whitney(mine, theirs):
    """Two-sided p of the Mann-Whitney U test (Wilcoxon's rank sum): how often a random division of all values into two such sets has
    rank sums at least as unequal as these. Counted out exactly, ties included, by the number of subsets for each size and rank sum; that is
    quick for some dozens of values. 1 where one side has none."""
    if not mine or not theirs:
        return 1.0
    ranks = midranks_doubled(list(mine) + list(theirs))
    counts = [{} for _ in range(len(mine) + 1)]
    counts[0][0] = 1
    for rank in ranks:
        for size in range(len(mine), 0, -1):
            row = counts[size]
            for total, ways in counts[size - 1].items():
                row[total + rank] = row.get(total + rank, 0) + ways
    # Mean of the doubled rank sum: size * (all + 1).
    middle = len(mine) * (len(ranks) + 1)
    seen = abs(sum(ranks[:len(mine)]) - middle)
    extreme = sum(ways for total, ways in counts[-1].items() if abs(total - middle) >= seen)
    return extreme / math.comb(len(ranks), len(mine))


def least_p(count, other):
    """The least p that so many repetitions can give."""
    return 2 / math.comb(count + other, count) if count and other else 1.0


def noise(values):
    """Scatter of one side's repetitions, as a relative standard deviation: from the median absolute deviation of the logarithms, which one
    run that was disturbed does not move."""
    logs = [math.log(value) for value in values]
    middle = statistics.median(logs)
    return MAD_SCALE * statistics.median(abs(log - middle) for log in logs)


def threshold(mine, theirs):
    """How far a ratio of medians must be from 1 to count: twice the standard error that the two sides' scatter gives it, and FLOOR."""
    error = MEDIAN_ERROR * math.sqrt(noise(mine) ** 2 / len(mine) + noise(theirs) ** 2 / len(theirs))
    return max(FLOOR, 2 * error)


def compare(mine, theirs, pairs):
    """Of scores of which more is better: `pairs` are those (mine, theirs) that were neighbours in time. The ratio is the median over
    the pairs, with its interval; p is Mann-Whitney's. The verdict is

    faster, slower  p is below 5 % and the ratio is further from 1 than the threshold
    same            neither, and the repetitions scatter so little that a difference of 10 % would have shown
    unclear         too few repetitions, or too much noise, to say one of these

    None where a side has no score."""
    if not mine or not theirs or not pairs:
        return None
    ratios = [a / b for a, b in pairs]
    ratio, limit, p = statistics.median(ratios), threshold(mine, theirs), mann_whitney(mine, theirs)
    low, high, coverage = median_interval(ratios)
    far = abs(math.log(ratio)) > limit
    if p < ALPHA and far:
        verdict = 'faster' if ratio > 1 else 'slower'
    elif far or limit > CEILING or least_p(len(mine), len(theirs)) >= ALPHA:
        verdict = 'unclear'
    else:
        verdict = 'same'
    return {'ratio': ratio, 'low': low, 'high': high, 'coverage': coverage, 'p': p, 'threshold': limit, 'verdict': verdict,
            'repetitions': len(pairs)}
