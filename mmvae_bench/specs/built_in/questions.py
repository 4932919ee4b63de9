"""The built-in questions, in the order in which a trained model is asked them.

Their settings are in EvaluationSpec; those of the last ones, which are asked on request, are their own.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..base import LARGEST
from ..components import QuestionSpec, questions
from . import graphs as graphs  # Registers its own.
from . import papers as papers

_ROOM = "mmvae_bench.evaluation.questions"
_LIKELIHOODS = (
    *("log_px_given_y", "log_px", "log_px_flow_prior", "log_py", "log_py_flow_prior", "log_pxy", "log_pxy_flow_prior"),
)
Many = Annotated[int, Field(gt=0, le=LARGEST)]
_PARTIAL = ("correctness", "coverage", "joint_divergence")
_TASKS, _INFERRED = ("reconstruction", "completion"), ("", "_fitted", "_nearest")
_TIGHT = ("", "_per_dim", "_ess", "_step", "_flow_prior", "_flow_prior_per_dim")


@questions.register
class ThreeCsSpec(QuestionSpec):
    """Scores correctness, coverage, joint divergence and compositionality."""

    implementation: ClassVar[str] = f"{_ROOM}.three_cs:ThreeCs"
    summary: ClassVar[str] = "imagines the fixed queries: the 3 C's at each level, under each protocol"
    reference: ClassVar[str] = "Vedantam et al. 2018, section 3"
    metrics: ClassVar[tuple[str, ...]] = ("correctness", "coverage", "joint_divergence", "compositionality")

    name: Literal["three_cs"] = "three_cs"
    """The question's name."""


@questions.register
class FrequenciesSpec(QuestionSpec):
    """Counts how often watched attributes appear if a query leaves them open."""

    implementation: ClassVar[str] = f"{_ROOM}.frequencies:Frequencies"
    summary: ClassVar[str] = "counts the dataset's watched attributes in images of queries that leave them open"
    reference: ClassVar[str] = "this project"
    metrics: ClassVar[tuple[str, ...]] = ("frequency_unspecified",)

    name: Literal["frequencies"] = "frequencies"
    """The question's name."""


@questions.register
class NamedQueriesSpec(QuestionSpec):
    """Imagines the concepts that a dataset names."""

    implementation: ClassVar[str] = f"{_ROOM}.named_queries:NamedQueries"
    summary: ClassVar[str] = "imagines the concepts that the dataset names, such as rare combinations"
    reference: ClassVar[str] = "this project"
    metrics: ClassVar[tuple[str, ...]] = ("named_query", "named_query_all")

    name: Literal["named_queries"] = "named_queries"
    """The question's name."""


@questions.register
class TextsSpec(QuestionSpec):
    """Imagines the texts of real images, for protocol cremer."""

    implementation: ClassVar[str] = f"{_ROOM}.texts:Texts"
    summary: ClassVar[str] = "imagines the texts of real images: their correctness, if protocol cremer is used"
    reference: ClassVar[str] = "Cremer and Kushman 2018, table 1 and section 5.4"
    metrics: ClassVar[tuple[str, ...]] = ("correctness", "correctness_words")

    name: Literal["texts"] = "texts"
    """The question's name."""


@questions.register
class CdSpritesSpec(QuestionSpec):
    """Scores the images and texts of sprites as CdSprites+ does."""

    implementation: ClassVar[str] = f"{_ROOM}.cdsprites:CdSprites"
    summary: ClassVar[str] = "scores sprites as CdSprites+ does: strict, features and letters, images and texts"
    reference: ClassVar[str] = "Sejnova et al. 2022, Benchmarking Multimodal Variational Autoencoders"
    metrics: ClassVar[tuple[str, ...]] = ("strict", "features", "strict_text", "features_text", "letters_text")

    name: Literal["cdsprites"] = "cdsprites"
    """The question's name."""


@questions.register
class DescriptionSpec(QuestionSpec):
    """Describes real images by concepts."""

    implementation: ClassVar[str] = f"{_ROOM}.description:Description"
    summary: ClassVar[str] = "describes held-out real images"
    reference: ClassVar[str] = "this project"
    metrics: ClassVar[tuple[str, ...]] = ("description_accuracy",)

    name: Literal["description"] = "description"
    """The question's name."""


@questions.register
class FewLabelsSpec(QuestionSpec):
    """Measures what few labels are worth with images that have none, and alone."""

    implementation: ClassVar[str] = f"{_ROOM}.few_labels:FewLabels"
    summary: ClassVar[str] = "errors of describing, and of a classifier on the labelled images alone, if labels are few"
    reference: ClassVar[str] = "Siddharth et al. 2017, figure 5"
    metrics: ClassVar[tuple[str, ...]] = ("label_error", "label_error_alone")

    name: Literal["few_labels"] = "few_labels"
    """The question's name."""


