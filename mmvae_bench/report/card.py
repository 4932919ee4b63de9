"""Cards as Markdown: of an exported model, what it is, how it was trained, what it scores and how to load it; of an
exported dataset, what it holds and under which licence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..metrics.catalogue import metric_info, metric_order
from ..runs.scores import Score
from ..runs.stale import mixture, other_packages
from ..specs.built_in.datasets import NAMED_TEXTURES, PLAIN
from ..specs.components import DatasetSpec
from ..specs.trial import TrialSpec
from .grouping import flatten
from .markdown import escape, table
from .notes import duration
from .text import DASH, level_text, number

if TYPE_CHECKING:
    from ..data.shards.parquet_form import ExportPassport

LICENCES: Mapping[str, str] = {
    "mnist": "MNIST: Creative Commons Attribution-Share Alike 3.0 (Yann LeCun, Corinna Cortes)",
    "digits": "Optical Recognition of Handwritten Digits, as in scikit-learn: Creative Commons Attribution 4.0 (UCI)",
    "celeba": "CelebA: for non-commercial research only, under the agreement of its authors (Liu et al. 2015)",
    "drawn": "drawn by mmvae-bench (MIT licence)",
    "svhn": "SVHN (Netzer et al. 2011): for non-commercial use only",
    "yale": "the extended Yale Face Database B (Georghiades et al. 2001, Lee et al. 2005): for research, cited",
    "dsprites": "dSprites (Matthey et al. 2017): under the licence of its authors",
    **dict.fromkeys(("arrays", "folder"), "the user's own images, under their own licence"),
    "mitsuba": "rendered by mmvae-bench (MIT licence) with Mitsuba 3",
    "lfw files": "LFW (Huang et al. 2007): press photographs, under the rights of their owners",
    "sprites dsprites": "the shapes are those of dSprites (Matthey et al. 2017), under the licence of its authors; all "
    "else is drawn by mmvae-bench (MIT licence)",
    "cub files": "CUB-200-2011 (Wah et al. 2011): for non-commercial research and education only",
}
"""The licence of the pixels, by ``source``; or by name and source, where several datasets call theirs the same."""

TAGS: Mapping[str, str] = {"mnist": "cc-by-sa-3.0", "digits": "cc-by-4.0", "drawn": "mit", "mitsuba": "mit"}
"""The names that the hub has for licences, by ``source``; everything else is ``other``."""


def model_card(spec: TrialSpec, result: Mapping[str, Any], *, samples: str | None = None) -> str:
    """The card of a finished trial.

    Args:
        spec: The trial.
        result: Its ``result.json``, checked.
        samples: The name of a sheet of samples next to the card; None if there is none.
    """
    return "\n".join(_lines(spec, result, samples)) + "\n"


def _lines(spec: TrialSpec, result: Mapping[str, Any], samples: str | None) -> Iterator[str]:
    objective, dataset = spec.objective, spec.dataset
    tags = ["multimodal-vae", objective.name, dataset.name]
    yield from ("---", "library_name: mmvae-bench", f"tags: {json.dumps(tags)}", "---", "")
    yield f"# {escape(f'{objective.name} on {dataset.name}')}"
    yield ""
    what = {"images": "multimodal VAE of images and concepts", "papers": "model of the words and links of papers"}.get(
        dataset.domain, "model of a graph"
    )
    yield f"A {what}: {escape(objective.summary)} ({escape(objective.reference)})."
    yield "It was trained and evaluated by mmvae-bench, which compares objectives on the same networks and questions."
    yield from ("", f"- trial: `{spec.key}`", f"- objective: {escape(_part(objective.name, objective.parameters()))}")
    yield from ("", "## Data", "", *_data(dataset, result))
    yield from ("", "## Training", "", *_training(spec, result))
    yield from ("", "## Scores", "", *_scores(result, dataset))
    if samples is not None:
        yield from ("", "## Samples", "", f"![Images imagined by the model, by query]({samples})")
    others = other_packages(result)
    needed = [f"It needs mmvae-bench and, for parts of it, {escape(others)}.", ""] if others is not None else []
    yield from ("", "## How to load it", "", *needed, *_loading(spec))
    yield from ("", "## Licence", "")
    yield f"- images: {escape(_licence(dataset))}"
    yield "- code: mmvae-bench, MIT licence" + (f"; {escape(others)}, under its own" if others is not None else "")
    yield "- weights: chosen by whoever publishes them, within what the images allow"


def dataset_card(spec: DatasetSpec, passport: ExportPassport) -> str:
    """The card of a dataset that was written as Parquet files.

    Args:
        spec: The dataset.
        passport: What the export says of itself.
    """
    return "\n".join(_dataset_lines(spec, passport)) + "\n"


def _dataset_lines(spec: DatasetSpec, passport: ExportPassport) -> Iterator[str]:
    licence = "other" if _has_pictures(spec) else TAGS.get(spec.source, "other")
    yield from ("---", f"tags: {json.dumps(['multimodal-vae', spec.name])}", f"license: {licence}", "---", "")
    yield f"# {escape(spec.name)}"
    yield ""
    yield "Images with concepts, written as Parquet files by mmvae-bench."
    yield from ("", "## Data", "", *_data(spec, {"dataset": {"fingerprint": passport.fingerprint}}))
    channels, height, width = passport.image_shape
    yield f"- images: {passport.num_images:,} of {channels} x {height} x {width} bytes (channels, height, width)"
    split = f"{passport.split['name']}, seed {passport.split['seed']}"
    sizes = ", ".join(f"{name} {size:,}" for name, size in passport.sizes.items())
    yield f"- split: {escape(split)}: {sizes}"
    if passport.num_masks:
        yield f"- foreground masks of each image: {passport.num_masks}"
    if passport.columns:
        yield f"- further columns: {escape(', '.join(column['name'] for column in passport.columns.values()))}"
    yield f"- hash of the pixels: {passport.pixel_hash}"
    yield from ("", "## How to load it", "", "```python", "import datasets", "")
    yield 'images = datasets.load_dataset("FOLDER", split="train")  # this folder, or its name on the hub'
    yield "```"
    yield ""
    yield "An attribute is a number; `images.features` has the names of its values."
    yield from ("", "## Licence", "", f"- images: {escape(_licence(spec))}", "- code: mmvae-bench, MIT licence")


def _licence(dataset: DatasetSpec) -> str:
    backgrounds = (
        "; backgrounds cut from the user's pictures, under their own licence" if _has_pictures(dataset) else ""
    )
    places = (f"{dataset.name} {dataset.source}", dataset.source)
    known = next((LICENCES[place] for place in places if place in LICENCES), None)
    return (known or f"not known for the source {dataset.source}") + backgrounds


def _has_pictures(dataset: DatasetSpec) -> bool:
    """Whether its textures are from a folder of the user's."""
    return getattr(dataset, "texture", PLAIN) not in NAMED_TEXTURES


