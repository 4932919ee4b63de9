"""A trial as the driver sees it: a key, a folder, what it asks and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base.hashing import content_hash
from ..runs.folder import TrialFolder
from ..runs.status import ATTEMPT_VARIABLE
from ..runs.store import RunStore
from ..specs.trial import TrialSpec
from .executor import Job

Group = tuple[str, str, str]


@dataclass(slots=True, eq=False)
class Trial:
    """One trial of a run.

    Attributes:
        folder: Where it lives.
        label: A short name for people, unlike any other's in the run.
        evaluation: What it is to be asked, as canonical JSON values.
        group: Trials of one group are taken to cost the same a step.
        steps: Steps of its main stage.
        recipe: Names what has to be prepared for it: equal for trials that share dataset and classifier.
        dataset: What that is, for people.
        attempts: How many processes had worked on it when this driver last looked.
        retried: Whether this driver has tried it a second time.
        losses: How often its machine went away from under it, in this driver's time.
    """

    folder: TrialFolder
    label: str
    evaluation: dict[str, Any]
    group: Group
    steps: int
    recipe: str
    dataset: str
    attempts: int = 0
    retried: bool = False
    losses: int = 0

    @property
    def key(self) -> str:
        """The trial's name on disk."""
        return self.folder.key

    def train_job(self) -> Job:
        """The process that trains and evaluates it."""
        folder = self.folder
        arguments = ("train", "--spec", str(folder.spec_path), "--out", str(folder.directory))
        environment = {ATTEMPT_VARIABLE: str(self.attempts + 1)}
        return Job(folder.key, arguments, folder.log_path, environment, pulse=folder.status_path)

    def prepare_job(self, store: RunStore) -> Job:
        """The process that prepares its dataset and classifier."""
        log = store.root / "prepare" / f"{self.recipe}.log"
        pulse = log.with_suffix(".pulse")
        arguments = ("prepare", "--spec", str(self.folder.spec_path), "--pulse", str(pulse))
        return Job(f"prepare {self.recipe}", arguments, log, pulse=pulse)


def trials_of(specs: Sequence[TrialSpec], store: RunStore) -> list[Trial]:
    """The driver's view of ``specs``, in their order."""
    labels = Counter(spec.label for spec in specs)
    evaluations: dict[int, dict[str, Any]] = {}
    recipes: dict[tuple[int, int], str] = {}
    trials: list[Trial] = []
    for spec in specs:
        key = spec.key
        # Specs of a grid share their parts, so each part is written out once.
        pair = (id(spec.dataset), id(spec.evaluation))
        if pair not in recipes:
            recipes[pair] = _recipe(spec)
        if pair[1] not in evaluations:
            evaluations[pair[1]] = spec.evaluation.canonical()
        trials.append(
            Trial(
                folder=store.folder(key),
                label=spec.label if labels[spec.label] == 1 else f"{spec.label} [{key}]",
                evaluation=evaluations[pair[1]],
                group=(spec.objective.name, spec.backbone.name, spec.dataset.name),
                steps=spec.training.steps,
                recipe=recipes[pair],
                dataset=f"{spec.dataset.name}/{spec.dataset.source}",
            )
        )
    return trials


def _recipe(spec: TrialSpec) -> str:
    asked = spec.evaluation.classifier
    classifier = asked.canonical() if asked is not None else spec.dataset.default_classifier()
    return content_hash([spec.dataset.recipe(), classifier])
