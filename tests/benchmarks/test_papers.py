"""The number of a training paper's links alone: its score by enumeration, and what is counted beside it."""

from __future__ import annotations

import sys

import papers
import pytest

from mmvae_bench.base.statistics import mean_interval
from mmvae_bench.data.papers import PapersDataModule
from mmvae_bench.specs.built_in.papers import CoraPapersSpec

SPEC = CoraPapersSpec(num_nodes=120)


def ready(seed: int) -> PapersDataModule:
    data = SPEC.build()
    assert isinstance(data, PapersDataModule)
    data.training_seed = seed
    data.setup()
    return data


def test_pairs_are_ranked_by_the_links_among_training_papers() -> None:
    data = ready(1)
    train, test = (set(data.parts[name].tolist()) for name in ("train", "test"))
    neighbours: dict[int, set[int]] = {paper: set() for paper in range(len(data.labels))}
    for one, other in data.whole.links.T.tolist():
        neighbours[one].add(other)
        neighbours[other].add(one)
    pairs = data.pairs("test")
    linked, unlinked = (
        [len(neighbours[b] & train) for b in each[1].tolist()] for each in (pairs.linked, pairs.unlinked)
    )
    wins = [(one > other) + 0.5 * (one == other) for one in linked for other in unlinked]
    auc, ap = papers.by_number_of_links(data)
    assert auc == pytest.approx(sum(wins) / len(wins))
    # AP: precision at each linked pair, pairs of one score entering together.
    places = [sum(other >= one for other in linked) for one in linked]
    shown = [sum(other >= one for other in linked + unlinked) for one in linked]
    assert ap == pytest.approx(sum(right / all_ for right, all_ in zip(places, shown, strict=True)) / len(linked))
    (row,) = papers.measured(SPEC, 2).iloc[1:].itertuples()
    assert (row.auc, row.ap) == (auc, ap)
    assert row.links == sum(len(neighbours[paper] & train) for paper in test) == len(linked)
    assert row.without_links == sum(not neighbours[paper] & train for paper in test)
    assert row.train_without_links == sum(not neighbours[paper] & train for paper in train)


def test_what_it_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["papers.py", "citeseer_papers", "--seeds", "2"])
    papers.main()
    printed = capsys.readouterr().out.splitlines()
    found = papers.measured(papers.datasets.parse({"name": "citeseer_papers", "source": "drawn"}), 2)
    assert [line.split(" | ")[5] for line in printed[2:4]] == [f"{100 * each:.1f}" for each in found["auc"]]
    low, high = mean_interval(100 * found["ap"].to_numpy())
    assert printed[-1] == f"AP: {100 * found['ap'].mean():.1f} ±{(high - low) / 2:.1f}"
    monkeypatch.setattr(sys, "argv", ["papers.py", "citeseer_papers", "--seeds", "1"])
    with pytest.raises(SystemExit):
        papers.main()
    assert "an interval needs at least 2" in capsys.readouterr().err
