"""How far the aggregate posterior of images is from the prior, and that of the images of a query from q(z|y).

Shapes: N image, S sample, Q query, A attribute, D latent dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from ...base.heartbeat import beat
from ...base.seeds import derive_seed
from ...concepts import satisfies
from ...concepts.captions import CAPTION_SEED
from ...data.base import ConceptDataModule
from ...distributions.latents import diagonal_normal
from ...metrics.functional import aggregate_terms, moment_fit
from ...objectives.base import POSTERIOR_NAMES, CapabilityError, Objective
from ...runs.scores import Score
from ...specs.built_in.questions import MismatchSpec
from ...specs.components import Posterior
from ..likelihood import FLOW_PRIOR
from ..queries import Queries
from ..sampling import images_at_once
from ..scoring import mean_of
from ..wording import Wording
from .base import NO_IMAGINATION, Context, Question

_QUERIES_AT_ONCE = 64
Values = tuple[float, float, float]
"""Of one query: the mismatch of q(z|y), of the normal with the same moments, and of N(0, I)."""


@dataclass(frozen=True)
class Posteriors:
    """The normal posteriors of training images, on the CPU.

    Attributes:
        rows: Long[N], of the images in the store, ascending.
        means: Float64[N, D].
        scales: Float64[N, D].
    """

    rows: Tensor
    means: Tensor
    scales: Tensor

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of some of them."""
        place = torch.searchsorted(self.rows, rows)
        return self.means[place], self.scales[place]


