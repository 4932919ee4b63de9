"""The list of questions: which are asked, in which order their scores come, and what is recorded of the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.during import ScoreCurve
from mmvae_bench.evaluation.evaluate import Evaluation, evaluate
from mmvae_bench.evaluation.questions import (
    Context,
    Point,
    Question,
    build_question,
    coherence,
    questions_of,
    representations,
)
from mmvae_bench.evaluation.references import TrainingConcepts
from mmvae_bench.metrics.catalogue import METRICS
from mmvae_bench.metrics.functional import compositionality, description_accuracy
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import ObjectiveSpec, QuestionSpec, objectives, questions
from mmvae_bench.specs.trial import EvaluationSpec

from ..conformance.worlds import BANDS, BandsSpec, networks_of, objectives_on, small, world
from .fakes import LINES, LinesData, LinesSpec, Oracle, exact_classifier
from .fakes import context as context_of

SMALL = {"num_resamples": 20, "num_samples": 10, "query_repeats": 1}
EVERYTHING = SMALL | {
    "protocols": ["official", "paper", "corrected", "cremer", "multivae", "mmvaeplus", "mopoe", "attribute2image"],
    "partitions": ["val", "test"],
    "levels": [3, 1],
    "likelihood_images": 4,
    "likelihood_samples": 2,
    "prior_images": 4,
    "reconstruction_images": 2,
    "images": "both",
    "questions": {
        "mismatch": {"least_images": 5},
        "probes": {},
        "disentanglement": {},
        "distances": {},
        "light": {},
        "neighbours": {},
        "words": {},
        "layers": {},
        "imputation": {},
        "query_statistics": {},
    },
}
SHOWN = ("", "_mean_images")
THREE_CS, PARTIAL = ("official", "paper", "corrected"), ("correctness", "coverage", "joint_divergence")
QUERIES = [
    (metric + shown, protocol, level)
    for level in (3, 1)
    for protocol in ("official", "paper", "corrected")
    for shown in SHOWN
    for metric in ("correctness", "coverage", "joint_divergence")
]
LIKELIHOODS = [f"log_{what}{flow}" for what in ("px", "py", "pxy") for flow in ("", "_flow_prior")]
LIKELIHOODS.insert(0, "log_px_given_y")
ACROSS = ["coherence_image_from_concept", "coherence_concept_from_image"]
INSIDE = [f"coherence_{to}_from_{given}" for to, given in (
    ("image", "image"), ("concept", "concept"), ("image", "both"), ("concept", "both"),
)]  # fmt: skip
ROUTES = {"multivae": ACROSS, "mmvaeplus": ACROSS, "mopoe": [*ACROSS, *INSIDE]}
COHERENCE = [
    (metric, protocol, None)
    for protocol, routes in ROUTES.items()
    for metric in ("coherence", *routes, "coherence_joint")
]
AGGREGATE = ["aggregate_mismatch", "aggregate_mismatch_flow_prior", "aggregate_information", "aggregate_rate"]
PROBES = [f"probe_{posterior}" for posterior in ("image", "joint", "concept")]
FLOW = ("", "_flow_prior")
DISTANCES = (*questions.get("distances").metrics, *questions.get("neighbours").metrics)
OF_A_PARTITION = [
    *QUERIES,
    *((f"frequency_unspecified{shown}", None, None) for shown in SHOWN),
    *((f"named_query{every}{shown}", None, 2) for shown in SHOWN for every in ("", "_all")),
    ("correctness", "cremer", 3),
    ("description_accuracy", None, None),
    ("elbo", None, None),
    *((metric + ending, "likelihood", None) for metric in LIKELIHOODS for ending in ("", "_per_dim")),
    *((metric, "likelihood", None) for metric in ("elbo", "elbo_log_px", "elbo_log_py", "elbo_kl")),
    ("description_entropy", "likelihood", None),
    *((f"log_py_tight{ending}", "likelihood", None) for ending in ("", "_per_dim", "_ess", "_step")),
    *((f"log_py_tight_flow_prior{ending}", "likelihood", None) for ending in ("", "_per_dim")),
    *((f"prior_correctness{flow}", "likelihood", None) for flow in FLOW),
    *COHERENCE,
    *((metric, None, None) for metric in questions.get("reconstruction").metrics),
    *((metric, "attribute2image", None) for metric in questions.get("similarity").metrics),
]
ON_REQUEST = [
    *(("concept_mismatch", None, level) for level in (3, 1)),
    *((metric, None, None) for metric in (*AGGREGATE, *PROBES, "higgins_score", "factor_vae_score", "mig", *DISTANCES)),
    *((f"{metric}_imputed{shown}", protocol, 1) for protocol in THREE_CS for shown in SHOWN for metric in PARTIAL),
    *(
        (f"{metric}_query_statistics{shown}", protocol, level)
        for level in (3, 1)
        for shown in SHOWN
        for protocol in THREE_CS
        for metric in PARTIAL
    ),
]
ORDER = [
    *((partition, *block) for partition in ("val", "test") for block in (*OF_A_PARTITION, *ON_REQUEST)),
    ("test", "classifier_accuracy", None, None),
    ("test", "frequency_real", None, None),
]
"""Of every score that there can be in that world: its partition, metric, protocol and level."""


class Reader(nn.Module):
    """Reads something off an image of bands, whatever it is."""

    def __init__(self) -> None:
        super().__init__()
        # Weights that are set take no random numbers.
        self.heads = nn.ModuleList(nn.utils.skip_init(nn.Linear, size, size, bias=False) for size in BANDS.sizes)
        for head in self.heads:
            nn.init.eye_(head.weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> list[Tensor]:
        parts = (images.flatten(1)[:, 7 * k : 7 * k + size] for k, size in enumerate(BANDS.sizes))
        return [head(part) for head, part in zip(self.heads, parts, strict=True)]


def reader(data: ConceptDataModule) -> ObservationClassifier:
    concepts = data.concepts("test")
    return ObservationClassifier("reader", "0" * 12, Reader(), BANDS, HeldOut(concepts, concepts.clone()))


def has(spec: ObjectiveSpec, need: str) -> bool:
    """Whether an objective has a distribution, from what its spec declares."""
    if need == "a flow q(z)":
        return bool(getattr(spec, "prior_flow", False))
    posteriors = {"q(z|x,y)": "joint", "q(z|x)": "image", "q(z|y)": "concept"}
    likelihoods = {"p(x|z)": "image", "p(y|z)": "concept"}
    return any(
        posteriors.get(one) in spec.posteriors or likelihoods.get(one) in spec.likelihoods for one in need.split(" or ")
    )


@pytest.mark.parametrize("name", objectives_on("attribute2image_thin"))
def test_the_scores_come_in_a_fixed_order_and_are_those_that_the_model_can_have(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = world("rgb_thin")
    monkeypatch.setattr(BandsSpec, "named_queries", lambda self: {"odd": "top=dark, middle=grey"})
    monkeypatch.setattr(BandsSpec, "watched_attributes", ("hue",))
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda data, *_, **__: reader(data))
    monkeypatch.setattr(coherence, "NUM_JOINT", 20)
    for score in ("higgins_score", "factor_vae_score"):
        monkeypatch.setattr(representations, score, partial(getattr(representations, score), num_train=60, num_test=30))
    monkeypatch.setattr("mmvae_bench.evaluation.fitting.MAX_STEPS", 2)
    backbone = small(networks_of(name)).build(schema=data.schema, image_shape=data.image_shape)
    model: Objective = objectives.parse(name).build(backbone, seed=0).eval()
    if (memory := getattr(model, "memory", None)) is not None:
        memory.remember(data.concepts("train"))
    result = evaluate(model, data, EvaluationSpec.parse(EVERYTHING))

    found = [(score.partition, score.metric, score.protocol, score.level) for score in result.scores]
    blocks = [block for block, _ in groupby(found)]
    assert blocks == [block for block in ORDER if block in blocks]
    can = {metric for metric in METRICS if all(has(model.spec, need) for need in METRICS[metric].needs)}
    seen = (*PARTIAL, "named_query", "named_query_all", "frequency_unspecified")
    seen += tuple(f"{metric}_{how}" for metric in PARTIAL for how in ("imputed", "query_statistics"))
    can |= {f"{metric}_mean_images" for metric in seen if metric in can}
    can -= {metric for metric in METRICS if "_words" in metric or "compositionality" in metric}  # not of this world
    can -= {metric for each in map(questions.get, questions.built_in()) if each.domain != "images"
            for metric in each.metrics}  # fmt: skip
    can -= set(questions.get("cdsprites").metrics)  # of sprites alone
    can -= set(questions.get("few_labels").metrics)  # training has all labels
    can -= set(questions.get("words").metrics)  # y is no text
    can -= set(questions.get("light").metrics)  # of faces alone
    if model.spec.has_describer:
        can |= {"description_accuracy"}
    if name == "cvae":
        can -= {"log_px", "log_px_per_dim"}  # its decoder always takes y: it has p(x|y,z), and no p(x|z)
    if name == "ssvae":  # so has its, but p(x) is a sum over the concepts of this world, and p(y) is known
        can |= {"log_pxy", "log_pxy_per_dim", "elbo_log_px", "elbo_log_py", "elbo_kl"}
    if name in ("cvae", "ssvae"):
        can |= set(questions.get("reconstruction").metrics)  # told y, it has q(z|x,y)
    if name == "cvae":
        can -= {"aggregate_mismatch", "aggregate_rate", "coherence_joint"}  # p(z|y) is learnt: there is no one p(z)
    if name in ("cvae", "ssvae", "discvae"):
        can -= {metric for metric in DISTANCES if metric.endswith("_prior")}
    if name == "discvae":
        can -= set(questions.get("query_statistics").metrics)  # it has a decoder for each layer
        can -= {metric + "_mean_images" for metric in questions.get("query_statistics").metrics}
    if not model.takes_partial_concepts:
        of_partial = (
            "coverage",
            "coverage_query_statistics",
            "frequency_unspecified",
            "named_query",
            "named_query_all",
        )
        can -= {metric + shown for metric in of_partial for shown in SHOWN}
    assert {metric for _, metric, _, _ in blocks} == can
    encoded = has(model.spec, "q(z|x) or q(z|x,y)")
    assert set(result.left_out) == {
        metric
        for metric in (
            *(*LIKELIHOODS, "elbo", "description_entropy"),
            *(f"{metric}{flow}" for metric in ("log_py_tight", "prior_correctness") for flow in FLOW),
            *(*ACROSS, *INSIDE, "coherence_joint", *PROBES),
            *(("concept_mismatch", *AGGREGATE) if encoded else ()),
            *questions.get("reconstruction").metrics,
            *DISTANCES,
        )
        if metric not in can or (metric == "elbo" and "elbo_kl" not in can)
    } | {
        *(f"coherence, {protocol}" for protocol, routes in ROUTES.items() if not can.issuperset(routes)),
        *(["disentanglement"] if "mig" not in can else []),
        *([] if encoded else ["mismatch"]),
        *([] if "attribute_cosine" in can else ["similarity"]),
        "words",
        *([] if "correctness_imputed" in can else ["imputation"]),
        *([] if "correctness_query_statistics" in can else ["query_statistics"]),
        "light",  # of a world without one
        "layers",  # of a world that does not know what is behind its bands
        # What a query leaves open is imputed: z has no density given such a query.
        *(["concept_mismatch, 1 of 3 attributes"] if name == "cvae" else []),
    }
    assert all(result.left_out.values())


@pytest.fixture
def marginal(lines: Callable[..., LinesData]) -> Oracle:
    return Oracle(TrainingConcepts(lines().concepts("train"), sizes=LINES.sizes).marginal())


def ask(model: Any, data: ConceptDataModule, **evaluation: object) -> Evaluation:
    return evaluate(model, data, EvaluationSpec.parse(SMALL | evaluation))


def test_only_wanted_questions_are_asked() -> None:
    plain = [question.name for question in questions_of(EvaluationSpec())]
    always = ["three_cs", "frequencies", "named_queries", "cdsprites", "description", "few_labels", "training_loss"]
    assert plain == [*always, "classifier", "real_frequencies"]
    every = [question.name for question in questions_of(EvaluationSpec.parse(EVERYTHING))]
    assert every == [name for name in questions.built_in() if questions[name].domain == "images"]
    on_request = {"mismatch", "probes", "disentanglement", "layers", "distances", "neighbours", "words"}
    on_request |= {"imputation", "query_statistics", "light"}
    by_setting = {"texts", "likelihoods", "prior", "coherence", "reconstruction", "similarity"}
    assert set(every) - set(plain) == by_setting | on_request
    assert {name for name in questions.built_in() if questions[name].on_request} == on_request


@pytest.mark.usefixtures("exact")
def test_images_are_drawn_once_whoever_asks_for_them(
    lines: Callable[..., LinesData], marginal: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ask(marginal, lines(), levels=[2])
    num_calls = len(marginal.asked)
    monkeypatch.setattr(LinesSpec, "watched_attributes", ("direction",))
    watched = ask(marginal, lines(), levels=[2])
    assert len(marginal.asked) == 2 * num_calls
    extra = ("frequency_unspecified", "frequency_real")
    assert [score for score in watched.scores if score.metric not in extra] == plain.scores
    assert {score.metric for score in watched.scores} >= set(extra)


def test_the_tested_functions_are_what_is_published(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    data = lines(split="comp")
    classifier = exact_classifier(data)
    context = context_of(marginal, data, classifier, **SMALL, protocols=["paper"])
    named = {question.name: question for question in questions_of(context.evaluation)}
    (queries,) = context.queries
    (novel,) = (score for score in named["three_cs"].ask(context) if score.metric == "compositionality")
    expected = compositionality(context.predictions(queries), queries.concepts, context.judge.training.combinations)
    assert novel.per_query == expected.tolist()
    assert novel.value == float(expected.nanmean())

    truth = data.concepts("test", split="iid")
    wrong = torch.where(torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.3, 0, truth)
    judged = context_of(marginal, data, exact_classifier(data), **SMALL)
    object.__setattr__(judged.classifier, "held_out", HeldOut(truth, wrong))
    _, *by_attribute = named["classifier"].ask(judged)
    assert [score.value for score in by_attribute] == description_accuracy(wrong, truth).tolist()


class InkSpec(QuestionSpec):
    """How much ink imagined images have."""

    implementation: ClassVar[str] = f"{__name__}:Ink"
    summary: ClassVar[str] = "ink"
    reference: ClassVar[str] = "none"
    metrics: ClassVar[tuple[str, ...]] = ("ink",)

    name: Literal["ink"] = "ink"
    """The question's name."""
    num_images: int = 4
    """Images drawn."""