@questions.register
class TrainingLossSpec(QuestionSpec):
    """Computes the objective's own loss on held-out images."""

    implementation: ClassVar[str] = f"{_ROOM}.training_loss:TrainingLoss"
    summary: ClassVar[str] = "measures the objective's own training loss on held-out images"
    reference: ClassVar[str] = "this project"
    metrics: ClassVar[tuple[str, ...]] = ("elbo",)

    name: Literal["training_loss"] = "training_loss"
    """The question's name."""


@questions.register
class LikelihoodsSpec(QuestionSpec):
    """Bounds the log likelihoods of held-out images and texts."""

    implementation: ClassVar[str] = f"{_ROOM}.likelihoods:Likelihoods"
    summary: ClassVar[str] = "bounds the log likelihoods of held-out images and texts, if likelihood_images is set"
    reference: ClassVar[str] = "Cremer and Kushman 2018, equation 6; Burda et al. 2016, equation 8"
    metrics: ClassVar[tuple[str, ...]] = (
        *_LIKELIHOODS,
        *(f"{metric}_per_dim" for metric in _LIKELIHOODS),
        *("elbo", "elbo_log_px", "elbo_log_py", "elbo_kl"),
        "description_entropy",
        *(f"log_py_tight{ending}" for ending in _TIGHT),
    )

    name: Literal["likelihoods"] = "likelihoods"
    """The question's name."""


@questions.register
class PriorSpec(QuestionSpec):
    """Compares the image and the text generated from the same z."""

    implementation: ClassVar[str] = f"{_ROOM}.prior:Prior"
    summary: ClassVar[str] = "compares the image and the text generated from one z, if prior_images is set"
    reference: ClassVar[str] = "Cremer and Kushman 2018, table 2 and section 5.4"
    metrics: ClassVar[tuple[str, ...]] = tuple(
        f"prior_correctness{words}{flow}" for words in ("", "_words") for flow in ("", "_flow_prior")
    )

    name: Literal["prior"] = "prior"
    """The question's name."""


@questions.register
class CoherenceSpec(QuestionSpec):
    """Generates each modality from the others, and both from the prior, as other projects do."""

    implementation: ClassVar[str] = f"{_ROOM}.coherence:Coherence"
    summary: ClassVar[str] = "measures coherence as other projects do, if protocol multivae, mmvaeplus or mopoe is used"
    reference: ClassVar[str] = "released codes of MultiVae, MMVAE+ and MoPoE-VAE; each is a protocol"
    metrics: ClassVar[tuple[str, ...]] = (
        *("coherence", "coherence_joint"),
        *(f"coherence_{to}_from_{given}" for given in ("image", "concept", "both") for to in ("image", "concept")),
    )

    name: Literal["coherence"] = "coherence"
    """The question's name."""


@questions.register
class ReconstructionSpec(QuestionSpec):
    """Reconstructs real images, and completes parts of them, by the encoder and by optimisation."""

    implementation: ClassVar[str] = f"{_ROOM}.reconstruction:Reconstruction"
    summary: ClassVar[str] = "reconstructs images and completes hidden parts, if reconstruction_images is set"
    reference: ClassVar[str] = "Yan et al. 2016, Attribute2Image, section 4; Cremer et al. 2018"
    metrics: ClassVar[tuple[str, ...]] = (
        *(f"{task}_{unit}{how}" for task in _TASKS for unit in ("error", "norm") for how in _INFERRED),
        *(f"{task}_gap{unit}" for task in _TASKS for unit in ("", "_error")),
    )

    name: Literal["reconstruction"] = "reconstruction"
    """The question's name."""


@questions.register
class SimilaritySpec(QuestionSpec):
    """Compares samples of the concepts of real images with these concepts, and with training images."""

    implementation: ClassVar[str] = f"{_ROOM}.similarity:Similarity"
    summary: ClassVar[str] = (
        "reads the attributes off samples of real images' concepts, if protocol attribute2image is used"
    )
    reference: ClassVar[str] = "Yan et al. 2016, Attribute2Image, table 2 and supplement C"
    metrics: ClassVar[tuple[str, ...]] = (
        *(f"attribute_{unit}{how}" for unit in ("cosine", "error")
          for how in ("", "_best", "_nearest", "_nearest_blurred")),
        "memorisation",
    )  # fmt: skip

    name: Literal["similarity"] = "similarity"
    """The question's name."""


@questions.register
class ClassifierAccuracySpec(QuestionSpec):
    """Measures the accuracy of the classifier itself."""

    implementation: ClassVar[str] = f"{_ROOM}.description:ClassifierAccuracy"
    summary: ClassVar[str] = "measures the observation classifier on held-out real images, once"
    reference: ClassVar[str] = "this project"
    metrics: ClassVar[tuple[str, ...]] = ("classifier_accuracy",)

    name: Literal["classifier"] = "classifier"
    """The question's name."""


