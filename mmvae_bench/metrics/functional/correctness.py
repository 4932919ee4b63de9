"""Whether images and concepts agree: correctness, compositionality, what an answer that ignores the concept scores, and
descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED
from .validation import NOT_SCORED, as_indices, as_queries, as_reference, as_scored, check_values, mean_where

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float64, Int

# Bounds the memory of the comparison: at most this many queries are compared with all training concepts at once.
_QUERIES_AT_ONCE = 256


def correctness(
    predictions: Int[Tensor, "query sample attribute"], concepts: Int[Tensor, "query attribute"]
) -> Float64[Tensor, " query"]:
    """The fraction of specified attributes that the observation classifier finds in the samples.

    correctness(S, y_O) = mean over samples s in S and attributes k in O of [predicted_sk = y_k]
    (Vedantam et al. 2018, section 3).

    Args:
        predictions: the classifier's value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified.

    Returns:
        A fraction per query; nan where nothing is specified, or nothing that is specified is scored.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> correctness(torch.tensor([[[1, 0], [1, 2]]]), torch.tensor([[1, 2]]))
    tensor([0.7500], dtype=torch.float64)
    """
    predictions, concepts = as_queries(predictions, concepts)
    specified = concepts.unsqueeze(1)
    counted = (specified != UNSPECIFIED) & (predictions != NOT_SCORED)
    return mean_where((predictions == specified).double().flatten(1), counted.flatten(1))


def correctness_chance(
    concepts: Int[Tensor, "query attribute"],
    num_values: Sequence[int],
    *,
    scored: Bool[Tensor, " attribute"] | None = None,
) -> Float64[Tensor, " query"]:
    """The correctness expected of values drawn uniformly: the mean of 1 / num_values over the specified attributes.

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        num_values: how many values each attribute has.
        scored: the attributes that are scored, where not all are.

    Returns:
        A fraction per query; nan where nothing that is scored is specified.

    Raises:
        ValueError: a concept has another number of attributes than ``num_values``, or a value beyond them.

    >>> correctness_chance(torch.tensor([[6, 0], [-1, 1]]), [10, 2])
    tensor([0.3000, 0.5000], dtype=torch.float64)
    """
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    check_values("concepts", concepts, num_values)
    chance = torch.tensor(num_values, dtype=torch.float64, device=concepts.device).reciprocal()
    return mean_where(chance.expand(concepts.shape), (concepts != UNSPECIFIED) & as_scored(scored, concepts))


def blind_correctness(
    concepts: Int[Tensor, "query attribute"],
    read: Sequence[Tensor],
    *,
    scored: Bool[Tensor, " attribute"] | None = None,
) -> Float64[Tensor, " query"]:
    """The correctness expected of images that do not depend on the query: the mean over its attributes of p_k(y_k).

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        read: how often the classifier reads each value of each attribute in those images, Float[value].
        scored: the attributes that are scored, where not all are.

    Returns:
        A fraction per query; nan where nothing that is scored is specified.

    Raises:
        ValueError: a table is no distribution, or a concept has another number of attributes, or a value beyond them.

    >>> blind_correctness(torch.tensor([[1, 0], [-1, 1]]), [torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5])])
    tensor([0.3000, 0.5000], dtype=torch.float64)
    """
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    tables = [table.to(concepts.device) for table in as_reference(read)]
    check_values("concepts", concepts, [len(table) for table in tables])
    agreeing = torch.stack([table[concepts[:, k].clamp(min=0)] for k, table in enumerate(tables)], -1)
    return mean_where(agreeing, (concepts != UNSPECIFIED) & as_scored(scored, concepts))


def blind_all_correct(
    concepts: Int[Tensor, "query attribute"],
    combinations: Int[Tensor, "combination attribute"],
    weights: Float[Tensor, " combination"],
    confusion: Sequence[Tensor],
    *,
    scored: Bool[Tensor, " attribute"] | None = None,
) -> Float64[Tensor, " query"]:
    """How often images that do not depend on the query are read as showing *all* that it specifies.

    ``sum_c w_c prod_{k in O} R_k[c_k, y_k]`` over the combinations c of the images: exact, not sampled. The errors of
    the classifier on the attributes of one image count as independent given its concept.

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        combinations: the distinct concepts of the images, fully specified.
        weights: how often each occurs; they are normalised here.
        confusion: R_k of each attribute, Float[value, value]: how often a true value (row) is read as each (column).
        scored: the attributes that are scored, where not all are.

    Returns:
        A fraction per query; nan where nothing that is scored is specified.

    >>> both = torch.tensor([[0, 0], [1, 1]])
    >>> blind_all_correct(torch.tensor([[1, 1], [0, 1], [0, -1]]), both, torch.tensor([3.0, 1.0]), [torch.eye(2)] * 2)
    tensor([0.2500, 0.0000, 0.7500], dtype=torch.float64)
    """
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    combinations = as_indices(combinations, "combinations", "[combination, attribute]").to(concepts.device)
    counted = (concepts != UNSPECIFIED) & as_scored(scored, concepts)
    found = torch.full((len(concepts),), torch.nan, dtype=torch.float64, device=concepts.device)
    weights = weights.to(concepts.device).double()
    for query in counted.any(1).nonzero()[:, 0].tolist():
        agreeing = weights / weights.sum()
        for k in counted[query].nonzero()[:, 0].tolist():
            table = confusion[k].to(concepts.device).double()
            agreeing = agreeing * table[combinations[:, k], concepts[query, k]]
        found[query] = agreeing.sum()
    return found


def satisfied(
    concepts: Int[Tensor, "query attribute"], training_concepts: Int[Tensor, "combination attribute"]
) -> Bool[Tensor, " query"]:
    """Whether some training concept agrees with a concept on every attribute that the concept specifies.

    An attribute that a training concept leaves unspecified agrees with no specified value.

    Raises:
        ValueError: the two have different numbers of attributes, or the values are not indices.

    >>> satisfied(torch.tensor([[0, -1], [0, 1]]), torch.tensor([[0, 0], [1, 1]]))
    tensor([ True, False])
    """
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    training = as_indices(training_concepts, "training_concepts", "[combination, attribute]").to(concepts.device)
    if concepts.shape[1] != training.shape[1]:
        raise ValueError(f"concepts have {concepts.shape[1]} attributes, training concepts {training.shape[1]}")
    found = torch.zeros(len(concepts), dtype=torch.bool, device=concepts.device)
    for start in range(0, len(concepts), _QUERIES_AT_ONCE):
        queries = concepts[start : start + _QUERIES_AT_ONCE]
        agrees = torch.ones(len(queries), len(training), dtype=torch.bool, device=concepts.device)
        for value, known in zip(queries.unbind(1), training.unbind(1), strict=True):
            agrees &= (value == UNSPECIFIED).unsqueeze(1) | (value.unsqueeze(1) == known)
        found[start : start + _QUERIES_AT_ONCE] = agrees.any(1)
    return found


def compositionality(
    predictions: Int[Tensor, "query sample attribute"],
    concepts: Int[Tensor, "query attribute"],
    training_concepts: Int[Tensor, "combination attribute"],
) -> Float64[Tensor, " query"]:
    """Correctness over the concepts that no training concept satisfies; nan for the others.

    The paper asks for test concepts that differ in at least one attribute from the training concepts (Vedantam et al.
    2018, section 3). A partial concept differs where no training concept agrees with all that it specifies.

    Args:
        predictions: the classifier's value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        training_concepts: the combinations seen in training; duplicates are allowed.

    Raises:
        ValueError: shapes disagree, or the values are not indices.

    >>> compositionality(torch.tensor([[[0, 0]], [[0, 1]]]), torch.tensor([[0, 0], [0, 1]]), torch.tensor([[0, 0]]))
    tensor([nan, 1.], dtype=torch.float64)
    """
    scores = correctness(predictions, concepts)
    return scores.masked_fill(satisfied(concepts, training_concepts).to(scores.device), torch.nan)


def agreement_by_chance(
    predictions: Int[Tensor, "image attribute"], concepts: Int[Tensor, "image attribute"]
) -> Float64[Tensor, " image"]:
    """The correctness that each text would have, in expectation, with the image of *another* text: the base rate.

    For text i the mean over the attributes k that it specifies of the fraction, among the images j other than i whose
    attribute k is scored, of [predicted_jk = y_ik]. Where most attributes are absent from most images this is high, as
    on CelebA, and a correctness means something only compared with it.

    Args:
        predictions: the classifier's value of each attribute in the image of each text; -1 where it is not scored.
        concepts: the value each text gives; -1 where an attribute is not mentioned.

    Returns:
        A fraction per text; nan where nothing that is mentioned is scored in another image.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> agreement_by_chance(torch.tensor([[1], [1], [0]]), torch.tensor([[1], [0], [0]]))
    tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    predictions = as_indices(predictions, "predictions", "[image, attribute]")
    concepts = as_indices(concepts, "concepts", "[image, attribute]")
    if predictions.shape != concepts.shape:
        raise ValueError(
            "predictions and concepts must both be [image, attribute]: "
            f"got {tuple(predictions.shape)} and {tuple(concepts.shape)}"
        )
    fractions = torch.zeros(concepts.shape, dtype=torch.float64, device=concepts.device)
    counted = torch.zeros_like(fractions, dtype=torch.bool)
    for k in range(concepts.shape[1] if len(concepts) else 0):
        shown, said = predictions[:, k], concepts[:, k]
        scored = shown != NOT_SCORED
        counts = torch.bincount(shown[scored], minlength=1 + int(said.max().clamp(min=0)))
        others = scored.sum() - scored.long()
        matching = counts[said.clamp(min=0)] - (scored & (shown == said)).long()
        fractions[:, k] = matching / others.clamp(min=1)
        counted[:, k] = (said != UNSPECIFIED) & (others > 0)
    return mean_where(fractions, counted)


