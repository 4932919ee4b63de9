"""The share of wrong labels during short trainings with few labels, on validation and test images.

The curves of a run have no ``label_error``, and are of one partition. Here the trials of a grid are trained by ``fit``,
as a run trains them, and after every so many steps the error is taken on all images of each partition of the grid's
evaluation. Beside it stands the error of the classifier on the labels alone, which is ``label_error_alone``.

    MMVAE_BENCH_DATA=FOLDER python benchmarks/label_errors.py configs/siddharth_distance.yaml --out errors.parquet \\
        [--every 1000] [--where objective.estimator=exact] [--set training.steps=2000] [--workers 2]

The file is written after each trial. Trials that it has are not trained again: the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import atomic_path
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.supervision import hidden_positions
from mmvae_bench.evaluation.questions.few_labels import classifier_alone
from mmvae_bench.objectives.base import Objective, planned_stages
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.overrides import apply_assignments
from mmvae_bench.specs.supervision import SupervisionSpec
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.fit import Control, fit
from mmvae_bench.trial import build_objective, default_device, ready_data

COLUMNS = (
    "trial", "objective", "objective_params", "supervision", "augmentation", "seed", "step", "partition", "error",
    "error_alone", "seconds", "version", "commit",
)  # fmt: skip
"""Of the file. Settings are JSON; errors are fractions; ``seconds`` is processor time of the training up to the step,
validations included and errors not."""
SETTINGS = ["trial", "objective", "objective_params", "supervision", "augmentation", "seed", "partition"]
"""What tells the rows of the table apart."""


def error_of(
    read: Callable[[Tensor], Tensor], data: ConceptDataModule, supervision: SupervisionSpec, partition: str
) -> float:
    """The share of the images of a partition, all of them, that are read wrongly in an attribute with few labels.

    Args:
        read: From images to concepts, Long[N, A].
        data: After ``setup()``, where ``read`` wants its images.
        supervision: Names the attributes.
        partition: ``val`` or ``test``.
    """
    positions = list(hidden_positions(supervision, data.schema))
    with torch.no_grad():
        named = torch.cat([read(batch.image)[:, positions].cpu() for batch in data.batches(partition)])
    return float((named != data.concepts(partition)[:, positions].cpu()).any(1).double().mean())


def checked(trial: TrialSpec, every: int, device: str) -> tuple[Objective, int]:
    """The objective of a trial, and its steps in all stages.

    Raises:
        BenchmarkError: if the trial has all labels, its model cannot describe an image, or its steps are not so many
            times ``every``.
    """
    objective = build_objective(trial).to(device)
    steps = sum(stage.steps for stage in planned_stages(objective, trial.training))
    if trial.training.supervision is None:
        raise BenchmarkError(f"trial {trial.key}: all images have labels (training.supervision is not set)")
    if not objective.can_describe:
        raise BenchmarkError(f"trial {trial.key}: {trial.objective.name} cannot describe an image")
    if steps % every:
        raise BenchmarkError(f"trial {trial.key}: its {steps:,} steps are no multiple of --every {every:,}")
    return objective, steps


def measured(trial: TrialSpec, every: int, device: str) -> list[dict[str, Any]]:
    """Trains a trial: a row of :data:`COLUMNS` for each step at which errors were taken and each partition.

    Raises:
        BenchmarkError: as :func:`checked`; or the training fails.
    """
    torch.set_num_threads(trial.training.num_threads)
    objective, steps = checked(trial, every, device)
    supervision, partitions = trial.training.supervision, trial.evaluation.partitions
    assert supervision is not None
    data = ready_data(trial, device)
    classifier = classifier_alone(objective, data, supervision)
    alone = {each: error_of(lambda image: classifier(image).mode, data, supervision, each) for each in partitions}
    found: list[dict[str, Any]] = []
    taken = 0.0
    """Processor time of the errors, in s."""
    begun = time.process_time()

    def score(model: Objective) -> list[dict[str, Any]]:
        nonlocal taken
        now = time.process_time()
        errors = {each: error_of(model.describe, data, supervision, each) for each in partitions}
        point = {"step": every * (1 + len(found) // len(partitions)), "seconds": now - begun - taken}
        found.extend(
            point | {"partition": each, "error": error, "error_alone": alone[each]} for each, error in errors.items()
        )
        taken += time.process_time() - now
        return []

    control = Control(score=score, num_scores=steps // every)
    fitted = fit(objective, data, trial.training, key=trial.key, seed=trial.seed, device=device, control=control)
    settings = trial.training.canonical()
    about = {
        "trial": trial.key,
        "objective": trial.objective.name,
        "objective_params": json.dumps(trial.objective.parameters(), sort_keys=True),
        "supervision": json.dumps(settings["supervision"], sort_keys=True),
        "augmentation": json.dumps(settings.get("augmentation"), sort_keys=True),
        "seed": trial.seed,
        "version": fitted.origin["package"],
        "commit": fitted.origin["commit"],
    }
    return [{name: (about | row)[name] for name in COLUMNS} for row in found]


def table(found: pd.DataFrame) -> str:
    """A Markdown table, in %: a row for each trial and partition, a column for each step."""
    steps = sorted(found["step"].unique())
    lines = [f"| model | labels | augmentation | seed | partition | {' | '.join(f'{step:,}' for step in steps)} "
             "| classifier alone | s |",
             f"|---|---|---|---:|---|{'---:|' * len(steps)}---:|---:|"]  # fmt: skip
    for _, rows in found.groupby(SETTINGS, sort=False):
        first, by_step = rows.iloc[0], rows.set_index("step")["error"]
        errors = [f"{100 * by_step[step]:.1f}" if step in by_step.index else "–" for step in steps]
        usual = objectives.parse(first["objective"]).parameters()
        changes = {key: value for key, value in json.loads(first["objective_params"]).items() if value != usual[key]}
        labels, augmentation = _brief(json.loads(first["supervision"])), _brief(json.loads(first["augmentation"]))
        model = ", ".join(filter(None, [first["objective"], _brief(changes)]))
        about = f"| {model} | {labels} | {augmentation} | {first['seed']} | {first['partition']} "
        ends = f"| {100 * first['error_alone']:.1f} | {rows['seconds'].max():.0f} |"
        lines.append(f"{about}| {' | '.join(errors)} {ends}")
    return "\n".join(lines)


def _brief(settings: dict[str, Any] | None) -> str:
    """What is set, as in a grid file; nothing of what is null or false."""
    given = {key: value for key, value in (settings or {}).items() if value not in (None, False)}
    return ", ".join(key if value is True else f"{key} {value}" for key, value in given.items())


def trained(trials: Sequence[TrialSpec], every: int, device: str, workers: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of each trial, when it is done.

    Raises:
        BenchmarkError: of the first trial that failed, after all others.
    """
    work = partial(measured, every=every, device=device)
    if workers == 1:
        yield from map(work, trials)
        return
    failed: list[BenchmarkError] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for each in as_completed([pool.submit(work, trial) for trial in trials]):
            try:
                rows = each.result()
            except BenchmarkError as error:  # Other trials may take minutes yet: what they give is kept.
                failed.append(error)
            else:
                yield rows
    if failed:
        raise failed[0]


