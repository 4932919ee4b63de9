"""What a reader must know besides the numbers: the classifier, the state of training, warnings, provenance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base.errors import ConfigError
from ..base.printable import few, printable
from ..metrics.catalogue import is_guessed, metric_info, metric_order
from ..metrics.protocols import PROTOCOL_RULES
from ..runs.folder import TrialFolder
from ..runs.names import TRAINING_LOG
from ..runs.stale import mixture, other_packages, segments_of, staleness
from ..specs.code import identity
from ..specs.components import datasets, objectives
from .curves import still_rising
from .frames import Frames
from .tables import MANY_ATTRIBUTES, Cell, Row, Table, protocol_rule
from .text import DASH, level_text, number, row_label
from .trials import PROVENANCE, STATES, TrialRecord

TRUSTED_ACCURACY = 0.85
"""Mean accuracy of the observation classifier below which its verdicts are shown with a warning."""

SEEN = 0.7
"""An attribute is warned of where the classifier has come less of the way from chance to 1 on real images.

Where a share s of the images is read and the rest guessed, a difference between two objectives shows at s of its size,
so telling them apart takes 1 / s^2 as many images: twice as many at 0.7.
"""

IMAGINED, DESCRIBED, LEAST_WAY = 0.05, 0.9, 0.2
"""A trial is warned of that has come less of the way from floor to ceiling than the first in imagining an attribute,
and more than the second in describing it in real images: its image tells it, and q(z|y) does not. Only where the way is
at least the third: a classifier that hardly sees an attribute shows everybody at the floor."""

NUM_LOWEST = 3
"""How many accuracies are shown of a classifier with many attributes."""
_MOST_LACKING = 8


@dataclass(frozen=True)
class Judge:
    """An observation classifier: its accuracy on held-out real images, by attribute and on average.

    Attributes:
        chance: By attribute, the accuracy on the same images of always naming the most frequent value, or, where that
            was not measured, 1 / number of values; an attribute of which neither is known is left out.
    """

    name: str
    fingerprint: str
    accuracy: tuple[tuple[str, float], ...]
    mean: float
    chance: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """Name and accuracies on one line; the lowest ones where there are many attributes."""
        shown = self.accuracy
        if len(shown) > MANY_ATTRIBUTES:
            shown = tuple(sorted(shown, key=lambda pair: pair[1])[:NUM_LOWEST])
        parts = [f"{attribute} {number(value)}" for attribute, value in shown]
        which = f"lowest of {len(self.accuracy)} attributes " if len(shown) < len(self.accuracy) else ""
        return f"{self.name}: {which}{', '.join(parts)}; mean {number(self.mean)} %"

    @property
    def unseen(self) -> list[str]:
        """The attributes that it has come less than ``SEEN`` of the way from chance to 1 in, the worst first."""
        share = {
            name: (value - chance) / (1 - chance)
            for name, value in self.accuracy
            if math.isfinite(value) and (chance := self.chance.get(name, math.nan)) < 1
        }
        return sorted((name for name in share if share[name] < SEEN), key=share.__getitem__)

    @property
    def doubt(self) -> str | None:
        """What is wrong with its verdicts on single attributes, in words; None: nothing."""
        unseen, right = self.unseen, dict(self.accuracy)
        if not unseen:
            return None
        shown = [f"{name} {number(right[name])} % (chance: {number(self.chance[name])} %)" for name in unseen]
        which, them = ("an attribute", "it") if len(unseen) == 1 else ("some attributes", "them")
        more = f" and {len(unseen) - NUM_LOWEST} more of {len(right)} attributes" if len(unseen) > NUM_LOWEST else ""
        return (
            f"The classifier reads {which} poorly. Right on held-out images: {', '.join(shown[:NUM_LOWEST])}{more}. "
            f"Scores with {them} make objectives look more alike than they are."
        )


@dataclass(frozen=True)
class Progress:
    """How far from convergence a trial stopped."""

    trial: TrialRecord
    column: str
    steps: int | None
    samples: int | None
    weights: Mapping[str, int]
    steps_per_second: float
    wall_seconds: float
    processor_seconds: float
    slope: float
    arm: float
    verdict: str
    rising: tuple[str, ...] = ()

    @property
    def slope_text(self) -> str:
        """Slope of the validation ELBO and the arm of its 95 % interval, in nats per 1000 steps."""
        if not math.isfinite(self.slope):
            return DASH
        if not math.isfinite(self.arm):
            return f"{self.slope:+.2g}"
        # Two digits of the arm, and as many decimals of the slope.
        decimals = 2 if self.arm <= 0 else min(max(1 - math.floor(math.log10(self.arm)), 0), 4)
        return f"{self.slope:+,.{decimals}f} ±{self.arm:,.{decimals}f}"

    @property
    def steps_text(self) -> str:
        """Number of training steps."""
        return DASH if self.steps is None else f"{self.steps:,}"

    @property
    def samples_text(self) -> str:
        """Training images seen, counted as often as they were."""
        return DASH if self.samples is None else f"{self.samples:,}"

    @property
    def weights_text(self) -> str:
        """Number of weights of all networks."""
        return f"{sum(self.weights.values()):,}"

    @property
    def weights_by_network(self) -> str:
        """Number of weights of each network."""
        return ", ".join(f"{name} {number:,}" for name, number in self.weights.items())

    @property
    def wall_text(self) -> str:
        """Wall time of the training loop."""
        return duration(self.wall_seconds)

    @property
    def processor_text(self) -> str:
        """Processor time of the training loop, all threads together."""
        return duration(self.processor_seconds)

    @property
    def speed_text(self) -> str:
        """Steps per second."""
        return f"{self.steps_per_second:.1f}" if math.isfinite(self.steps_per_second) else DASH


def weights_lines(lines: Sequence[Progress]) -> list[tuple[str, str]]:
    """(objective, number of weights of each of its networks); only where these are known."""
    known = {line.column: line.weights_by_network for line in lines if line.weights.keys() != {"all"}}
    return list(known.items())


def judges(trials: Sequence[TrialRecord], frames: Frames) -> list[Judge]:
    """The distinct observation classifiers behind the scores of ``trials``, whose numbers ``frames`` has."""
    found: dict[str, Judge] = {}
    for trial in trials:
        classifier = trial.section("classifier")
        if classifier:
            # The same fingerprint may stand for different weights, trained on two machines.
            fingerprint = f"{classifier.get('fingerprint')}/{classifier.get('weights')}"
            accuracy = {name: _float(value) for name, value in (classifier.get("accuracy") or {}).items()}
            mean = _float(classifier.get("mean_accuracy"))
            if fingerprint not in found:
                chance = _chance(trial, accuracy, frames)
                found[fingerprint] = Judge(
                    str(classifier.get("name")), fingerprint, tuple(accuracy.items()), mean, chance
                )
    return list(found.values())


def _chance(trial: TrialRecord, attributes: Collection[str], frames: Frames) -> dict[str, float]:
    """By attribute, the accuracy of the best guess on the classifier's held-out images; see :class:`Judge`."""
    measured = {
        question.attribute: float(frames.floor[row])
        for row in frames.rows.get(trial.key, ())
        if (question := frames.questions[row]).metric == "classifier_accuracy" and question.attribute is not None
    }
    chance = {name: floor for name, floor in measured.items() if math.isfinite(floor)}
    if chance.keys() >= set(attributes):
        return chance
    settings = trial.component("dataset")
    spec = datasets.find(str(settings.get("name")))
    try:
        values = {} if spec is None else spec.parse(settings).concept_schema().to_dict()
    except ConfigError:
        values = {}
    return {name: 1 / len(possible) for name, possible in values.items()} | chance