class Mismatch(Question):
    """``concept_mismatch`` at every level, and ``aggregate_mismatch`` with its two companions, all in nats.

    The aggregate is that of q(z|x) over training images, as far as it is a diagonal normal, or else of q(z|x,y): then
    it is a mixture of normals with a density (see :func:`~mmvae_bench.metrics.functional.aggregate_terms`). Images and
    noise are the same for every objective. z is drawn from the posteriors themselves, so the only error is that of
    drawing z.
    """

    spec: MismatchSpec

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        """A reason if no posterior of an image is a diagonal normal."""
        if self._kind(model, data) is None:
            return f"{model.spec.name} has no posterior of an image that is a diagonal normal"
        return None

    def ask(self, context: Context) -> list[Score]:
        """The scores of the queries of a partition, and those of all training images."""
        kind = self._kind(context.model, context.data)
        assert kind is not None
        seed = derive_seed("aggregate images", seed=context.evaluation.seed)
        rows = context.data.rows("train").cpu()
        order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
        asked = [(queries, *self._images_of(context, queries, order)) for queries in context.queries]
        needed = [order[: self.spec.num_images], *(part for _, _, members in asked for part in members.values())]
        posteriors = _encoded(context, kind, torch.cat(needed).unique())
        if not context.model.can_imagine:
            context.left_out["concept_mismatch"] = NO_IMAGINATION
        scores = [
            score
            for queries, texts, members in asked
            for score in self._of_queries(context, kind, queries, texts, members, posteriors)
        ]
        if asked and not scores and "concept_mismatch" not in context.left_out:
            few = f"no query that the model can take has {self.spec.least_images} training images"
            context.left_out["concept_mismatch"] = few
        return scores + self._of_all(context, kind, *posteriors.of(order[: self.spec.num_images]))

    def _kind(self, model: Objective, data: ConceptDataModule) -> Posterior | None:
        """The first posterior of images that is a diagonal normal."""
        batch = data.store.batch(data.rows("train")[:2]).to(model.device)
        kinds: tuple[Posterior, ...] = ("image", "joint")
        for kind in kinds:
            if kind in model.spec.posteriors:
                q = model.posterior(batch.image, batch.description if kind == "joint" else None)
                if isinstance(q, Independent) and isinstance(q.base_dist, Normal):
                    return kind
        return None

    def _images_of(self, context: Context, queries: Queries, order: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """What q(z|y) is told of each query, Long[Q, A] or in the text view its caption, and the training images that
        satisfy it, of those that enough do: rows by the number of the query."""
        data, wanted = context.data, queries.concepts
        texts = wanted
        if data.captions is not None:
            texts = data.captions.render(wanted, index=torch.arange(len(wanted)), seed=CAPTION_SEED)
            wanted = Wording(data.captions).completed(data.captions.parse(texts))
        concepts, members = data.store.concepts[order.to(data.store.concepts.device)].cpu(), {}
        for start in range(0, len(wanted), _QUERIES_AT_ONCE):
            for number, fits in enumerate(satisfies(concepts, wanted[start : start + _QUERIES_AT_ONCE]), start):
                found = order[fits]
                if len(found) >= self.spec.least_images:
                    members[number] = found[: self.spec.images_per_query]
            beat()
        return texts, members

    def _of_queries(
        self,
        context: Context,
        kind: Posterior,
        queries: Queries,
        texts: Tensor,
        members: dict[int, Tensor],
        posteriors: Posteriors,
    ) -> list[Score]:
        """``concept_mismatch`` of one level; nothing if no query has enough images."""
        seed = derive_seed(
            "concept mismatch", seed=context.evaluation.seed, partition=queries.partition, level=queries.level
        )
        generator = torch.Generator().manual_seed(seed)
        known: dict[tuple[int, ...], Values] = {}
        values = torch.full((len(queries), 3), torch.nan, dtype=torch.float64)
        try:
            for number, rows in members.items():
                key = tuple(texts[number].tolist())
                if key not in known:
                    q = context.model.posterior(concept=texts[number : number + 1].to(context.device))
                    known[key] = self._mismatches(q, *posteriors.of(rows), generator, context.device)
                values[number] = torch.tensor(known[key], dtype=torch.float64)
                context.report("mismatch", number + 1, len(queries))
        except CapabilityError as error:
            # CVAE imputes what a query leaves open, so that only full concepts have a density of z.
            context.left_out[f"concept_mismatch, {queries.level} of {len(context.data.schema)} attributes"] = str(error)
            return []
        if not members:
            return []
        mismatch, normal, prior = values.T
        score = context.score(
            "concept_mismatch", mismatch, groups=queries.groups, ceiling=mean_of(normal), floor=mean_of(prior),
            level=queries.level, num_samples=self.spec.num_samples, proposal=POSTERIOR_NAMES[kind],
        )  # fmt: skip
        return [score]

    def _mismatches(
        self, q: Distribution, means: Tensor, scales: Tensor, generator: torch.Generator, device: torch.device
    ) -> Values:
        shape = (len(means), self.spec.num_samples, means.shape[1])
        z = means[:, None] + scales[:, None] * torch.randn(shape, generator=generator, dtype=torch.float64)
        flat = z.flatten(0, 1)
        own = q.log_prob(flat[:, None].float().to(device)).cpu()[:, 0].unflatten(0, shape[:2])
        centre, spread = moment_fit(means, scales)
        zeros = torch.zeros_like(centre)
        targets = (own, *(diagonal_normal(*fit).log_prob(z) for fit in ((centre, spread.log()), (zeros, zeros))))
        terms = aggregate_terms(z, means, scales)
        mismatch, normal, prior = (float(terms.mismatch(each).mean()) for each in targets)
        return mismatch, normal, prior

    def _of_all(self, context: Context, kind: Posterior, means: Tensor, scales: Tensor) -> list[Score]:
        """The scores of the aggregate of all images."""
        seed = derive_seed("aggregate mismatch", seed=context.evaluation.seed)
        noise = torch.randn(means.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        z = (means + scales * noise)[:, None]
        centre, spread = moment_fit(means, scales)

        def log_density(target: Distribution) -> Tensor:
            return torch.cat([target.log_prob(part.float().to(context.device)).cpu() for part in z.split(1000)])

        def score(name: str, values: Tensor, ceiling: float = torch.nan) -> Score:
            return context.score(
                name, values, keep_values=False, ceiling=ceiling, num_samples=1, proposal=POSTERIOR_NAMES[kind]
            )

        terms = aggregate_terms(z, means, scales)
        best = float(terms.mismatch(diagonal_normal(centre, spread.log()).log_prob(z)).mean())
        scores = [score("aggregate_information", terms.information)]
        try:
            log_flow = log_density(context.model.aggregate_prior())
            scores.insert(0, score(f"aggregate_mismatch{FLOW_PRIOR}", terms.mismatch(log_flow), best))
        except CapabilityError as error:
            context.left_out[f"aggregate_mismatch{FLOW_PRIOR}"] = str(error)
        if getattr(context.model.spec, "prior", "standard") == "conditional":
            reason = f"{context.model.spec.name} learns p(z|y): there is no one p(z) that z is drawn from"
            context.left_out.update(dict.fromkeys(("aggregate_mismatch", "aggregate_rate"), reason))
            return scores
        own = context.model.own_prior()
        if own is None:
            zeros = torch.zeros_like(means)
            prior = diagonal_normal(zeros, zeros)
            mismatch = terms.mismatch(prior.log_prob(z[:, 0])[:, None])
            rate = kl_divergence(diagonal_normal(means, scales.log()), prior)
        else:
            mismatch = terms.mismatch(log_density(own))
            rate = mismatch + terms.information  # Of a mixture there is no closed form.
        return [score("aggregate_mismatch", mismatch, best), *scores, score("aggregate_rate", rate)]


def _encoded(context: Context, kind: Posterior, rows: Tensor) -> Posteriors:
    """The posteriors of training images, row by row."""
    means, scales, done = [], [], 0
    for part in rows.split(images_at_once(context.data.image_shape)):
        batch = context.data.store.batch(part).to(context.device)
        q = context.model.posterior(batch.image, batch.description if kind == "joint" else None)
        means.append(q.mean.double().cpu())
        scales.append(q.stddev.double().cpu())
        done += len(part)
        context.report("encode", done, len(rows))
    return Posteriors(rows, torch.cat(means), torch.cat(scales))
