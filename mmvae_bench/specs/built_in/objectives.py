"""The built-in objectives: what each optimises, with its parameters and its paper."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..base import LARGEST
from ..components import (
    BackboneSpec,
    DatasetSpec,
    Domain,
    Modality,
    ObjectiveSpec,
    Posterior,
    backbones,
    by_setting,
    datasets,
    objectives,
)
from . import graphs as graphs  # Registers its own.
from . import recursive as recursive
from .few_labels import LIGHT

NEEDS_LABEL: Final = "every term is an expectation under q(z|x,y), which needs the label"
"""Why images without labels are left out of a loss."""
Steps = Annotated[int, Field(gt=0, le=LARGEST)]


class _WeightedImages(ObjectiveSpec):
    """Objectives whose weight of log p(x|z) was added later; for the others it is ``lambda_image`` or their own."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"image_weight"})

    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z): the a of elbo_{a,b,c} (Vedantam et al. 2018, Sec. 2.1)."""


FULL_CONCEPTS: Final = "a q(z|y) that concatenates the attributes takes fully specified concepts only"
"""Why images without labels are left out of a loss."""


class _WithConceptEncoder(_WeightedImages):
    """Objectives whose q(z|y) is the backbone's product of experts, or one of two ablations of it."""

    later_fields: ClassVar[frozenset[str]] = _WeightedImages.later_fields | {"concept_fusion", "universal_expert"}
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.concept_fusion == "product")

    concept_fusion: Literal["product", "concatenation"] = "product"
    """q(z|y). product: an expert for each attribute, of which unspecified ones are left out; concatenation: the
    features of all attributes beside each other, through one network, as Vedantam et al. (2018) draw it in Fig. 9b: it
    takes fully specified concepts only."""
    universal_expert: bool = True
    """Whether p(z) is a factor of the product. false: the experts alone, Fig. 2 on the right; where nothing is
    specified there is no expert, and q(z|y) is p(z) all the same."""

    @model_validator(mode="after")
    def _check_concept_encoder(self) -> Self:
        if self.concept_fusion != "product" and not self.universal_expert:
            raise ConfigError([Problem("only applies to concept_fusion product", ("universal_expert",), "False")])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses both settings in the text view, where q(z|y) reads a caption and has no experts."""
        given = [name for name in ("concept_fusion", "universal_expert")
                 if getattr(self, name) != type(self).model_fields[name].default]  # fmt: skip
        if given and dataset.chosen_view == "text":
            message = "only applies to attributes: in view text q(z|y) reads whole captions"
            raise ConfigError([Problem(message, ("objective", name), str(getattr(self, name))) for name in given])


@objectives.register
class JVAESpec(_WeightedImages):
    """The joint ELBO only. It trains no q(z|y), so it cannot imagine: the baseline for the others."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.jvae:JVAE"
    summary: ClassVar[str] = "joint ELBO of images and concepts; no unimodal posterior"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, Eq. 1"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint"})
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = NEEDS_LABEL

    name: Literal["jvae"] = "jvae"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""


@objectives.register
class TELBOSpec(_WithConceptEncoder):
    """Three ELBOs: of both modalities, of images and of concepts; the last two do not train the decoders."""

    further_domains: ClassVar[frozenset[Domain]] = frozenset({"papers"})
    implementation: ClassVar[str] = "mmvae_bench.objectives.telbo:TELBO"
    summary: ClassVar[str] = "triple ELBO: joint, image and concept terms, decoders trained by the joint term only"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, Eq. 5"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "unimodal")
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = by_setting(lambda spec: spec._obstacle())
    imageless_obstacle: ClassVar[str | None] = by_setting(
        lambda spec: None if spec.schedule == "joint" else "its first stage has the joint term alone"
    )

    name: Literal["telbo"] = "telbo"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z) in the joint term."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(y|z) in the concept term. The published table is labelled 50 and was probably run with 1."""
    schedule: Literal["joint", "two_stage"] = "joint"
    """joint: all three terms from the first step; two_stage: the joint term first, then the unimodal encoders."""
    unimodal_steps: Steps | None = None
    """Steps of the second stage of two_stage; null: as many as the first."""

    def _obstacle(self) -> Mapping[str, str] | str | None:
        """Why images without labels are left out: see :attr:`unlabelled_obstacle`."""
        full = self.concept_fusion == "concatenation"
        if self.schedule == "joint":
            return FULL_CONCEPTS if full else None
        return {"fit": NEEDS_LABEL} | ({"unimodal": FULL_CONCEPTS} if full else {})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.unimodal_steps is not None and self.schedule == "joint":
            raise ConfigError(
                [Problem("only applies to schedule two_stage", ("unimodal_steps",), str(self.unimodal_steps))]
            )
        return self