def progress(table: Table) -> list[Progress]:
    """One line per finished trial."""
    return [_progress(trial, column.label) for column in table.columns for trial in column.done]


def _lost_queries(table: Table, num_done: int) -> Iterator[str]:
    """Of trials of which only rows are left: those without any scores per query, and numbers of others that lack them.

    Rows of single attributes have none in a whole run either.
    """
    stored = {
        (place, trial.spec.get("seed"))
        for place, column in enumerate(table.columns)
        for trial in column.done
        if not trial.section("evaluation")
    }
    found = [
        (row, (place, each.seed), each.per_query is not None)
        for row in table.rows
        for place, cell in enumerate(row.cells)
        for each in (cell.seeds if cell is not None else ())
        if (place, each.seed) in stored
    ]
    some = {trial for _, trial, kept in found if kept}
    if lost := len(stored - some):
        yield (
            f"Only the scores of {lost} of {num_done} trials are left: nothing is paired by query, so intervals "
            "over several seeds are put together from single ones, and less is told apart."
        )
    lacking = [
        (row, trial) for row, trial, kept in found
        if trial in some and not kept and row.best is not None and row.attribute is None
    ]  # fmt: skip
    if lacking:
        protocols: dict[str, dict[str, None]] = {}
        for row, _ in lacking:
            protocols.setdefault(metric_info(row.metric).label, {}).update({row.protocol: None} if row.protocol else {})
        names = [f"{label} ({', '.join(kinds)})" if kinds else label for label, kinds in protocols.items()]
        yield (
            f"Some numbers of {len({trial for _, trial in lacking})} of {num_done} trials have no scores per query, "
            f"and are not paired: {few(names, most=_MOST_LACKING)}."
        )


