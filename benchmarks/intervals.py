"""How often the intervals of a report hold the truth, and how often it claims a difference where there is none.

Simulated scores with known truth go through the functions that the report itself uses. Prints a Markdown table for each
kind of claim; ``benchmarks/results/intervals.md`` has the last one.

    python benchmarks/intervals.py --draws 4000
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from mmvae_bench.base.multiple_comparisons import holm, told_apart
from mmvae_bench.base.statistics import (
    mean_interval,
    pair_errors,
    paired_difference,
    seeds_interval,
    seeds_interval_of_means,
    trend,
    unpaired_errors,
)

Array = NDArray[np.float64]
LEVEL = 0.95
NUM_LEVELS = 4
"""Rows of a simulated table: correctness and coverage at these many levels."""
NUM_DRAWS = 99
"""Draws behind the limit of bold. The report takes 1,000: the rank of the limit holds its 5 % with any number, and
fewer cost power, not truth."""


def crossed(generator: np.random.Generator, num_seeds: int, num_queries: int, spread: float) -> Array:
    """Float[seed, query] in nats: seeds with a standard deviation of ``spread``, queries of 5, and 3 of their own."""
    seeds = generator.normal(0, spread, (num_seeds, 1))
    return seeds + generator.normal(0, 5, num_queries) + generator.normal(0, 3, (num_seeds, num_queries))


def fractions(
    generator: np.random.Generator, num_seeds: int, num_queries: int, *, rate: float, concentration: float, images: int
) -> Array:
    """Float[seed, query]: the share of ``images`` that are right where the rate of a query is Beta distributed."""
    rates = np.full(num_queries, rate)
    if math.isfinite(concentration):
        rates = generator.beta(rate * concentration, (1 - rate) * concentration, num_queries)
    return generator.binomial(images, rates, (num_seeds, num_queries)) / images


def coverage(draw: Callable[[], Array], truth: float, num_draws: int, *, fraction: bool) -> tuple[float, float]:
    """(share of intervals that hold the truth, median width)."""
    ends = np.array([seeds_interval(list(draw()), fraction=fraction, confidence=LEVEL) for _ in range(num_draws)])
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()), float(np.median(ends[:, 1] - ends[:, 0]))


def over_seeds(num_draws: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Nats: every number of seeds and queries, with seeds that vary not at all, as queries do, and much more."""
    for num_seeds in (1, 2, 3, 5):
        for num_queries in (12, 24, 240, 2000):
            spreads = (0.0,) if num_seeds == 1 else (0.0, 1.0, 2.0, 5.0)
            draws = [partial(crossed, generator, num_seeds, num_queries, spread) for spread in spreads]
            found = [coverage(draw, 0.0, num_draws, fraction=False) for draw in draws]
            cells = [f"{100 * share:.1f} ({width:.1f})" for share, width in found]
            yield (str(num_seeds), str(num_queries), *cells, *[""] * (4 - len(cells)))


