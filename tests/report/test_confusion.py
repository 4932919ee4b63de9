"""Tables of confusion: summed over seeds, drawn as they were counted, and in words."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from mmvae_bench.cli import main
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.confusion import Confusion, confusion_figure, confusions, most_wrong
from mmvae_bench.report.drawing import INK
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html
from mmvae_bench.specs.trial import TrialSpec

from .synthetic_runs import SKILL, VALUES, confusion_of, result_of, spec_of, write_trial


def by_hand(level: int, attribute: str, *seeds: int) -> np.ndarray:
    tables = [each for seed in seeds for each in confusion_of(spec_of(seed=seed))["asked"]]
    return sum(np.array(each["counts"]) for each in tables if (each["level"], each["attribute"]) == (level, attribute))


def test_seeds_are_summed_and_the_highest_level_is_taken() -> None:
    results = [result_of(spec_of(seed=seed), []) for seed in (0, 1)]
    found = confusions(results, partition="test")
    assert [each.attribute for each in found] == [*VALUES]
    for each in found:
        assert (each.level, each.values) == (4, VALUES[each.attribute])
        assert np.array_equal(each.counts, by_hand(4, each.attribute, 0, 1))
        assert each.shares.sum(1) == pytest.approx(1)
        assert each.real is not None
        assert each.real.sum() == 99 * len(each.values) + 1
    (one, *_) = confusions(results, partition="test", level=1)
    assert np.array_equal(one.counts, by_hand(1, "digit", 0, 1))
    assert confusions(results, partition="val") == ()
    assert confusions(results, partition="test", level=3) == ()
    assert confusions([{}], partition="test") == ()


def test_the_largest_confusions_by_enumeration() -> None:
    found = confusions([result_of(spec_of(), [])], partition="test")
    every = []
    for name, values in VALUES.items():
        for row, counts in enumerate(by_hand(4, name, 0).tolist()):
            every += [(count / sum(counts), name, values[row], values[column])
                      for column, count in enumerate(counts) if row != column]  # fmt: skip
    every.sort(key=lambda one: -one[0])
    wrong = most_wrong(found, number=5)
    assert [(one.share, one.attribute, one.asked, one.read) for one in wrong] == [
        (pytest.approx(share), *names) for share, *names in every[:5]
    ]
    of_first = [one for one in most_wrong(found, number=999) if (one.asked, one.read) == ("small", "big")]
    assert of_first[0].real == pytest.approx(0.01)
    right = Confusion("digit", ("a", "b"), np.array([[5, 0], [0, 0]]), None, 1, "sample")
    assert most_wrong([right]) == ()
    assert right.wrong == 0


def test_a_square_is_as_dark_as_its_share_is_large(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of())
    comparison = compare(read_run(tmp_path))
    drawn = confusion_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    squares = [each for each in drawn[0].axes[0].patches if isinstance(each, Rectangle) and each.get_fill()]
    assert {to_hex(each.get_facecolor()) for each in squares} == {INK}
    # Real images first, then telbo; each attribute by itself, row by row.
    expected = [share for record in ("real", "asked") for share in _shares(record)]
    assert [each.get_alpha() for each in squares] == pytest.approx(expected, abs=0.006)


def _shares(record: str) -> list[float]:
    tables = confusion_of(spec_of())[record]
    shares = []
    for each in tables[:4]:
        for counts in each["counts"]:
            shares += [count / sum(counts) for count in counts if count / sum(counts) >= 0.005]
    return shares


def test_the_page_has_them_in_words_too(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of())
    page = render_html(compare(read_run(tmp_path)))
    table = re.search(r'<table class="confusions".*?</table>', page, re.DOTALL)
    assert table is not None
    first = most_wrong(confusions([result_of(spec_of(), [])], partition="test"))[0]
    assert f"{first.attribute}: {first.asked} read as {first.read}</td><td>{100 * first.share:.1f}</td>" in table[0]


def test_a_run_without_them_says_nothing(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, spec_of())
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    del result["confusion"]
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert "confused" not in render_html(compare(read_run(tmp_path)))


def test_tables_of_a_stranger(tmp_path: Path) -> None:
    """Values that do not fit the counts are not shown; a table too large to draw is in words alone."""
    folder = write_trial(tmp_path, spec_of())
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    asked = result["confusion"]["asked"]
    asked[0]["values"] = ["only <b>one</b>"]
    size = 60
    asked[1] |= {"values": [f"v{k}" for k in range(size)], "counts": [[0, 9] + [0] * (size - 2)] * size}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    comparison = compare(read_run(tmp_path))
    drawn = confusion_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    assert {text.get_text() for text in drawn[0].axes[0].texts} >= {"orientation", "location"}
    assert not {text.get_text() for text in drawn[0].axes[0].texts} & {"digit", "scale"}
    assert "scale: v0 read as v1" in render_html(comparison)
    assert "<b>one</b>" not in render_html(comparison)


def test_the_largest_of_many_values_are_found_at_once() -> None:
    """Shares are taken once for a table, not for each of its cells: a thousand values have a million of these."""
    counts = np.eye(1000, dtype=np.int64) * 50
    counts[3, 7] = 50
    start = time.process_time()
    (one,) = most_wrong([Confusion("kind", tuple(map(str, range(1000))), counts, counts, 1, "sample")])
    assert (one.asked, one.read, one.share, one.real) == ("3", "7", 0.5, 0.5)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("large", ["telbo", "jmvae"])
def test_a_table_too_large_to_draw_gives_no_values_to_another(large: str, tmp_path: Path) -> None:
    """Of one attribute, one trial has a table to draw and another a much larger one."""
    size = 60
    for name in ("telbo", "jmvae"):
        folder = write_trial(tmp_path, spec_of(name))
        if name == large:
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            result["confusion"]["asked"][0] |= {
                "values": [f"v{k}" for k in range(size)], "counts": [[1] * size] * size,
            }  # fmt: skip
            (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    comparison = compare(read_run(tmp_path))
    drawn = confusion_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert "digit" in texts
    assert "v7" not in texts
    assert {*VALUES["digit"]} <= {*texts}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(write_trial(tmp_path, spec_of()))
    assert main(["confusion", folder, "--attribute", "scale", "--level", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scale: asked (down) against read (across), %, level 1, samples"
    assert lines[1].split() == ["small", "big", "real,", "right"]
    counts = by_hand(1, "scale", 0)
    for row, (name, line) in enumerate(zip(("small", "big"), lines[2:], strict=True)):
        shares = 100 * counts[row] / counts[row].sum()
        assert line.split() == [name, *(f"{share:.1f}" for share in shares), "99.0" if row == 0 else "100.0"]
    assert main(["confusion", folder, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["attribute"] for each in document["attributes"]] == [*VALUES]
    assert document["attributes"][0]["counts"] == by_hand(4, "digit", 0).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attribute", "colour"], "unknown attribute 'colour'"),
        (["--level", "3"], "no query specifies that many attributes; choices: 1, 4"),
        (["--partition", "val"], "unknown partition 'val'"),
    ],
)
def test_what_it_refuses(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_trial(tmp_path, spec_of()))
    assert main(["confusion", folder, *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert not printed.out


def test_a_trial_that_is_not_done_or_was_evaluated_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_trial(tmp_path, spec_of())
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    asked = result["confusion"]["asked"]
    result["confusion"]["asked"] = [each for each in asked if each["attribute"] != "scale"]
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert main(["confusion", str(folder), "--attribute", "scale"]) == 2
    printed = capsys.readouterr()
    assert "attribute scale is not among the tables of confusion" in printed.err
    assert not printed.out
    result["confusion"] = None
    for _ in range(2):
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
        assert main(["confusion", str(folder)]) == 2
        assert "no confusion is stored" in capsys.readouterr().err
        result.pop("confusion", None)
    (folder / "result.json").unlink()
    assert main(["confusion", str(folder)]) == 2
    assert "the trial is not done" in capsys.readouterr().err


PAPERS = {"dataset": "cora_papers", "backbone": "papers"}
GRAPH = {"dataset": "cora", "backbone": "gcn", "training": {"batch_size": 300}}
DIGITS = {"dataset": {"name": "mnist_a", "source": "digits"}, "backbone": "mnist_a_thin"}


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (PAPERS | {"objective": "telbo"}, "cora_papers holds words and links of papers: there are no images to read"),
        (GRAPH | {"objective": "vgae"}, "cora is a graph: there are no images to read"),
        (DIGITS | {"objective": "vae"}, "vae has no q(z|y)"),
    ],
    ids=["papers", "a graph", "images alone"],
)
def test_where_there_can_be_no_confusion_the_reason_is_said(
    trial: dict[str, object],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And evaluating again, which could not help, is not advised."""
    monkeypatch.setitem(SKILL, str(trial["objective"]), 0.5)
    folder = write_trial(tmp_path, TrialSpec.parse(trial))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result.pop("confusion", None)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert main(["confusion", str(folder)]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert "mmvae-bench evaluate" not in said
