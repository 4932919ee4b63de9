"""The same steps through four loops: a bare one, the project's ``fit``, a plain Lightning trainer, MultiVae's trainer.

Objective, initial weights, images in memory, batch size, optimiser (fused Adam) and the process's switches (threads, no
checks in Distributions) are the same, and the loops run in turn, so that only what a loop adds of its own differs.
``with records`` is a loop as it is used: ``fit`` with log, status and checkpoints; Lightning with its CSV logger, as
often as ``fit`` logs, its progress bar and its checkpoints; MultiVae with its progress bar, printed losses and sums of
the loss's parts. Without, each does as little as it can be told to. Nothing is validated. MultiVae's trainer also runs
with the DataLoader that it makes by itself, which collates a batch image by image; otherwise it is given our batches.

    pip install -e '.[peers]'
    python benchmarks/peers.py [--sizes tiny thin paper] [--rounds 5] [--device cuda]

A loop whose package is not installed is left out, and the last line says so.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from loops import StepClock, as_in_training, run_bare, run_fit
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

from mmvae_bench.backbones.base import Backbone
from mmvae_bench.base.machine import num_cpus, processor_name
from mmvae_bench.data.base import ConceptDataModule, EpochLoader
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, planned_stages
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrainingSpec

TRAINING = TrainingSpec(steps=4000, batch_size=64, learning_rate=1e-3, validations=1)
LOG_EVERY = 20
"""Steps between two records of ``fit`` in a training of 4,000."""


@dataclass(frozen=True)
class Size:
    """Networks and images of one size, and how many of its steps are timed how often: what a few minutes allow."""

    dataset: dict[str, Any]
    backbone: dict[str, Any]
    warm_up: int
    steps: int
    rounds: int


DIGITS = {"name": "mnist_a", "source": "digits"}
SIZES = {
    "tiny": Size({**DIGITS, "canvas": 16, "replicas": 20},
                 {"name": "mnist_a_thin", "width": 1, "hidden": 32, "latent_size": 4},
                 warm_up=10, steps=100, rounds=15),
    "thin": Size({**DIGITS, "canvas": 32, "replicas": 20},
                 {"name": "mnist_a_thin", "width": 8}, warm_up=3, steps=30, rounds=9),
    "paper": Size({**DIGITS, "canvas": 64, "replicas": 1}, {"name": "mnist_a_released"}, warm_up=1, steps=2, rounds=3),
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What every loop is given.

    Attributes:
        build: A new objective with the same initial weights, on its device.
        data: Prepared, on the same device.
        training: Batch size, learning rate, threads.
        fast: As ``build``, with the backbone's ``arithmetic: fast``; None: the backbone has no such setting.
    """

    build: Callable[[], Objective]
    data: ConceptDataModule
    training: TrainingSpec = TRAINING
    fast: Callable[[], Objective] | None = None


Loop = Callable[[Work, StepClock, Path | None], None]
"""Trains up to the clock's last step, which it tells the clock of; with records in the folder if one is given."""


def bare(work: Work, clock: StepClock, folder: Path | None) -> None:
    """The least that trains; it has no records."""
    run_bare(work.build(), work.data, work.training, clock)


def project(work: Work, clock: StepClock, folder: Path | None) -> None:
    """``fit``, which also seeds every step, checks every loss, and computes the records it would write."""
    run_fit(work.build(), work.data, work.training, clock, folder=folder)


def project_fast(work: Work, clock: StepClock, folder: Path | None) -> None:
    """``fit`` on the same networks in another arithmetic."""
    assert work.fast is not None
    run_fit(work.fast(), work.data, work.training, clock, folder=folder)


class Ticks(pl.Callback):
    """Tells a clock of Lightning's steps."""

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The start."""
        self.clock.tick(0)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """A step."""
        self.clock.tick(trainer.global_step)


def lightning(work: Work, clock: StepClock, folder: Path | None) -> None:
    """``pl.Trainer`` on the objective, which is a LightningModule; without records it does not even call ``log``."""
    objective = work.build()
    objective.training_spec = work.training
    if folder is None:
        objective._log_terms = lambda *_, **__: None  # type: ignore[method-assign]
    with as_in_training(work.training):
        trainer = pl.Trainer(
            max_steps=clock.num_steps,
            accelerator=objective.device.type,
            devices=1,
            callbacks=[Ticks(clock)],
            logger=folder is not None and CSVLogger(folder),
            default_root_dir=folder,
            log_every_n_steps=LOG_EVERY,
            enable_checkpointing=folder is not None,
            enable_progress_bar=folder is not None,
            enable_model_summary=False,
        )
        trainer.fit(objective, EpochLoader(work.data, batch_size=work.training.batch_size))


class Finished(Exception):
    """Ends MultiVae's training, which knows epochs only."""