def warnings(table: Table, found: Sequence[Judge], lines: Sequence[Progress]) -> Iterator[str]:
    """What makes the numbers of a table hard to compare or to trust.

    Args:
        table: The numbers.
        found: Its judges.
        lines: The progress of its trials.
    """
    done = [line.trial for line in lines]
    if len(table.columns) > 1 and max(len(column.done) for column in table.columns) == 1:
        yield (
            "One training seed each: these numbers compare single runs, not objectives. Another seed may reverse any "
            "order, so nothing is bold."
        )
    for judge in found:
        if judge.mean < TRUSTED_ACCURACY:
            yield (
                f"The classifier is correct on {number(judge.mean)} % of held-out images, under "
                f"{number(TRUSTED_ACCURACY)} %: its verdicts on imagined images are uncertain."
            )
        if judge.doubt:
            yield judge.doubt
    yield from dict.fromkeys(filter(None, (caution(trial.component("objective")) for trial in done)))
    if len(found) > 1:
        yield "The trials were scored by different classifiers: their scores are not comparable."
    if len({trial.section("dataset").get("fingerprint") for trial in done}) > 1:
        yield "The trials were trained on different images (dataset fingerprints differ)."
    if len({str(sorted(trial.section("evaluation").items())) for trial in done}) > 1:
        yield "The trials were evaluated with different settings; their scores are not paired."
    yield from _lost_queries(table, len(done))
    if guessed := sorted({row.metric for row in table.rows if is_guessed(row.metric)}):
        units = {metric_info(name).unit for name in guessed}
        yield (
            f"No installed package describes {', '.join(map(printable, guessed))}: unit ({' or '.join(sorted(units))}) "
            "and direction are guessed, and the best may be the worst. Report again with the package installed."
        )
    if any(trial.outdated for trial in done):
        yield "The evaluation settings of some trials have changed since; these numbers are from the earlier settings."
    if len({trial.section("provenance").get("package") for trial in done}) > 1:
        yield "The trials were made by different versions of mmvae-bench."
    if len({trial.section("provenance").get("commit") for trial in done}) > 1:
        yield "The trials were made by different commits of the code."
    yield from _other_code(done)
    if len({trial.section("provenance").get("torch") for trial in done}) > 1:
        yield "The trials were made with different versions of torch."
    if any(trial.section("provenance").get("dirty") for trial in done):
        yield "Some trials were made by code with uncommitted changes."
    damaged = [f"{trial.key}/{name}" for trial in done for name in trial.damaged_files]
    if damaged:
        more = f" and {len(damaged) - NUM_LOWEST} more" if len(damaged) > NUM_LOWEST else ""
        yield (
            f"Files that are not what was written are left out of this report: {', '.join(damaged[:NUM_LOWEST])}{more}."
            " The numbers are whole; `mmvae-bench verify` says what is wrong."
        )
    hidden = [
        f"{line.column} seed {line.trial.spec.get('seed', DASH)}: {', '.join(line.rising)}"
        for line in lines
        if line.rising and line.verdict.startswith("flat")
    ]
    if hidden:
        yield (
            "The validation ELBO was flat while scores still rose (points that as many more steps would bring): "
            f"{'; '.join(hidden)}."
        )
    falling = [line.column for line in lines if line.verdict.startswith("falling")]
    if falling:
        yield (
            f"The validation ELBO fell at the end of training ({', '.join(dict.fromkeys(falling))}): overfitting, or, "
            "early in training, batch-norm running statistics that lag behind fast-changing weights."
        )
    if any(
        _apart(row.reference(name))
        for row in table.rows
        if not metric_info(row.metric).own_floor
        for name in _REFERENCES
    ):
        yield "Ceilings or floors differ between the objectives; the table shows their range."
    yield from _unmatched(table, done)
    yield from _beaten_by_nobody(table)
    yield from _not_told(table)


