"""``mmvae-bench confusion``: which value of an attribute is read where another was asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import BenchmarkError, ConfigError, Problem, unknown
from ..runs.folder import read_model, read_result
from ..runs.names import RESULT_FILE
from .asking import AsJson, TrialDir, answer

if TYPE_CHECKING:
    from ..report.confusion import Confusion
    from ..specs.trial import TrialSpec


def confusion(
    trial_dir: TrialDir,
    attribute: Annotated[
        str | None, typer.Option(metavar="NAME", help="This attribute alone; default: all of them.")
    ] = None,
    level: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="Specified attributes of the queries; default: the most.")
    ] = None,
    partition: Annotated[str, typer.Option(metavar="NAME", help="val or test.")] = "test",
    as_json: AsJson = False,
) -> None:
    """Print which value was asked for and which was read. Rows are asked for, columns read, in %."""
    spec = read_model(trial_dir)
    schema = spec.dataset.concept_schema()
    if attribute is not None and attribute not in schema.names:
        raise ConfigError([unknown("attribute", attribute, schema.names, ("--attribute",))])
    try:
        result = read_result(trial_dir / RESULT_FILE)
    except FileNotFoundError:
        raise BenchmarkError(f"{trial_dir} has no {RESULT_FILE}: the trial is not done") from None
    record = result.get("confusion")
    if record is None:
        if reason := _never(spec):
            raise BenchmarkError(f"{trial_dir}: {reason}")
        raise BenchmarkError(
            f"{trial_dir}: no confusion is stored: the model cannot imagine the fixed queries, or was evaluated before "
            f"it was counted; mmvae-bench evaluate {trial_dir} counts it"
        )
    from ..report.confusion import confusions

    levels = sorted({each["level"] for each in record["asked"] if each["partition"] == partition})
    if not levels:
        known = sorted({each["partition"] for each in record["asked"]})
        raise ConfigError([unknown("partition", partition, known, ("--partition",))])
    if level is not None and level not in levels:
        message = f"no query specifies that many attributes; choices: {', '.join(map(str, levels))}"
        raise ConfigError([Problem(message, ("--level",), str(level))])
    found = confusions([result], partition=partition, level=level)
    found = tuple(each for each in found if attribute in (None, each.attribute))
    if not found:
        what = "no attribute is" if attribute is None else f"attribute {attribute} is not"
        raise BenchmarkError(f"{trial_dir}: {what} among the tables of confusion: only scored attributes are counted")
    document = {"partition": partition, "attributes": [_plain(each) for each in found]}
    answer(document, _lines(found), as_json)


def _never(spec: TrialSpec) -> str | None:
    """Why no evaluation of a trial can count any confusion; None if one can."""
    dataset, objective = spec.dataset, spec.objective
    if dataset.domain != "images":
        holds = "is a graph" if dataset.domain == "graph" else "holds words and links of papers"
        return f"{dataset.name} {holds}: there are no images to read attributes off"
    if "concept" not in objective.posteriors:
        return f"{objective.name} has no q(z|y), so it cannot imagine the queries whose images would be counted"
    return None


def _plain(each: Confusion) -> dict[str, Any]:
    return {
        "attribute": each.attribute,
        "level": each.level,
        "images": each.images,
        "values": list(each.values),
        "counts": each.counts.tolist(),
        "real": None if each.real is None else each.real.tolist(),
    }


def _lines(found: tuple[Confusion, ...]) -> Iterator[str]:
    """A table per attribute; the last column is the same value of held-out real images."""
    from ..report.confusion import shares_of

    for place, each in enumerate(found):
        if place:
            yield ""
        shown = "means of p(x|z)" if each.images == "mean" else "samples"
        yield f"{each.attribute}: asked (down) against read (across), %, level {each.level}, {shown}"
        width = max(map(len, each.values))
        heads = [*each.values, "real, right"]
        columns = [max(6, len(head)) for head in heads]
        yield " " * width + "".join(f"  {head:>{size}}" for head, size in zip(heads, columns, strict=True))
        for row, value in enumerate(each.values):
            real = math.nan if each.real is None else shares_of(each.real)[row, row]
            cells = [*each.shares[row], real]
            texts = ["–" if math.isnan(share) else f"{100 * share:.1f}" for share in cells]
            yield f"{value:{width}}" + "".join(f"  {text:>{size}}" for text, size in zip(texts, columns, strict=True))