@objectives.register
class JMVAESpec(_WithConceptEncoder):
    """The joint ELBO, with the unimodal posteriors fitted to the joint one (JMVAE-kl)."""

    further_domains: ClassVar[frozenset[Domain]] = frozenset({"papers"})
    implementation: ClassVar[str] = "mmvae_bench.objectives.jmvae:JMVAE"
    summary: ClassVar[str] = "joint ELBO minus KL from the joint to the unimodal posteriors"
    reference: ClassVar[str] = "Suzuki et al. 2017, Joint Multimodal Learning with Deep Generative Models, Eq. 5"
    posteriors: ClassVar[frozenset[Posterior]] = by_setting(
        lambda spec: frozenset({"joint", "image", "concept"} if spec.joint_encoder else {"image", "concept"})
    )
    later_fields: ClassVar[frozenset[str]] = _WithConceptEncoder.later_fields | {"joint_encoder"}
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = by_setting(
        lambda spec: NEEDS_LABEL if spec.joint_encoder else "q(z|x) is pulled towards q(z|y), which needs the label"
    )

    name: Literal["jmvae"] = "jmvae"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the two divergences; 0 gives JVAE."""
    joint_encoder: bool = True
    """Whether z is inferred from image and concept. false: from the image alone, q(z|x) in the place of q(z|x,y): the
    objective applied to VLVAE (Cremer and Kushman 2018, end of Sec. 3)."""


@objectives.register
class BiVCCASpec(_WithConceptEncoder):
    """Both modalities decoded from either one's posterior; there is no joint posterior."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.bivcca:BiVCCA"
    summary: ClassVar[str] = "both modalities from q(z|x) and from q(z|y), weighted mu and 1 - mu"
    reference: ClassVar[str] = "Wang et al. 2016, Deep Variational Canonical Correlation Analysis, Sec. 3.2 (bi-VCCA)"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image", "concept"})
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = by_setting(
        lambda spec: FULL_CONCEPTS if spec.concept_fusion == "concatenation" else None
    )
    imageless_obstacle: ClassVar[str | None] = by_setting(
        lambda spec: None if spec.mu < 1 else "with mu 1 it never uses q(z|y)"
    )

    name: Literal["bivcca"] = "bivcca"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
    mu: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Weight of the term under q(z|x); the term under q(z|y) has weight 1 - mu."""


class ImageVAESpec(_WeightedImages):
    """Images only: it never sees a concept, so it can neither imagine nor describe one."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vae:VAE"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = None
    strength_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    label_free_stages: ClassVar[frozenset[str]] = frozenset({"fit"})

    @property
    def kl_weight(self) -> float:
        """The weight of KL(q(z|x) || p(z))."""
        raise NotImplementedError


@objectives.register
class VAESpec(ImageVAESpec):
    """The ELBO of images."""

    summary: ClassVar[str] = "ELBO of images only: cannot imagine or describe"
    reference: ClassVar[str] = "Kingma and Welling 2014, Auto-Encoding Variational Bayes"

    name: Literal["vae"] = "vae"
    """The objective's name."""

    @property
    def kl_weight(self) -> float:
        """Weight one: the plain ELBO."""
        return 1.0


@objectives.register
class BetaVAESpec(ImageVAESpec):
    """The ELBO of images with a weighted divergence: the basis of SCAN."""

    summary: ClassVar[str] = "ELBO of images only, with a weighted KL: cannot imagine or describe"
    reference: ClassVar[str] = (
        "Higgins et al. 2017, beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework"
    )

    name: Literal["beta_vae"] = "beta_vae"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 4.0
    """Weight of KL(q(z|x) || p(z)); 1 gives the VAE."""

    @property
    def kl_weight(self) -> float:
        """The spec's beta."""
        return self.beta


