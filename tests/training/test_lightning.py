"""Every objective under a plain Lightning trainer: steps, checkpoints, logs, clipping, accumulation, two processes."""

from __future__ import annotations

import csv
import multiprocessing
import os
import re
import socket
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data.base import ConceptDataModule, EpochLoader
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Stage
from mmvae_bench.specs.components import backbones, objectives, of_domain
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import fit
from mmvae_bench.training.stages import Stages

from .conftest import same

NAMES = of_domain(objectives, "images")
TRAINING = TrainingSpec(steps=4, batch_size=32, learning_rate=3e-3, validations=1)
SETTINGS: dict[str, dict[str, object]] = {
    "telbo": {"schedule": "two_stage", "unimodal_steps": 3},
    **{name: {"prior_flow": True, "kl_warmup_steps": 3} for name in ("vlvae", "q_true", "q_agg")},
}
"""Where the defaults have fewer stages, or weights that change with the step too slowly to be seen here."""
SINGLE, STAGED = "jmvae", "scan"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def build(data: ConceptDataModule, name: str, *, seed: int = 0, defaults: bool = False) -> Objective:
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
    parameters = {} if defaults else SETTINGS.get(name, {})
    objective: Objective = objectives.parse({"name": name, **parameters}).build(
        backbone.build(schema=data.schema, image_shape=data.image_shape), seed=seed
    )
    objective.training_spec = TRAINING
    return objective


