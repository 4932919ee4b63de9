"""Images against texts as Cremer and Kushman (2018) compare them: their tables 1 and 2.

Shapes: N text, A attribute, D latent dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.hashing import derive_seed
from ..base.randomness import own_randomness
from ..concepts import UNSPECIFIED
from ..concepts.captions import Captions
from ..data.base import ConceptDataModule
from ..metrics.functional import agreement_by_chance, correctness
from ..metrics.functional.validation import mean_where
from ..metrics.protocols import PROTOCOL_RULES
from ..objectives.base import CapabilityError, Objective
from ..runs.scores import Score
from ..specs.components import DatasetSpec
from .classifier import ObservationClassifier
from .classifier_training import Progress
from .likelihood import FLOW_PRIOR, PROTOCOL
from .queries import Queries
from .real_images import real_batches
from .sampling import PIXELS_AT_ONCE, predictions_of
from .scoring import Judge, accuracy_on_real_images, make_score

WORDS = "_words"
"""Ends the name of a correctness that counts the words of a text alone, and not what it leaves unsaid."""


@dataclass(frozen=True)
class Wording:
    """What the captions of a dataset leave unsaid: on CelebA the absence of every attribute but Male.

    Attributes:
        captions: None where a dataset has none: then nothing is left unsaid.
    """

    captions: Captions | None

    @classmethod
    def of(cls, spec: DatasetSpec) -> Wording:
        """That of a dataset."""
        try:
            return cls(spec.captions())
        except BenchmarkError:
            return cls(None)

    @property
    def silent(self) -> bool:
        """Whether a caption says less than its concept."""
        return self.captions is not None and bool((self._absent == UNSPECIFIED).any())

    @property
    def _absent(self) -> Tensor:
        """Long[A]: what the caption says of the concept whose attributes all have the first value."""
        assert self.captions is not None
        return self.said(torch.zeros(1, len(self.captions.schema), dtype=torch.long))[0]

    def said(self, concepts: Tensor) -> Tensor:
        """What captions say of concepts: Long[N, A], -1 where they are silent."""
        if self.captions is None:
            return concepts
        # Which words a caption of more than the most words loses is left to chance: fixed by the number of the text.
        return self.captions.parse(self.captions.render(concepts, index=torch.arange(len(concepts)), seed=0))

    def completed(self, texts: Tensor) -> Tensor:
        """Texts with every unsaid absence filled in, so that absences count: Long[N, A]."""
        if not self.silent:
            return texts
        unsaid = (texts == UNSPECIFIED) & (self._absent == UNSPECIFIED)
        return texts.masked_fill(unsaid, 0)


def text_scores(
    model: Objective,
    classifier: ObservationClassifier,
    data: ConceptDataModule,
    judge: Judge,
    partition: str,
    *,
    seed: int,
    progress: Progress | None = None,
) -> list[Score]:
    """Protocol ``cremer``: one z ~ q(z|y) for the text of each of at most 2,000 real images, the mean image E[x|z], and
    the fraction of the text's attributes that the classifier finds there, given ones left out (Table 1, Sec. 5.4).

    In the attribute view y is the whole concept; in the text view it is what the image's own caption says, and no more.
    ``correctness`` counts all attributes, absences included; ``correctness_words``, where captions leave absences
    unsaid, only what a caption says. The floor is the base rate: what the image of another text, drawn from the
    training marginals, would score. The ceiling is the classifier's accuracy on held-out real images of the same
    concepts.
    """
    rule = PROTOCOL_RULES["cremer"]
    batches = list(real_batches(data, partition, seed=seed, device=torch.device("cpu")))
    concepts = torch.cat([batch.concept for batch in batches])
    wording = Wording.of(data.spec)
    if data.captions is None:
        asked, said = concepts, wording.said(concepts)
    else:
        asked = said = data.captions.parse(torch.cat([batch.description for batch in batches]))
    queries = Queries(partition, len(data.schema), asked, name="texts")
    predictions = predictions_of(
        model, classifier, data, queries, num_samples=1, seed=seed, mean=rule.image == "mean", progress=progress
    )[:, 0]
    real = accuracy_on_real_images(judge.held_out, concepts)
    marginal = judge.training.marginal()
    base = torch.stack([table[concepts[:, k]] for k, table in enumerate(marginal)], 1)

    def score(metric: str, told: Tensor, attribute: str | None = None) -> Score:
        counted = (told != UNSPECIFIED) & judge.scored
        return make_score(
            metric,
            correctness(predictions[:, None], told),
            judge.intervals,
            partition=partition,
            keep_values=attribute is None,
            ceiling=float(mean_where(real.nan_to_num(), counted & ~real.isnan()).nanmean()),
            floor=float(mean_where(base, counted).nanmean()),
            protocol=rule.name,
            attribute=attribute,
            level=len(data.schema),
            num_samples=1,
        )

    scores = [score("correctness", concepts)]
    for k in data.schema.scored_positions:
        alone = torch.full_like(concepts, UNSPECIFIED)
        alone[:, k] = concepts[:, k]
        scores.append(score("correctness", alone, data.schema.names[k]))
    if wording.silent:
        scores.append(score(f"correctness{WORDS}", said))
    return scores


def prior_scores(
    model: Objective,
    classifier: ObservationClassifier,
    data: ConceptDataModule,
    judge: Judge,
    partition: str,
    *,
    num_images: int,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
) -> tuple[list[Score], dict[str, str]]:
    """``prior_correctness`` and ``prior_correctness_flow_prior``: z ~ p(z), or the flow q(z); the mean image E[x|z]
    against a text y ~ p(y|z) generated from the same z, given attributes left out (Table 2, Sec. 5.4).

    The classifier is told the given attributes of the generated text. With ``_words`` in the name only what the text
    says counts. The floor is the base rate: each text with the images of the other z. It is each model's own: a model
    whose images are all alike has a high one. A text that does not say a given attribute cannot be judged and is left
    out.

    Returns:
        The scores, and for each metric that the objective cannot be asked, why.
    """
    scores: list[Score] = []
    left_out: dict[str, str] = {}
    wording = Wording.of(data.spec)
    for ending in ("", FLOW_PRIOR):
        metric = f"prior_correctness{ending}"
        try:
            texts, predictions = _draw(
                model, classifier, data, flow_prior=bool(ending), num_images=num_images, seed=seed, device=device,
                progress=progress,
            )  # fmt: skip
        except CapabilityError as error:
            left_out[metric] = str(error)
            continue
        told = {"": wording.completed(texts)} | ({WORDS: wording.said(texts)} if wording.silent else {})
        for words, concepts in told.items():
            scores.append(
                make_score(
                    f"prior_correctness{words}{ending}",
                    correctness(predictions[:, None], concepts),
                    judge.intervals,
                    partition=partition,
                    protocol=PROTOCOL,
                    ceiling=classifier.mean_accuracy,
                    floor=float(agreement_by_chance(predictions, concepts).nanmean()),
                    num_samples=1,
                    proposal="q(z)" if ending else "p(z)",
                )
            )
    return scores, left_out


@torch.no_grad()
def _draw(
    model: Objective,
    classifier: ObservationClassifier,
    data: ConceptDataModule,
    *,
    flow_prior: bool,
    num_images: int,
    seed: int,
    device: torch.device,
    progress: Progress | None,
) -> tuple[Tensor, Tensor]:
    """Texts, Long[N, A], and what the classifier reads in the images of the same z, Long[N, A]; on the CPU."""
    given = list(data.schema.given_positions)
    at_once = max(1, PIXELS_AT_ONCE // math.prod(data.image_shape))
    texts, shown = [], []
    training = model.training
    model.eval()
    try:
        for start in range(0, num_images, at_once):
            size = torch.Size([min(at_once, num_images - start)])
            chunk = derive_seed("prior images", seed=seed, flow_prior=flow_prior, start=start)
            with own_randomness(chunk, device):
                # Drawn on the CPU, so that z ~ p(z) are the same for every objective and device.
                z = model.aggregate_prior().sample(size) if flow_prior else torch.randn(*size, model.latent_size)
                z = z.to(device)
                images = model.image_likelihood(z).mean.clamp(0, 1)
                text = model.describe_latents(z, sample=True)
            judged = (text[:, given] >= 0).all(1)
            texts.append(text[judged].cpu())
            shown.append(classifier.predict(images[judged], given=text[judged]).cpu())
            if progress is not None:
                progress("prior", start + size[0], num_images)
    finally:
        model.train(training)
    return torch.cat(texts), torch.cat(shown)