@objectives.register
class CVAESpec(_WeightedImages):
    """Images given concepts, p(x|y,z): there is no density of concepts, so it cannot describe an image."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.cvae:CVAE"
    summary: ClassVar[str] = (
        "conditional ELBO of images given concepts, unspecified attributes imputed; cannot describe"
    )
    reference: ClassVar[str] = (
        "Sohn et al. 2015, Learning Structured Output Representation using Deep Conditional Generative Models"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = "its image decoder is conditioned on the value of each attribute"
    strength_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = (
        "p(x|y,z) and q(z|x,y) need the label, and it has no q(y|x) to infer one"
    )
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.unspecified == "impute")

    name: Literal["cvae"] = "cvae"
    """The objective's name."""
    prior: Literal["conditional", "standard"] = "conditional"
    """p(z|y): conditional, a network, as in the paper; standard, N(0, I) whatever the concept."""
    unspecified: Literal["impute", "refuse"] = "impute"
    """impute: an unspecified attribute takes its value from a training concept that agrees with the specified ones;
    refuse: fully specified concepts only."""


@objectives.register
class DisCVAESpec(ObjectiveSpec):
    """Foreground and background from latents of their own, the foreground given the concept; masks are for training
    only."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.discvae:DisCVAE"
    summary: ClassVar[str] = (
        "conditional ELBO of an image's layers: foreground and gate given concepts, background apart"
    )
    reference: ClassVar[str] = (
        "Yan et al. 2016, Attribute2Image: Conditional Image Generation from Visual Attributes, Eq. 7"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = "its decoder of the foreground is conditioned on the value of each attribute"
    strength_obstacle: ClassVar[str | None] = None
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.unspecified == "impute")
    prior: ClassVar[str] = "standard"
    """p(z) = N(0, I), whatever the concept."""

    name: Literal["discvae"] = "discvae"
    """The objective's name."""
    lambda_g: Annotated[float, Field(ge=0)] = 0.3
    """Weight of log p(g|y,z_F); the released code's."""
    background_size: Annotated[int, Field(gt=0, le=4096)] | None = None
    """How many of the backbone's latent dimensions are the background's; null: a quarter, 64 of 256, as for the paper's
    faces. The paper's birds have 128."""
    unspecified: Literal["impute", "refuse"] = "impute"
    """impute: an unspecified attribute takes its value from a training concept that agrees with the specified ones;
    refuse: fully specified concepts only."""

    def sizes(self, latent_size: int) -> tuple[int, int]:
        """How many of the latent dimensions are the foreground's, and how many the background's."""
        background = max(1, latent_size // 4) if self.background_size is None else self.background_size
        return latent_size - background, background

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Needs masks, from which foreground and gate are learnt."""
        if not dataset.masks:
            able = tuple(name for name in datasets.names() if datasets.get(name).masks)
            source = f" of source {dataset.source}" if dataset.name in able else ""
            hint = f": {dataset.masks_hint}" if dataset.masks_hint else ""
            message = f"{self.name} learns the foreground from masks, and {dataset.name}{source} has none{hint}"
            raise ConfigError([Problem(message, ("dataset", "name"), repr(dataset.name), able)])

    def check(self, backbone: BackboneSpec) -> None:
        """Needs networks for layers, and latents for both of them."""
        if not backbone.layered:
            able = tuple(name for name in backbones.names() if backbones.get(name).layered)
            message = f"backbone {backbone.name} has no networks for the layers of an image, which {self.name} needs"
            raise ConfigError([Problem(message, ("backbone", "name"), repr(backbone.name), able)])
        foreground, background = self.sizes(backbone.latent_size)
        if foreground < 1:
            message = (
                f"of the {backbone.latent_size} latent dimensions of {backbone.name} none is left for the foreground"
            )
            raise ConfigError([Problem(message, ("objective", "background_size"), str(background))])


@objectives.register
class SCANSpec(_WeightedImages):
    """A beta-VAE of images, then concepts grounded in its frozen latents; a concept is one symbol, never partial."""

    later_fields: ClassVar[frozenset[str]] = _WeightedImages.later_fields | {"latent_size"}

    implementation: ClassVar[str] = "mmvae_bench.objectives.scan:SCAN"
    summary: ClassVar[str] = "beta-VAE on images (on features of a denoising autoencoder), then a VAE of whole concepts"
    reference: ClassVar[str] = "Higgins et al. 2017, SCAN: Learning Hierarchical Compositional Visual Concepts"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image", "concept"})
    text_obstacle: ClassVar[str | None] = "it represents a concept as one k-hot symbol"
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = {
        "concept": "a concept is one symbol, never partial"
    }
    imageless_obstacle: ClassVar[str | None] = "q(z|y) is fitted to the q(z|x) of images, which grounds its concepts"
    label_free_stages: ClassVar[frozenset[str]] = frozenset({"denoise", "image"})
    partial_concepts: ClassVar[bool] = False
    stage_names: ClassVar[tuple[str, ...]] = by_setting(
        lambda spec: (("denoise",) if spec.dae else ()) + ("image", "concept")
    )

    name: Literal["scan"] = "scan"
    """The objective's name."""
    dae: bool = True
    """Compare images in the features of a denoising autoencoder, which is trained first; false: pixel by pixel."""
    beta_x: Annotated[float, Field(ge=0)] = 53.0
    """Weight of KL(q(z|x) || p(z)). The published weight is for larger images and their features: on small binary
    images it leaves no information in z, so choose it on the validation split."""
    beta_y: Annotated[float, Field(ge=0)] = 1.0
    """Weight of KL(q(z|y) || p(z))."""
    alpha: Annotated[float, Field(ge=0)] = 10.0
    """Weight of KL(q(z|x) || q(z|y)), which grounds the concepts."""
    latent_size: Annotated[int, Field(gt=0, le=500)] | None = None
    """Number of latent dimensions; null: the backbone's, as for every other objective. The paper's is 32."""
    denoise_steps: Steps | None = None
    """Steps of the denoising autoencoder; null: half as many as the beta-VAE's, which are training.steps."""
    concept_steps: Steps | None = None
    """Steps of the concept network; null: half as many as the beta-VAE's."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.denoise_steps is not None and not self.dae:
            raise ConfigError([Problem("only applies to dae true", ("denoise_steps",), str(self.denoise_steps))])
        if self.image_weight != 1 and self.dae:
            message = "with dae true images are compared in features, without log p(x|z): choose dae false, or 1"
            raise ConfigError([Problem(message, ("image_weight",), str(self.image_weight))])
        return self


PAPER = "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs"


def flow_needs_two_dimensions(objective: ObjectiveSpec, backbone: BackboneSpec) -> None:
    """Raises ConfigError if z is too small for a flow, whose couplings condition one half of z on the other."""
    if backbone.latent_size < 2:
        raise ConfigError(
            [
                Problem(
                    f"{objective.name} fits a flow, which couples two halves of z: latent_size must be at least 2",
                    ("backbone", "latent_size"),
                    str(backbone.latent_size),
                )
            ]
        )


class _VLVAEBased(ObjectiveSpec):
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = by_setting(
        lambda spec: None if spec.inference == "image" else NEEDS_LABEL
    )
    label_free_stages: ClassVar[frozenset[str]] = frozenset({"prior"})
    later_fields: ClassVar[frozenset[str]] = frozenset({"shared_decoder"})

    inference: Literal["image", "joint"] = "image"
    """image: q(z|x), so that z contains no more of the concept than the image shows; joint: q(z|x,y)."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z). The paper: 0.02 on Two-Object CLEVR, 0.1 on CelebA."""
    concept_weight: Annotated[float, Field(gt=0)] = 50.0
    """Weight of log p(y|z), the lambda of the other objectives. The paper: 200 on Two-Object CLEVR, 100 on CelebA."""
    kl_warmup_steps: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    """Steps over which the weight of the KL grows from 0 to 1; null: a twentieth of the first stage, as published."""
    prior_flow: bool = False
    """In a last stage, fit a flow to the aggregate of q(z|x) over all images, as a prior that replaces N(0, I)."""
    flow_steps: Steps | None = None
    """Steps of each stage that fits a flow; null: half as many as the first stage."""
    shared_decoder: bool = False
    """Whether p(x|z) and p(y|z) begin with the same layers, five fully connected ones with two residual connections and
    batch norm, as in the paper (Sec. 5.1); otherwise they have no weights in common."""


class _ConceptFlow(_VLVAEBased):
    posteriors: ClassVar[frozenset[Posterior]] = by_setting(lambda spec: frozenset({spec.inference, "concept"}))
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = by_setting(lambda spec: spec._obstacle())
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "concept", "prior")
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.mask_probability > 0)

    mask_probability: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Probability that some attributes of a training concept are masked while q(z|y) is fitted; 0: full concepts only,
    as in the paper, and the flow cannot condition on partial ones. Must be 0 in the text view: captions are not
    masked."""

    def _obstacle(self) -> Mapping[str, str] | str | None:
        """Why images without labels are left out: see :attr:`unlabelled_obstacle`."""
        if self.inference == "joint":
            return NEEDS_LABEL
        if self.mask_probability:
            return None
        return {"concept": "with mask_probability 0 the flow q(z|y) takes full concepts only"}

    def check(self, backbone: BackboneSpec) -> None:
        """Needs a latent size of at least two."""
        flow_needs_two_dimensions(self, backbone)

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses masking in the text view: captions are never masked, so it would have no effect."""
        if dataset.chosen_view == "text" and self.mask_probability:
            message = "the flow conditions on whole captions: in view text nothing can be masked"
            where, value = ("objective", "mask_probability"), str(self.mask_probability)
            raise ConfigError([Problem(message, where, value, ("0",), "0")])