def _unmatched(table: Table, done: Sequence[TrialRecord]) -> Iterator[str]:
    """How many queries no held-out real image satisfies: scores and ceiling are not of the same queries then."""
    asked = {row.level: max((cell.num_queries or 0 for cell in row.cells if cell is not None), default=0)
             for row in table.rows if (row.metric, row.attribute) == ("correctness", None)}  # fmt: skip
    without: dict[int, int] = {}
    for trial in done:
        counts = trial.section("classifier").get("unmatched_queries")
        if not isinstance(counts, Mapping):
            continue
        for level in asked:
            count = counts.get(f"{table.setting.partition}/{level}")
            if level is not None and isinstance(count, int) and count > 0:
                without[level] = max(count, without.get(level, 0))
    if without:
        parts = []
        for level in sorted(without, reverse=True):
            of = f" of {asked[level]:,}" if asked[level] >= without[level] else ""
            parts.append(f"{without[level]:,}{of} {_at([level_text(level)])}")
        levels = ", ".join(parts)
        yield (
            f"Queries that no held-out real image satisfies: {levels}. The scores include them and the ceiling of "
            "correctness does not. If no training image satisfies one either, protocol corrected compares what it "
            "leaves open with the training marginals."
        )


def caution(settings: Mapping[str, Any]) -> str | None:
    """What the spec of an objective says against its settings, which may come from a stranger; None: nothing."""
    name = str(settings.get("name"))
    spec = objectives.find(name)
    try:
        against = None if spec is None else spec.parse(settings).caution
    except ConfigError:
        return None
    return None if against is None else f"{name} {against}."


def _beaten_by_nobody(table: Table) -> Iterator[str]:
    """Which scores of the short table no objective lifts above the floor by more than its interval."""
    found: dict[str, list[str]] = {}
    for row in table.of(table.headline):
        info = metric_info(row.metric)
        known = [cell for cell in row.cells if cell is not None and math.isfinite(cell.floor + cell.low + cell.high)]
        if known and info.headline and info.direction and not any(c.above(c.floor, info.direction) for c in known):
            found.setdefault(row_label(row), []).append(level_text(row.level))
    if found:
        scores = "; ".join(f"{label} {_at(levels)}".rstrip() for label, levels in found.items())
        yield f"Nobody beats the floor on {table.title}: {scores}. A generator that ignores the query does as well."


def _not_told(table: Table) -> Iterator[str]:
    """Which attributes a trial describes in real images, and imagines no better than a generator that ignores them."""
    rows = {(row.metric, row.attribute): row for row in table.rows if row.metric == "description_accuracy"}
    # Of each attribute the row of the highest level, where all the others are specified too.
    imagined: dict[str, Row] = {}
    for row in table.rows:
        if row.metric != "correctness" or row.attribute is None or row.protocol != table.headline:
            continue
        if row.attribute not in imagined or (row.level or 0) > (imagined[row.attribute].level or 0):
            imagined[row.attribute] = row
    found: dict[tuple[int, int], list[str]] = {}
    for attribute, row in imagined.items():
        described = rows.get(("description_accuracy", attribute))
        if described is None:
            continue
        for place, (one, other) in enumerate(zip(row.cells, described.cells, strict=True)):
            if one is None or other is None:
                continue
            images, texts = _shares_by_seed(one), _shares_by_seed(other)
            for seed in images.keys() & texts.keys():
                if images[seed] < IMAGINED and texts[seed] > DESCRIBED:
                    found.setdefault((place, seed), []).append(attribute)
    if found:
        trials = [
            f"{table.columns[place].label} seed {seed} ({', '.join(attributes)})"
            for (place, seed), attributes in sorted(found.items())
        ]
        yield (
            "Described right in real images, and imagined as by a generator that ignores the query: "
            f"{'; '.join(trials)}. Where q(z|y) is a product of experts, the scale of one may have run off to where it "
            "tells nothing: backbones that have largest_expert_scale can bound it."
        )


