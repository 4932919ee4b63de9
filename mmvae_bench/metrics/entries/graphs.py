"""Graphs and papers: links, and classes read off posteriors."""

from __future__ import annotations

from ..info import PROJECT, MetricInfo

GRAPHS = tuple(
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
PAPERS = (
    *(
        MetricInfo(
            name=name, label=label, summary=summary, reference=PROJECT, divergence=True, needs=needs,
            headline=bool(needs), explanation=explanation,
        )
        for name, label, summary, needs, explanation in _COLD
    ),
    *(
        MetricInfo(
            name=f"class_from_{name}", label=f"class from {name.replace('_', ' ')}", summary=f"class read off {what}",
            reference=PROJECT, needs=() if needs is None else (needs,), headline=needs is not None,
            explanation=explanation,
        )
        for name, needs, what, explanation in _CLASSES
    ),
)  # fmt: skip