@objectives.register
class VLVAESpec(_VLVAEBased):
    """Both modalities from z ~ q(z|x). It trains no q(z|y), so it cannot imagine: the basis of q_true and q_agg."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vlvae:VLVAE"
    summary: ClassVar[str] = "image and concept decoded from q(z|x); no q(z|y)"
    reference: ClassVar[str] = f"{PAPER}, Eq. 2"
    posteriors: ClassVar[frozenset[Posterior]] = by_setting(lambda spec: frozenset({spec.inference}))
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "prior")

    name: Literal["vlvae"] = "vlvae"
    """The objective's name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.flow_steps is not None and not self.prior_flow:
            raise ConfigError([Problem("only applies to prior_flow true", ("flow_steps",), str(self.flow_steps))])
        return self

    def check(self, backbone: BackboneSpec) -> None:
        """A prior flow needs a latent size of at least two."""
        if self.prior_flow:
            flow_needs_two_dimensions(self, backbone)


@objectives.register
class QTrueSpec(_ConceptFlow):
    """VLVAE, then a flow q(z|y) fitted to the true posterior p(z|y) of the fixed model."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vlvae:QTrue"
    summary: ClassVar[str] = "VLVAE, then a flow q(z|y) fitted to the true posterior p(z|y)"
    reference: ClassVar[str] = f"{PAPER}, Eq. 3"

    name: Literal["q_true"] = "q_true"
    """The objective's name."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(y|z) while q(z|y) is fitted; 1 in the paper's formula, concept_weight in its code."""


@objectives.register
class QAggSpec(_ConceptFlow):
    """VLVAE, then a flow q(z|y) fitted to the aggregate of q(z|x) over the images of a concept."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vlvae:QAgg"
    summary: ClassVar[str] = "VLVAE, then a flow q(z|y) fitted to the aggregate of the posteriors of its images"
    reference: ClassVar[str] = f"{PAPER}, Eq. 4 and 5"

    name: Literal["q_agg"] = "q_agg"
    """The objective's name."""


