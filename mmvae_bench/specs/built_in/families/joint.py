"""One decoder per modality and inference networks beside it: JVAE, TELBO, JMVAE, BiVCCA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ....base.errors import ConfigError, Problem
from ...components import DatasetSpec, Domain, Posterior, by_setting, objectives
from .common import NEEDS_LABEL, Steps, WeightedImagesSpec

FULL_CONCEPTS: Final = "a q(z|y) that concatenates the attributes takes fully specified concepts only"
"""Why images without labels are left out of a loss."""


class _WithConceptEncoder(WeightedImagesSpec):
    """Objectives whose q(z|y) is the backbone's product of experts, or one of two ablations of it."""

    later_fields: ClassVar[frozenset[str]] = WeightedImagesSpec.later_fields | {"concept_fusion", "universal_expert"}
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
class JVAESpec(WeightedImagesSpec):
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
