"""Whether the data of trials are what their settings ask for, found before any of them is started.

A file that is cut short, or more labels than there are, would otherwise end every trial of a grid, one after the other,
each with a log of its own. What is checked is what a trial does before its first step, by the same code: its dataset is
prepared, which keeps it in the cache for the trials, and read; and what is asked of its training images is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..base.canonical import canonical_json
from ..base.errors import BenchmarkError, ConfigError, Problem
from ..data.base import PARTITIONS, ConceptDataModule, Progress
from ..data.missing import check_divided, divided_rows
from ..data.supervision import check_labelled, labelled_rows
from ..specs.components import DatasetSpec
from ..specs.missing import imageless_share
from ..specs.supervision import num_supervised, step_rate
from ..specs.trial import TrainingSpec, TrialSpec

SECONDS = 60.0
"""Images that take longer to make, all together, are left to the trials: some of them may have their data already."""
_SOON = 1.0
"""Seconds after which it can be told how long images will take."""


class _Later(Exception):
    """The images take too long to be made before anything is started."""


def check_all(
    specs: Sequence[TrialSpec],
    *,
    seconds: float = SECONDS,
    preparing: Callable[[DatasetSpec], object] = lambda it: None,
) -> Iterator[tuple[int, list[Problem]]]:
    """What is wrong with the data of trials: (number of the trial, :class:`Problem` s located in its spec).

    Each dataset is prepared and read once. A dataset of which nothing can be used has one problem, at its first trial.
    Whatever is not the user's to mend, such as a full disk or a bug, is left to the trials, which say it in full. But a
    BrokenPipeError is raised: then nobody listens any more.

    Args:
        specs: The trials.
        seconds: How long images may be made; of a dataset that seems to need longer, no more are made.
        preparing: Called while images of a dataset are made, once, if that takes a while.
    """
    # Here, since they import pyarrow, whose thread would keep the trials from being forks (sweep.forks).
    from ..data.shards.prepare import NoSpaceError
    from ..data.shards.processes import WorkerError

    groups: dict[str, list[int]] = {}
    for number, spec in enumerate(specs):
        groups.setdefault(canonical_json(spec.dataset.canonical()), []).append(number)
    end = time.monotonic() + seconds
    for numbers in groups.values():
        first = specs[numbers[0]]
        try:
            data = _read(first, end, preparing)
        except (NoSpaceError, WorkerError):
            continue
        except BenchmarkError as error:
            yield numbers[0], _problems(error, first)
            continue
        except BrokenPipeError:
            raise  # Nobody listens to what is found any more.
        except Exception:  # Too slow, or a bug: a trial shows that with its traceback.
            continue
        seen: set[tuple[object, ...]] = set()
        for number in numbers:
            spec = specs[number]
            asked = (spec.training, spec.objective.name, spec.backbone.name)
            if asked in seen:
                continue
            seen.add(asked)
            try:
                check_examples(data, spec)
            except ConfigError as error:
                yield number, list(error.problems)


def prepared(spec: TrialSpec, *, progress: Progress | None = None) -> ConceptDataModule:
    """The data module of a trial after ``setup()``.

    Args:
        spec: The trial.
        progress: Called with the numbers of images made and in all.
    """
    data = spec.dataset.build()
    data.training_seed, data.progress = spec.seed, progress
    data.prepare_data()
    data.setup()
    return data


def check_examples(data: ConceptDataModule, spec: TrialSpec) -> None:
    """Counts the training images that a trial's settings ask for.

    Args:
        data: After ``setup()``.
        spec: The trial.

    Raises:
        ConfigError: if there are fewer, naming the setting.
    """
    training = spec.training
    check_batch_size(data, training)
    if training.missing_images is not None:
        share = imageless_share(training.missing_images, spec.objective)
        check_divided(divided_rows(data, training.missing_images), share, spec.backbone)
    elif training.supervision is not None:
        rows = labelled_rows(data, training.supervision, training_seed=spec.seed)
        rates = [step_rate(training.supervision, spec.objective, stage) for stage in spec.objective.stage_names]
        if any(num_supervised(training.steps, rate) for rate in rates):
            check_labelled(rows, spec.backbone, training.supervision)


def check_batch_size(data: ConceptDataModule, training: TrainingSpec) -> None:
    """Raises ConfigError if a step takes more images than there are to train on."""
    number = len(data.rows("train"))
    if training.batch_size > number:
        message = (
            f"{training.batch_size} images per step, but the training partition has {number}: "
            "choose a smaller batch or more images"
        )
        raise ConfigError([Problem(message, ("training", "batch_size"), str(training.batch_size))])


def _read(spec: TrialSpec, end: float, preparing: Callable[[DatasetSpec], object]) -> ConceptDataModule:
    """The data module of a trial, prepared and with its partitions; raises _Later if that takes too long."""
    data = prepared(spec, progress=_Pace(end, lambda: preparing(spec.dataset)))
    for partition in PARTITIONS:
        data.rows(partition)
    return data


class _Pace:
    """Watches images being made, and stops it if they will not be done in time.

    Args:
        end: When they are to be done, on the monotonic clock.
        begin: Called once, if they are not made at once.
    """

    def __init__(self, end: float, begin: Callable[[], object]) -> None:
        self.end, self.begin = end, begin
        self.first: tuple[float, int] | None = None
        self.begun = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = (now, done)
        since, before = self.first
        left = (now - since) * (total - done) / (done - before) if done > before else 0.0
        # The first images cost more than the others, since libraries and processes start with them.
        if now > self.end or (now - since > _SOON and now + left > self.end):
            raise _Later
        if now - since > _SOON and not self.begun:
            self.begun = True
            self.begin()


def _problems(error: BenchmarkError, spec: TrialSpec) -> list[Problem]:
    """The problems of a dataset, located in its trial."""
    if not isinstance(error, ConfigError):
        dataset, (head, _, rest) = spec.dataset, str(error).partition(": ")
        if head in type(dataset).model_fields:  # Some errors begin with the setting that they are about.
            return [Problem(rest, ("dataset", head), str(getattr(dataset, head)))]
        return [Problem(str(error), ("dataset",), f"{dataset.name} (source {dataset.source})")]
    return [
        problem
        if problem.location[:1] in (("dataset",), ("training",))
        else replace(problem, location=("dataset", *problem.location))
        for problem in error.problems
    ]