def _shares_by_seed(cell: Cell) -> dict[int, float]:
    """How far each seed has come from floor to ceiling; none where either is unknown, or they are too close."""
    way = cell.ceiling - cell.floor
    return {each.seed: (each.value - cell.floor) / way for each in cell.seeds} if way >= LEAST_WAY else {}


def _at(levels: Sequence[str]) -> str:
    known = [level for level in levels if level]
    return f"at level{'s' if len(known) > 1 else ''} {', '.join(known)}" if known else ""


def _other_code(done: Sequence[TrialRecord]) -> Iterator[str]:
    """Which trials were made by other code than those next to them, by more than one, or by other than is installed."""
    segments = {trial.key: segments_of(trial.result) for trial in done}
    parts = {trial.key: _parts(trial, segments[trial.key]) for trial in done}
    count = Counter(pair for each in parts.values() for pair in each.items())
    usual = {part: code for (part, code), _ in reversed(count.most_common())}
    apart, mixed, changed = [], [], []
    for trial in done:
        if other := [part for part, code in parts[trial.key].items() if code != usual[part]]:
            apart.append(f"{trial.label} ({', '.join(other)})")
        if changes := mixture(trial.result):
            mixed.append(f"{trial.label} ({'; '.join(changes)})")
        if parts[trial.key] and (found := staleness(TrialFolder(trial.directory), trial.result)):
            changed.append(f"{trial.label} ({found})")
    if apart:
        yield f"Made by other code than the trials next to them: {_some(apart)}."
    if mixed:
        yield f"Made by mixed code, so their numbers belong to no version of it: {_some(mixed)}."
    if changed:
        yield f"Made by other code than is installed now: {_some(changed)}."
    unknown = sum(not parts[trial.key] for trial in done)
    if 0 < unknown < len(done):
        yield f"{unknown} of {len(done)} trials were made before code was recorded; it may differ."


