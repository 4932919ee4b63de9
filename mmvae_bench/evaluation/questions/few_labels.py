"""What few labels are worth: the errors of a model that also saw images without them, and of a classifier that did not.

Shapes: N image, A attribute.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ...backbones.base import seeded
from ...base.errors import BenchmarkError
from ...base.heartbeat import beat
from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...data.augmentation import AugmentedBatches
from ...data.base import ConceptDataModule, ResidentLoader
from ...data.batch import Batch
from ...data.supervision import check_labelled, hidden_positions, labelled_rows
from ...objectives.base import Objective
from ...runs.scores import Score
from ...specs.supervision import SupervisionSpec
from ...specs.trial import TrainingSpec
from .base import Context, Question

CLASSIFIER_STEPS = 1_000
"""Steps of the classifier on the labelled images alone."""


class FewLabels(Question):
    """The share of images of a partition, all of them, that are described wrongly in a supervised attribute."""

    records_reason = False

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if training had all labels."""
        return None if _supervision(model) is not None else "every training image had its labels"

    def ask(self, context: Context) -> list[Score]:
        """The model's error, if it can describe, and that of the classifier."""
        model, data, supervision = context.model, context.data, _supervision(context.model)
        assert supervision is not None
        positions = list(hidden_positions(supervision, data.schema))
        truth = data.concepts(context.partition)[:, positions].cpu()
        usual = data.concepts("train")[:, positions].mode(0).values.cpu()
        floor = float((usual != truth).any(1).double().mean())
        found = []
        if model.can_describe:
            described = [model.describe(batch.image)[:, positions].cpu() for batch in data.batches(context.partition)]
            found.append(context.score("label_error", _wrong(torch.cat(described), truth), floor=floor, ceiling=0.0))
        else:
            context.left_out["label_error"] = "the model cannot describe an image"
        try:
            read = _read_alone(model, data, supervision, context.partition)
        except BenchmarkError as error:
            context.left_out["label_error_alone"] = str(error)
        else:
            wrong = _wrong(read[:, positions], truth)
            found.append(context.score("label_error_alone", wrong, keep_values=False, floor=floor, ceiling=0.0))
        return found


def _supervision(model: Objective) -> SupervisionSpec | None:
    # Whoever answers the questions need not have been trained.
    training: TrainingSpec | None = getattr(model, "training_spec", None)
    return None if training is None else training.supervision


def _wrong(described: Tensor, truth: Tensor) -> Tensor:
    return (described != truth).any(1).double()


def _read_alone(model: Objective, data: ConceptDataModule, supervision: SupervisionSpec, partition: str) -> Tensor:
    """What a classifier trained on the labelled images alone reads in a partition: Long[N, A]."""
    network = classifier_alone(model, data, supervision)
    with torch.no_grad():
        return torch.cat([network(batch.image).mode.cpu() for batch in data.batches(partition)])


def classifier_alone(
    model: Objective, data: ConceptDataModule, supervision: SupervisionSpec, *, steps: int = CLASSIFIER_STEPS
) -> nn.Module:
    """The backbone's q(y|x), trained by cross-entropy on the labelled images alone, augmented as the trial's are; in
    eval mode.

    Args:
        model: Gives the backbone, the training settings, the seed and the device; it is not changed.
        data: After ``setup()``, on that device.
        supervision: Which images are labelled.
        steps: Steps of Adam.

    Raises:
        BenchmarkError: if the backbone has no q(y|x), or needs more images in a step than have labels.
    """
    rows = labelled_rows(data, supervision, training_seed=model.training_seed)
    check_labelled(rows, model.backbone_spec, supervision)
    backbone = model.backbone_spec.build(schema=data.schema, image_shape=data.image_shape)
    training, device = model.training_spec, model.device
    network = seeded(backbone.describer, seed=model.training_seed, name="describer").to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    seed, stage = model.training_seed, "classifier alone"
    batches: Iterable[Batch] = ResidentLoader(
        data.store, rows, batch_size=training.batch_size, seed=seed, stage=stage, start=0, stop=steps
    )
    if training.augmentation is not None:
        batches = AugmentedBatches(batches, training.augmentation, data, seed=seed, stage=stage, start=0)
    # Dropout, where a backbone has it, must not depend on what was asked before.
    noise = derive_seed("classifier alone", seed=model.training_seed)
    with torch.enable_grad(), own_randomness(noise, device):
        for batch in batches:
            beat()
            optimizer.zero_grad(set_to_none=True)
            (-network(batch.image).log_prob(batch.concept).mean()).backward()
            optimizer.step()
    return network.eval()
