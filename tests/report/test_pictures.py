"""Samples side by side: each image is the one that the sheet says, and a strange sheet is only a picture or nothing."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmvae_bench.report import html, pictures
from mmvae_bench.report.board import order
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html
from mmvae_bench.report.pictures import add_pictures, side_by_side
from mmvae_bench.report.write import write_report

from .synthetic_runs import spec_of, write_trial

SIZE, SCALE = 4, 3
QUERIES = (["digit=1", "scale=small"], ["digit=1"])


def colour(objective: int, query: int, sample: int) -> tuple[int, int, int]:
    return 40 * objective + 20, 100 * query + 20, 50 * sample + 20


def sheet(objective: int, **changes: Any) -> bytes:
    """A sheet of two queries with two samples and one real image each, all of one colour of its own."""
    side = SIZE * SCALE
    picture = Image.new("RGB", (4 * side, 3 * side), (255, 255, 255))
    rows = []
    for query, words in enumerate(QUERIES):
        for place in range(3):
            painted = colour(5 if place == 2 else objective, query, place)
            picture.paste(painted, (place * side, query * side, place * side + side, query * side + side))
        read = [[[word.split("=")[1], False] for word in words], [["7", True], *[["small", False]] * (len(words) - 1)]]
        rows.append({"query": words, "read": read, "places": [[0, query * side], [side, query * side]],
                     "real": [[2 * side, query * side]]})  # fmt: skip
    note = {"version": 1, "scale": SCALE, "size": [side, side], "rows": rows} | changes
    info = PngInfo()
    info.add_text("mmvae-bench", json.dumps(note), zip=True)
    file = io.BytesIO()
    picture.save(file, format="PNG", pnginfo=info)
    return file.getvalue()


def run_of(root: Path, *sheets: bytes) -> Path:
    for name, content in zip(("telbo", "jmvae", "bivcca"), sheets, strict=False):
        (write_trial(root, spec_of(name)) / "samples.png").write_bytes(content)
    return root


def pixels(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_every_image_is_where_it_belongs(tmp_path: Path) -> None:
    section = compare(read_run(run_of(tmp_path, sheet(1), sheet(2)))).sections[0]
    labels = [column.label for column in section.columns]
    found = side_by_side(section, range(len(labels)), 100_000)
    assert found is not None
    shown, size = found
    assert [list(query) for query in shown["queries"]] == list(QUERIES)
    assert [row["label"] for row in shown["rows"]] == ["real images", *labels]
    for row in shown["rows"]:
        objective = {"real images": 5, "telbo": 1, "jmvae": 2}[row["label"]]
        for query, cell in enumerate(row["cells"]):
            assert len(cell) == (1 if objective == 5 else 2)
            for sample, each in enumerate(cell):
                image = pixels(each["uri"])
                assert image.shape == (SIZE, SIZE, 3), "its own pixels, not those of the sheet"
                assert abs(image - colour(objective, query, 2 if objective == 5 else sample)).max() < 16
                assert each["kind"] == ("real" if objective == 5 else "wrong" if sample else "right")
            if objective != 5:
                assert cell[1]["reading"][0] == ("7", True)
                assert cell[0]["reading"] == [(word.split("=")[1], False) for word in QUERIES[query]]
    assert size > sum(len(each["uri"]) for row in shown["rows"] for cell in row["cells"] for each in cell)


def test_fewer_images_where_there_is_less_room(tmp_path: Path) -> None:
    section = compare(read_run(run_of(tmp_path, sheet(1), sheet(2)))).sections[0]
    _, size = side_by_side(section, (0, 1), 100_000) or ({}, 0)
    shown, less = side_by_side(section, (0, 1), size - 1) or ({}, 0)
    assert 0 < less < size
    assert {len(cell) for row in shown["rows"] for cell in row["cells"]} == {1}
    # Then of the best alone, and no picture of nobody.
    best, least = side_by_side(section, (1, 0), less - 1) or ({}, 0)
    assert [row["label"] for row in best["rows"]] == ["real images", section.columns[1].label]
    assert side_by_side(section, (1, 0), least - 1) is None


def test_the_best_is_at_the_head_of_the_page(tmp_path: Path) -> None:
    """One image per query of the best objective, with what is read in it; no figure where no sheet says what it is."""
    run = run_of(tmp_path, sheet(1), sheet(2))
    comparison = compare(read_run(run))
    page = render_html(comparison)
    head = page.partition("<main>")[0]
    best = comparison.sections[0].columns[order(comparison.sections[0], comparison.sections[0].of("paper")[0])[0]].label
    assert f"What {best} imagines, the best mean on mnist_a" in head
    found = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', head)
    objective = {"telbo": 1, "jmvae": 2}[best]
    assert [words for _, words in found] == [f"{best}: {', '.join(query)}" for query in QUERIES]
    for query, (uri, _) in enumerate(found):
        assert abs(pixels(uri) - colour(objective, query, 0)).max() < 16
    assert 'class="glance"' not in render_html(compare(read_run(run_of(tmp_path / "plain", b"", b""))))


def test_only_the_best_is_called_so(tmp_path: Path) -> None:
    """Not the best of those with samples, nor one that is alone, nor one of several that nobody can tell apart."""

    def caption(run: Path) -> str:
        (found,) = re.findall(r"What .*? imagines.*? on mnist_a", render_html(compare(read_run(run))))
        return str(found)

    run = run_of(tmp_path / "two", sheet(1), sheet(2))
    section = compare(read_run(run)).sections[0]
    first, second = (section.columns[place] for place in order(section, section.of("paper")[0]))
    assert caption(run) == f"What {first.label} imagines, the best mean on mnist_a"
    (first.done[0].directory / "samples.png").unlink()
    assert caption(run) == f"What {second.label} imagines on mnist_a"
    assert caption(run_of(tmp_path / "alone", sheet(1))) == "What telbo imagines on mnist_a"


def noise(seed: int) -> bytes:
    """A sheet of eight queries with three samples and a real image each: noise, which hardly gets smaller."""
    side = 96
    pixels = np.random.default_rng(seed).integers(0, 256, (8 * side, 4 * side, 3), np.uint8)
    rows = [
        {"query": [f"digit={query}"], "read": [[["7", True]]] * 3, "real": [[3 * side, query * side]],
         "places": [[place * side, query * side] for place in range(3)]}
        for query in range(8)
    ]  # fmt: skip
    info = PngInfo()
    info.add_text("mmvae-bench", json.dumps({"version": 1, "scale": 1, "size": [side, side], "rows": rows}))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", pnginfo=info)
    return file.getvalue()


def test_large_images_at_the_head_do_not_make_the_page_larger_than_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = compare(read_run(run_of(tmp_path, noise(0), noise(1))))
    whole = render_html(comparison)
    assert "glance" in whole
    row = sum(len(uri) for uri in re.findall(r'(?<=<img src=")[^"]+', whole.partition("<main>")[0])) * 8 // 6
    words = len(re.sub(r'(?<=<img src=")[^"]+', "", whole).encode())
    shown = []
    for rows in np.arange(0.2, 6.5, 0.45):
        # Charts take no part in this: what is left of the page is for pictures.
        monkeypatch.setattr(html, "_FOR_PICTURES", 0)
        monkeypatch.setattr(html, "MOST_BYTES", most := words + html._RESERVE + int(rows * row))
        page = render_html(comparison)
        assert len(page.encode()) <= most
        shown.append(('class="glance"' in page, page.count("data:image")))
    assert {there for there, _ in shown} == {True, False}
    assert len({number for _, number in shown}) > 3


def test_what_is_left_out_makes_less_room_than_it_took(
    many_run: Path, many_page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note says what is left out, and is a part of the page."""
    comparison = compare(read_run(many_run))
    monkeypatch.setattr(html, "MOST_BYTES", 0)
    notes = re.findall(r'<p class="note">Left out.*?</p>\n', render_html(comparison))
    assert notes
    sections = [html._section(comparison, place) for place in range(len(comparison.sections))]
    saved = html._leave_out(comparison, sections, 10**9)
    took = sum(len(figures[kind].encode()) for figures in comparison.figures for kind in figures)
    assert took - 2 * sum(map(len, notes)) < saved <= took - sum(map(len, notes))