@objectives.register
class JNFSpec(_WeightedImages):
    """The joint ELBO; then, with the model frozen, flows q(z|x) and q(z|y) fitted to the joint posterior."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.jnf:JNF"
    summary: ClassVar[str] = "joint ELBO, then flows q(z|x) and q(z|y) fitted to the frozen joint posterior"
    reference: ClassVar[str] = (
        "Senellart et al. 2023, Improving Multimodal Joint Variational Autoencoders through Normalizing Flows"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "unimodal")
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = NEEDS_LABEL

    name: Literal["jnf"] = "jnf"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
    unimodal_steps: Steps | None = None
    """Steps of the stage that fits the flows; null: as many as the first."""

    def check(self, backbone: BackboneSpec) -> None:
        """Needs a latent size of at least two."""
        flow_needs_two_dimensions(self, backbone)


class MultimodalSpec(ObjectiveSpec):
    """The joint posterior is computed from one expert per modality; no network sees both image and concept.

    The weight of log p(y|z) is 50, as for the objectives of the published table, so that a comparison is not one of
    weights; the papers of these objectives choose their own weights for each pair of modalities.
    """

    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    imageless_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    text_obstacle: ClassVar[str | None] = by_setting(
        lambda spec: None if spec.modalities == "two" else "words are not modalities: choose modalities two"
    )

    modalities: Literal["two", "per_attribute"] = "two"
    """two: the image, and all attributes together; per_attribute: the image, and each attribute separately."""
    lambda_image: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z)."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""

    def num_modalities(self, dataset: DatasetSpec) -> int:
        """The number of modalities M, for the concepts of a dataset."""
        return 1 + (1 if self.modalities == "two" else len(dataset.concept_schema()))


@objectives.register
class MVAESpec(MultimodalSpec):
    """ELBOs of all modalities, of each one, and of random subsets, each under the product of its experts."""

    further_domains: ClassVar[frozenset[Domain]] = frozenset({"papers"})
    implementation: ClassVar[str] = "mmvae_bench.objectives.mvae:MVAE"
    summary: ClassVar[str] = "ELBOs of subsets of modalities under products of experts, with the prior as a factor"
    reference: ClassVar[str] = (
        "Wu and Goodman 2018, Multimodal Generative Models for Scalable Weakly-Supervised Learning"
    )

    name: Literal["mvae"] = "mvae"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Weight of each KL(q_S || p(z)); the paper anneals it to 1."""
    num_random_subsets: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Subsets of two to M - 1 modalities drawn at each step; null: 1 if M is greater than 2, else 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.modalities == "two" and self.num_random_subsets:
            message = (
                "two modalities have no subsets besides both together and each alone: "
                "choose modalities per_attribute, or 0"
            )
            raise ConfigError([Problem(message, ("num_random_subsets",), str(self.num_random_subsets))])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses random subsets for the image and one attribute: two modalities have no further subsets to draw; and
        links one by one."""
        if dataset.domain == "papers" and self.modalities != "two":
            message = f"the links of {dataset.name} are one modality"
            raise ConfigError([Problem(message, ("objective", "modalities"), self.modalities, ("two",), "two")])
        if self.num_random_subsets and self.num_modalities(dataset) < 3:
            message = "two modalities have no subsets besides both together and each alone: choose 0"
            where, value = ("objective", "num_random_subsets"), str(self.num_random_subsets)
            raise ConfigError([Problem(message, where, value, near="0")])


@objectives.register
class MMVAESpec(MultimodalSpec):
    """A bound on the joint likelihood under the mixture of the modalities' experts, each sampled in turn."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mmvae:MMVAE"
    summary: ClassVar[str] = "importance-weighted bound under a mixture of experts, without the prior as a factor"
    reference: ClassVar[str] = (
        "Shi et al. 2019, Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models"
    )

    name: Literal["mmvae"] = "mmvae"
    """The objective's name."""
    bound: Literal["iwae", "elbo"] = "iwae"
    """iwae: the log of the mean importance weight; elbo: the mean of the log weights."""
    num_samples: Annotated[int, Field(gt=0, le=1000)] = 10
    """K, samples of z from each modality's expert; all of them are decoded."""
    estimator: Literal["dreg", "plain"] | None = None
    """Gradient of iwae: dreg, doubly reparameterised, as in their code; plain, the bound's own. null: dreg for iwae."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bound == "elbo" and self.estimator == "dreg":
            raise ConfigError([Problem("only applies to bound iwae", ("estimator",), "dreg", ("plain",), "plain")])
        return self


MAX_SUBSETS: Final = 2**12
"""The maximum number of products in a mixture: each is kept in memory for every example."""


@objectives.register
class MoPoESpec(MultimodalSpec):
    """One ELBO under the uniform mixture over subsets of modalities, each subset a product of experts."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mopoe:MoPoE"
    summary: ClassVar[str] = (
        "ELBO under a mixture of products of experts over all subsets, without the prior as a factor"
    )
    reference: ClassVar[str] = "Sutter et al. 2021, Generalized Multimodal ELBO (mixture of products of experts)"

    name: Literal["mopoe"] = "mopoe"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the KL's bound."""
    num_subsets: Annotated[int, Field(gt=0, le=MAX_SUBSETS)] | None = None
    """Subsets in the mixture: all together, each one, and random others, fixed by the seed; null: all 2^M - 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.modalities == "two" and self.num_subsets is not None:
            message = "two modalities have three subsets, and all are used: choose modalities per_attribute, or null"
            raise ConfigError([Problem(message, ("num_subsets",), str(self.num_subsets))])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses too many subsets, and so few that some modality would have no posterior."""
        num_modalities = self.num_modalities(dataset)
        every, least = 2**num_modalities - 1, num_modalities + 1
        if self.num_subsets is None and every > MAX_SUBSETS:
            message = (
                f"{num_modalities} modalities have {every:,} subsets, more than {MAX_SUBSETS:,}: "
                f"choose num_subsets from {least} to {MAX_SUBSETS:,}, or modalities two"
            )
            raise ConfigError([Problem(message, ("objective", "num_subsets"), "null", near=str(least))])
        if self.num_subsets is not None and not least <= self.num_subsets <= every:
            message = f"{num_modalities} modalities need {least} (all together, each one) to {every:,} subsets"
            near = str(min(max(self.num_subsets, least), every))
            raise ConfigError([Problem(message, ("objective", "num_subsets"), str(self.num_subsets), near=near)])