class Ink(Question):
    spec: InkSpec

    def reason_not(self, model: Objective, data: ConceptDataModule) -> str | None:
        return None if model.can_imagine else "it draws nothing"

    def ask(self, context: Context) -> list[Score]:
        assert not context.model.training
        assert not torch.is_grad_enabled()
        images = context.model.imagine(
            context.queries[0].concepts[:1], num_samples=self.spec.num_images, generator=torch.Generator()
        )
        return [context.score("ink", images.flatten(0, 1).mean((1, 2, 3)), num_samples=self.spec.num_images)]

    def points(self, context: Context) -> list[Point]:
        (score,) = self.ask(context)
        return [{"metric": "ink", "attribute": None, "level": None, "value": score.value}]


@pytest.fixture
def ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question of another package."""
    questions.names()
    monkeypatch.setitem(questions._parts, "ink", InkSpec)


@pytest.mark.usefixtures("exact", "ink")
def test_a_question_of_another_package_is_asked_where_it_is_named(
    lines: Callable[..., LinesData], marginal: Oracle
) -> None:
    data = lines()
    plain = ask(marginal, data, levels=[3])
    asked = ask(marginal, data, levels=[3], partitions=["val", "test"], questions={"ink": {"num_images": 6}})
    ours = [score for score in asked.scores if score.metric == "ink"]
    assert [(score.partition, score.num_queries, score.num_samples) for score in ours] == [
        ("val", 6, 6),
        ("test", 6, 6),
    ]
    assert [s for s in asked.scores if s.metric != "ink" and s.partition == "test"] == plain.scores
    marginal.can_imagine = False
    assert ask(marginal, data, questions={"ink": None}).left_out == {"ink": "it draws nothing"}
    # What an objective's posteriors say already is not said again.
    assert ask(marginal, data).left_out == {}


ODD: dict[str, tuple[Callable[[Context], Any], str]] = {
    "a mapping": (lambda context: {"ink": 1.0}, "question 'ink' returned dict, expected a list of Score"),
    "nothing": (lambda context: None, "question 'ink' returned NoneType, expected a list"),
    "numbers": (lambda context: [0.5], "question 'ink' returned float, expected a list of Score"),
    "another metric": (
        lambda context: [context.score("corectness", torch.ones(3))],
        "unknown metric of question 'ink': 'corectness'",
    ),
    "one of the project's": (
        lambda context: [context.score("correctness", torch.ones(3), protocol="paper", level=3)],
        "unknown metric of question 'ink': 'correctness'",
    ),
    "twice": (lambda context: [context.score("ink", torch.ones(3))] * 2, "two scores are called test ink"),
}


@pytest.mark.usefixtures("exact", "ink")
@pytest.mark.parametrize("what", ODD)
def test_answers_that_are_not_what_a_question_declares_are_refused(
    what: str, lines: Callable[..., LinesData], marginal: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be averaged with rows of the same name, or fail far from where they come from."""
    answer, message = ODD[what]
    monkeypatch.setattr(Ink, "ask", lambda self, context: answer(context))
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        ask(marginal, lines(), levels=[3], questions={"ink": None})


