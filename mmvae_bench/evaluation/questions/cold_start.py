"""Papers that no model has seen: their links from their words alone, and their class from links or words.

Shapes: N paper, n training paper, V word, D latent dimension, P pair of an unseen paper and a training paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ...base.heartbeat import beat
from ...data.papers import Pairs, PapersDataModule
from ...metrics.functional.links import link_auc, link_average_precision
from ...metrics.functional.representations import linear_probe
from ...objectives.base import CapabilityError, Objective
from ...objectives.gae import GAE
from ...runs.scores import Score
from .base import Context, Question

CHANCE = 0.5
"""Of AUC and AP, since there are as many pairs with a link as without."""
Scores = Callable[[Tensor, Tensor], Tensor]
"""Rows of unseen papers and of training papers, Long[P] each, to Float[P]."""
Codes = Callable[[Tensor], Tensor]
"""Rows of papers, Long[N], to what their class is read off, Float64[N, D]."""


class ColdStart(Question):
    """``cold_auc`` and ``cold_ap`` from q(z|x), and ``class_from_words``, ``class_from_links`` and ``class_from_both``,
    each beside what needs no model.

    AUC and AP have no interval of their own: how they depend on the papers held out and on initial weights is what
    seeds show. A class is scored paper by paper, those without a known class left out.
    """

    def ask(self, context: Context) -> list[Score]:
        """The scores of a partition."""
        data, model, partition = cast(PapersDataModule, context.data), context.model, context.partition
        pairs = data.pairs(partition)
        predicted = _by_inner_products(model, data, partition) if isinstance(model, GAE) else _by_row(model, data)
        found = _link_scores(context, pairs, "", predicted)
        for how, scores in (("_cosine", _cosine(data)), ("_similar", _links_of_similar(data))):
            found += _link_scores(context, pairs, how, scores)
        read = _of_nodes(model, data, partition) if isinstance(model, GAE) else _of_rows(model, data)
        for name, codes in (read | _raw(data)).items():
            try:
                found.append(_class_score(context, data, name, codes))
            except CapabilityError as error:
                context.left_out[f"class_from_{name}"] = str(error)
            beat()
        return found


def _by_row(model: Objective, data: PapersDataModule) -> Scores:
    """The logit of p(y_k = 1|z) at the mean of q(z|x)."""
    store, columns = data.store, torch.full((len(data.store),), -1)
    columns[data.parts["train"]] = torch.arange(len(data.parts["train"]))

    def predicted(unseen: Tensor, seen: Tensor) -> Tensor:
        rows, place = unseen.unique(return_inverse=True)
        z = model.centre(model.posterior(image=store.batch(rows.to(model.device)).image))
        logits: Tensor = model.concept_likelihood(z).logits.double().cpu()  # type: ignore[attr-defined]
        return logits[place, columns[seen]]

    return predicted


def _by_inner_products(model: GAE, data: PapersDataModule, partition: str) -> Scores:
    """z_i . z_j at the means of q(z|X,A), in the graph in which an unseen paper has no link."""
    batch = next(iter(data.batches(partition)))
    assert batch.graph is not None
    z = torch.zeros(len(data.store), model.latent_size, dtype=torch.float64)
    z[data.graph_papers(partition)] = model.centre(model.graph_posterior(batch.graph)).double().cpu()
    return lambda unseen, seen: (z[unseen] * z[seen]).sum(1)


def _cosine(data: PapersDataModule) -> Scores:
    words = F.normalize(torch.from_numpy(data.whole.words).double())
    return lambda unseen, seen: (words[unseen] * words[seen]).sum(1)


def _links_of_similar(data: PapersDataModule) -> Scores:
    """sum_k cos(x_i, x_k) A_kj over training papers k, with A_jj = 1: what papers with similar words are linked to."""
    train = data.parts["train"]
    words = F.normalize(torch.from_numpy(data.whole.words).double())
    similar = torch.zeros(len(words), len(words), dtype=torch.float64)
    similar[:, train] = words @ words[train].T @ data.store.concepts[train].double().cpu()
    return lambda unseen, seen: similar[unseen, seen]


def _link_scores(context: Context, pairs: Pairs, how: str, predicted: Scores) -> list[Score]:
    linked, unlinked = predicted(*pairs.linked), predicted(*pairs.unlinked)
    values = {f"cold_auc{how}": link_auc(linked, unlinked), f"cold_ap{how}": link_average_precision(linked, unlinked)}
    return [
        replace(
            context.score(name, torch.tensor([value], dtype=torch.float64), keep_values=False, floor=CHANCE),
            num_queries=len(linked),
        )
        for name, value in values.items()
    ]


def _of_rows(model: Objective, data: PapersDataModule) -> dict[str, Codes]:
    """What a class is read off, by name: the mean of a posterior."""

    def coded(image: bool, links: bool) -> Codes:
        def codes(rows: Tensor) -> Tensor:
            batch = data.store.batch(rows.to(model.device))
            q = model.posterior(batch.image if image else None, batch.concept if links else None)
            return model.centre(q).double().cpu()

        return codes

    return {"words": coded(True, False), "links": coded(False, True), "both": coded(True, True)}


def _of_nodes(model: GAE, data: PapersDataModule, partition: str) -> dict[str, Codes]:
    """The same of q(z|X,A): from words, in a graph without links; from both, with the links of unseen papers too.

    Training papers and unseen ones are shown alike, as to :func:`_of_rows`.
    """
    papers, place = data.graph_papers(partition), torch.full((len(data.store),), -1)
    place[papers] = torch.arange(len(papers))

    def coded(links: Literal["none", "all"]) -> Codes:
        def codes(rows: Tensor) -> Tensor:
            q = model.graph_posterior(data.graph(partition, links=links).to(model.device))
            return model.centre(q).double().cpu()[place[rows.cpu()]]

        return codes

    def from_links(rows: Tensor) -> Tensor:
        raise CapabilityError(f"{model.spec.name} has q(z|X,A), which reads the words of a paper with its links")

    return {"words": coded("none"), "links": from_links, "both": coded("all")}


def _raw(data: PapersDataModule) -> dict[str, Codes]:
    return {
        "raw_words": lambda rows: data.store.batch(rows).image.flatten(1).double().cpu(),
        "raw_links": lambda rows: data.store.batch(rows).concept.double().cpu(),
    }


def _class_score(context: Context, data: PapersDataModule, name: str, codes: Codes) -> Score:
    rows = {part: data.parts[part][data.labels[data.parts[part]] >= 0] for part in ("train", context.partition)}
    train, test = (codes(each).numpy() for each in rows.values())
    known, truth = (data.labels[each] for each in rows.values())
    right = torch.from_numpy(linear_probe(train, known.numpy(), test)) == truth
    floor = float((truth == known.mode().values).double().mean())
    return context.score(f"class_from_{name}", right.double(), floor=floor, ceiling=1.0)