class OurBatches:
    """Our batches in MultiVae's form, an epoch at each iteration."""

    def __init__(self, work: Work) -> None:
        self.epoch = EpochLoader(work.data, batch_size=work.training.batch_size)
        self.dataset = work.data.rows("train")
        """Only its length is read."""

    def __len__(self) -> int:
        return len(self.epoch)

    def __iter__(self) -> Iterator[dict[str, dict[str, Tensor]]]:
        for batch in self.epoch:
            yield {"data": {"image": batch.image, "concept": batch.concept, "index": batch.index}}


def multivae(work: Work, clock: StepClock, folder: Path | None, *, own_loader: bool = False) -> None:
    """MultiVae's ``BaseTrainer`` on a model of its kind, whose loss is the objective's.

    Args:
        work: The objective is not moved: the trainer takes the first GPU that there is, or the CPU.
        clock: Told of each step by a callback.
        folder: Without, progress bar and printing are taken out of the trainer, and no parts are summed.
        own_loader: The images as floats in memory, in batches of the trainer's DataLoader.
    """
    from multivae.data.datasets.base import MultimodalBaseDataset
    from multivae.models.base import BaseModel
    from multivae.trainers import BaseTrainer, BaseTrainerConfig
    from multivae.trainers.base.callbacks import TrainingCallback
    from pythae.config import BaseConfig
    from pythae.models.base.base_utils import ModelOutput

    objective = work.build()
    (stage,) = planned_stages(objective, work.training)
    objective.begin_stage(stage)

    class Model(BaseModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(BaseConfig())
            self.objective = objective

        def forward(self, inputs: Any, **_: Any) -> ModelOutput:
            given = inputs.data
            terms = self.objective.terms(Batch(given["image"], given["concept"], given["index"]))
            loss = terms.loss
            for name in stage.trains:
                penalty = getattr(getattr(self.objective, name), "penalty", None)
                if penalty is not None and (value := penalty()) is not None:
                    loss = loss + value
            parts = {} if folder is None else {name: part.detach().mean() for name, part in terms.parts.items()}
            return ModelOutput(loss=loss, metrics=parts)

    class Count(TrainingCallback):  # type: ignore[misc]
        step = 0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.tick(0)

        def on_train_step_end(self, *_: Any, **__: Any) -> None:
            self.step += 1
            clock.tick(self.step)
            if self.step == clock.num_steps:
                raise Finished

    class Trainer(BaseTrainer):  # type: ignore[misc]
        def get_train_dataloader(self, train_dataset: Any) -> Any:
            return super().get_train_dataloader(train_dataset) if own_loader else OurBatches(work)

    data = {"index": work.data.rows("train")}  # Otherwise only its length is read.
    if own_loader:
        everything = work.data.store.batch(work.data.rows("train")).to("cpu")
        data = {"image": everything.image, "concept": everything.concept, "index": everything.index}
    with tempfile.TemporaryDirectory() as scratch, as_in_training(work.training):
        settings = BaseTrainerConfig(
            output_dir=str(folder or scratch),
            per_device_train_batch_size=work.training.batch_size,
            num_epochs=10**6,
            optimizer_params={"fused": True},
            learning_rate=work.training.learning_rate,
            drop_last=True,
        )
        trainer = Trainer(Model(), MultimodalBaseDataset(data), training_config=settings, callbacks=[Count()])
        if folder is None:
            trainer.callback_handler.callbacks = trainer.callback_handler.callbacks[:1]
        with suppress(Finished):
            trainer.train(log_output_dir=folder and str(folder))


def multivae_alone(work: Work, clock: StepClock, folder: Path | None) -> None:
    """MultiVae's trainer with its own DataLoader: as its users have it."""
    multivae(work, clock, folder, own_loader=True)


@dataclass(frozen=True)
class Contender:
    """A loop as a row of the table."""

    name: str
    loop: Loop
    records: bool


CONTENDERS = (
    Contender("bare", bare, False),
    Contender("fit", project, False),
    Contender("Lightning", lightning, False),
    Contender("MultiVae, our batches", multivae, False),
    Contender("fit", project, True),
    Contender("Lightning", lightning, True),
    Contender("MultiVae, our batches", multivae, True),
    Contender("MultiVae, its DataLoader", multivae_alone, True),
)
FAST = Contender("fit, arithmetic fast", project_fast, False)
"""After the others, where the backbone has the setting."""


@dataclass
class Measured:
    """Seconds per step of a contender, one value per round."""

    processor: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def measure(size: Size, work: Work, contenders: Sequence[Contender]) -> list[Measured]:
    """Every round runs all contenders, and begins with another one; what a process does once is done before."""
    found, device = [Measured() for _ in contenders], work.build().device
    contenders[0].loop(work, StepClock(device, warm_up=0, num_steps=size.warm_up + 1), None)
    for turn in range(size.rounds):
        for place in range(len(contenders)):
            index = (place + turn) % len(contenders)
            clock = StepClock(device, warm_up=size.warm_up, num_steps=size.warm_up + size.steps)
            with quiet(), tempfile.TemporaryDirectory() as folder:
                contenders[index].loop(work, clock, Path(folder) if contenders[index].records else None)
            found[index].processor.append(clock.seconds_a_step)
            found[index].wall.append(clock.wall_a_step)
    return found


def rows(title: str, contenders: Sequence[Contender], found: Sequence[Measured]) -> list[str]:
    """The table of one size, in Markdown; the first contender is what the others are compared with."""
    lines = [f"| {title} | records | ms/step | over bare, ms | times bare | wall, times bare |", "|---|---" * 3 + "|"]
    base = found[0]
    for contender, times in zip(contenders, found, strict=True):
        extra = [1e3 * (own - least) for own, least in zip(times.processor, base.processor, strict=True)]
        ratios, wall = (
            [own / least for own, least in zip(mine, theirs, strict=True)]
            for mine, theirs in ((times.processor, base.processor), (times.wall, base.wall))
        )
        cells = [f"{1e3 * statistics.median(times.processor):.2f}"]
        cells += ["", "1", "1"] if times is base else [spread(extra, 2), spread(ratios, 3), spread(wall, 2)]
        lines.append(f"| {contender.name} | {'yes' if contender.records else 'no'} | {' | '.join(cells)} |")
    return lines


def spread(values: Sequence[float], digits: int) -> str:
    """The median, and the least and the greatest value."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def work_of(size: Size, objective: str, device: torch.device) -> Work:
    """Images and networks of a size, with an objective of one stage.

    Raises:
        SystemExit: if the objective has several stages, which neither of the peers knows.
    """
    data = datasets.parse(size.dataset).build()
    data.prepare_data()
    data.setup()
    data.to(device)
    shapes = {"schema": data.schema, "image_shape": data.image_shape}
    spec = backbones.parse(size.backbone)
    backbone, quick = spec.build(**shapes), None
    if "arithmetic" in type(spec).model_fields:
        quick = spec.model_copy(update={"arithmetic": "fast"}).build(**shapes)

    def build(backbone: Backbone = backbone) -> Objective:
        built: Objective = objectives.parse(objective).build(backbone, seed=0)
        return built.to(device)

    if len(stages := planned_stages(build(), TRAINING)) > 1:
        raise SystemExit(f"error: {objective} is trained in {len(stages)} stages; choose an objective of one")
    return Work(build, data, fast=quick and partial(build, quick))


@contextmanager
def quiet() -> Iterator[None]:
    """No messages: what is written to the standard streams, progress bars included, is written to nowhere."""
    with ExitStack() as undo:
        undo.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.WARNING)
        undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        nowhere = undo.enter_context(open(os.devnull, "w", encoding="utf-8"))
        undo.enter_context(redirect_stdout(nowhere))
        undo.enter_context(redirect_stderr(nowhere))
        yield


def machine(device: torch.device) -> str:
    """What the numbers were measured on, and with which versions."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    names = ("torch", "pytorch-lightning", "multivae", "pythae")
    versions = ", ".join(f"{name} {_version(name) or 'not installed'}" for name in names)
    return f"{where}; {num_cpus()} cores, load {load}; {TRAINING.num_threads} thread; {versions}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Prints Markdown, a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--rounds", type=int, help="instead of as many as the size has")
    parser.add_argument("--only", nargs="+", metavar="LOOP", help="these loops beside the bare one, such as fit")
    parser.add_argument("--objective", default="jmvae", help="of one stage (default jmvae)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    device, installed = torch.device(options.device), _version("multivae") is not None
    contenders = [item for item in CONTENDERS if installed or item.loop not in (multivae, multivae_alone)]
    print(f"{machine(device)}\n", flush=True)
    for name in options.sizes:
        size = SIZES[name] if options.rounds is None else replace(SIZES[name], rounds=options.rounds)
        work = work_of(size, options.objective, device)
        known = contenders if work.fast is None else [*contenders, FAST]
        chosen = known if options.only is None else [item for item in known if item.name in ("bare", *options.only)]
        found = measure(size, work, chosen)
        title = f"{name}: {size.steps} steps after {size.warm_up}, {size.rounds} rounds"
        print("\n".join(rows(title, chosen, found)) + "\n", flush=True)
    if not installed:
        print("MultiVae is not installed: pip install -e '.[peers]'")


if __name__ == "__main__":
    main()