def kept(out: Path, trials: Sequence[TrialSpec], every: int) -> pd.DataFrame:
    """What the file has.

    Raises:
        BenchmarkError: if it is not such a file, or has other steps or partitions of one of the trials.
    """
    if not out.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        found = pd.read_parquet(out, columns=list(COLUMNS))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{out}: not a file of this script ({str(error).splitlines()[0]})") from None
    for trial in trials:
        rows = found[found["trial"] == trial.key]
        differ = set(rows["partition"]) != set(trial.evaluation.partitions) or rows["step"].min() != every
        if len(rows) and differ:
            had = f"every {rows['step'].min():,} steps on {', '.join(sorted(set(rows['partition'])))}"
            raise BenchmarkError(f"{out}: has errors of trial {trial.key} {had}: give another --out")
    return found


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("grid", type=Path)
    result.add_argument("--out", type=Path, required=True, help="the Parquet file; trials that it has are left out")
    result.add_argument("--every", type=int, default=1000, help="steps between two errors (default 1000)")
    result.add_argument("--where", action="append", default=[], metavar="PATH=VALUE", help="only these trials")
    result.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="a setting of every trial")
    result.add_argument("--workers", type=int, default=1, help="trials at the same time (default 1)")
    result.add_argument("--device", default=default_device())
    return result


def main() -> None:
    """Writes the file, and prints Markdown."""
    options = parser().parse_args()
    if options.every < 1 or options.workers < 1:
        raise SystemExit("error: --every and --workers must be at least 1")
    try:
        wanted = changed(expand(load_grid(options.grid), where=options.where), options.set)
        found = kept(options.out, wanted, options.every)
        missing = [trial for trial in wanted if trial.key not in set(found["trial"])]
        for trial in missing:  # Before any is trained.
            checked(trial, options.every, "cpu")
        for rows in trained(missing, options.every, options.device, options.workers):
            new = pd.DataFrame(rows, columns=list(COLUMNS))
            found = pd.concat([found, new], ignore_index=True) if len(found) else new
            with atomic_path(options.out) as path:
                found.to_parquet(path, index=False)
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
    print(table(found[found["trial"].isin([trial.key for trial in wanted])]))


def changed(trials: Iterable[TrialSpec], settings: Sequence[str]) -> list[TrialSpec]:
    """The trials with settings of the command line, each once."""
    plain = [apply_assignments(trial.canonical() | {"evaluation": trial.evaluation.canonical()}, settings)
             for trial in trials]  # fmt: skip
    return list({trial.key: trial for trial in map(TrialSpec.parse, plain)}.values())


if __name__ == "__main__":
    main()