def over_own_intervals(num_draws: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """The same where scores per query were not kept: from the interval of each seed over its queries."""
    for num_seeds in (2, 3, 5):
        for num_queries in (12, 24, 240, 2000):
            cells = []
            for spread in (0.0, 1.0, 2.0, 5.0):
                drawn = (crossed(generator, num_seeds, num_queries, spread) for _ in range(num_draws))
                ends = np.array([from_own_intervals(each) for each in drawn])
                held = ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean()
                cells.append(f"{100 * held:.1f} ({np.median(ends[:, 1] - ends[:, 0]):.1f})")
            yield (str(num_seeds), str(num_queries), *cells)


def from_own_intervals(scores: Array) -> tuple[float, float]:
    """The interval that a report has of several seeds without their scores per query."""
    own = [mean_interval(each, confidence=LEVEL) for each in scores]
    return seeds_interval_of_means(scores.mean(1), own, confidence=LEVEL)


def over_own_shares(num_draws: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Fractions of ten images, from the interval of each seed over its queries, and from the scores per query."""
    for num_seeds in (2, 3, 5):
        for num_queries in (12, 24, 240):
            for rate in (0.5, 0.9, 0.99):
                cells = []
                for hardness, spread in ((0.0, 0.0), (1.0, 0.0), (1.0, 0.3), (1.0, 1.0)):
                    held = np.zeros(2)
                    for _ in range(num_draws):
                        scores = hard_shares(generator, num_seeds, num_queries, rate, hardness, spread)
                        own = [mean_interval(each, fraction=True, confidence=LEVEL) for each in scores]
                        found = seeds_interval_of_means(scores.mean(1), own, fraction=True, confidence=LEVEL)
                        known = seeds_interval(list(scores), fraction=True, confidence=LEVEL)
                        held += [low <= rate <= high for low, high in (found, known)]
                    cells.append(" / ".join(f"{100 * each / num_draws:.1f}" for each in held))
                yield (str(num_seeds), str(num_queries), str(rate), *cells)


def hard_shares(
    generator: np.random.Generator, num_seeds: int, num_queries: int, rate: float, hardness: float, spread: float
) -> Array:
    """Float[seed, query]: the share of ten images that are right, ``rate`` on average over all seeds and queries.

    An image is right with probability Phi(m + h u + s v): u of the query and v of the seed are normal, h is
    ``hardness`` and s ``spread``. Its mean is Phi(m / sqrt(1 + h^2 + s^2)).
    """
    middle = ndtri(rate) * math.sqrt(1 + hardness**2 + spread**2)
    seeds, hard = generator.normal(size=(num_seeds, 1)), generator.normal(size=num_queries)
    return generator.binomial(10, ndtr(middle + hardness * hard + spread * seeds)) / 10


def over_fractions(num_draws: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Fractions: from queries that are all alike to queries that are right or wrong as a whole."""
    for num_queries in (12, 24, 240, 2000):
        for rate in (0.5, 0.7, 0.9, 0.95, 0.99):
            cells = []
            for concentration, images in ((math.inf, 1), (10, 10), (2, 10), (0.5, 100)):
                shape = {"rate": rate, "concentration": concentration, "images": images}
                draw = partial(fractions, generator, 1, num_queries, **shape)
                share, width = coverage(draw, rate, num_draws, fraction=True)
                cells.append(f"{100 * share:.1f} ({100 * width:.1f})")
            yield (str(num_queries), str(rate), *cells)


def table(
    generator: np.random.Generator,
    num_objectives: int,
    num_seeds: int,
    *,
    spreads: Sequence[float],
    interaction: float,
    hardness: float = 5.0,
    paired: bool = True,
) -> tuple[list[Array], Array]:
    """Scores of equal objectives by seed and row, and the errors over queries, as a report has them.

    Rows share what is particular to a seed by half. ``interaction``: the standard deviation of what is particular to an
    objective and a query, and ``hardness`` that of a query, for all; the queries are 24, and the seeds' standard
    deviation is 1. ``paired``: whether scores per query were kept; else the errors are of the trials' own intervals.
    """
    num_rows, num_queries = 2 * NUM_LEVELS, 24
    scale = np.resize(np.array(spreads), num_objectives)[:, None, None]
    shared = generator.normal(size=(num_objectives, num_seeds, 1))
    own = generator.normal(size=(num_objectives, num_seeds, num_rows))
    seeds = scale * (shared + own) / math.sqrt(2)
    hard = generator.normal(0, hardness, (num_rows, num_queries))
    liked = generator.normal(0, interaction, (num_objectives, num_rows, num_queries))
    noise = generator.normal(0, 1, (num_objectives, num_seeds, num_rows, num_queries))
    queries = seeds[..., None] + hard + liked[:, None] + noise
    if paired:
        errors = np.stack([pair_errors(list(queries[:, :, row])) for row in range(num_rows)], 2)
    else:
        asked = [num_queries] * num_objectives
        errors = np.stack([unpaired_errors(_arms(queries[:, :, row]), asked) for row in range(num_rows)], 2)
    return list(queries.mean(3)), errors


def _arms(scores: Array) -> list[list[float]]:
    """How far the interval over queries of each objective and seed reaches: Student's t, as :func:`mean_interval`."""
    number = scores.shape[-1]
    quantile = stdtrit(number - 1, (1 + LEVEL) / 2)
    arms: list[list[float]] = (quantile * scores.std(-1, ddof=1) / math.sqrt(number)).tolist()
    return arms


def draws(generator: np.random.Generator) -> int:
    """A seed for the draws behind a limit: with the same one for every table their error would be common to all."""
    return int(generator.integers(2**31))


def bold(num_tables: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Tables in which something is told apart though all objectives are equal."""
    kinds = {"alike": ((1.0,), 0.0), "sd 1 and 2": ((1.0, 2.0), 0.0), "sd 1 and 3": ((1.0, 3.0), 0.0),
             "one of sd 10": ((10.0, *[1.0] * 23), 0.0), "queries": ((1.0,), 3.0)}  # fmt: skip
    places = list(itertools.product((2, 3, 6, 12, 24), (2, 3, 5, 10)))
    for (num_objectives, num_seeds), own in zip(places, generator.spawn(len(places)), strict=True):
        cells = []
        for spreads, interaction in kinds.values():
            claims = 0
            for _ in range(num_tables):
                scores, errors = table(own, num_objectives, num_seeds, spreads=spreads, interaction=interaction)
                claims += bool(told_apart(scores, errors, num_draws=NUM_DRAWS, seed=draws(own)).any())
            cells.append(f"{100 * claims / num_tables:.1f}")
        yield (str(num_objectives), str(num_seeds), *cells)


def unpaired(num_tables: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """:func:`bold` where objectives prefer queries and scores per query were not kept: with no errors of queries, and
    with those of the trials' own intervals, where no query is hard for all and where queries are."""
    places = list(itertools.product((2, 6, 18), (2, 3, 5)))
    for (num_objectives, num_seeds), own in zip(places, generator.spawn(len(places)), strict=True):
        claims = np.zeros(3)
        for _ in range(num_tables):
            for place, hardness in enumerate((0.0, 0.0, 5.0)):
                scores, errors = table(own, num_objectives, num_seeds, spreads=(1.0,), interaction=3.0,
                                       hardness=hardness, paired=False)  # fmt: skip
                known = errors if place else None
                claims[place] += bool(told_apart(scores, known, num_draws=NUM_DRAWS, seed=draws(own)).any())
        yield (str(num_objectives), str(num_seeds), *(f"{100 * each / num_tables:.1f}" for each in claims))


def unpaired_concepts(num_tables: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """:func:`bold` where objectives prefer concepts and each was asked twice: with the errors of pairs and of own
    intervals, each once knowing which queries are of one concept and once as if all were independent.

    Four rows over 12 concepts; of concepts an objective prefers 3 standard deviations of a seed, noise has 1, and no
    concept is hard for all, which is where the errors of own intervals are smallest.
    """
    groups = np.repeat(np.arange(12), 2)
    places = list(itertools.product((2, 6, 18), (2, 3, 5)))
    for (num_objectives, num_seeds), own in zip(places, generator.spawn(len(places)), strict=True):
        claims = np.zeros(4)
        for _ in range(num_tables):
            seeds = own.normal(size=(num_objectives, num_seeds, NUM_LEVELS, 1))
            liked = np.repeat(own.normal(0, 3, (num_objectives, 1, NUM_LEVELS, 12)), 2, axis=-1)
            queries = seeds + liked + own.normal(size=(num_objectives, num_seeds, NUM_LEVELS, 24))
            for place, (kept, known) in enumerate(itertools.product((True, False), (groups, None))):
                rows = (queries[:, :, row] for row in range(NUM_LEVELS))
                errors = np.stack([_errors(each, known, kept=kept) for each in rows], 2)
                claims[place] += bool(
                    told_apart(list(queries.mean(3)), errors, num_draws=NUM_DRAWS, seed=draws(own)).any()
                )
        yield (str(num_objectives), str(num_seeds), *(f"{100 * each / num_tables:.1f}" for each in claims))


def _errors(scores: Array, groups: NDArray[np.int64] | None, *, kept: bool) -> Array:
    """The errors over queries of every two objectives, from scores per query or from the seeds' own intervals."""
    if kept:
        return pair_errors(list(scores), groups=groups)
    ends = [[mean_interval(each, groups=groups, confidence=LEVEL) for each in seeds] for seeds in scores]
    number = scores.shape[-1] if groups is None else len(np.unique(groups))
    return unpaired_errors([[(high - low) / 2 for low, high in each] for each in ends], [number] * len(scores))


def uneven(num_tables: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """:func:`bold` where trials or rows are not alike, or scores are coarse; queries explain nothing."""
    for (what, drawn), own in zip(UNEVEN.items(), generator.spawn(len(UNEVEN)), strict=True):
        claims = sum(
            bool(told_apart(drawn(own), num_draws=NUM_DRAWS, seed=draws(own)).any()) for _ in range(num_tables)
        )
        yield (what, f"{100 * claims / num_tables:.1f}")


def normal(
    generator: np.random.Generator,
    seeds: Sequence[int],
    num_rows: int = 2 * NUM_LEVELS,
    *,
    correlation: float = 0.5,
    spread: float = 1.0,
    missing: float = 0.0,
) -> list[Array]:
    """For each objective Float[seed, row] of standard deviation 1, of the first ``spread``; a row's numbers are left
    out with probability ``missing``."""
    scores = []
    for place, number in enumerate(seeds):
        shared, own = generator.normal(size=(number, 1)), generator.normal(size=(number, num_rows))
        values = (math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own) * (1.0 if place else spread)
        values[generator.random(values.shape) < missing] = math.nan
        scores.append(values)
    return scores


def shares(
    generator: np.random.Generator, num_images: int, rate: float, num_rows: int, num_seeds: int = 2
) -> list[Array]:
    """Shares of right images of six objectives: for each Float[seed, row]."""
    return list(generator.binomial(num_images, rate, (6, num_seeds, num_rows)) / num_images)


UNEVEN: dict[str, Callable[[np.random.Generator], list[Array]]] = {
    "two objectives, 2 and 10 seeds": partial(normal, seeds=(2, 10)),
    "six objectives, 2, 3, 4, 5, 7 and 10 seeds": partial(normal, seeds=(2, 3, 4, 5, 7, 10)),
    "six, one of sd 10 with 2 seeds, the others with 10": partial(normal, seeds=(2, 10, 10, 10, 10, 10), spread=10.0),
    "six, 3 seeds, 40 % of the numbers missing": partial(normal, seeds=(3,) * 6, missing=0.4),
    "six, 3 seeds, 60 rows correlated by 0.9": partial(normal, seeds=(3,) * 6, num_rows=60, correlation=0.9),
    "twelve, 2 seeds, one of sd 10, four rows": partial(normal, seeds=(2,) * 12, num_rows=4, spread=10.0),
    "twelve, 3 seeds, one of sd 10, four rows": partial(normal, seeds=(3,) * 12, num_rows=4, spread=10.0),
    "six, 2 seeds, 97 % of 60 images, 60 rows": partial(shares, num_images=60, rate=0.97, num_rows=60),
    "six, 2 seeds, 1 % of 2,400 images, eight rows": partial(shares, num_images=2400, rate=0.01, num_rows=8),
    "six, 2 seeds, 99.95 % of 2,400 images, one row": partial(shares, num_images=2400, rate=0.9995, num_rows=1),
    "six, 3 seeds, 99.98 % of 2,400 images, four rows": partial(
        shares, num_images=2400, rate=0.9998, num_rows=4, num_seeds=3
    ),
}
"""What is uneven, and how scores by seed and row are drawn."""


def power(num_tables: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Of six objectives one is better by so many standard deviations of a seed: how often it is told from another."""
    for num_seeds in (2, 3, 5, 10):
        cells = []
        for gap in (2.0, 4.0, 8.0, 16.0):
            told = []
            for _ in range(num_tables):
                scores, errors = table(generator, 6, num_seeds, spreads=(1.0,), interaction=0.0)
                scores[0] = scores[0] + gap
                told.append(told_apart(scores, errors, num_draws=NUM_DRAWS, seed=draws(generator))[0, 1:].mean())
            cells.append(f"{100 * float(np.mean(told)):.0f}")
        yield (str(num_seeds), *cells)


def compared(num_tables: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Comparisons of two runs of the same model, with other noise, in which some number is beyond chance."""
    for num_queries in (12, 24, 240):
        cells = []
        for num_numbers in (1, 10, 100):
            claims = 0
            for _ in range(num_tables):
                hard = generator.beta(4, 2, (num_numbers, num_queries))
                one, other = (generator.binomial(10, hard) / 10 for _ in range(2))
                found = [paired_difference([a], [b]).p for a, b in zip(one, other, strict=True)]
                claims += any(holm(found))
            cells.append(f"{100 * claims / num_tables:.1f}")
        yield (str(num_queries), *cells)


def trends(num_draws: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Noise around a constant that is called rising or falling."""
    for num in (3, 4, 5, 7, 10, 17):
        cells = []
        for correlation in (0.0, 0.5, 0.8):
            claims = 0
            for _ in range(num_draws):
                noise = np.zeros(num + 40)
                for place, each in enumerate(generator.normal(size=num + 39), 1):
                    noise[place] = correlation * noise[place - 1] + each
                found = trend(np.arange(num), noise[40:])
                claims += found.low > 0 or found.high < 0
            cells.append(f"{100 * claims / num_draws:.1f}")
        yield (str(num), *cells)


def grouped(num_draws: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Concepts asked several times each, in fractions of ten images: the interval that knows and one that does not."""
    for num_concepts in (12, 24, 120):
        hits = np.zeros(2)
        groups = np.repeat(np.arange(num_concepts), 4)
        for _ in range(num_draws):
            rates = np.repeat(generator.beta(3, 1, num_concepts), 4)
            values = generator.binomial(10, rates) / 10
            for place, given in enumerate((groups, None)):
                low, high = mean_interval(values, groups=given, fraction=True)
                hits[place] += low <= 0.75 <= high
        yield (str(num_concepts), *(f"{100 * each / num_draws:.1f}" for each in hits))


def differences(num_draws: int, generator: np.random.Generator) -> Iterator[Sequence[str]]:
    """Two equal objectives whose concepts were asked twice: intervals of the difference that know and that do not.

    What is hard for both has a standard deviation of 5 nats over concepts (in the last two columns none), what one of
    the two prefers 3, and each query its own 2. Without scores per query the error is that of :func:`unpaired_errors`.
    """
    for num_seeds, num_concepts in itertools.product((1, 3), (12, 24, 240)):
        groups = np.repeat(np.arange(num_concepts), 2)
        held = np.zeros(6)
        for _ in range(num_draws):
            both = [concepts_twice(generator, num_seeds, num_concepts) for _ in range(2)]
            hard = np.repeat(generator.normal(0, 5, num_concepts), 2)
            pair = [list(each + hard) for each in both]
            for place, known in enumerate((groups, None)):
                found = paired_difference(*pair, groups=known, confidence=LEVEL)
                held[place] += found.low <= 0 <= found.high
                held[2 + place] += _near(pair, known)
                held[4 + place] += _near([list(each) for each in both], known)
        yield (str(num_seeds), str(num_concepts), *(f"{100 * each / num_draws:.1f}" for each in held))


def concepts_twice(generator: np.random.Generator, num_seeds: int, num_concepts: int) -> Array:
    """Float[seed, query] in nats: each concept asked twice, what an objective prefers of concepts, and noise."""
    liked = np.repeat(generator.normal(0, 3, num_concepts), 2)
    return liked + generator.normal(0, 2, (num_seeds, 2 * num_concepts))


def _near(pair: Sequence[Sequence[Array]], groups: NDArray[np.int64] | None) -> bool:
    """Whether the difference of two equal objectives is within its error from the seeds' own intervals."""
    error, degrees = _errors(np.array(pair), groups, kept=False)[0, 1]
    difference = float(np.mean(pair[0]) - np.mean(pair[1]))
    return bool(abs(difference) <= stdtrit(degrees, (1 + LEVEL) / 2) * error)


TABLES: dict[str, tuple[Callable[[int, np.random.Generator], Iterator[Sequence[str]]], int, tuple[str, ...]]] = {
    "Over seeds and queries, nats: % of 95 % intervals that hold the truth (median width)": (
        over_seeds, 1, ("seeds", "queries", "sd of seeds 0", "1", "2", "5"),
    ),
    "The same from the seeds' own intervals, where scores per query were not kept": (
        over_own_intervals, 1, ("seeds", "queries", "sd of seeds 0", "1", "2", "5"),
    ),
    "Shares over seeds, from the seeds' own intervals / from scores per query: % that hold the truth": (
        over_own_shares, 1,
        ("seeds", "queries", "rate", "all alike", "queries differ", "and seeds a little", "and seeds as much"),
    ),
    "Over queries, fractions: % of 95 % intervals that hold the truth (median width, points)": (
        over_fractions, 1, ("queries", "rate", "one image", "10 images, alike", "less alike", "100, nearly as a whole"),
    ),
    "Concepts asked four times: % of 95 % intervals that hold the truth": (
        grouped, 1, ("concepts", "resampled as concepts", "as if independent"),
    ),
    "Differences where concepts are asked twice: % of 95 % intervals that hold the truth": (
        differences, 1,
        ("seeds", "concepts", "paired", "as if independent", "own intervals", "as if independent",
         "own, no concept hard for both", "as if independent"),
    ),
    "Equal objectives: % of tables (eight rows, 24 queries) in which anything is told apart": (
        bold, 5,
        ("objectives", "seeds", "alike", "sd 1 and 2", "sd 1 and 3", "one of sd 10", "objectives prefer queries"),
    ),
    "Equal objectives that prefer queries, without scores per query: % of tables in which anything is told apart": (
        unpaired, 5,
        ("objectives", "seeds", "no errors of queries", "own intervals, no query hard for all", "own intervals"),
    ),
    "Equal objectives that prefer concepts, asked twice each: % of tables (four rows, 12 concepts) with a claim": (
        unpaired_concepts, 5,
        ("objectives", "seeds", "paired", "as if independent", "own intervals", "as if independent"),
    ),
    "Equal objectives in uneven tables: % of tables in which anything is told apart": (
        uneven, 5, ("tables", "%"),
    ),
    "One of six objectives is better, by standard deviations of a seed: % of the others told from it": (
        power, 20, ("seeds", "2", "4", "8", "16"),
    ),
    "Two equal runs: % of comparisons in which any number is beyond chance": (
        compared, 4, ("queries", "1 number", "10", "100"),
    ),
    "Noise around a constant: % called rising or falling": (
        trends, 1, ("validations", "correlation 0", "0.5", "0.8"),
    ),
}  # fmt: skip
"""Title, rows, by what the number of draws is divided, and heads."""


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="simulated intervals per number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="WORDS", help="only the tables whose title has these words")
    options = parser.parse_args()
    for title, (rows, divisor, heads) in TABLES.items():
        if options.only not in title:
            continue
        print(f"## {title}\n")
        print(f"| {' | '.join(heads)} |\n|{' ---: |' * len(heads)}")
        generator = np.random.default_rng([options.seed, len(title)])
        for row in rows(max(1, options.draws // divisor), generator):
            print(f"| {' | '.join(row)} |", flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