def _parts(trial: TrialRecord, segments: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The parts of a trial and their code, in a form that can be compared; empty if it was not recorded."""
    found = {}
    for section in (trial.section("evaluated_on"), *segments[-1:]):
        code = section.get("code")
        for kind, part in code.items() if isinstance(code, Mapping) else ():
            if isinstance(part, Mapping):
                name = kind if kind.endswith(str(part.get("name"))) else f"{kind} {part.get('name')}"
                found[name] = identity(part)
    return found


def _some(texts: Sequence[str], most: int = 5) -> str:
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")


_REFERENCES = ("ceiling", "floor")


def _apart(ends: tuple[float, float]) -> bool:
    return ends[1] - ends[0] > 5e-4


def _progress(trial: TrialRecord, column: str) -> Progress:
    training = trial.section("training")
    convergence = training.get("convergence") or {}
    slope = _float(convergence.get("slope_per_1000_steps"))
    return Progress(
        trial=trial,
        column=column,
        steps=training.get("steps"),
        samples=training.get("samples_seen"),
        weights=training.get("parameters_by_network") or {"all": training.get("num_parameters") or 0},
        steps_per_second=_float(training.get("steps_per_second")),
        wall_seconds=_float(training.get("wall_seconds")),
        processor_seconds=_float(training.get("processor_seconds")),
        slope=slope,
        arm=_float(convergence.get("ci_high")) - slope,
        verdict=_verdict(training),
        rising=still_rising(trial.directory) if trial.file(TRAINING_LOG) else (),
    )


def _verdict(training: Mapping[str, Any]) -> str:
    """The verdict of the last stage, and those of earlier ones that were not flat."""
    stages = training.get("convergence_by_stage") or [training.get("convergence") or {}]
    earlier = [
        f"{stage.get('stage')} {stage.get('verdict')}" for stage in stages[:-1] if stage.get("verdict") != "flat"
    ]
    last = str(stages[-1].get("verdict") or DASH)
    return f"{last} (before: {', '.join(earlier)})" if earlier else last


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def explain_metrics(metrics: Collection[str]) -> list[tuple[str, str]]:
    """(label, paragraph) for each of the metrics that has an explanation."""
    known = [metric_info(name) for name in sorted(set(metrics), key=metric_order)]
    return [(metric.label, metric.explanation) for metric in known if metric.explanation]


def explain_protocols(protocols: Collection[str]) -> list[tuple[str, str]]:
    """(name, sentence) for each of the protocols that has an explanation."""
    rules = [rule for name in PROTOCOL_RULES if name in protocols and (rule := protocol_rule(name)) is not None]
    return [(rule.name, f"{rule.summary[:1].upper()}{rule.summary[1:]} ({rule.reference}).") for rule in rules]


def explain_missing(trials: Sequence[TrialRecord], unstarted: int) -> list[str]:
    """One line per trial without numbers: what it is, how far it got, and why."""
    lines = []
    for trial in trials:
        if trial.state == "done":
            continue
        status = trial.status
        at = f" at step {status.step:,} of {status.steps:,}" if status.steps else ""
        reason = f": {trial.problem.splitlines()[0]}" if trial.problem else ""
        lines.append(f"{trial.key} {trial.label}: {trial.state}{at}{reason}")
    if unstarted:
        one = unstarted == 1
        lines.append(f"{unstarted} more trial{'' if one else 's'} of the grid: not started")
    return lines


def count_states(trials: Sequence[TrialRecord]) -> str:
    """Such as ``6 of 8 trials done, 1 failed, 1 pending``."""
    counts = Counter(trial.state for trial in trials)
    others = [f"{counts[state]} {state}" for state in STATES if state != "done" and counts[state]]
    total = len(trials)
    return ", ".join([f"{counts['done']} of {total} trial{'s' if total > 1 else ''} done", *others])


def provenance(done: list[TrialRecord]) -> list[tuple[str, str]]:
    """How the numbers were made; if trials differ, each value and its count."""
    made = (*PROVENANCE, ("created", "made"))
    facts = [(label, [trial.section("provenance").get(key) for trial in done]) for key, label in made]
    # Shown where the evaluation ran on another machine, or with other code.
    facts += [
        (f"evaluated: {label}", [trial.section("evaluated_on").get(key) for trial in done])
        for key, label in PROVENANCE
        if key != "precision"
        and any(trial.section("evaluated_on").get(key) != trial.section("provenance").get(key) for trial in done)
        and any("evaluated_on" in trial.result for trial in done)
    ]
    facts.append(("other packages", [other_packages(trial.result) for trial in done]))
    facts.append(("dataset", [trial.section("dataset").get("fingerprint") for trial in done]))
    facts.append(("pixels", [trial.section("dataset").get("pixel_hash") for trial in done]))
    facts.append(("classifier", [trial.section("classifier").get("fingerprint") for trial in done]))
    facts.append(("classifier weights", [trial.section("classifier").get("weights") for trial in done]))
    facts += [
        (f"seed of the {name}", [trial.section("seeds").get(name) for trial in done])
        for name in ("training", "split", "evaluation")
    ]
    lines = []
    for label, values in facts:
        known = [_plain(value) for value in values if value is not None]
        counts = Counter(known)
        if label == "made" and len(counts) > 1:
            lines.append((label, f"{min(known)} to {max(known)}"))
        elif len(counts) > 1:
            lines.append((label, ", ".join(f"{value} ({count})" for value, count in counts.most_common())))
        elif known:
            lines.append((label, known[0]))
    for what in ("training", "evaluation"):
        section = {"training": "training", "evaluation": "evaluated_on"}[what]
        times = [seconds for trial in done if (seconds := trial.section(section).get("wall_seconds")) is not None]
        lines += [(f"{what} time, all trials", duration(sum(times)))] if times else []
    return lines


def _plain(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(42), duration(125), duration(7260)
    ('42 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds != seconds:
        return DASH
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
