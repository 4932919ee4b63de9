"""What the images of the fixed queries were asked to show, against what the classifier reads in them, by attribute.

Counted from the predictions that the scores are made of; no image is drawn for it. Beside it the same of held-out real
images, which is the classifier's own confusion.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..metrics.functional import confusion_counts
from .questions import Context

Table = dict[str, Any]
"""``partition``, ``level``, ``images`` (sample | mean), ``attribute``, its ``values``, and ``counts``: how many images
that were asked for one value (row) are read as each (column). Of real images without the first three."""


def confusion_of(context: Context) -> list[Table]:
    """The tables of the fixed queries of a partition, by level and attribute; none where no question has drawn them."""
    tables = []
    for queries in context.queries:
        for mean in dict.fromkeys(mean for _, mean in context.shown):  # Both may be the mean.
            predictions = context.already_read(queries, mean=mean)
            if predictions is not None:
                images = "mean" if mean else "sample"
                head = {"partition": queries.partition, "level": queries.level, "images": images}
                tables += [head | table for table in _by_attribute(context, predictions, queries.concepts)]
    return tables


def real_confusion(context: Context) -> list[Table]:
    """The tables of held-out real images, of the test part of split ``iid``: the classifier's own confusion."""
    held_out = context.judge.held_out
    return _by_attribute(context, held_out.predictions[:, None], held_out.concepts)


def _by_attribute(context: Context, predictions: Tensor, concepts: Tensor) -> list[Table]:
    schema = context.data.schema
    counts = confusion_counts(predictions, concepts, schema.sizes)
    return [
        {"attribute": schema.names[k], "values": list(schema.attributes[k].values), "counts": counts[k].tolist()}
        for k in schema.scored_positions
    ]