@questions.register
class RealFrequenciesSpec(QuestionSpec):
    """Counts the attributes that the classifier sees in real images."""

    implementation: ClassVar[str] = f"{_ROOM}.frequencies:RealFrequencies"
    summary: ClassVar[str] = "counts the dataset's watched attributes in real images, as the classifier sees them"
    reference: ClassVar[str] = "this project"
    metrics: ClassVar[tuple[str, ...]] = ("frequency_real",)

    name: Literal["real_frequencies"] = "real_frequencies"
    """The question's name."""


@questions.register
class MismatchSpec(QuestionSpec):
    """Measures how far the aggregate of the images' posteriors is from the prior, and from q(z|y)."""

    implementation: ClassVar[str] = f"{_ROOM}.mismatch:Mismatch"
    summary: ClassVar[str] = "measures how far the posteriors of images are, in aggregate, from p(z) and from q(z|y)"
    reference: ClassVar[str] = "Cremer and Kushman 2018, equations 5 and 17; Vedantam et al. 2018, equation 3"
    metrics: ClassVar[tuple[str, ...]] = (
        "concept_mismatch", "aggregate_mismatch", "aggregate_mismatch_flow_prior", "aggregate_information",
        "aggregate_rate",
    )  # fmt: skip
    on_request: ClassVar[bool] = True

    name: Literal["mismatch"] = "mismatch"
    """The question's name."""
    num_images: Many = 10_000
    """The largest number of training images whose posteriors make up q(z)."""
    images_per_query: Many = 200
    """The largest number of training images per query that satisfy it, whose posteriors make up its aggregate."""
    least_images: Many = 50
    """Queries that fewer training images satisfy are left out."""
    num_samples: Many = 4
    """Samples of z per image of a query; of q(z) there is one."""


@questions.register
class ProbesSpec(QuestionSpec):
    """Reads the attributes off z by a linear classifier."""

    implementation: ClassVar[str] = f"{_ROOM}.representations:Probes"
    summary: ClassVar[str] = "reads attributes off z by linear classifiers: of q(z|x), q(z|x,y) and q(z|y)"
    reference: ClassVar[str] = "Sutter et al. 2021, Generalized Multimodal ELBO, section 4.1"
    metrics: ClassVar[tuple[str, ...]] = tuple(f"probe_{posterior}" for posterior in ("image", "joint", "concept"))
    on_request: ClassVar[bool] = True

    name: Literal["probes"] = "probes"
    """The question's name."""
    num_images: Many = 5_000
    """The largest number of training images that a classifier is fitted to."""
    latents: Literal["mean", "sample"] = "mean"
    """What represents an image: the mean of its posterior, or a sample. A mean may hold in its last digits what no
    sample does."""


@questions.register
class DisentanglementSpec(QuestionSpec):
    """Scores how far single dimensions of z stand for single attributes."""

    implementation: ClassVar[str] = f"{_ROOM}.representations:Disentanglement"
    summary: ClassVar[str] = (
        "scores disentanglement of the mean of q(z|x), attributes as factors: Higgins, FactorVAE, MIG"
    )
    reference: ClassVar[str] = "Higgins et al. 2017; Kim and Mnih 2018; Chen et al. 2018"
    metrics: ClassVar[tuple[str, ...]] = ("higgins_score", "factor_vae_score", "mig")
    on_request: ClassVar[bool] = True

    name: Literal["disentanglement"] = "disentanglement"
    """The question's name."""
    num_images: Many = 10_000
    """The largest number of images of a partition among which those that share an attribute are found."""


@questions.register
class DistancesSpec(QuestionSpec):
    """Measures how far generated images are from real ones, as distributions of features."""

    implementation: ClassVar[str] = f"{_ROOM}.distances:Distances"
    summary: ClassVar[str] = "measures FID and KID of images of concepts and of the prior, beside real against real"
    reference: ClassVar[str] = "Heusel et al. 2017; Binkowski et al. 2018"
    metrics: ClassVar[tuple[str, ...]] = ("fid", "kid", "fid_prior", "kid_prior")
    on_request: ClassVar[bool] = True

    name: Literal["distances"] = "distances"
    """The question's name."""
    num_images: Annotated[int, Field(ge=4, le=LARGEST)] = 4_000
    """The largest number of images of a partition: half of them are the reference, and as many are generated."""
    images: Literal["mean", "sample"] = "mean"
    """What is compared: the mean of p(x|z), as in the literature, or a sample, with the noise of its pixels."""
    inception: str | None = None
    """A file with the weights of the Inception network of the literature, pt_inception-2015-12-05-6726825d.pth, which
    needs torch-fidelity; null: the features of the observation classifier, whose distances are on a scale of their
    own."""


