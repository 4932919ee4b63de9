"""The catalogue of metrics: what each is called, its unit, which way is better, and what it means. Imports no torch.

Evaluation, report and listing read it. Other packages add metrics through entry points; a metric that is not in the
catalogue is shown under its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..base.catalogue import Catalogue

LAST = 1000
"""The order of metrics that have no place of their own: after the others, by name."""


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What is known about a metric besides its values.

    Attributes:
        name: As in ``results.parquet``.
        label: The label of its rows in a report.
        summary: One line.
        reference: Where it is defined.
        unit: ``%`` for fractions, else the unit of the value.
        divergence: Whether a fraction is no share of right answers but a divergence: its interval is Student's.
        direction: 1 where higher is better, -1 where lower is, 0 where neither is.
        ranked: Whether objectives may be ranked by it, so that a report marks the best. Not set for a bound that is as
            loose as the proposal which an objective brings along.
        order: Its place in a report: metrics are sorted by it, then by name.
        needs: The distributions that an objective must have to be scored, such as ``q(z|y)``; ``q(z|x) or q(z|x,y)``
            where either is enough.
        headline: Whether it is shown in the short table on the terminal.
        own_rows: Whether its attribute names a question, such as a named query: its rows are then shown with the scores
            over all attributes, and not in the table by attribute.
        own_floor: Whether floor or ceiling depend on the model, so that they differ between objectives.
        explanation: A paragraph for readers of a report; empty: none.
    """

    name: str
    label: str
    summary: str = ""
    reference: str = ""
    unit: str = "%"
    divergence: bool = False
    direction: int = 1
    ranked: bool = True
    order: int = LAST
    needs: tuple[str, ...] = ()
    headline: bool = False
    own_rows: bool = False
    own_floor: bool = False
    explanation: str = ""

    @property
    def is_share(self) -> bool:
        """Whether it is the share of answers that are right, in [0, 1]."""
        return self.unit == "%" and not self.divergence


_VEDANTAM = "Vedantam et al. 2018, section 3"
_CREMER = "Cremer and Kushman 2018"
_BURDA = "Burda et al. 2016, equation 8"
_COHERENCE = "released codes of MultiVae, MMVAE+ and MoPoE-VAE"
_SEJNOVA = "Sejnova et al. 2022"
_SIDDHARTH = "Siddharth et al. 2017, figure 5"
_PROJECT = "this project"
_ENCODER = "q(z|x) or q(z|x,y)"
_DESCRIBES = ("q(y|x), or q(z|x) and p(y|z)",)
_FLOW = "a flow q(z)"