def description_values(
    predictions: Int[Tensor, "batch attribute"], concepts: Int[Tensor, "batch attribute"]
) -> Float64[Tensor, "batch attribute"]:
    """1 where a description is right, 0 where it is wrong, nan if it is not scored.

    Args:
        predictions: the described value of each attribute; -1 where it is not scored.
        concepts: the true value; -1 where it is unknown, which leaves the image out for that attribute.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> description_values(torch.tensor([[3, 1]]), torch.tensor([[8, -1]]))
    tensor([[0., nan]], dtype=torch.float64)
    """
    predictions = as_indices(predictions, "predictions", "[batch, attribute]")
    concepts = as_indices(concepts, "concepts", "[batch, attribute]").to(predictions.device)
    if predictions.shape != concepts.shape:
        raise ValueError(f"predictions {tuple(predictions.shape)} and concepts {tuple(concepts.shape)} disagree")
    scored = (concepts != UNSPECIFIED) & (predictions != NOT_SCORED)
    return (predictions == concepts).double().masked_fill(~scored, torch.nan)


def description_accuracy(
    predictions: Int[Tensor, "batch attribute"], concepts: Int[Tensor, "batch attribute"]
) -> Float64[Tensor, " attribute"]:
    """The fraction of images whose description is right, for each attribute: the mean of :func:`description_values`.

    Args:
        predictions: the described value of each attribute; -1 where it is not scored.
        concepts: the true value; -1 where it is unknown, which leaves the image out for that attribute.

    Returns:
        A fraction per attribute; nan where nothing is scored.

    Raises:
        ValueError: the shapes disagree, or the values are not indices.

    >>> description_accuracy(torch.tensor([[3, 0], [3, 1]]), torch.tensor([[3, 1], [8, -1]]))
    tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    return description_values(predictions, concepts).nanmean(0)
