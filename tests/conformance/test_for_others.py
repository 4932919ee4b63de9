"""The checks that run in other packages: a part that breaks what is relied on fails the one that says so."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.files import CACHE_VARIABLE, DATA_VARIABLE
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.concepts.captions import SlotCaptions
from mmvae_bench.conformance import classifiers as of_classifiers
from mmvae_bench.conformance import data, models, test_parts
from mmvae_bench.conformance import questions as of_questions
from mmvae_bench.conformance import specs as of_specs
from mmvae_bench.conformance.cases import asked_parts, cases
from mmvae_bench.conformance.worlds import SHAPES, Images, images_at_once, world
from mmvae_bench.data import from_arrays
from mmvae_bench.evaluation.questions import Context, Question
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import backbones, classifiers, datasets, objectives, questions

from .broken import DotsSpec, RoundingSpec, objective

WRONG = [
    (
        "MeanParts",
        models.has_a_loss_and_a_part_for_each_image,
        r"part .* has shape \(\), not one number for each",
    ),
    ("JointAlone", models.sends_gradients_where_it_trains, "stage fit: .*encoder.* is trained, and the loss does not"),
    ("NumpyNoise", models.same_seed_same_loss, "seed 0 gives loss .* and then .*: draw noise by torch"),
    ("Uphill", models.learns_a_batch, "stage fit: 60 steps of size 0.0001 on one batch take the loss from "),
    (
        "Bursting",
        models.learns_a_batch,
        r"^stage fit: 3 steps of size 0\.003 on one batch take the loss from \S+ to nan; "
        r"stage fit: 3 steps of size 0\.0001 on one batch take the loss from \S+ to nan$",
    ),
    ("NoImagePosterior", models.answers_as_it_declares, "posteriors declares image, and it is refused: no q"),
    ("GlobalNoise", models.answers_as_it_declares, "imagine with a generator draws from the global one too"),
    ("Warming", models.survives_saving, r"the loss is another one after load_state_dict: something is not in state_di"),
    ("Warming", models.resumes_to_the_bit, "after a stop at step 2 and a resumption these weights are others: "),
]


@pytest.mark.parametrize(("name", "check", "said"), WRONG, ids=[f"{name}-{each.__name__}" for name, each, _ in WRONG])
def test_a_broken_objective_is_told_what_it_breaks(name: str, check: object, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check(objective(name))  # type: ignore[operator]


def test_scores_that_are_not_taken_for_what_they_are() -> None:
    with pytest.raises(AssertionError, match=r"told values the loss is .*, told the same as weights "):
        models.reads_strengths(RoundingSpec())
    for spec in (objectives.parse("cvae"), objectives.parse("discvae"), backbones.parse("attribute2image_thin")):
        models.reads_strengths(spec)


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        ("pixels", data.images_and_concepts_are_in_range, r"pixels are from .* to 25\d, not in \[0, 1\]"),
        ("shape", data.images_and_concepts_are_in_range, r"images are \(3, \d+, \d+\); image_shape\(\) is \(3, "),
        ("concepts", data.images_and_concepts_are_in_range, r"concepts do not fit concept_schema\(\): .*"),
        ("overlap", data.partitions_share_no_image, "row 85 is in val and in test"),
        ("fingerprint", data.the_same_spec_gives_the_same_images, "the fingerprint is another one for the same spec"),
        ("order", data.the_same_spec_gives_the_same_images, "another image for the same row of the same spec"),
        ("unsaid", data.strengths_are_scores_of_the_concept, "strengths = False is not what the batches hold"),
        ("split", data.another_split_is_of_the_same_images, "the fingerprint depends on split_seed"),
    ],
)
def test_a_broken_dataset_is_told_what_it_breaks(fault: str, check: object, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check(DotsSpec(fault=fault))  # type: ignore[operator, arg-type]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (torch.tensor([[-0.5, 2.0]]), None),
        (torch.tensor([[0.5, 2.0]]), "the sign of a strength is not that of its value"),
        (torch.tensor([[-0.5, 0.0]]), "the sign of a strength is not that of its value"),
        (torch.tensor([[-0.5, torch.nan]]), "strengths are not finite"),
        (torch.tensor([[-0.5, 2.0]], dtype=torch.float64), "strengths are torch.float64, not float32"),
    ],
)
def test_scores_of_attributes_are_looked_at(
    scores: torch.Tensor, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scored(DotsSpec):
        strengths: ClassVar[bool] = True

        def concept_schema(self) -> Schema:
            return Schema((Attribute("bald", ("no", "yes")), Attribute("hat", ("no", "yes"))))

    spec = Scored()
    built = spec.build()
    built.setup()
    built._store = Images(torch.rand(100, 3, 4, 4), torch.tensor([[0, 1]] * 100), None, scores.expand(100, -1))
    monkeypatch.setattr(data, "_built", lambda _: built)
    if said is None:
        data.strengths_are_scores_of_the_concept(spec)
        return
    with pytest.raises(AssertionError, match=said):
        data.strengths_are_scores_of_the_concept(spec)


def test_a_whole_dataset_passes() -> None:
    """As an objective does in tests/extending."""
    for check in data.CHECKS:
        check(DotsSpec())


@pytest.mark.parametrize("name", ["vgae", "gcn", "papers", "cora", "cora_papers"])
def test_what_is_not_for_images_is_told_that_it_cannot_be_tested_here(name: str) -> None:
    """Once, and not that it breaks something else each time."""
    *others, last = cases(asked_parts([name]))
    assert [case.check for case in others] == of_specs.CHECKS
    with pytest.raises(AssertionError, match=f"{name} is not for images, but for .*: only what every spec has to be"):
        last.check(last.spec)


def test_a_spec_that_imports_torch_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("torch", ""), ("heavy", "import torch"), ("gone", "import nothing_of_this_name")):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for module, said in (("heavy", "heavy imports torch: a spec must not"), ("gone", "gone cannot be imported alone")):
        spec = objective("JointAlone")
        monkeypatch.setattr(type(spec), "__module__", module)
        with pytest.raises(AssertionError, match=said):
            of_specs.imports_no_torch(spec)


def test_the_option_names_parts_with_settings() -> None:
    (first, second) = asked_parts(["{name: jmvae, alpha: 2}", "rgb_thin"])
    assert (first.canonical()["alpha"], second.canonical()["name"]) == (2, "rgb_thin")
    kinds = {case.label.partition("-")[0] for case in cases([first, second])}
    assert kinds == {"jmvae", "rgb_thin"}
    assert asked_parts([]) == [], "without a name, the parts of other packages"
    with pytest.raises(ConfigError, match=r"unknown objective, backbone or dataset 'jmvea'(?s:.*)nearest: jmvae"):
        asked_parts(["jmvea"])


def test_a_name_of_two_parts_means_both_and_settings_choose() -> None:
    """celeba18 is a backbone and a dataset."""
    assert asked_parts(["celeba18"]) == [backbones.parse("celeba18"), datasets.parse("celeba18")]
    (part,) = asked_parts(["{name: celeba18, source: drawn, num_images: 300}"])
    assert part.canonical()["num_images"] == 300
    with pytest.raises(ConfigError, match=r"^--part arrays\.data: required key"):
        asked_parts(["arrays"])
    with pytest.raises(ConfigError, match=r"num_image: unknown key(?s:.*)nearest: num_images"):
        asked_parts(["{name: celeba18, num_image: 300}"])


def test_a_name_that_is_unknown_ends_pytest_with_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    class Metafunc:
        class config:
            @staticmethod
            def getoption(name: str, default: object) -> list[str]:
                return ["jmvea"]

    with pytest.raises(pytest.UsageError, match="nearest: jmvae"):
        test_parts.pytest_generate_tests(Metafunc)  # type: ignore[arg-type]


def test_a_dataset_of_the_users_own_is_found_where_it_is_kept(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays in the cache, and pictures under the data root, which is in the cache too: both are hidden, and neither
    can be made again."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    arrays = from_arrays(images, {"colour": ["red", "blue"] * 20})
    pictures = tmp_path / "cache" / "data" / "pets"
    pictures.mkdir(parents=True)
    rows = ["file,colour"]
    for index, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(pictures / f"{index}.png")
        rows.append(f"{index}.png,{('red', 'blue')[index % 2]}")
    (pictures / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    parts = asked_parts([f"{{name: arrays, data: {arrays.data}}}", "{name: folder, path: pets, size: 8}"])
    before = sorted((tmp_path / "cache").rglob("*"))
    found = [case for case in cases(parts) if case.check in data.CHECKS]
    assert len(found) == 2 * len(data.CHECKS)
    for case in found:
        with monkeypatch.context() as surrounded:
            test_parts.test_part(case, tmp_path_factory, surrounded)
    assert sorted((tmp_path / "cache").rglob("*")) == before, "the user's cache is another one"


def test_a_check_of_large_images_takes_few_of_them() -> None:
    """With two epochs all the same in the training that is stopped and resumed."""
    assert [images_at_once(shape) for shape in SHAPES] == [32, 32, 24, 8, 4]
    large = world("attribute2image")
    assert (len(large.store), len(large.rows("train"))) == (24, 18)


@pytest.mark.parametrize("name", classifiers.names())
def test_the_classifiers_of_this_package_pass(name: str) -> None:
    for case in cases([classifiers.parse({"name": name, **({"width": 8} if "rgb" in name else {})})]):
        if case.check is not of_specs.imports_no_torch:
            case.check(case.spec)


class _Flawed(torch.nn.Module):
    """A classifier with a fault."""

    fault: ClassVar[str]

    def __init__(self, spec: object, *, schema: Schema, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.heads = torch.nn.ModuleList(torch.nn.Linear(image_shape[0] * 16, size) for size in schema.sizes)
        self.pool = torch.nn.AdaptiveAvgPool2d(4)
        if self.fault == "numpy":
            self.heads[0].weight.data = torch.from_numpy(np.random.rand(*self.heads[0].weight.shape)).float()

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features = self.pool(image).flatten(1)
        features = features - features.mean(0) if self.fault == "batch" else features
        logits = [head(features) for head in self.heads]
        if self.fault == "deaf":
            logits[0] = torch.zeros_like(logits[0])
        return logits[1:] if self.fault == "too few" else logits


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        (
            "too few",
            of_classifiers.gives_logits_for_each_attribute,
            r"returns logits of shapes .*, expected one for each",
        ),
        ("batch", of_classifiers.gives_logits_for_each_attribute, "depend on the images beside it"),
        ("numpy", of_classifiers.same_seed_same_network, "other weights with the same seed: heads.0.weight"),
        ("deaf", of_classifiers.learns_a_batch, "the logits do not depend on heads.0.weight"),
    ],
)
def test_a_broken_classifier_is_told_what_it_breaks(
    fault: str, check: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = classifiers.parse("conv_thin")
    monkeypatch.setattr(_Flawed, "fault", fault, raising=False)
    monkeypatch.setattr(type(spec), "implementation", f"{__name__}:_Flawed")
    with pytest.raises(AssertionError, match=said):
        check(spec)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["three_cs", "description", "neighbours"])
def test_questions_of_this_package_pass(name: str) -> None:
    names = [each for each in questions.names() if name in each or name == each]
    for spec in map(questions.parse, names):
        for check in of_questions.CHECKS:
            check(spec)


class FlawedQuestion(Question):
    """A question with a fault."""

    fault: ClassVar[str]

    def ask(self, context: Context) -> list[Score]:
        values = torch.zeros(4)
        if self.fault == "noise":
            values = torch.rand(4)
        if self.fault == "weights":
            next(context.model.parameters()).add_(1)
        if self.fault == "nothing":
            return []
        return [context.score("unheard_of" if self.fault == "metric" else "correctness", values)]


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        ("metric", of_questions.gives_the_scores_that_it_names, "the catalogue of metrics has no unheard_of"),
        ("nothing", of_questions.gives_the_scores_that_it_names, "it gives no score, and context.left_out does not"),
        ("noise", of_questions.gives_the_same_scores_again, r"other scores the second time \(correctness\)"),
        ("weights", of_questions.leaves_the_model_as_it_is, "it changes the model: "),
    ],
)
def test_a_broken_question_is_told_what_it_breaks(
    fault: str, check: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = questions.parse("neighbours")
    monkeypatch.setattr(FlawedQuestion, "fault", fault, raising=False)
    monkeypatch.setattr(type(spec), "implementation", f"{__name__}:FlawedQuestion")
    monkeypatch.setattr(type(spec), "metrics", ("correctness", "unheard_of"))
    with pytest.raises(AssertionError, match=said):
        check(spec)  # type: ignore[operator]


@pytest.mark.parametrize("fault", ["another word", "refused", "random", None])
def test_captions_are_read_back_or_it_is_said(fault: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    built = world("rgb_thin")
    spec = built.spec
    monkeypatch.setattr(data, "_built", lambda _: built)
    render, parse = SlotCaptions.render, SlotCaptions.parse

    def other(self: SlotCaptions, concepts: torch.Tensor, **told: object) -> torch.Tensor:
        if fault == "random":
            concepts = torch.where(torch.rand(len(concepts), 1) < 0.5, concepts, -1)
        return render(self, concepts.flip(0) if fault == "another word" else concepts, **told)  # type: ignore[arg-type]

    def refused(self: SlotCaptions, tokens: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such caption")

    monkeypatch.setattr(SlotCaptions, "render", other)
    monkeypatch.setattr(SlotCaptions, "parse", refused if fault == "refused" else parse)
    if fault is None:
        data.captions_are_read_back(spec)
        return
    said = {"another word": r"the caption '.*' of .* is read as another value of", "refused": "refused by parse",
            "random": "another caption for the same image"}[fault]  # fmt: skip
    with pytest.raises(AssertionError, match=said):
        data.captions_are_read_back(spec)
