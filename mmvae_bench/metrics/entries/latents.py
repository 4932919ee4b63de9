"""The latents: mismatch of distributions over z, linear probes, disentanglement."""

from __future__ import annotations

from ..info import CREMER, ENCODER, FLOW, MetricInfo

LATENTS = (
    MetricInfo(
        name="concept_mismatch",
        label="mismatch of q(z|y)",
        summary="KL(q^y(z) || q(z|y)): how far q(z|y) is from the aggregate posterior of the images of y",
        reference=f"{CREMER}, equation 5; Vedantam et al. 2018, equation 3",
        unit="nats",
        direction=-1,
        own_floor=True,
        needs=("q(z|y)", ENCODER),
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
        reference=f"{CREMER}, equation 17",
        unit="nats",
        direction=-1,
        own_floor=True,
        needs=(ENCODER,),
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
        reference=f"{CREMER}, equation 17",
        unit="nats",
        direction=-1,
        own_floor=True,
        needs=(ENCODER, FLOW),
    ),
    MetricInfo(
        name="aggregate_information",
        label="information I(x; z)",
        summary="E KL(q(z|x) || q(z)): how much z says about which of the images it belongs to",
        reference=f"{CREMER}, equation 17",
        unit="nats",
        direction=0,
        needs=(ENCODER,),
    ),
    MetricInfo(
        name="aggregate_rate",
        label="rate E KL(q(z|x) || p(z))",
        summary="mean KL from the posterior of an image to the prior",
        reference=f"{CREMER}, equation 17",
        unit="nats",
        direction=0,
        needs=(ENCODER,),
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