@objectives.register
class MVTCAESpec(MultimodalSpec):
    """A bound on the total correlation that z explains: the product of experts, kept close to each expert."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mvtcae:MVTCAE"
    summary: ClassVar[str] = "product of experts kept close to each expert, without the prior as a factor"
    reference: ClassVar[str] = "Hwang et al. 2021, Multi-View Representation Learning via Total Correlation Objective"
    imageless_obstacle: ClassVar[str | None] = by_setting(
        lambda spec: "with alpha 1 its loss of y alone is 0" if spec.modalities == "two" and spec.alpha == 1 else None
    )

    name: Literal["mvtcae"] = "mvtcae"
    """The objective's name."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 5 / 6
    """Share of the divergences from the single experts; the rest is the share of the divergence from the prior. The
    authors' own runs use 5/6; 0.1, the default of earlier versions, is far from theirs."""
    beta: Annotated[float, Field(ge=0)] = 2.5
    """Weight of the divergences."""


@objectives.register
class MEMESpec(ObjectiveSpec):
    """Each modality is the other's label: a semi-supervised VAE in both directions, which share their networks."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.meme:MEME"
    summary: ClassVar[str] = (
        "mutual supervision: p(z|y) is the prior of images and p(z|x) that of concepts; learns from either alone"
    )
    reference: ClassVar[str] = "Joy et al. 2022, Learning Multimodal VAEs through Mutual Supervision"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image", "concept"})
    imageless_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    text_obstacle: ClassVar[str | None] = None
    caution: ClassVar[str | None] = by_setting(
        lambda spec: (
            "with scored one and weights trained follows gradients that are mostly noise: an ablation"
            if (spec.scored, spec.weights) == ("one", "trained") and spec.num_samples > 1
            else None
        )
    )

    name: Literal["meme"] = "meme"
    """The objective's name."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z), and of log q(x|y)."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z), and of log q(y|x)."""
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of log q(y|x) and log q(x|y), beside lambda and image_weight; 1 in the paper, 10 in its code."""
    num_samples: Annotated[int, Field(gt=0, le=1000)] = 11
    """K, samples of z in the mean q(t|s)."""
    scored: Literal["all", "one"] = "all"
    """Which of the K samples the weighted term is a mean over. all: every one, decoded to s too; one: the first, as in
    the paper's code. The expectation is the same, but with weights trained the gradient of one is mostly noise."""
    weights: Literal["trained", "detached"] = "trained"
    """Gradient of the weights q(t|z) / q(t|s). trained: the bound's own; detached: none, as in the paper's code. Then
    with alpha, image_weight and lambda 1 nothing trains q(t|z), its two terms being opposite in the mean."""
    divergence: Literal["sampled", "analytic"] = "sampled"
    """log q(z|s) - log p(z|t). sampled: at the z that is weighted, as in the formula; analytic: KL(q(z|s) || p(z|t))
    times the weights, as in the paper's code, which is no bound."""
    num_pseudo_inputs: Annotated[int, Field(gt=0, le=10_000)] = 128
    """N, inputs u of p(z) = (1/N) sum q(z|u), for examples without labels or images; as many as a batch has in the
    paper's code."""

    def check(self, backbone: BackboneSpec) -> None:
        """Needs as many pseudo-inputs as the networks need images in a step."""
        if self.num_pseudo_inputs < (least := backbone.least_batch):
            message = f"backbone {backbone.name} normalises over the pseudo-inputs, so it needs at least {least}"
            given = str(self.num_pseudo_inputs)
            raise ConfigError([Problem(message, ("objective", "num_pseudo_inputs"), given, near=str(least))])