@questions.register
class LightSpec(QuestionSpec):
    """Compares the direction of the light that a model sees with the true one."""

    implementation: ClassVar[str] = f"{_ROOM}.light:Light"
    summary: ClassVar[str] = "measures where the model sees the light of a face come from, against where it does"
    reference: ClassVar[str] = "Siddharth et al. 2017, figure 7"
    metrics: ClassVar[tuple[str, ...]] = ("light_angle", "light_distance")
    on_request: ClassVar[bool] = True

    name: Literal["light"] = "light"
    """The question's name."""


@questions.register
class NeighboursSpec(QuestionSpec):
    """Compares samples with the training images that are nearest to them."""

    implementation: ClassVar[str] = f"{_ROOM}.neighbours:Neighbours"
    summary: ClassVar[str] = "measures whether samples are nearer to training images than held-out real images are"
    reference: ClassVar[str] = "Meehan et al. 2020; Yoon et al. 2023"
    metrics: ClassVar[tuple[str, ...]] = tuple(
        f"{name}{ending}" for ending in ("", "_prior") for name in ("closer_than_real", "neighbour_ratio", "copies")
    )
    on_request: ClassVar[bool] = True

    name: Literal["neighbours"] = "neighbours"
    """The question's name."""
    num_images: Annotated[int, Field(ge=2, le=LARGEST)] = 500
    """The largest number of held-out images per partition: their concepts are imagined, one image each."""
    images: Literal["mean", "sample"] = "mean"
    """What is compared: the mean of p(x|z), or a sample, whose noise alone keeps it away from every image."""


@questions.register
class WordsSpec(QuestionSpec):
    """Counts the words of texts that a model writes."""

    implementation: ClassVar[str] = f"{_ROOM}.words:Words"
    summary: ClassVar[str] = "counts every word of texts written from images and from the prior, beside training"
    reference: ClassVar[str] = "after Cremer and Kushman 2018, figures 3, 5 and 7"
    metrics: ClassVar[tuple[str, ...]] = (
        "word_frequency", "word_distance", "word_frequency_prior", "word_distance_prior",
    )  # fmt: skip
    on_request: ClassVar[bool] = True

    name: Literal["words"] = "words"
    """The question's name."""
    num_images: Many = 1_000
    """The largest number of held-out images per partition: a text is written from each, and as many from the prior."""


@questions.register
class LayersSpec(QuestionSpec):
    """Finds the layers of real images without a mask, and compares them with the true ones."""

    implementation: ClassVar[str] = f"{_ROOM}.layers:LayersOfImages"
    summary: ClassVar[str] = "finds foreground, gate and background of real images, where a dataset knows the truth"
    reference: ClassVar[str] = "this project, after Yan et al. 2016, figure 5"
    metrics: ClassVar[tuple[str, ...]] = (
        "background_error", "background_gain", "background_error_visible", "foreground_error", "gate_overlap",
    )  # fmt: skip
    on_request: ClassVar[bool] = True

    name: Literal["layers"] = "layers"
    """The question's name."""
    num_images: Annotated[int, Field(ge=2, le=LARGEST)] = 100
    """The largest number of images per partition."""


@questions.register
class ImputationSpec(QuestionSpec):
    """Completes partial concepts before they are imagined, instead of leaving attributes out."""

    implementation: ClassVar[str] = f"{_ROOM}.imputation:Imputation"
    summary: ClassVar[str] = "imagines the most probable completion of partial queries, against leaving attributes out"
    reference: ClassVar[str] = "Vedantam et al. 2018, section 5, handling missing inputs"
    metrics: ClassVar[tuple[str, ...]] = tuple(f"{metric}_imputed" for metric in _PARTIAL)
    on_request: ClassVar[bool] = True

    name: Literal["imputation"] = "imputation"
    """The question's name."""


@questions.register
class QueryStatisticsSpec(QuestionSpec):
    """Normalises in the image decoder by the statistics of one query's images."""

    implementation: ClassVar[str] = f"{_ROOM}.query_statistics:QueryStatistics"
    summary: ClassVar[str] = "imagines the fixed queries with the decoder's batch norm on one query's own statistics"
    reference: ClassVar[str] = "Vedantam et al. 2018, released code (google/joint_vae at 984f456)"
    metrics: ClassVar[tuple[str, ...]] = tuple(
        f"{metric}_query_statistics" for metric in (*_PARTIAL, "compositionality")
    )
    on_request: ClassVar[bool] = True

    name: Literal["query_statistics"] = "query_statistics"
    """The question's name."""