@pytest.mark.usefixtures("ink")
def test_a_question_can_have_points_on_the_curves(
    lines: Callable[..., LinesData], marginal: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmvae_bench.evaluation.during.judge_of", lambda data, *_, **__: exact_classifier(data))
    plain, more = (
        ScoreCurve(lines(), EvaluationSpec.parse(SMALL | {"levels": [3, 1], "questions": asked}), device="cpu")
        for asked in ({}, {"ink": None})
    )
    marginal.train()
    points = more(marginal)  # type: ignore[arg-type]
    assert marginal.training
    assert points[:-1] == plain(marginal)  # type: ignore[arg-type]
    assert points[-1]["metric"] == "ink"
    assert [(point["metric"], point["attribute"], point["level"]) for point in points[:-1]] == [
        ("correctness", None, 3),
        *(("correctness", name, 3) for name in LINES.names),
        ("correctness", None, 1),
        ("coverage", None, 1),
    ]


@pytest.mark.usefixtures("ink")
def test_questions_are_in_the_canonical_form_only_where_there_are_any() -> None:
    assert "questions" not in EvaluationSpec().canonical()
    spec = EvaluationSpec.parse({"questions": {"ink": {"num_images": 6}}})
    assert spec.canonical()["questions"] == {"ink": {"num_images": 6}}
    assert EvaluationSpec.parse(spec.canonical()) == spec
    assert EvaluationSpec.parse({"questions": {"ink": None}}).canonical()["questions"] == {"ink": {"num_images": 4}}
    assert hash(spec) != hash(EvaluationSpec())


@pytest.mark.usefixtures("ink")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inc": {}}, "questions.inc: unknown question 'inc'\n  choices: disentanglement, distances, imputation, ink,"),
        (
            {"ink": {"num_image": 3}},
            "questions.ink.num_image: unknown key 'num_image' of ink\n  choices: name, num_images",
        ),
        ({"ink": {"num_images": "many"}}, "questions.ink.num_images: expected a whole number\n  given: 'many'"),
        ({"ink": 3}, "questions.ink: expected the settings of ink, key by key\n  given: 3"),
        ({"prior": {}}, "questions.prior: question 'prior' is built in: its settings are keys of evaluation itself"),
        (["ink"], "questions: expected a mapping of keys to values\n  given: ['ink']"),
    ],
)
def test_what_is_wrong_with_questions_is_named(given: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationSpec.parse({"questions": given})
    assert str(caught.value).startswith(message)


def test_every_problem_of_questions_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationSpec.parse({"questions": {"one": {}, "two": {}}, "num_samples": 0})
    assert len(caught.value.problems) == 3


def test_an_implementation_that_is_no_question_is_refused() -> None:
    class NoneSpec(InkSpec):
        implementation: ClassVar[str] = "types:SimpleNamespace"

    with pytest.raises(ConfigError, match=r"ink: its implementation .* is not a subclass of mmvae_bench\..*\.Question"):
        build_question(NoneSpec())
