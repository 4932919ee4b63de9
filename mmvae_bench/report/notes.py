"""What a reader must know beside the numbers: the judge, the state of training, and what makes a table unfair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..metrics.catalogue import metric_info
from .style import DASH, number
from .table import MANY_ATTRIBUTES, Section
from .trials import TrialRecord

TRUSTED_ACCURACY = 0.85
"""Mean accuracy of the observation classifier under which its verdicts are shown with a warning."""

NUM_LOWEST = 3
"""Accuracies shown of a classifier that reads many attributes."""


@dataclass(frozen=True)
class Judge:
    """An observation classifier: its accuracy on held-out real images, by attribute and in the mean."""

    name: str
    fingerprint: str
    accuracy: tuple[tuple[str, float], ...]
    mean: float

    @property
    def text(self) -> str:
        """Name and accuracies on one line; of many attributes the lowest ones."""
        shown = self.accuracy
        if len(shown) > MANY_ATTRIBUTES:
            shown = tuple(sorted(shown, key=lambda pair: pair[1])[:NUM_LOWEST])
        parts = [f"{attribute} {number(value)}" for attribute, value in shown]
        which = f"lowest of {len(self.accuracy)} attributes " if len(shown) < len(self.accuracy) else ""
        return f"{self.name}: {which}{', '.join(parts)}; mean {number(self.mean)} %"


@dataclass(frozen=True)
class Progress:
    """How far from convergence a trial stopped."""

    trial: TrialRecord
    column: str
    steps: int | None
    steps_per_second: float
    wall_seconds: float
    slope: float
    standard_error: float
    verdict: str

    @property
    def slope_text(self) -> str:
        """Slope of the validation ELBO and its standard error, in nats per 1000 steps."""
        if not math.isfinite(self.slope):
            return DASH
        if not math.isfinite(self.standard_error):
            return f"{self.slope:+.2g}"
        # Two digits of the error, and as many decimals of the slope.
        decimals = 2 if self.standard_error == 0 else min(max(1 - math.floor(math.log10(self.standard_error)), 0), 4)
        return f"{self.slope:+,.{decimals}f} ±{self.standard_error:,.{decimals}f}"

    @property
    def steps_text(self) -> str:
        """Steps made."""
        return DASH if self.steps is None else f"{self.steps:,}"

    @property
    def speed_text(self) -> str:
        """Steps a second."""
        return f"{self.steps_per_second:.1f}" if math.isfinite(self.steps_per_second) else DASH


def judges(trials: Sequence[TrialRecord]) -> list[Judge]:
    """The distinct observation classifiers behind the scores of ``trials``."""
    found: dict[str, Judge] = {}
    for trial in trials:
        classifier = trial.section("classifier")
        if classifier:
            # One fingerprint may have been trained on two machines, to different weights.
            fingerprint = f"{classifier.get('fingerprint')}/{classifier.get('weights')}"
            accuracy = {name: _float(value) for name, value in (classifier.get("accuracy") or {}).items()}
            mean = _float(classifier.get("mean_accuracy"))
            found[fingerprint] = Judge(str(classifier.get("name")), fingerprint, tuple(accuracy.items()), mean)
    return list(found.values())


def progress(section: Section) -> list[Progress]:
    """One line a finished trial."""
    return [_progress(trial, column.label) for column in section.columns for trial in column.done]


def warnings(section: Section) -> list[str]:
    """What makes the numbers of a table less than comparable or less than trustworthy."""
    return list(_warnings(section, [trial for column in section.columns for trial in column.done]))


def _warnings(section: Section, done: list[TrialRecord]) -> Iterator[str]:
    found = judges(done)
    for judge in found:
        if judge.mean < TRUSTED_ACCURACY:
            yield (
                f"The classifier is right on {number(judge.mean)} % of held-out images, under "
                f"{number(TRUSTED_ACCURACY)} %: its verdicts on imagined images are uncertain."
            )
    if len(found) > 1:
        yield "The trials were scored by different classifiers: their scores are not comparable."
    if len({trial.section("dataset").get("fingerprint") for trial in done}) > 1:
        yield "The trials were trained on different images (dataset fingerprints differ)."
    if len({str(sorted(trial.section("evaluation").items())) for trial in done}) > 1:
        yield "The trials were evaluated with different settings; what differs is not paired."
    if any(trial.asked_otherwise for trial in done):
        yield "Some trials are now to be evaluated with other settings; these are the numbers of the earlier ones."
    if len({trial.section("provenance").get("commit") for trial in done}) > 1:
        yield "The trials were made by different commits of the code."
    if len({trial.section("provenance").get("torch") for trial in done}) > 1:
        yield "The trials were made with different versions of torch."
    if any(trial.section("provenance").get("dirty") for trial in done):
        yield "Some trials were made by code with uncommitted changes."
    falling = [line.column for line in progress(section) if line.verdict == "falling"]
    if falling:
        yield (
            f"The validation ELBO fell at the end of training ({', '.join(dict.fromkeys(falling))}): overfitting, or, "
            "early in training, running statistics of batch norm that trail weights which still move fast."
        )
    if any(
        _apart(row.reference(name))
        for row in section.rows
        if not metric_info(row.metric).own_floor
        for name in _REFERENCES
    ):
        yield "Ceilings or floors differ between the objectives; the table shows their range."


_REFERENCES = ("ceiling", "floor")


def _apart(ends: tuple[float, float]) -> bool:
    return ends[1] - ends[0] > 5e-4


def _progress(trial: TrialRecord, column: str) -> Progress:
    training = trial.section("training")
    convergence = training.get("convergence") or {}
    return Progress(
        trial=trial,
        column=column,
        steps=training.get("steps"),
        steps_per_second=_float(training.get("steps_per_second")),
        wall_seconds=_float(training.get("wall_seconds")),
        slope=_float(convergence.get("slope_per_1000_steps")),
        standard_error=_float(convergence.get("standard_error")),
        verdict=str(convergence.get("verdict") or DASH),
    )


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