class Memory(Logger):
    """A logger that remembers."""

    name, version = "memory", 0

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[dict[str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append(metrics)

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...


class AsInFit:
    """The batches that ``fit`` draws, stage after stage."""

    def __init__(self, data: ConceptDataModule, objective: Objective) -> None:
        self.data, self.stages = data, objective.stages(TRAINING)

    def __iter__(self) -> Iterator[Batch]:
        for stage in self.stages:
            yield from self.data.training_loader(
                batch_size=TRAINING.batch_size, seed=0, stage=stage.name, start=0, stop=stage.steps
            )


def trainer(**options: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1, "accelerator": "cpu"}
    return pl.Trainer(**{"logger": False, "enable_checkpointing": False, "devices": 1} | quiet | options)


def num_steps(objective: Objective) -> int:
    return sum(stage.steps for stage in objective.stages(TRAINING))


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_of_fit_and_everything_is_logged(name: str, digits: ConceptDataModule) -> None:
    objective, fitted, memory = build(digits, name), build(digits, name), Memory()
    plain = trainer(callbacks=[Stages()], logger=memory)
    plain.fit(objective, AsInFit(digits, objective), digits.val_dataloader())
    fit(fitted, digits, TRAINING, key="k", seed=0)
    assert plain.global_step == num_steps(objective)
    assert same(objective.state_dict(), fitted.state_dict())
    assert all(parameter.requires_grad for parameter in objective.parameters()), "no stage is left"
    losses = [values["train/loss"] for values in memory.logged if "train/loss" in values]
    assert len(losses) == num_steps(objective)
    logged = {key for values in memory.logged for key in values}
    parts = objective.terms(next(iter(AsInFit(digits, objective)))).parts
    assert {f"train/parts/{part}" for part in parts} | {"val/elbo"} <= logged


@pytest.mark.parametrize("name", NAMES)
def test_max_steps_ends_an_objective_of_one_stage_and_stages_are_never_left_out(
    name: str, digits: ConceptDataModule
) -> None:
    objective = build(digits, name, defaults=True)
    stages = objective.stages(TRAINING)
    plain = trainer(max_steps=3, max_epochs=9, limit_val_batches=0)
    if len(stages) > 1:
        before = {key: value.clone() for key, value in objective.state_dict().items()}
        with pytest.raises(
            BenchmarkError, match=rf"{name} is trained in {len(stages)} stages \({stages[0].name}, .*Sta"
        ):
            plain.fit(objective, datamodule=digits)
        assert same(before, objective.state_dict())
    else:
        plain.fit(objective, datamodule=digits)
        assert plain.global_step == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_lightning_resumes_to_the_bit(name: str, digits: ConceptDataModule, tmp_path: Path) -> None:
    """Stopped in the middle of an epoch, of a stage or at the end of one, and continued with other initial weights."""
    objective, save = build(digits, name), ModelCheckpoint(tmp_path, every_n_train_steps=4, save_top_k=-1)
    plain = trainer(max_epochs=-1, callbacks=[Stages(), save], enable_checkpointing=True, limit_val_batches=0)
    plain.fit(objective, datamodule=digits)
    saved = {int(path.stem.split("=")[-1]): path for path in tmp_path.iterdir()}
    assert set(saved) == set(range(4, num_steps(objective) + 1, 4))
    resumed = build(digits, name, seed=1)
    resumed.training_seed = 0
    again = trainer(max_epochs=-1, callbacks=[Stages()], limit_val_batches=0)
    again.fit(resumed, datamodule=digits, ckpt_path=saved[4], weights_only=True)
    assert again.global_step == num_steps(objective)
    assert same(resumed.state_dict(), objective.state_dict())


def test_a_finished_run_is_not_trained_on(digits: ConceptDataModule, tmp_path: Path) -> None:
    objective = build(digits, STAGED)
    plain = trainer(max_epochs=-1, callbacks=[Stages()], limit_val_batches=0)
    plain.fit(objective, datamodule=digits)
    plain.save_checkpoint(tmp_path / "done.ckpt")
    other = build(digits, STAGED, seed=1)
    trainer(max_epochs=-1, callbacks=[Stages()]).fit(other, datamodule=digits, ckpt_path=tmp_path / "done.ckpt")
    assert same(objective.state_dict(), other.state_dict())


def test_a_network_of_two_stages_begins_the_second_without_moments(
    digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, fitted = build(digits, SINGLE), build(digits, SINGLE)
    stages = [Stage("first", 3, objective.network_names), Stage("second", 2, ("image_decoder",))]
    monkeypatch.setattr(type(objective), "stages", lambda self, training: stages)
    trainer(max_epochs=-1, callbacks=[Stages()]).fit(objective, AsInFit(digits, objective))
    fit(fitted, digits, TRAINING, key="k", seed=0)
    assert same(objective.state_dict(), fitted.state_dict())


def test_stages_that_a_trainer_cuts_short_are_named(digits: ConceptDataModule) -> None:
    plain = trainer(max_steps=3, callbacks=[Stages()], limit_val_batches=0)
    with pytest.warns(UserWarning, match=r"ended at step 3 of 8, in stage 'image' of denoise, image, concept"):
        plain.fit(build(digits, STAGED), datamodule=digits)


def test_settings_of_stages(digits: ConceptDataModule) -> None:
    objective = build(digits, STAGED)
    plain = trainer(max_epochs=-1, callbacks=[Stages(steps=2, learning_rate=0.5)], limit_val_batches=0)
    plain.fit(objective, datamodule=digits)
    assert plain.global_step == 4
    assert plain.optimizers[0].param_groups[0]["lr"] == 0.5
    with pytest.raises(ConfigError, match="learning_rate"):
        Stages(learning_rate=-1.0)
    with pytest.raises(BenchmarkError, match="Stages runs the stages of an Objective; BoringModel has none"):
        trainer(callbacks=[Stages()]).fit(BoringModel())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_and_accumulated(name: str, precision: str, digits: ConceptDataModule) -> None:
    objective = build(digits, name)
    norms, seeds = list[float](), list[int]()

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            gradients = [each.grad.flatten() for each in objective.parameters() if each.grad is not None]
            norms.append(torch.cat(gradients).norm().item())
            seeds.append(torch.initial_seed())

    options = {"gradient_clip_val": 0.01, "accumulate_grad_batches": 2, "precision": precision, "limit_val_batches": 0}
    plain = trainer(max_steps=1, callbacks=[Stages(steps=1), Watch()], **options)
    plain.fit(objective, datamodule=digits)
    assert plain.global_step == 1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)
    assert norms[0] != norms[1]
    assert len({*seeds}) == 2, "the second half has noise of its own"


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_other_precisions(precision: Any, digits: ConceptDataModule) -> None:
    objective, memory = build(digits, SINGLE), Memory()
    trainer(max_steps=2, logger=memory, precision=precision, limit_val_batches=0).fit(objective, datamodule=digits)
    assert all(torch.isfinite(torch.tensor(values["train/loss"])) for values in memory.logged if "train/loss" in values)
    assert next(objective.parameters()).dtype == (torch.float64 if precision == "64-true" else torch.bfloat16)


def test_bfloat16_in_fit_of_the_objective_that_weighs_gradients(digits: ConceptDataModule) -> None:
    fitted = fit(build(digits, "mmvae"), digits, TRAINING.model_copy(update={"precision": "bfloat16"}), key="k", seed=0)
    assert fitted.steps == 4


def test_validation_has_the_same_noise_each_time(digits: ConceptDataModule) -> None:
    objective, plain = build(digits, SINGLE), trainer()
    first = plain.validate(objective, datamodule=digits, verbose=False)
    state = torch.random.get_rng_state()
    assert plain.validate(objective, datamodule=digits, verbose=False) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {"val/elbo", "val/parts/joint/kl"} <= first[0].keys()


def test_an_objective_can_be_trained_again_after_a_failure(digits: ConceptDataModule) -> None:
    """What an interrupted trainer leaves behind, a stage and a trainer, is no part of the next training."""
    objective, fresh = build(digits, STAGED), build(digits, STAGED)

    class Fails(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise ZeroDivisionError

    before = {key: value.clone() for key, value in objective.state_dict().items()}
    with pytest.raises(ZeroDivisionError):
        trainer(max_epochs=-1, callbacks=[Stages(), Fails()]).fit(objective, datamodule=digits)
    for each in (objective, fresh):
        each.load_state_dict(before)
        fit(each, digits, TRAINING, key="k", seed=0)
    assert same(objective.state_dict(), fresh.state_dict())
    with pytest.raises(BenchmarkError, match="trained in 3 stages"):
        trainer(max_steps=1).fit(objective, datamodule=digits)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_before_optimizer_step", "configure_gradient_clipping"])
def test_a_hook_that_fit_would_not_call_is_refused(
    hook: str, digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = build(digits, SINGLE)
    monkeypatch.setattr(type(objective), hook, lambda *_: None)
    with pytest.raises(BenchmarkError, match=rf"JMVAE overrides {hook}, which the training of this benchmark does not"):
        fit(objective, digits, TRAINING, key="k", seed=0)


def test_an_optimiser_that_fit_cannot_use_is_refused(digits: ConceptDataModule) -> None:
    objective = build(digits, SINGLE)
    objective.configure_optimizers = lambda: [torch.optim.SGD(objective.parameters(), 0.1)]  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(BenchmarkError, match=r"JMVAE\.configure_optimizers\(\) must return one .*, got list"):
        fit(objective, digits, TRAINING, key="k", seed=0)


# ---- two processes

SHARED = ("jvae", "jmvae", "telbo", "bivcca", "vae")
"""Objectives with no other chance than the noise of z: without it two processes give what one gives."""


def without_noise(objective: Objective) -> Objective:
    """No batch statistics either: those of half a batch are others."""
    for module in list(objective.modules()):
        for key, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, key, nn.Identity())
    return objective


def silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        "torch.distributions.normal._standard_normal", lambda shape, dtype, device: torch.zeros(shape, dtype=dtype)
    )


def train_shared(data: ConceptDataModule, **options: Any) -> dict[str, Tensor]:
    """The weights of the objectives that share their work, trained without noise."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        silence(patch)
        for name in SHARED:
            objective = without_noise(build(data, name, defaults=True))
            plain = trainer(max_steps=3, limit_val_batches=0, gradient_clip_val=5.0, **options)
            plain.fit(objective, datamodule=data)
            found |= {f"{name}.{key}": value for key, value in objective.state_dict().items()}
    return found


def one_of_two(rank: int, port: int, data: ConceptDataModule, folder: Path) -> None:
    """A process of two, as torchrun would start it."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    torch.save(train_shared(data, devices=2, strategy="ddp"), folder / f"shared-{rank}.pt")
    weights = {}
    for name in NAMES:
        objective = build(data, name)
        options: dict[str, Any] = {"devices": 2, "strategy": "ddp_find_unused_parameters_true"}
        trainer(max_epochs=-1, callbacks=[Stages(steps=2)], limit_val_batches=1, **options).fit(
            objective, datamodule=data
        )
        weights |= {f"{name}.{key}": value.detach() for key, value in objective.named_parameters()}
    torch.save(weights, folder / f"all-{rank}.pt")
    with pytest.raises(BenchmarkError, match="ddp_find_unused_parameters_true"):
        trainer(max_epochs=-1, callbacks=[Stages()], devices=2, strategy="ddp").fit(
            build(data, STAGED), datamodule=data
        )
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(digits: ConceptDataModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=one_of_two, args=(rank, port, digits, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_end_with_the_same_weights(name: str, two_processes: Path, digits: ConceptDataModule) -> None:
    both = [torch.load(two_processes / f"all-{rank}.pt", weights_only=True) for rank in range(2)]
    mine = [{key: value for key, value in each.items() if key.startswith(f"{name}.")} for each in both]
    assert same(*mine)
    before = {f"{name}.{key}": value for key, value in build(digits, name).named_parameters()}
    assert not any(
        torch.equal(before[key], value) for key, value in mine[0].items() if key.endswith("head.mean.weight")
    )


def test_two_processes_share_the_work_of_one(two_processes: Path, digits: ConceptDataModule) -> None:
    alone = train_shared(digits)
    for rank in range(2):
        torch.testing.assert_close(torch.load(two_processes / f"shared-{rank}.pt", weights_only=True), alone)


# ---- the batches of a plain trainer


def test_epochs_differ_and_a_state_goes_on(digits: ConceptDataModule) -> None:
    digits = copy(digits)
    digits.batch_size = 100
    loader = digits.train_dataloader()
    first, second = ([batch.index for batch in loader] for _ in range(2))
    assert [len(rows) for rows in first] == [100, 100] == [100] * len(loader)
    assert not torch.equal(first[0], second[0])
    other = digits.train_dataloader()
    next(iter(other))
    again = digits.train_dataloader()
    again.load_state_dict(other.state_dict())
    assert torch.equal(next(iter(again)).index, first[1])
    assert torch.equal(next(iter(again)).index, second[0])


def test_processes_share_each_batch_equally(digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    def shares(batch_size: int, world: int) -> list[Tensor]:
        found = []
        for rank in range(world):
            monkeypatch.setattr("mmvae_bench.data.base.place", lambda rank=rank: (rank, world))
            found.append(next(iter(EpochLoader(digits, batch_size=batch_size))).index)
        return found

    (whole,), three = shares(30, 1), shares(32, 3)
    assert [len(share) for share in three] == [10, 10, 10]
    assert torch.equal(torch.stack(three, 1).flatten(), whole)
    with pytest.raises(ValueError, match="a batch of 2 images cannot be shared by 3 processes"):
        shares(2, 3)


def test_the_example_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "lightning.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {}
    exec(compile("\n".join(blocks), str(page), "exec"), values)
    assert values["trainer"].global_step == 40
    assert values["images"].shape == (3, 1, 16, 16)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step=20.ckpt", "step=40.ckpt"]
    with (tmp_path / "logs" / "version_0" / "metrics.csv").open(encoding="utf-8") as file:
        assert {"train/loss", "train/parts/concept/log_q", "val/elbo"} <= {*next(csv.reader(file))}