_PLACED = (
    MetricInfo(
        name="correctness",
        label="correctness",
        summary="share of the specified attributes that imagined images show",
        reference=_VEDANTAM,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        explanation=(
            "The share of specified attributes that the observation classifier finds in the imagined images. The "
            "ceiling is the classifier's accuracy on real images of the same concepts: a reference, not a bound, since "
            "the classifier can read clear prototypes better than real images. The floor is what a generator that "
            "ignores the query would score: real images of training concepts, drawn without regard to it, as the "
            "classifier reads them. One image of the most frequent values scores more where attributes are rare."
        ),
    ),
    MetricInfo(
        name="coverage",
        label="coverage",
        summary="how widely unspecified attributes vary in imagined images",
        divergence=True,
        reference=_VEDANTAM,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        explanation=(
            "How widely the attributes that were left unspecified vary: one minus the Jensen–Shannon divergence "
            "between the values found in the images of a query and the reference distribution, mean over those "
            "attributes. The ceiling is the expected score of an exact conditional generator, which draws as many "
            "samples from the training images that satisfy the query: under a reference that ignores how attributes "
            "depend on each other even that one falls short, and one that ignores the query can score more. Where "
            "no training image satisfies a query, as on comp, it draws each attribute as often as training has it. The "
            "floor is that of a generator which shows one training concept, drawn without regard to the query. Both "
            "are read without error: the classifier's errors are in the score alone."
        ),
    ),
    MetricInfo(
        name="compositionality",
        label="compositionality",
        summary="correctness on concepts never seen in training",
        reference=_VEDANTAM,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        explanation=(
            "Correctness on the concepts that differ from every concept seen in training: whether known attributes can "
            "be put together in a new way. Ceiling and floor are those of correctness on the same concepts."
        ),
    ),
    MetricInfo(
        name="joint_divergence",
        label="joint divergence",
        summary="correctness and coverage in one number: a divergence over all attributes",
        divergence=True,
        reference=_VEDANTAM,
        direction=-1,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "The Jensen–Shannon divergence over all attributes, where the target of a specified one is that value "
            "alone: correctness and coverage in one number, in hundredths of a bit (of a nat under official). Lower is "
            "better, so the ceiling is the smaller of the two references: the score of an exact conditional generator, "
            "which shows all that is specified; the floor is that of one training concept, drawn without regard to the "
            "query. Both as for coverage."
        ),
    ),
    MetricInfo(
        name="description_accuracy",
        label="description",
        summary="share of the attributes of held-out real images that the model names correctly",
        reference=_PROJECT,
        needs=("q(z|x)", "p(y|z)"),
        headline=True,
        explanation=(
            "The reverse direction: how often the model names the attributes of a held-out real image correctly. The "
            "classifier is not involved. The floor is the score of always naming each attribute's most frequent value. "
            "An objective without a posterior given the image alone has no such score."
        ),
    ),
    MetricInfo(
        name="named_query",
        label="named query",
        summary="correctness on one concept that the dataset names",
        reference=_PROJECT,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        own_rows=True,
        explanation=(
            "One concept that the dataset names, such as a rare combination: the share of its specified attributes "
            "that the classifier finds in the images imagined for it. The interval is over those images, as there is "
            "one concept: it says nothing about other concepts. The ceiling is what the classifier scores on held-out "
            "real images of the concept, if there are any; the floor is what real images of training concepts score, "
            "drawn without regard to the query."
        ),
    ),
    MetricInfo(
        name="named_query_all",
        label="named query, all of it",
        summary="share of the images of a named query that show all of it",
        reference=_PROJECT,
        needs=("q(z|y)", "p(x|z)"),
        own_rows=True,
        explanation=(
            "The share of the same images in which every specified attribute is found. The ceiling is that share among "
            "held-out real images of the concept, if there are any; the floor that among real images of training "
            "concepts, drawn without regard to the query."
        ),
    ),
    MetricInfo(
        name="frequency_unspecified",
        label="frequency when open",
        summary="how often an attribute appears in images of queries that leave it open",
        reference=_PROJECT,
        direction=0,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        own_rows=True,
        explanation=(
            "How often an attribute appears in the images of all queries that leave it open. Neither high nor low is "
            "good: the ceiling is how often training images that satisfy these queries have it, which an exact "
            "conditional generator has too, as far as the classifier reads it correctly. There is no floor, and the "
            "objectives are not ranked."
        ),
    ),
    MetricInfo(
        name="frequency_real",
        label="frequency read in real images",
        summary="how often the classifier sees an attribute in held-out real images",
        reference=_PROJECT,
        direction=0,
        own_rows=True,
        explanation=(
            "How often the classifier sees the attribute in held-out real images, next to how often it is really there "
            "(the ceiling). The difference is what the classifier's own errors add to or take from the frequency "
            "above."
        ),
    ),
    MetricInfo(
        name="correctness_words",
        label="correctness, words said",
        summary="correctness of only what a caption says, without what it leaves unsaid",
        reference=f"{_CREMER}, table 1",
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "Correctness of only what a caption says: on CelebA the attributes that are present, and Male or Female. "
            "Absences, which make up most of a concept, do not count."
        ),
    ),
    MetricInfo(
        name="prior_correctness",
        label="prior: image against text",
        summary="agreement of the image and the text generated from one z of the prior",
        reference=f"{_CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)"),
        own_floor=True,
        explanation=(
            "One z from the prior, or from the flow q(z) in its place: the share of the attributes of a text sampled "
            "from p(y|z) that the classifier finds in the mean of p(x|z). The floor is the base rate, each text with "
            "the images of the other z: it differs between models."
        ),
    ),
    MetricInfo(
        name="prior_correctness_flow_prior",
        label="q(z) flow: image against text",
        summary="prior_correctness with z from the flow q(z) instead of the prior",
        reference=f"{_CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)", _FLOW),
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words",
        label="prior: image against words said",
        summary="prior_correctness of only what the text says, without what it leaves unsaid",
        reference=f"{_CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)"),
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words_flow_prior",
        label="q(z) flow: image against words said",
        summary="prior_correctness_words with z from the flow q(z) instead of the prior",
        reference=f"{_CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)", _FLOW),
        own_floor=True,
    ),
    MetricInfo(
        name="strict",
        label="strict, text to image",
        summary="share of the images of a full concept that show all of it",
        reference=_SEJNOVA,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "CdSprites+'s strict score: an image counts if the classifier finds every attribute of the text in it. A "
            "guess is right in 1 of 3, 6, 30, 120 or 240 images at levels 1 to 5. The ceiling is that share of "
            "held-out real images of the same concepts; the floor that of real images of training concepts, drawn "
            "without regard to the text."
        ),
    ),
    MetricInfo(
        name="features",
        label="features, text to image",
        summary="share of the attributes of a full concept that its images show",
        reference=_SEJNOVA,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "CdSprites+'s feature score, printed there as a number of attributes and here as a share of them: the "
            "correctness of full concepts. A guess has 0.33 of 1, 0.83 of 2, 1.03 of 3, 1.28 of 4 or 1.78 of 5."
        ),
    ),
    MetricInfo(
        name="strict_text",
        label="strict, image to text",
        summary="share of held-out images about which the model says all that is right and nothing else",
        reference=_SEJNOVA,
        needs=("q(z|x)", "p(y|z)"),
        explanation=(
            "The other direction: the share of held-out images of which every attribute is named correctly. The floor "
            "is that of a training concept, drawn without regard to the image."
        ),
    ),
    MetricInfo(
        name="features_text",
        label="features, image to text",
        summary="share of the attributes of held-out images that the model says correctly",
        reference=_SEJNOVA,
        needs=("q(z|x)", "p(y|z)"),
    ),
    MetricInfo(
        name="letters_text",
        label="letters, image to text",
        summary="share of the letters of a caption that the model writes at the same places, in the text view",
        reference=_SEJNOVA,
        needs=("q(z|x)", "p(y|z)"),
        explanation=(
            "Letter by letter from the start, spaces included, over the length of the true caption: a word of another "
            "length shifts all that follow. The floor is the caption of a training concept, drawn without regard to "
            "the image."
        ),
    ),
    MetricInfo(
        name="log_px_given_y",
        label="log p(x|y)",
        summary="lower bound of log p(x|y), one z from q(z|x)",
        reference=f"{_CREMER}, equation 6",
        unit="nats",
        ranked=False,
        needs=("q(z|y)", _ENCODER, "p(x|z)"),
        explanation=(
            "A lower bound of log p(x|y) on held-out images, in nats, with one z from q(z|x) (Cremer and Kushman 2018, "
            "Eq. 6): a q(z|y) that misses some of the images of a text is penalised here. None of the likelihoods "
            "contains a training weight. The bounds of different objectives also differ in how tight they are."
        ),
    ),
    MetricInfo(
        name="log_px",
        label="log p(x)",
        summary="importance-weighted lower bound of log p(x)",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(_ENCODER, "p(x|z)"),
        explanation=(
            "An importance-weighted lower bound of log p(x), with z from q(z|x); with the flow, q(z) takes the place "
            "of p(z). The proposals and the number of samples are in result.json. Densities of pixels in [0, 1] may be "
            "above one."
        ),
    ),
    MetricInfo(
        name="log_px_flow_prior",
        label="log p(x), q(z) flow",
        summary="importance-weighted lower bound of log p(x), with the flow q(z) as prior",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(_ENCODER, "p(x|z)", _FLOW),
    ),
    MetricInfo(
        name="log_py",
        label="log p(y)",
        summary="importance-weighted lower bound of log p(y)",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=("q(z|y)", "p(y|z)"),
        explanation=(
            "An importance-weighted lower bound of log p(y), with z from q(z|y), as Cremer and Kushman print it: the "
            "further q(z|y) is from p(z|y), the looser the bound. So it ranks proposals, not models, and the "
            "objectives are not ranked by it."
        ),
    ),
    MetricInfo(
        name="log_py_tight",
        label="log p(y), tight",
        summary="lower bound of log p(y) with half of z from the prior: tight whatever q(z|y) is",
        reference=f"{_BURDA}; Owen and Zhou 2000",
        unit="nats",
        needs=("q(z|y)", "p(y|z)"),
        explanation=(
            "log p(y) with half of the z from the prior and half from q(z|y), weighted by the mixture of the two: no "
            "weight exceeds 2 p(y|z), so a q(z|y) that misses part of the posterior cannot loosen it. The number of z "
            "is doubled until that moves the mean by less than a tenth of its interval, or by less than 0.01 nats, up "
            "to the setting likelihood_max_samples; the rows below say how far that got."
        ),
    ),
    MetricInfo(
        name="log_py_tight_ess",
        label="log p(y), tight: effective samples",
        summary="effective sample size of log_py_tight, as a share of the z drawn",
        reference="Kong 1992",
        direction=0,
        needs=("q(z|y)", "p(y|z)"),
        explanation=(
            "(sum of weights)^2 / sum of squared weights, over the number of z: the share of them that carries the "
            "estimate."
        ),
    ),
    MetricInfo(
        name="log_py_tight_step",
        label="log p(y), tight: last doubling",
        summary="by how much the last doubling of the number of z moved log_py_tight",
        reference=_PROJECT,
        unit="nats",
        direction=0,
        needs=("q(z|y)", "p(y|z)"),
    ),
    MetricInfo(
        name="log_py_flow_prior",
        label="log p(y), q(z) flow",
        summary="importance-weighted lower bound of log p(y), with the flow q(z) as prior",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=("q(z|y)", "p(y|z)", _FLOW),
    ),
    MetricInfo(
        name="log_py_tight_flow_prior",
        label="log p(y), tight, q(z) flow",
        summary="log_py_tight with the flow q(z) as prior, and half of z from it",
        reference=f"{_BURDA}; Owen and Zhou 2000",
        unit="nats",
        needs=("q(z|y)", "p(y|z)", _FLOW),
    ),
    MetricInfo(
        name="log_pxy",
        label="log p(x,y)",
        summary="importance-weighted lower bound of log p(x,y)",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(_ENCODER, "p(x|z)", "p(y|z)"),
        explanation=(
            "An importance-weighted lower bound of the joint log p(x,y), with z from q(z|x,y), or from q(z|x) where "
            "there is no other: the z of the unweighted ELBO, whose estimate it is with one z, and which it exceeds "
            "with more. Image and text count without training weights, so the image, with thousands of pixels, makes "
            "up most of it."
        ),
    ),
    MetricInfo(
        name="log_pxy_flow_prior",
        label="log p(x,y), q(z) flow",
        summary="importance-weighted lower bound of log p(x,y), with the flow q(z) as prior",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(_ENCODER, "p(x|z)", "p(y|z)", _FLOW),
    ),
    MetricInfo(
        name="description_entropy",
        label="entropy of p(y_k|z)",
        summary="uncertainty of p(y_k|z) about an attribute, at the z that training infers",
        reference=_PROJECT,
        unit="nats",
        direction=0,
        needs=(_ENCODER, "p(y|z)"),
        explanation=(
            "How uncertain p(y_k|z) leaves an attribute, in nats, at the z that training infers: near zero if the "
            "latent contains the text itself, as with inference from image and text together."
        ),
    ),
    MetricInfo(
        name="elbo",
        label="ELBO",
        summary="minus the objective's own training loss on held-out images",
        reference=_PROJECT,
        unit="nats",
        direction=0,
        explanation=(
            "Minus the training loss on held-out images, in nats per image. Every objective has its own loss, with its "
            "own weights, so this compares settings and seeds of one objective, but never two objectives: it is not "
            "ranked."
        ),
    ),
    MetricInfo(
        name="label_error",
        label="label error",
        summary="share of held-out images with a wrong label, where training has few labels",
        reference=_SIDDHARTH,
        direction=-1,
        needs=_DESCRIBES,
        headline=True,
        explanation=(
            "The share of all held-out images that are described wrongly in an attribute of which only some training "
            "images had labels: by argmax q(y|x), or by p(y|z) at the centre of q(z|x) where there is no q(y|x). The "
            "floor is that of always naming the most frequent values."
        ),
    ),
    MetricInfo(
        name="label_error_alone",
        label="label error, labels alone",
        summary="the same of a classifier that was trained on the labelled images alone",
        reference=_PROJECT,
        direction=0,
        headline=True,
        explanation=(
            "The label error of the backbone's q(y|x) as a plain classifier, trained on the labelled images alone: "
            "cross-entropy, 1,000 steps of Adam with the trial's batch size, step size and seed. It says what the "
            "labels are worth without the other images: what is below it, these have brought."
        ),
    ),
    MetricInfo(
        name="light_distance",
        label="light, 1 - cos",
        summary="cosine distance between the direction of the light that a model sees and the true one",
        reference="Siddharth et al. 2017, figure 7",
        divergence=True,
        direction=-1,
        needs=_DESCRIBES,
        explanation=(
            "1 minus the cosine of the angle between the two directions, in per cent: the cosine angle distance of "
            "the paper, which gives no unit. The answer is the mean of q(l|x) or, of a model without a continuous "
            "light, the middle of the bins of azimuth and elevation that it names, of which the true ones are the "
            "ceiling. The floor is that of always answering the mean direction of training."
        ),
    ),
    MetricInfo(
        name="light_angle",
        label="light, angle",
        summary="the same as an angle",
        reference="Siddharth et al. 2017, figure 7",
        unit="degrees",
        direction=-1,
        needs=_DESCRIBES,
    ),
    MetricInfo(
        name="coherence",
        label="coherence",
        summary="mean of the coherences of one protocol: what is generated from another modality shows the same",
        reference=_COHERENCE,
        needs=("q(z|x)", "q(z|y)", "p(x|z)", "p(y|z)"),
        explanation=(
            "What other projects call (cross or conditional) coherence, on the images of a partition: the share of "
            "attributes that a modality generated from another one shows, an image as the observation classifier reads "
            "it, a concept as it is. One z per image, decoded to its mean or mode; the protocols share these, and "
            "differ in what they average. multivae: the accuracy of each value, then their mean, so that rare values "
            "count as much as frequent ones. mmvaeplus: all images alike. mopoe: whole batches of 256, and also "
            "modalities that are reconstructed from themselves, which raises it. The ceiling is the classifier's "
            "accuracy on the real images themselves (1 for a concept), which these projects do not report; the floor "
            "is what an answer drawn from training scores, without regard to what is given."
        ),
    ),
    *(
        MetricInfo(
            name=f"coherence_{to}_from_{given}",
            label=f"coherence: {to} from {given}",
            summary=f"share of attributes that the {to} generated from {source} shows",
            reference=_COHERENCE,
            needs=(posterior, "p(x|z)" if to == "image" else "p(y|z)"),
        )
        for given, source, posterior in (
            ("concept", "a concept", "q(z|y)"),
            ("image", "an image", "q(z|x)"),
            ("both", "both", "q(z|x,y)"),
        )
        for to in ("image", "concept")
    ),
    MetricInfo(
        name="coherence_joint",
        label="coherence, joint",
        summary="agreement of the image and the concept decoded from one z of the prior",
        reference=_COHERENCE,
        needs=("p(x|z)", "p(y|z)"),
        own_floor=True,
        explanation=(
            "One z from the prior: the share of attributes for which the mean image, as the classifier reads it, and "
            "the mode of p(y|z) agree. A caption of which an attribute cannot be read is wrong about it; where "
            "captions leave absences unsaid the attribute does not count, and a z whose caption lacks a given "
            "attribute never does. The floor is the base rate, each concept with the images of the other z: a model "
            "that always generates the same has a coherence of 1, and a floor of 1 too."
        ),
    ),
    MetricInfo(
        name="concept_mismatch",
        label="mismatch of q(z|y)",
        summary="KL(q^y(z) || q(z|y)): how far q(z|y) is from the aggregate posterior of the images of y",
        reference=f"{_CREMER}, equation 5; Vedantam et al. 2018, equation 3",
        unit="nats",
        direction=-1,
        own_floor=True,
        needs=("q(z|y)", _ENCODER),
        explanation=(
            "How far q(z|y), from which images of a query are imagined, is from where the images that satisfy it are: "
            "KL(q^y || q(z|y)) in nats, q^y the mean of the posteriors of at most 200 such training images. No "
            "classifier is involved. The floor is N(0, I) in the place of q(z|y); the ceiling is the diagonal normal "
            "with the moments of q^y, the best that any normal could do: a flow can do better. Queries with fewer than "
            "50 images are left out. Latents differ in their scale between objectives, and a posterior with narrow "
            "components is far from everything smooth: compare with the ceiling."
        ),
    ),
    MetricInfo(
        name="aggregate_mismatch",
        label="mismatch of p(z)",
        summary="KL(q(z) || p(z)): how far the aggregate posterior of all images is from the prior",
        reference=f"{_CREMER}, equation 17",
        unit="nats",
        direction=-1,
        own_floor=True,
        needs=(_ENCODER,),
        explanation=(
            "KL(q(z) || p(z)) in nats, q(z) the mean of the posteriors of at most 10,000 training images: where the "
            "prior puts z that no image has. The ceiling is a diagonal normal with the moments of q(z) in the place of "
            "p(z). With the two rows below: E KL(q(z|x) || p(z)), the rate, is this mismatch and the information "
            "I(x; z), which is at most the logarithm of the number of images."
        ),
    ),
    MetricInfo(
        name="aggregate_mismatch_flow_prior",
        label="mismatch of the q(z) flow",
        summary="KL(q(z) || flow): aggregate_mismatch with the flow q(z) in place of p(z)",
        reference=f"{_CREMER}, equation 17",
        unit="nats",
        direction=-1,
        own_floor=True,
        needs=(_ENCODER, _FLOW),
    ),
    MetricInfo(
        name="aggregate_information",
        label="information I(x; z)",
        summary="E KL(q(z|x) || q(z)): how much z says about which of the images it belongs to",
        reference=f"{_CREMER}, equation 17",
        unit="nats",
        direction=0,
        needs=(_ENCODER,),
    ),
    MetricInfo(
        name="aggregate_rate",
        label="rate E KL(q(z|x) || p(z))",
        summary="mean KL from the posterior of an image to the prior",
        reference=f"{_CREMER}, equation 17",
        unit="nats",
        direction=0,
        needs=(_ENCODER,),
    ),
    *(
        MetricInfo(
            name=f"probe_{name}",
            label=f"linear probe of {posterior}",
            summary=f"accuracy of a linear classifier that reads attributes off {posterior}",
            reference="Sutter et al. 2021, section 4.1",
            ranked=name == "image",
            needs=(posterior,),
            explanation=explanation,
        )
        for name, posterior, explanation in (
            (
                "image",
                "q(z|x)",
                "The accuracy on held-out images of a logistic regression from z to each attribute, fitted to at most "
                "5,000 training images: what a linear reader finds in z. The floor is the most frequent value. Of "
                "q(z|x,y) and q(z|y), which have been told the attributes, it says how much of them z keeps, and no "
                "best is marked.",
            ),
            ("joint", "q(z|x,y)", ""),
            ("concept", "q(z|y)", ""),
        )
    ),
    MetricInfo(
        name="higgins_score",
        label="Higgins score",
        summary="accuracy of telling which attribute two images share from the mean difference of their z",
        reference="Higgins et al. 2017, section 3",
        needs=("q(z|x)",),
        own_floor=True,
        explanation=(
            "Disentanglement of the mean of q(z|x), attributes as factors, with the sizes of disentanglement_lib. "
            "Factors are set at will there; here images that share an attribute are found among those of the "
            "partition, so attributes that depend on each other in the data cannot be told apart fully. Higgins and "
            "FactorVAE score: the floor is what the z of other images score, and at least 1 over the number of "
            "attributes; in a small partition it is higher. MIG: the gap between the two dimensions that tell most "
            "about an attribute, over its entropy; 0 where two tell the same. Its ceiling is the MIG of the attributes "
            "themselves, below 1 where they depend on each other or have more values than the 20 bins."
        ),
    ),
    MetricInfo(
        name="factor_vae_score",
        label="FactorVAE score",
        summary="accuracy of telling which attribute images share from the dimension of z that varies least",
        reference="Kim and Mnih 2018, section 4",
        needs=("q(z|x)",),
        own_floor=True,
    ),
    MetricInfo(
        name="mig",
        label="MIG",
        summary="mutual information gap: by how much one dimension of z tells more about an attribute than any other",
        reference="Chen et al. 2018, equation 6",
        needs=("q(z|x)",),
    ),
)
_YAN = "Yan et al. 2016, Attribute2Image, section 5"
_INFERENCE_GAP = "Cremer et al. 2018, Inference Suboptimality in Variational Autoencoders"
_TASKS = {"reconstruction": "reconstructed images", "completion": "completed parts of images"}
_INFERRED = {
    "": ("", "z from the encoder", ("q(z|x)", "p(x|z)")),
    "_fitted": (", z fitted", "z by optimisation", ("p(x|z)",)),
    "_nearest": (", nearest training image", "shown the nearest training image instead of a model's", ()),
}
"""Of a metric's ending: how the label ends, what it means, what it needs."""
_PICTURES = (
    *(
        MetricInfo(
            name=f"{task}_{error}{ending}",
            label=f"{task} error{label}",
            summary=f"{meaning} of {what}, {how}",
            reference=_YAN,
            unit=unit,
            direction=-1,
            ranked=ending != "_nearest",
            needs=needs,
            own_rows=True,
            explanation=""
            if ending or error != "error"
            else (
                "The mean squared error of a pixel's value in [0, 1], over the whole image, its foreground where the "
                "dataset has masks, or the hidden part of it. z is the encoder's answer to the image, in which hidden "
                "pixels are zero; where z is fitted, it maximises log p(x|z) + log p(z) over the observed pixels, for "
                "any objective, with or without an encoder. A model with p(x|y,z) is told the image's own y. The floor "
                "is the error of the mean training image; the row of the nearest training image, found by the observed "
                "pixels, is what remembering the data would do. The norm is the square root of the summed squared "
                "error of pixels in [-1, 1], in which Yan et al. have in all likelihood printed theirs."
            ),
        )
        for task, what in _TASKS.items()
        for error, meaning, unit in (("error", "squared error", "MSE"), ("norm", "norm of the error", "norm"))
        for ending, (label, how, needs) in _INFERRED.items()
    ),
    *(
        MetricInfo(
            name=f"{task}_gap{ending}",
            label=f"{task}: amortisation gap",
            summary=f"what optimisation of z finds beyond the encoder's answer: {meaning} of {what}",
            reference=_INFERENCE_GAP,
            unit=unit,
            direction=0,
            needs=("q(z|x)", "p(x|z)"),
            own_rows=True,
            explanation=""
            if ending
            else (
                "How much is lost because z is the answer of an encoder and not the best one for this image: "
                "log p(x|z) + log p(z) at the fitted z less that at the mean of q(z|x), and the encoder's squared "
                "error less that of the fitted z. A decoder that shows little loses little, so objectives are not "
                "ranked by it."
            ),
        )
        for task, what in _TASKS.items()
        for ending, meaning, unit in (("", "log p(x, z)", "nats"), ("_error", "squared error", "MSE"))
    ),
)
_DISTANCES = tuple(
    MetricInfo(
        name=f"{name}{ending}",
        label=f"{name.upper()}{label}",
        summary=f"{what} between real images and images of {which}",
        reference=reference,
        unit=name.upper(),
        direction=-1,
        needs=needs,
        explanation=""
        if ending or name != "fid"
        else (
            "FID compares means and covariances of the features of two sets of images, KID all their moments up to the "
            "third. The ceiling is real against real, with as many images: FID falls with their number, so only equal "
            "numbers compare. The features are those of the observation classifier unless the weights of the Inception "
            "network were given: values of different classifiers or datasets do not compare, and none with published "
            "ones but Inception's."
        ),
    )
    for ending, label, which, needs in (
        ("", "", "concepts", ("q(z|y)", "p(x|z)")), ("_prior", ", prior", "z from the prior", ("p(x|z)",)),
    )
    for name, what, reference in (
        ("fid", "Fréchet distance of features", "Heusel et al. 2017, equation 6"),
        ("kid", "squared maximum mean discrepancy of features", "Binkowski et al. 2018"),
    )
)  # fmt: skip
_SHOWN = {
    "": ("", "mean over ten samples"),
    "_best": (", best of 10", "best of ten samples"),
    "_nearest": (", nearest training image", "the training image with the nearest attributes"),
    "_nearest_blurred": (", nearest training image, blurred", "the same, blurred by a mean over 5x5 pixels"),
}
"""Of a metric's ending: how the label ends, and what is read."""
_SIMILARITIES = (
    *(
        MetricInfo(
            name=f"attribute_{name}{ending}",
            label=f"attribute {name}{label}",
            summary=f"{meaning} between the attributes that were asked for and those read: {what}",
            reference="Yan et al. 2016, Attribute2Image, table 2",
            unit=unit,
            direction=direction,
            ranked="nearest" not in ending,
            needs=("q(z|y)", "p(x|z)"),
            explanation=""
            if ending or name == "error"
            else (
                "Ten samples of the whole concept of a real image, read by the observation classifier. A binary "
                "attribute is +1 or -1, and read as 2 p - 1. In the view of strengths it is the image's score, read "
                "by a regressor, and the numbers are on a different scale. The published table takes the best of the "
                "ten, which rewards samples that differ, right or wrong; the mean is beside it. The ceiling is the "
                "reading of the real image, the floor that of as many training images drawn without regard to the "
                "concept. The rows of the nearest training image show what a search by attributes would."
            ),
        )
        for name, meaning, unit, direction in (
            ("cosine", "cosine", "cos", 1),
            ("error", "squared error, summed over attributes,", "SSE", -1),
        )
        for ending, (label, what) in _SHOWN.items()
    ),
    MetricInfo(
        name="memorisation",
        label="distance to training",
        summary="distance of a sample to the nearest training image, over that of a held-out real image",
        reference=_PROJECT,
        unit="ratio",
        direction=0,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "How far the mean image of a sample is from the training image with the nearest pixels, as a share of the "
            "distance of held-out real images. Near 0 a model shows its training images. Below 1 alone is no sign of "
            "that: a blurred image is nearer to every image than a sharp one is."
        ),
    ),
)
_NEIGHBOURS = tuple(
    MetricInfo(
        name=f"{name}{ending}",
        label=f"{label}{of}",
        summary=f"{summary}, {which}",
        reference=reference,
        unit=unit,
        direction=0,
        needs=needs,
        explanation="" if ending else explanation,
    )
    for ending, of, which, needs in (
        ("", "", "images of concepts", ("q(z|y)", "p(x|z)")),
        ("_prior", ", prior", "images of z from the prior", ("p(x|z)",)),
    )
    for name, label, summary, reference, unit, explanation in (
        (
            "closer_than_real", "closer than real", "share of held-out images farther from training than a sample is",
            "Meehan, Chaudhuri and Dasgupta 2020, A Non-Parametric Test to Detect Data-Copying, section 3", "%",
            "How often a sample is nearer to its nearest training image, in pixels, than a held-out real image is to "
            "its own: the Mann-Whitney statistic over all pairs of a sample and a held-out image, ties a half. 50 % is "
            "what held-out images themselves score (the ceiling); the floor, far above it, is what training images "
            "shown as samples do. Above 50 % samples crowd around training images. That alone is no copying: a "
            "blurred image is near to many, so read it with the two ratios. The interval is over samples; the held-out "
            "images are the same for every objective.",
        ),
        (
            "neighbour_ratio", "nearest over second nearest",
            "distance to the nearest training image over that to the second nearest",
            "Lowe 2004, section 7.1; as a sign of memory Yoon et al. 2023", "ratio",
            "A sample between training images is about as far from the second nearest as from the nearest: near 1. A "
            "copy is near one image alone: near 0. Images of training that are the same to the last pixel count once. "
            "Copies are the samples below a third. The ceilings are those of held-out real images.",
        ),
        (
            "copies", "copies", "share of samples three times nearer to one training image than to any other",
            "Yoon et al. 2023, Diffusion Probabilistic Models Generalize when They Fail to Memorize, section 3", "%",
            "",
        ),
    )
)  # fmt: skip
_WORDS = tuple(
    MetricInfo(
        name=f"{name}{ending}",
        label=f"{label}{of}",
        summary=f"{summary} {which}",
        reference="after Cremer and Kushman 2018, figures 3, 5 and 7",
        divergence=name == "word_distance",
        direction=direction,
        needs=needs,
        explanation="" if ending else explanation,
    )
    for ending, of, which, needs in (
        ("", "", "written from held-out images", (_ENCODER, "p(y|z)")),
        ("_prior", ", prior", "written from z of the prior", ("p(y|z)",)),
    )
    for name, label, direction, summary, explanation in (
        (
            "word_frequency", "word frequency", 0, "how often a word occurs in texts",
            "The share of texts that contain a word; its ceiling is the share of training captions that do. A text is "
            "drawn word by word from p(y|z) of a z ~ q(z|x), or q(z|x,y) where that is the encoder.",
        ),
        (
            "word_distance", "distance of word frequencies", -1,
            "total variation between the distributions of words in training captions and in texts",
            "Half the sum of the absolute differences between the shares that the words of the vocabulary have of all "
            "words, blanks left out: 0 % where they are the same, 100 % where no word is in both. The ceiling is that "
            "of the captions of the held-out images. A single number, without an interval.",
        ),
    )
)  # fmt: skip
_LAYERS_NEED = ("p(x_F|y,z_F)", "p(g|y,z_F)")
_LAYERS = (
    MetricInfo(
        name="background_error",
        label="background error",
        summary="squared error of the background layer against the true one, also behind the foreground",
        reference=_PROJECT,
        unit="MSE",
        direction=-1,
        needs=_LAYERS_NEED,
        own_rows=True,
        explanation=(
            "How well the layers of a real image are found, z fitted to the image and its concept, without a mask. The "
            "true background was drawn without the person. Its error is the mean squared error of a value in [0, 1], "
            "over the whole image and over the part behind the foreground, which no image shows; the floor is the mean "
            "training background. The gain over chance compares it with the error that the same layer has against the "
            "backgrounds of the other images: above 0, it is this image's. The row of the visible background shows "
            "what one colour does, the mean of what is not covered by the true mask."
        ),
    ),
    MetricInfo(
        name="background_gain",
        label="background: gain over chance",
        summary="squared error of the background layer against other images' true backgrounds, less against its own",
        reference=_PROJECT,
        unit="MSE",
        needs=_LAYERS_NEED,
        own_rows=True,
    ),
    MetricInfo(
        name="background_error_visible",
        label="background error, mean visible colour",
        summary="squared error of the mean colour of what is visible of the background, in place of a model's layer",
        reference=_PROJECT,
        unit="MSE",
        direction=-1,
        ranked=False,
        needs=_LAYERS_NEED,
        own_rows=True,
    ),
    MetricInfo(
        name="foreground_error",
        label="foreground error",
        summary="squared error of the foreground layer against the true foreground on black",
        reference=_PROJECT,
        unit="MSE",
        direction=-1,
        needs=_LAYERS_NEED,
    ),
    MetricInfo(
        name="gate_overlap",
        label="gate overlap",
        summary="intersection over union of the closed gate and the true mask",
        reference=_PROJECT,
        needs=_LAYERS_NEED,
        explanation=(
            "Where the gate is closed by more than a half, against the true mask: the pixels of both over the pixels "
            "of either. The floor is the mean training mask, cut at a half."
        ),
    ),
)
_IMPUTED = (
    "The open attributes of a query are first given their most probable values, those of the most frequent training "
    "concept that has all of the specified ones, and the full concept is imagined. Scored as if they had been left "
    "open, on the same queries: what is gained in correctness is paid in coverage, as one completion shows one value."
)
_OWN_STATISTICS = (
    "Every batch norm of the image decoder normalises by the mean and variance of the images of one query, and not by "
    "its running statistics, as the released code of Vedantam et al. (2018) generated its images. They depend on what "
    "else was drawn for the query, and on how much."
)
_ABLATIONS = tuple(
    replace(
        next(metric for metric in _PLACED if metric.name == name),
        name=f"{name}_{suffix}",
        label=f"{name.replace('_', ' ')}, {label}",
        summary=f"{name.replace('_', ' ')} {what}",
        headline=False,
        explanation=explanation if name == "correctness" else "",
    )
    for suffix, label, what, explanation, names in (
        ("imputed", "imputed", "where open attributes were first given their most probable values", _IMPUTED, ()),
        (
            "query_statistics",
            "query's statistics",
            "with the decoder's batch norm on the images of one query",
            _OWN_STATISTICS,
            ("compositionality",),
        ),
    )
    for name in ("correctness", "coverage", "joint_divergence", *names)
)
_GRAPHS = tuple(
    MetricInfo(
        name=name,
        label=label,
        summary=f"{summary} of held-out links against as many pairs of nodes without one",
        reference="Kipf and Welling 2016, Variational Graph Auto-Encoders, section 3",
        divergence=True,
        needs=("q(z|X,A)",),
        headline=True,
        explanation=explanation,
    )
    for name, label, summary, explanation in (
        (
            "link_auc",
            "link prediction AUC",
            "area under the ROC curve",
            "How well inner products of the means of q(z|X,A) tell held-out links of a graph from as many pairs of "
            "nodes without a link, drawn outside all links: the share of pairs of the two in which the link has the "
            "higher product, and the average precision. The floor is that of scores which know nothing. The interval "
            "is over seeds, each of which has a split of its own unless the split is fixed.",
        ),
        ("link_ap", "link prediction AP", "average precision", ""),
    )
)
_COLD = (
    ("cold_auc", "links from words, AUC", "AUC of the links of unseen papers, from their words alone", ("q(z|x)",),
     "How well a model tells the links of papers that it has never seen from as many pairs without one, when it knows "
     "their words alone: by p(y|z) at the mean of q(z|x), or by inner products of the means of q(z|X,A), where an "
     "unseen paper has no link. Pairs are of an unseen paper and a training paper. The floor is that of scores which "
     "know nothing. In rows of their own is what needs no model: the cosine of two papers' words, and the links of "
     "training papers with similar words, sum_k cos(x_i, x_k) A_kj with A_jj = 1."),
    ("cold_ap", "links from words, AP", "average precision of the links of unseen papers, from their words alone",
     ("q(z|x)",), ""),
    ("cold_auc_cosine", "links by cosine of words, AUC", "AUC of the cosine of two papers' words", (), ""),
    ("cold_ap_cosine", "links by cosine of words, AP", "average precision of the cosine of two papers' words", (), ""),
    ("cold_auc_similar", "links of similar papers, AUC", "AUC of the links of papers with similar words", (), ""),
    ("cold_ap_similar", "links of similar papers, AP", "average precision of the links of papers with similar words",
     (), ""),
)  # fmt: skip
_CLASSES = (
    ("words", "q(z|x)", "the mean of q(z|x), of the words",
     "The share of unseen papers whose class a logistic regression reads off the mean of a posterior, of the words "
     "(x), of the links to training papers (y) or of both; it is fitted to the training papers. The floor is the most "
     "frequent class. *Raw* rows are the same regression from words or links themselves."),
    ("links", "q(z|y)", "the mean of q(z|y), of the links", ""),
    ("both", "q(z|x,y)", "the mean of q(z|x,y)", ""),
    ("raw_words", None, "the words themselves", ""),
    ("raw_links", None, "the links themselves", ""),
)  # fmt: skip
_PAPERS = (
    *(
        MetricInfo(
            name=name, label=label, summary=summary, reference=_PROJECT, divergence=True, needs=needs,
            headline=bool(needs), explanation=explanation,
        )
        for name, label, summary, needs, explanation in _COLD
    ),
    *(
        MetricInfo(
            name=f"class_from_{name}", label=f"class from {name.replace('_', ' ')}", summary=f"class read off {what}",
            reference=_PROJECT, needs=() if needs is None else (needs,), headline=needs is not None,
            explanation=explanation,
        )
        for name, needs, what, explanation in _CLASSES
    ),
)  # fmt: skip
_UNPLACED = (
    MetricInfo(
        name="classifier_accuracy",
        label="classifier accuracy",
        summary="accuracy of the observation classifier on held-out real images",
        reference=_PROJECT,
    ),
    *(
        MetricInfo(
            name=f"elbo_{term}",
            label=f"elbo {term}".replace("_", " "),
            summary=f"the term {formula} of the ELBO, without training weights",
            reference=_PROJECT,
            unit="nats",
            direction=0,
            needs=(_ENCODER, "p(x|z)", "p(y|z)"),
        )
        for term, formula in (("log_px", "E[log p(x|z)]"), ("log_py", "E[log p(y|z)]"), ("kl", "KL(q || p)"))
    ),
)