def _data(dataset: DatasetSpec, result: Mapping[str, Any]) -> Iterator[str]:
    # The folder's path is nobody else's business.
    own = {"texture": "from a folder of pictures"} if _has_pictures(dataset) else {}
    shown = {key: value for key, value in dataset.parameters().items() if key not in ("attributes", "path", "table")}
    yield f"- {escape(_part(dataset.name, {**shown, **own}))}"
    yield f"- {escape(dataset.summary)} ({escape(dataset.reference)})"
    if fingerprint := (result.get("dataset") or {}).get("fingerprint"):
        yield f"- fingerprint: {escape(str(fingerprint))}"
    schema = dataset.concept_schema()
    if dataset.domain == "papers":
        yield f"- attributes {schema.names[0]} to {schema.names[-1]}, one for each training paper: no, yes"
        return
    attributes = (f"{name}: {', '.join(values)}" for name, values in schema.to_dict().items())
    yield from (f"- attribute {escape(line)}" for line in attributes)


def _training(spec: TrialSpec, result: Mapping[str, Any]) -> Iterator[str]:
    training, made = result.get("training") or {}, result.get("provenance") or {}
    yield f"- networks: {escape(_part(spec.backbone.name, spec.backbone.parameters()))}"
    yield f"- settings: {escape(_pairs(spec.training.canonical()))}; seed {spec.seed}"
    facts = [
        ("weights", training.get("num_parameters")),
        ("steps of all stages", training.get("steps")),
        ("images seen", training.get("samples_seen")),
    ]
    yield from (f"- {name}: {value:,}" for name, value in facts if value is not None)
    if (seconds := training.get("wall_seconds")) is not None:
        yield f"- time: {duration(seconds)} on {escape(str(made.get('device_name') or made.get('device') or DASH))}"
    if verdict := (training.get("convergence") or {}).get("verdict"):
        yield f"- validation ELBO at the end: {escape(verdict)}"
    names = (("package", "mmvae-bench"), ("commit", "commit"), ("torch", "torch"), ("created", "made"))
    found = [f"{label} {made[name]}" for name, label in names if made.get(name) is not None]
    yield from [f"- {escape(', '.join(found))}"] if found else []
    if changed := mixture(result):
        yield f"- made by mixed code: {escape('; '.join(changed))}"


