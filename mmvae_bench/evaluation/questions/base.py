"""What a question is, and what it is asked with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...data.base import ConceptDataModule
from ...metrics.catalogue import MEAN_IMAGES
from ...metrics.protocols import PROTOCOL_RULES, ProtocolRule
from ...objectives.base import Objective
from ...runs.scores import Score
from ...specs.components import QuestionSpec
from ...specs.trial import EvaluationSpec
from ..classifier import ObservationClassifier
from ..classifier_training import Progress
from ..queries import Queries, answerable, fixed_queries
from ..sampling import predictions_of
from ..scoring import Judge, make_score
from ..wording import Wording

UNSAID = (
    "a caption names every attribute that is present, so one that it leaves unsaid is absent, not open: there is "
    "nothing to cover"
)
"""Why nothing is scored on open attributes where captions leave absences unsaid."""
NO_IMAGINATION = "there is no q(z|y): the model cannot imagine a concept"
"""Why a question that needs imagined images is not asked."""
Point = dict[str, Any]
"""A number measured during training: ``metric``, ``attribute``, ``level`` and ``value``, as in a score."""


@dataclass(frozen=True)
class Context:
    """A model, and everything that a question about it may need. Networks are in eval mode, and gradients are off.

    Attributes:
        model: On ``device``.
        data: After ``setup()``.
        classifier: The observation classifier, on ``device``.
        judge: What predictions are scored against.
        evaluation: The settings.
        partition: val or test.
        device: Where networks run.
        progress: Called with what is being done, how much of it is done, and how much there is.
        left_out: Filled by questions: the reason for each metric that the model's mathematics does not provide.
        drawn: Predictions that were needed already, kept by :meth:`predictions`.
    """

    model: Objective
    data: ConceptDataModule
    classifier: ObservationClassifier
    judge: Judge
    evaluation: EvaluationSpec
    partition: str
    device: torch.device
    progress: Progress | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    drawn: dict[tuple[Any, ...], Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def queries(self) -> list[Queries]:
        """The fixed queries of the partition that the model can be asked, from the highest level down."""
        return answerable(self.model, fixed_queries(self.data, self.evaluation, self.partition))

    @cached_property
    def shown(self) -> list[tuple[str, bool]]:
        """What the classifier is shown of p(x|z): a suffix for the names of metrics, and whether it is the mean.

        Where the scale of p(x|z) is a setting, a sample adds noise that nothing was fitted to: its mean takes its
        place.
        """
        sample = ("", bool(getattr(self.model, "has_fixed_scale", False)))
        mean = (MEAN_IMAGES, True)
        return {"sample": [sample], "mean": [mean], "both": [sample, mean]}[self.evaluation.images]

    @cached_property
    def leaves_open(self) -> bool:
        """Whether a model may take an attribute that a query does not specify for open: not if the query is a caption
        and captions leave absences unsaid."""
        return self.data.captions is None or not Wording(self.data.captions).silent

    def predictions(self, queries: Queries, *, num_samples: int | None = None, mean: bool = False) -> Tensor:
        """What the classifier reads in the images of each query: Long[query, sample, attribute], on the CPU.

        Images are drawn once for each query, whoever needs them; see
        :func:`~mmvae_bench.evaluation.sampling.predictions_of`.

        Args:
            queries: Concepts to imagine.
            num_samples: Images per query; None: those of the evaluation.
            mean: The mean of p(x|z) instead of a sample.
        """
        number = num_samples or self.evaluation.num_samples
        key = self._key(queries, number, mean)
        if key not in self.drawn:
            self.drawn[key] = predictions_of(
                self.model, self.classifier, self.data, queries,
                num_samples=number, seed=self.evaluation.seed, mean=mean, progress=self.progress,
            )  # fmt: skip
        return self.drawn[key]

    def already_read(self, queries: Queries, *, mean: bool = False) -> Tensor | None:
        """:meth:`predictions` if some question has needed them; nothing is drawn."""
        return self.drawn.get(self._key(queries, self.evaluation.num_samples, mean))

    def _key(self, queries: Queries, number: int, mean: bool) -> tuple[Any, ...]:
        concepts = queries.concepts.numpy().tobytes()
        return queries.partition, queries.level, queries.name, concepts, number, mean

    def protocols(self, question: str) -> list[ProtocolRule]:
        """The protocols of the evaluation that score this question."""
        rules = (PROTOCOL_RULES[name] for name in self.evaluation.protocols)
        return [rule for rule in rules if rule.asks == question]

    def score(self, metric: str, values: Tensor, **details: Any) -> Score:
        """A score of this partition with its interval; see :func:`~mmvae_bench.evaluation.scoring.make_score`."""
        return make_score(metric, values, partition=self.partition, **details)

    def report(self, what: str, done: int, total: int) -> None:
        """Passes progress on to whoever listens."""
        if self.progress is not None:
            self.progress(what, done, total)


class Question(ABC):
    """Something that every trained model is asked, if its mathematics can answer.

    A question of another package, or a built-in one that is asked on request, is named in ``evaluation.questions`` of a
    grid. One file, and a spec without torch.

    Args:
        spec: Its name and settings.
    """

    per_partition: ClassVar[bool] = True
    """Whether it is asked for each partition of the evaluation; otherwise once, at the end, about the test
    partition."""
    records_reason: ClassVar[bool] = True
    """Whether result.json says under ``left_out`` why the question could not be asked. Not set for questions whose
    absence follows from the posteriors that an objective declares."""

    def __init__(self, spec: QuestionSpec) -> None:
        self.spec = spec

    @property
    def name(self) -> str:
        """The name in ``mmvae-bench list questions``."""
        return self.spec.name

    def wanted(self, evaluation: EvaluationSpec) -> bool:
        """Whether the settings of a built-in question ask for it."""
        return True

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """Why this model cannot be asked; None if it can."""
        return None

    @abstractmethod
    def ask(self, context: Context) -> list[Score]:
        """The scores of one partition. A metric that the model cannot give goes to ``context.left_out``."""

    def points(self, context: Context) -> list[Point]:
        """What is measured during training, for the curves of scores against steps; nothing by default."""
        return []
