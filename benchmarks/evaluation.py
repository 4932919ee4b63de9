"""Where the time of an evaluation goes: latents, decoding, pixels, the classifier, and the scores.

For each kind of model in the grid, ``evaluate`` asks the fixed queries of the grid's evaluation (of MNIST-A 240
concepts, twice at each of four levels, 100 images each) under one protocol, then under several in one evaluation: the
images are the same, so all that may be added is scores. Rounds take the columns in turn.

Model and classifier have the weights they start with: what is timed does not depend on training, since the same
products are made whatever the weights are. The classifier's readings of held-out real images, with which scores are
compared, are drawn at random, as many as there are at most; making them is part of its training, which is not timed.
On a CPU this is processor time, so that other processes on the machine matter less.

    python benchmarks/evaluation.py --grid configs/small_mnist.yaml --source digits --where objective=jmvae \\
        --where dataset.split=iid [--rounds 3] [--protocols paper corrected] [--all --num-images 17970]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from loops import as_in_training
from profile_step import Account
from step_rate import kinds, label, objective_of, small

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.machine import num_cpus, processor_name
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation import evaluate as module
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.classifier_training import MAX_HELD_OUT, new_network
from mmvae_bench.evaluation.queries import answerable, fixed_queries
from mmvae_bench.evaluation.questions import Question, questions_of
from mmvae_bench.metrics.protocols import PROTOCOL_RULES
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.built_in.classifiers import TrainedClassifierSpec
from mmvae_bench.specs.components import classifiers
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.trial import EvaluationSpec, TrialSpec

LATENTS, DECODING, PIXELS = "latents: z ~ q(z\\|y)", "decoding: p(x\\|z)", "pixels: x ~ p(x\\|z)"
CLASSIFIER, REST = "classifier", "scores and the rest"
PARTS = (LATENTS, DECODING, PIXELS, CLASSIFIER, REST)
ASKS = "three_cs"
"""The question about the fixed queries."""
EVERYTHING = "all that the grid asks"
FEW = {"num_samples": 10, "num_queries": 24, "query_repeats": 1}
"""Of the first evaluation, which is not timed."""


@dataclass(frozen=True)
class Timed:
    """An evaluation.

    Attributes:
        seconds: Of each part, without the parts inside it.
        images: How many were decoded to be read by the classifier.
    """

    seconds: dict[str, float]
    images: int

    @property
    def total(self) -> float:
        """The seconds of all parts."""
        return sum(self.seconds.values())


def untrained(trial: TrialSpec, data: ConceptDataModule, device: torch.device) -> ObservationClassifier:
    """The classifier of a trial with its initial weights, and readings of real images that are drawn at random."""
    spec = trial.evaluation.classifier or classifiers.parse(data.spec.default_classifier())
    assert isinstance(spec, TrainedClassifierSpec)
    network = new_network(spec, data).eval().requires_grad_(False).to(device)
    rows = [torch.stack([torch.randint(size, (MAX_HELD_OUT,)) for size in data.schema.sizes], 1) for _ in range(2)]
    rows[1][:, list(data.schema.given_positions)] = -1
    return ObservationClassifier(spec.name, "untrained", network, data.schema, HeldOut(*rows))


@contextmanager
def watched(objective: Objective, account: Account) -> Iterator[Callable[[], int]]:
    """Inside the block, what ``evaluate`` calls is counted; gives the number of images that were imagined so far."""
    imagined, likelihood = 0, objective.image_likelihood

    def counted(z: torch.Tensor, *given: Any) -> Any:
        nonlocal imagined
        imagined += len(z) if PIXELS in account.running else 0
        return likelihood(z, *given)

    calls: list[tuple[str, Any, str, Callable[..., Any]]] = [
        (LATENTS, objective, "draw_latents", objective.draw_latents),
        (DECODING, objective, "image_likelihood", counted),
        # What is left of it without the two above.
        (PIXELS, objective, "imagine", objective.imagine),
        (CLASSIFIER, ObservationClassifier, "predict", ObservationClassifier.predict),
    ]
    with ExitStack() as undo:
        for part, owner, name, call in calls:
            undo.enter_context(patch.object(owner, name, account.timed(part, call)))
        yield lambda: imagined


def timed(
    objective: Objective,
    data: ConceptDataModule,
    classifier: ObservationClassifier,
    evaluation: EvaluationSpec,
    questions: Sequence[Question] | None = None,
) -> Timed:
    """One call of ``evaluate``, which gets this classifier."""
    account = Account(objective.device)
    with watched(objective, account) as imagined, patch.object(module, "judge_of", lambda *_, **__: classifier):
        account.timed(REST, module.evaluate)(objective, data, evaluation, questions=questions, device=objective.device)
        return Timed({part: account.seconds[part] for part in PARTS}, imagined())


def asked_of(evaluation: EvaluationSpec, protocols: Sequence[str]) -> dict[str, tuple[EvaluationSpec, list[Question]]]:
    """The evaluations that are compared, by what the table calls them, each with its questions."""
    found: dict[str, tuple[EvaluationSpec, list[Question]]] = {}
    for names in dict.fromkeys((tuple(protocols[:1]), tuple(protocols))):
        here = EvaluationSpec.parse(evaluation.canonical() | {"protocols": list(names)})
        found[", ".join(names)] = here, [each for each in questions_of(here) if each.name == ASKS]
    return found


def measure(trial: TrialSpec, options: argparse.Namespace) -> str:
    """The table of one kind of model.

    Raises:
        RuntimeError: an evaluation decoded other images than its queries ask for, or some of them again.
    """
    device, evaluation = torch.device(options.device), trial.evaluation
    data = small(trial, num_images=options.num_images, source=options.source)
    data.to(device)
    objective, columns = objective_of(trial, device), asked_of(evaluation, options.protocols)
    if options.all:
        columns[EVERYTHING] = evaluation, questions_of(evaluation)
    queries = [
        len(each)
        for partition in evaluation.partitions
        for each in answerable(objective, fixed_queries(data, evaluation, partition))
    ]
    found: dict[str, list[Timed]] = {name: [] for name in columns}
    with as_in_training(trial.training):
        classifier = untrained(trial, data, device)
        timed(objective, data, classifier, evaluation.model_copy(update=FEW))
        for _ in range(options.rounds):
            for name, (asked, questions) in columns.items():
                found[name].append(timed(objective, data, classifier, asked, questions))
    shown = 2 if evaluation.images == "both" and not objective.has_fixed_scale else 1
    wanted = shown * sum(queries) * evaluation.num_samples
    for name, rounds in found.items():
        if name != EVERYTHING and (other := {each.images for each in rounds} - {wanted}):
            raise RuntimeError(f"{name}: {wanted:,} images are asked for, and {max(other):,} were decoded")
    threads = trial.training.num_threads
    title = (
        f"{label(trial)}; {data.image_shape[2]}x{data.image_shape[1]}, classifier {classifier.name}, {threads} thread"
    )
    asked = f"{sum(queries):,} queries, {evaluation.num_samples} images each"
    return f"{title}{'s' * (threads > 1)}; {asked}\n\n{table(found)}"


def table(found: dict[str, list[Timed]]) -> str:
    """A Markdown table: of each part the median, least and greatest of the rounds."""
    lines = [f"| processor s | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for part in PARTS:
        cells = [_spread([each.seconds[part] for each in rounds]) for rounds in found.values()]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    lines.append(f"| together | {' | '.join(_spread([each.total for each in rounds]) for rounds in found.values())} |")
    lines.append(f"| images decoded | {' | '.join(f'{rounds[0].images:,}' for rounds in found.values())} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def machine(options: argparse.Namespace) -> str:
    """A line describing what the numbers were measured on."""
    device = torch.device(options.device)
    name = f"{torch.cuda.get_device_name(device)}, wall time; " if device.type == "cuda" else ""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{name}{processor_name()}; {num_cpus()} cores, load {load}; {versions}; {options.rounds} rounds"


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--grid", type=Path, default=Path("configs/small_mnist.yaml"))
    result.add_argument("--where", action="append", default=[], metavar="PATH=VALUE", help="measure only these trials")
    result.add_argument("--device", default="cpu")
    result.add_argument("--protocols", nargs="+", default=["paper", "corrected"], metavar="PROTOCOL",
                        help="the first is asked alone, then all together (default paper corrected)")  # fmt: skip
    result.add_argument("--all", action="store_true", help="a column for all that the grid asks")
    result.add_argument("--rounds", type=int, default=3, help="how often each evaluation is timed (default 3)")
    result.add_argument("--num-images", type=int, default=2000, help="images in the dataset (default 2000)")
    result.add_argument("--source", help="overrides the grid's source; digits and drawn need no files")
    return result


def main() -> None:
    """Prints Markdown, a table for each kind of model in the grid."""
    options = parser().parse_args()
    try:
        trials = expand(load_grid(options.grid), where=options.where)
        strangers = [name for name in options.protocols if PROTOCOL_RULES[name].asks != ASKS]
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
    if strangers:
        raise SystemExit(f"error: no protocol of the fixed queries: {', '.join(strangers)}")
    print(f"{machine(options)}\n", flush=True)
    for trial, *_ in kinds(trials):
        print(f"{measure(trial, options)}\n", flush=True)


if __name__ == "__main__":
    main()