def test_who_has_no_room_is_named(tmp_path: Path) -> None:
    comparison = compare(read_run(run_of(tmp_path, sheet(1), sheet(2))))
    contexts: list[dict[str, Any]] = [{"best_first": (1, 0), "pictures": None}]
    _, size = side_by_side(comparison.sections[0], (1, 0), 100_000) or ({}, 0)
    add_pictures(comparison, contexts, size // 2)
    first, second = (column.label for column in comparison.sections[0].columns)
    assert [row["label"] for row in contexts[0]["pictures"]["rows"]] == ["real images", second]
    assert contexts[0]["no_samples"].startswith(f"No room on the page for the samples of {first}: ")


def test_a_sheet_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the head of the page, for its place beside the others, and for the word about those that have none."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, format="PNG")
    comparison = compare(read_run(run_of(tmp_path, sheet(1), sheet(2), file.getvalue())))
    found, read = [], pictures._opened

    def opened(label: str, trial: Any) -> Any:
        found.append(label)
        return read(label, trial)

    monkeypatch.setattr(pictures, "_opened", opened)
    page = render_html(comparison)
    assert 'class="glance"' in page
    assert "Not shown: bivcca." in page
    assert sorted(found) == ["bivcca", "jmvae", "telbo"]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": [4096, 12]},
        {"size": [0, 12]},
        {"rows": []},
        {"rows": [{"query": ["a"], "read": [], "places": [[0, 0]], "real": []}]},
        {"rows": [{"query": ["a" * 101], "read": [], "places": [], "real": []}]},
        {"rows": [{"query": [], "read": [], "places": [], "real": [[10**9, 0]]}]},
        {"scale": "3"},
        {"scale": 0},
        {"more": 1},
        {"rows": [{"query": [], "read": [], "places": [], "real": []}] * 65},
    ],
)
def test_a_text_that_is_not_true_of_the_sheet_is_not_believed(changes: dict[str, Any], tmp_path: Path) -> None:
    """The sheet is shown whole, as one that says nothing."""
    run = run_of(tmp_path, sheet(1, **changes), sheet(2, **changes))
    section = compare(read_run(run)).sections[0]
    assert side_by_side(section, (0, 1), 100_000) is None
    write_report(run, width=80, color=False)
    assert "Images imagined by telbo" in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_words_of_a_stranger_are_only_words(tmp_path: Path) -> None:
    query = "<script>alert(1)</script>\x1b[31m"
    rows = [{"query": [query], "read": [[[query, True]]], "places": [[0, 0]], "real": []}]
    run = run_of(tmp_path, sheet(1, rows=rows))
    write_report(run, width=80, color=False)
    text = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m" in text
    assert text.count("<script>") == 1
    assert "\x1b" not in text


def test_who_is_not_beside_the_others_is_named(tmp_path: Path) -> None:
    """One objective whose sheet says nothing of its images: the page does not pass over it in silence."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, format="PNG")
    run = run_of(tmp_path, sheet(1), file.getvalue())
    write_report(run)
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert 'class="pictures"' in page
    assert "Not shown: jmvae." in page