def _scores(result: Mapping[str, Any], dataset: DatasetSpec) -> Iterator[str]:
    scores = [Score.from_json(dict(score)) for score in result["scores"]]
    partitions = {score.partition for score in scores}
    partition = "test" if "test" in partitions else min(partitions, default="test")
    shown = [each for each in scores if each.partition == partition and each.metric != "classifier_accuracy"]
    shown = [each for each in shown if each.attribute is None or metric_info(each.metric).own_rows]
    protocols = list(dict.fromkeys([dataset.headline_protocol, *(each.protocol for each in shown)]))
    shown.sort(key=lambda each: (protocols.index(each.protocol), metric_order(each.metric)))
    judge = result.get("classifier") or {}
    yield (
        f"On the partition {escape(partition)}, in % unless stated otherwise. One training run: the 95 % intervals are "
        "over queries, and another seed may score differently. Floor: the expected score of a generator that ignores "
        "the query. Ceiling: that of an exact one, as the classifier sees it. Both are references, not bounds."
    )
    if judge.get("mean_accuracy") is not None:
        name, accuracy = escape(str(judge.get("name"))), number(judge["mean_accuracy"])
        yield f"The classifier behind them, {name}, is correct on {accuracy} % of held-out real images."
    yield ""
    heads = ["", "protocol", "level", "score", "95 % interval", "floor", "ceiling", "queries"]
    yield from table(heads, [_row(score) for score in shown], left=2)


def _row(score: Score) -> Sequence[str]:
    info = metric_info(score.metric)
    label = info.label + (" ↓" if info.direction < 0 else "") + ("" if info.unit == "%" else f", {info.unit}")
    ends = [number(end, info.unit) for end in (score.ci_low, score.ci_high)]
    return (
        label if score.attribute is None else f"{label}, {score.attribute}",
        score.protocol or "",
        level_text(score.level),
        number(score.value, info.unit),
        DASH if DASH in ends else f"{ends[0]} to {ends[1]}",
        number(score.floor, info.unit),
        number(score.ceiling, info.unit),
        DASH if score.num_queries is None else f"{score.num_queries:,}",
    )


def _loading(spec: TrialSpec) -> Iterator[str]:
    yield "```python"
    yield from ("import torch", "import mmvae_bench as mb", "", 'model = mb.load("FOLDER")  # this folder')
    if "concept" in spec.objective.posteriors:
        schema = spec.dataset.concept_schema()
        texts = spec.dataset.texts()
        partial = not schema.given and (spec.objective.partial_concepts if texts is None else 2 in texts.levels)
        values = [f"{name}={values[-1]}" for name, values in schema.to_dict().items()]
        yield f"concept = {json.dumps(', '.join(values[:2] if partial else values))}"
        # In the text view a string would be read as a caption.
        asked = "concept" if texts is None else "model.schema.parse(concept)"
        yield f"images = model.imagine({asked}, num_samples=10, generator=torch.Generator().manual_seed(0))"
    yield "```"
    yield ""
    yield (
        "`spec.json` says how the networks are built; `model.safetensors` holds their weights and runs no code when it "
        "is read."
    )


def _part(name: str, parameters: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (name, _pairs(parameters))))


def _pairs(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in flatten(parameters))