INTRINSIC: Final = "mmvae_bench.objectives.intrinsic:IntrinsicSSVAE"
MAX_COMPLETIONS: Final = 64
"""The maximum number of values that are summed over: each is decoded, for every example."""


@objectives.register
class SSVAESpec(ObjectiveSpec):
    """A classifier q(y|x) inside a VAE whose decoder is told y: the model of few labels, which also learns without."""

    implementation: ClassVar[str] = by_setting(
        lambda spec: INTRINSIC if spec.structure == "intrinsic" else "mmvae_bench.objectives.ssvae:SSVAE"
    )
    further_implementations: ClassVar[tuple[str, ...]] = (INTRINSIC,)
    summary: ClassVar[str] = (
        "p(x|y,z) p(y) p(z) with q(y|x) q(z|x,y): learns from images without labels; semi-supervised"
    )
    reference: ClassVar[str] = (
        "Siddharth et al. 2017, Learning Disentangled Representations with Semi-Supervised Deep Generative Models, "
        "Eq. 2"
    )
    imageless_obstacle: ClassVar[str | None] = (
        "the bound of y alone is log p(y), which is fixed: nothing is to be learnt"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    caution: ClassVar[str | None] = by_setting(
        lambda spec: (
            "with supervised printed unlearns its labels: an ablation" if spec.supervised == "printed" else None
        )
    )
    has_describer: ClassVar[bool] = True
    text_obstacle: ClassVar[str | None] = "its image decoder is conditioned on the value of each attribute"
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    later_fields: ClassVar[frozenset[str]] = frozenset({"structure"})

    name: Literal["ssvae"] = "ssvae"
    """The objective's name."""
    structure: Literal["plain", "intrinsic"] = "plain"
    """plain: q(y|x) and q(z|x,y), whatever y is; intrinsic: the paper's model of faces under one light, whose latents
    are identity, light, shading q(s|i,l) and reflectance q(r|x), each of the last two as large as the backbone's z."""
    estimator: Literal["plug_in", "exact", "concrete"] = "plug_in"
    """The expectation over q(y|x) for an attribute without a label. plug_in: the networks are given its probabilities,
    as in the paper, which is biased unless they are 0 and 1; exact: the sum over its values (Kingma et al. 2014, M2);
    concrete: a relaxed sample of it."""
    temperature: Annotated[float, Field(gt=0)] = 0.66
    """Temperature of the relaxed samples of concrete."""
    supervised: Literal["review", "printed"] = "review"
    """What labelled images add. review: gamma (ELBO + alpha log q(y|x)), as published at NIPS; printed: Eq. 4 of the
    ICLR submission, q(y|x) (ELBO - log q(y|x)), an ablation: it makes a label with a negative ELBO improbable."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of labelled images."""
    alpha: Annotated[float, Field(ge=0)] = 50.0
    """Weight of log q(y|x) of the labels; review only."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|y,z)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.estimator != "concrete" and self.temperature != 0.66:
            message = "only applies to estimator concrete"
            problems.append(Problem(message, ("temperature",), str(self.temperature)))
        if self.supervised == "printed":
            problems += [
                Problem("only applies to supervised review", (name,), str(getattr(self, name)))
                for name in ("gamma", "alpha")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
            if self.structure == "intrinsic":
                message = "supervised printed is of structure plain: a light has a density, not a probability"
                problems.append(Problem(message, ("structure",), self.structure, ("plain",), "plain"))
        if problems:
            raise ConfigError(problems)
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses a sum over too many values, and an intrinsic structure where there is no light."""
        schema = dataset.concept_schema()
        if self.structure == "intrinsic" and dataset.factors != LIGHT:
            message = f"of faces under a light, whose direction {dataset.name} does not have: train it on lit_faces"
            raise ConfigError([Problem(message, ("objective", "structure"), "intrinsic", ("plain",), "plain")])
        number = len(schema.attributes[0]) if self.structure == "intrinsic" else prod(schema.sizes)
        if self.estimator == "exact" and number > MAX_COMPLETIONS:
            message = (
                f"a sum over the {number:,} concepts of {dataset.name}, each decoded for every image: "
                f"exact is for at most {MAX_COMPLETIONS}"
            )
            others = ("plug_in", "concrete")
            raise ConfigError([Problem(message, ("objective", "estimator"), "exact", others, others[0])])
