"""The image and the text of one z from the prior, as Cremer and Kushman (2018) compare them: their table 2.

Shapes: N text, A attribute, D latent dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...metrics.functional import agreement_by_chance, correctness
from ...objectives.base import CapabilityError
from ...runs.scores import Score
from ...specs.trial import EvaluationSpec
from ..likelihood import FLOW_PRIOR, PROTOCOL
from ..sampling import images_at_once
from ..wording import Wording
from .base import Context, Question
from .texts import WORDS


class Prior(Question):
    """``prior_correctness`` and ``prior_correctness_flow_prior``: z ~ p(z), or the flow q(z); the mean image E[x|z]
    against a text y ~ p(y|z) generated from the same z, given attributes left out (Table 2, Sec. 5.4).

    The classifier is given the given attributes of the generated text. With ``_words`` in the name only what the text
    says counts. The floor is the base rate: each text with the images of the other z. It differs between models: a
    model whose images are all alike has a high base rate. A text that does not mention a given attribute cannot be
    judged and is left out.
    """

    def wanted(self, evaluation: EvaluationSpec) -> bool:
        """Whether ``prior_images`` is positive."""
        return evaluation.prior_images > 0

    def ask(self, context: Context) -> list[Score]:
        """Scores under p(z) and under the flow."""
        scores: list[Score] = []
        wording = Wording.of(context.data.spec)
        for ending in ("", FLOW_PRIOR):
            metric = f"prior_correctness{ending}"
            try:
                texts, predictions = _draw(context, flow_prior=bool(ending))
            except CapabilityError as error:
                context.left_out[metric] = str(error)
                continue
            counted = {"": wording.completed(texts)} | ({WORDS: wording.said(texts)} if wording.silent else {})
            for words, concepts in counted.items():
                scores.append(
                    context.score(
                        f"prior_correctness{words}{ending}",
                        correctness(predictions[:, None], concepts),
                        protocol=PROTOCOL,
                        ceiling=context.classifier.mean_accuracy,
                        floor=float(agreement_by_chance(predictions, concepts).nanmean()),
                        num_samples=1,
                        proposal="q(z)" if ending else "p(z)",
                    )
                )
        return scores


def _draw(context: Context, *, flow_prior: bool) -> tuple[Tensor, Tensor]:
    """Texts, Long[N, A], and what the classifier reads in the images of the same z, Long[N, A]; on the CPU."""
    model, evaluation = context.model, context.evaluation
    given = list(context.data.schema.given_positions)
    at_once = images_at_once(context.data.image_shape)
    texts, shown = [], []
    for start in range(0, evaluation.prior_images, at_once):
        size = torch.Size([min(at_once, evaluation.prior_images - start)])
        chunk = derive_seed("prior images", seed=evaluation.seed, flow_prior=flow_prior, start=start)
        with own_randomness(chunk, context.device):
            # Drawn on the CPU, so that z ~ p(z) are the same for every objective and device.
            z = model.aggregate_prior().sample(size) if flow_prior else model.sample_prior(*size)
            z = z.to(context.device)
            images = model.image_likelihood(z).mean.clamp(0, 1)
            text = model.describe_latents(z, sample=True)
        judged = (text[:, given] >= 0).all(1)
        texts.append(text[judged].cpu())
        shown.append(context.classifier.predict(images[judged], given=text[judged]).cpu())
        context.report("prior", start + size[0], evaluation.prior_images)
    return torch.cat(texts), torch.cat(shown)