PER_DIM = "_per_dim"
"""Suffix of the name of a likelihood in nats per dimension: a pixel's channel, an attribute or a word."""

MEAN_IMAGES = "_mean_images"
"""Suffix of the name of a metric that is scored on means of p(x|z), and not on samples."""


def _built_in() -> Iterator[MetricInfo]:
    placed = (
        *_PLACED, *_ABLATIONS, *_PICTURES, *_LAYERS, *_SIMILARITIES, *_DISTANCES, *_NEIGHBOURS, *_WORDS, *_GRAPHS,
        *_PAPERS,
    )  # fmt: skip
    for order, metric in enumerate(placed):
        yield replace(metric, order=order)
    yield from _UNPLACED
    for metric in _PLACED:
        if metric.name.startswith("log_") and not metric.name.endswith(("_ess", "_step")):
            summary = f"{metric.summary}, per dimension"
            yield replace(metric, name=metric.name + PER_DIM, unit="nats/dim", summary=summary, explanation="")


METRICS: Catalogue[MetricInfo] = Catalogue(
    "metric", MetricInfo, group="mmvae_bench.metrics", built_in=sorted(_built_in(), key=lambda each: each.order)
)
"""Every metric by name."""


def metric_info(name: str) -> MetricInfo:
    """What is known about a metric, in the catalogue or not: likelihoods and ELBOs are in nats, all others are
    fractions. Scored on mean images a metric is what it is otherwise, in rows of its own.

    Neither direction of an ELBO is better between objectives: they bound and weight different things.
    """
    known = METRICS.find(name)
    if known is not None:
        return known
    if name.endswith(MEAN_IMAGES):
        whole = metric_info(name.removesuffix(MEAN_IMAGES))
        return replace(whole, name=name, label=f"{whole.label}, mean images", explanation="")
    label = name.replace("_", " ")
    if name.startswith("log_") or "elbo" in name:
        return MetricInfo(name=name, label=label, unit="nats", direction=0 if "elbo" in name else 1)
    return MetricInfo(name=name, label=label)


def metric_order(name: str) -> tuple[int, str]:
    """The key that sorts metrics into the order of a report."""
    return metric_info(name).order, name
