"""The page as a person meets it: opened, sorted, filtered, copied, by keyboard, on a telephone, on paper, in the dark.

The rules of axe-core are run where a copy of it is named by MMVAE_BENCH_AXE (``npm pack axe-core`` has axe.min.js).
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.report.comparison import Comparison, compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import MOST_BYTES
from mmvae_bench.report.tables import difference_of
from mmvae_bench.report.text import with_bounds
from mmvae_bench.report.write import write_report

from ..browser import Browser, browser, needs_chromium
from .synthetic_runs import spec_of, write_trial
from .test_renderings import from_csv

pytestmark = needs_chromium
AXE = os.environ.get("MMVAE_BENCH_AXE", "")
BEST = ["telbo gamma=1", "telbo gamma=2"]
"""The two of many_run that are far better than the others."""


@pytest.fixture(scope="module")
def opened(many_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        started.size(1400)
        yield started


@pytest.fixture
def page(opened: Browser, many_page: Path) -> Iterator[Browser]:
    """The page, loaded anew; whatever a test does, nothing may be wrong on the console."""
    opened.size(1400)
    opened.media()
    opened.open(many_page)
    yield opened
    assert opened.complaints == []


@pytest.fixture(scope="module")
def comparison(many_run: Path, many_page: Path) -> Comparison:
    return compare(read_run(many_run))


def rows(page: Browser, table: str = "table.board", place: int = 1) -> list[tuple[str, str]]:
    """Name and cell of each row that is shown."""
    found = page.run(
        f"[...document.querySelector('{table}').tBodies].flatMap(each => [...each.rows]).filter(row => !row.hidden)"
        f".map(row => [row.dataset.name ?? row.cells[0].textContent, row.cells[{place}].textContent])"
    )
    return [(name, " ".join(text.split())) for name, text in found]


def numbers(page: Browser, place: int) -> list[float]:
    """The numbers of a column of the leaderboard whose last row has none."""
    *found, last = rows(page, place=place)
    assert last[1] == "–"
    return [float(re.findall(r"[\d.]+", text)[0]) for _, text in found]


def click(page: Browser, selector: str) -> None:
    page.run(f"document.querySelector('{selector}').click()")


def choose(page: Browser, field: str, value: str) -> None:
    event = "input" if field == "objective" else "change"
    page.run(
        f"(field => {{ field.value = {json.dumps(value)}; field.dispatchEvent(new Event('{event}')); }})"
        f"(document.getElementById('{field}'))"
    )


def copied(page: Browser, button: str, place: str = ".part:has(table.scores)") -> str:
    """What a button over or under a table copies."""
    page.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.run(f"[...document.querySelectorAll('{place} button')].find(each => each.textContent === '{button}').click()")
    return str(page.run("new Promise(done => setTimeout(() => done(window.copied), 50))"))


def test_the_first_screen(page: Browser) -> None:
    """What it is, the leaderboard best first, and every objective: what failed is last and says so."""
    head = page.run("document.querySelector('header').innerText")
    assert "two objectives of many settings" in head
    assert "128 of 135 trials done, 1 pending, 1 interrupted, 5 failed" in head
    assert re.search(r"telbo gamma=[12]: correctness at level 4 is \d+\.\d ±\d+\.\d %, [\d.]+ % of the way from floor "
                     r"to ceiling; one other may be as good\.", head)  # fmt: skip
    assert page.run("document.querySelector('table.board').getBoundingClientRect().top") < 450
    shown = rows(page)
    assert len(shown) == 27
    assert {name for name, _ in shown[:2]} == set(BEST)
    assert shown[-1] == ("jmvae alpha=13", "–")
    assert "5 failed" in page.run("[...document.querySelectorAll('table.board tbody th')].at(-1).innerText")
    values = numbers(page, 1)
    assert values == sorted(values, reverse=True)
    page.run("document.querySelector('table.board').parentNode.scrollLeft = 500")
    assert page.run("getComputedStyle(document.querySelector('table.board tbody th')).position") == "sticky"


def test_sorting(page: Browser) -> None:
    """Best first, worst first, and back to where it was; any table by any column."""
    before = rows(page, place=5)
    button = "table.board thead tr:nth-child(2) th:nth-child(5) button"
    for reverse in (True, False):
        click(page, button)
        found = numbers(page, 5)
        assert found == sorted(found, reverse=reverse)
        assert page.run("document.querySelectorAll('table.board [aria-sort]').length") == 1
    click(page, button)
    assert rows(page, place=5) == before
    click(page, "table.progress th:nth-child(2) button")
    seeds = [int(seed) for _, seed in rows(page, "table.progress")]
    assert seeds == sorted(seeds, reverse=True)
    assert len(seeds) == 128
    # A label that is written once for several rows is there in every row once they are in another order.
    click(page, "table.scores th:nth-child(3) button")
    labels = page.run("[...document.querySelectorAll('table.scores')][0].innerText")
    assert labels.count("correctness") == 4


def test_filters(page: Browser) -> None:
    choose(page, "objective", "ALPHA=1")
    assert {name for name, _ in rows(page)} == {"jmvae alpha=1", *(f"jmvae alpha=1{digit}" for digit in range(4))}
    assert page.run("document.getElementById('shown').textContent") == "5 of 27 rows"
    heads = page.run("[...document.querySelectorAll('table.scores thead th[data-name]')]"
                     ".filter(each => !each.hidden).map(each => each.dataset.name)")  # fmt: skip
    assert set(heads) == {name for name, _ in rows(page)}
    choose(page, "level", "3")
    board = "[...document.querySelector('table.board').tHead.rows[1].cells].filter(each => !each.hidden)"
    assert [text.split()[0] for text in page.run(f"{board}.map(each => each.innerText)")] == ["level", "level", "score"]
    groups = "[...document.querySelectorAll('table.board .group')]"
    assert page.run(f"{groups}.map(each => [each.innerText, each.hidden ? 0 : each.colSpan])") == [
        ["correctness", 1],
        ["coverage", 1],
        ["description", 1],
    ]
    choose(page, "protocol", "official")
    shown = page.run("[...document.querySelectorAll('main table[data-protocol]')]"
                     ".filter(each => each.checkVisibility()).map(each => each.dataset.protocol)")  # fmt: skip
    assert set(shown) == {"official"}
    click(page, "#all")
    assert len(rows(page)) == 27
    assert page.run("document.getElementById('shown').textContent") == ""
    page.run("[...document.querySelectorAll('.choices label')]"
             ".find(each => each.textContent.trim() === 'telbo gamma=1').querySelector('input').click()")  # fmt: skip
    assert BEST[0] not in dict(rows(page))
    assert len(rows(page)) == 26


def test_a_copied_table_is_that_of_the_report(page: Browser, many_page: Path) -> None:
    """The first of the tables that have the objectives as columns: line by line, cell by cell."""
    markdown = copied(page, "Copy Markdown").splitlines()
    names = page.run("[...document.querySelector('table.scores').querySelectorAll('th[data-name]')]"
                     ".map(each => each.dataset.name)")  # fmt: skip
    written = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (many_page.parent / "table.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    heads = next(line for line in written if "level" in line)
    kept = [0, 1, *range(2, 2 + len(names)), len(heads) - 2, len(heads) - 1]
    assert 5 < len(names) < 10
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown]
    assert [re.sub(r" \(n=.*\)", "", head) for head in found[0][2:-2]] == names
    assert found[0][2:-2] == [heads[place] for place in kept[2:-2]]
    body = written[written.index(heads) + 2 :][: len(found) - 2]
    assert found[2:] == [[line[place] for place in kept] for line in body]
    assert any("**" in cell for line in found for cell in line)

    latex = copied(page, "Copy LaTeX").splitlines()
    theirs = (many_page.parent / "table.tex").read_text(encoding="utf-8").splitlines()
    first = theirs[theirs.index(r"\midrule") + 1 : theirs.index(r"\bottomrule")]
    cells = [line.removesuffix(r" \\").split(" & ") for line in first if "&" in line]
    ours = [line.removesuffix(r" \\").split(" & ") for line in latex if line.endswith(r" \\")][1:]
    assert [line[1:] for line in ours] == [[line[place] for place in kept[1:]] for line in cells]
    assert latex[1] == r"\begin{tabular}{l" + "r" * (len(kept) - 1) + "}"


def test_a_range_in_a_copied_table(page: Browser) -> None:
    """A dash between two numbers is no minus, and a minus is none of the dashes."""
    page.run("(cells => { cells[1].textContent = '1\\u20133'; cells[2].textContent = '\\u22120.5'; })"
             "(document.querySelector('table.pairs').tBodies[0].rows[0].cells)")  # fmt: skip
    line = copied(page, "Copy LaTeX", ".compare").splitlines()[5]
    assert line.split(" & ")[1:3] == ["1--3", "$-$0.5"]


def test_any_two_objectives(page: Browser, comparison: Comparison) -> None:
    """In either order, as the comparison has them; the two best first."""
    (section,) = comparison.sections
    labels = [column.label for column in section.columns]
    chosen = page.run("[...document.querySelectorAll('.compare select')].map(each => each.selectedOptions[0].text)")
    assert set(chosen) == set(BEST)
    for names in ((BEST[0], "jmvae alpha=3"), ("jmvae alpha=3", BEST[0])):
        first, second = (labels.index(name) for name in names)
        page.run(f"[...document.querySelectorAll('.compare select')].forEach((each, place) => "
                 f"{{ each.selectedIndex = {[first, second]}[place]; "
                 "each.dispatchEvent(new Event('change')); })")  # fmt: skip
        found = page.run("[...document.querySelectorAll('table.pairs tbody tr')].map(row => "
                         "[...row.cells].map(each => each.textContent).concat(row.cells[4].className))")  # fmt: skip
        expected = []
        for row in section.of("paper"):
            one, other = row.cells[first], row.cells[second]
            assert one is not None and other is not None  # noqa: PT018
            difference = difference_of(one.seeds, other.seeds)
            if difference is None:
                expected.append(("–", False))
                continue
            unit = "nats" if row.metric == "elbo" else "%"
            apart = bool(row.better.size and (row.better[first, second] or row.better[second, first]))
            expected.append((with_bounds(difference.value, difference.low, difference.high, unit), apart))
        assert [(cells[4].replace("\N{MINUS SIGN}", "-"), cells[6] == "leader") for cells in found] == expected
        assert any(apart for _, apart in expected)
        ahead = {cells[5] for cells in found if cells[0] == "correctness"}
        assert ahead == ({"25 of 25"} if names[0] == BEST[0] else {"0 of 25"})


def test_single_seeds_have_neither_ranks_nor_pairs_of_seeds(opened: Browser, page: Browser, tmp_path: Path) -> None:
    """What says something of several seeds is there with several, and leaves no empty column and no idle sentence."""
    heads = "[...document.querySelectorAll('table.pairs thead th')].map(each => each.textContent).join()"
    assert "ahead, of pairs of seeds" in page.run(heads)
    assert "a rank is the best" in page.run("document.body.textContent")
    for objective in ("telbo", "jmvae", "bivcca"):
        write_trial(tmp_path / "single", spec_of(objective))
    write_report(tmp_path / "single", width=100, color=False)
    opened.open(tmp_path / "single" / "report" / "index.html")
    assert page.run(heads).endswith("difference [95 %]")
    columns = page.run("[...document.querySelectorAll('table.pairs tr')].map(row => row.cells.length)")
    assert set(columns) == {5}
    assert "a rank is the best" not in page.run("document.body.textContent")


def test_the_keyboard_is_enough(page: Browser) -> None:
    """Everything that can be done is reached by Tab, is seen to be reached, and does it by Enter."""
    before = rows(page)
    reached = []
    for _ in range(60):
        page.press("Tab")
        reached.append(page.run("document.activeElement.textContent.trim() || document.activeElement.id"))
        if page.run("document.activeElement.matches('table.board thead tr:nth-child(2) th:nth-child(2) button')"):
            break
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert {"objective", "Hide objectives", "Show all"} <= set(reached)
    page.press("Enter")
    assert rows(page) != before
    found = numbers(page, 2)
    assert found == sorted(found, reverse=True)
    scrolled = page.run("[...document.querySelectorAll('.scroll')].filter(each => each.tabIndex !== 0).length")
    assert scrolled == 0


_CHECKS = r"""(() => {
  const wrong = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const start = (each) => each.outerHTML.slice(0, 80);
  const words = (each) => (each.labels?.[0] ?? each).textContent;
  const name = (each) => (each.getAttribute("aria-label") ?? each.getAttribute("alt") ?? words(each)).trim();
  all("details").forEach((each) => (each.open = true));
  for (const each of all("button, select, input, summary, a, img, [role=region], svg"))
    if (!name(each)) wrong.push(`no name: ${start(each)}`);
  const levels = all("h1, h2, h3, h4").map((each) => Number(each.tagName[1]));
  levels.forEach((level, place) => {
    if (level > (levels[place - 1] ?? 0) + 1) wrong.push(`a level of headings is left out: ${place}`);
  });
  for (const each of all("th")) if (!each.scope) wrong.push(`no scope: ${start(each)}`);
  for (const each of all("table:not(.judge)"))
    if (!each.querySelector("tbody th[scope=row]")) wrong.push(`rows without a head: ${each.className}`);
  const regions = all("[role=region]").map(name);
  if (new Set(regions).size < regions.length) wrong.push("two regions of one name");
  for (const each of all("*")) {
    const scrolls = each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === "auto";
    if (scrolls && each.tabIndex !== 0) wrong.push(`cannot be scrolled by keyboard: ${start(each)}`);
  }
  // https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio
  const linear = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const [red, green, blue] = color.match(/[\d.]+/g).map((part) => linear(part / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (each) => {
    const color = getComputedStyle(each).backgroundColor;
    return color !== "rgba(0, 0, 0, 0)" || !each.parentElement ? color : behind(each.parentElement);
  };
  for (const each of all("body *")) {
    const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !each.checkVisibility() || each.closest("script, style, option, svg")) continue;
    const both = [light(getComputedStyle(each).color), light(behind(each))].sort((one, other) => other - one);
    const contrast = (both[0] + 0.05) / (both[1] + 0.05);
    if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(2)}: ${each.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(wrong)];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_headings_tables_and_contrast(page: Browser, scheme: str) -> None:
    """The rules that a screen reader and weak eyes depend on; all of axe-core's are in the next test."""
    page.media(scheme=scheme)
    assert page.run(_CHECKS) == []


@pytest.mark.skipif(not AXE, reason="no axe-core: MMVAE_BENCH_AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(page: Browser, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten thousand cells take it a minute or more where other programs run.
    monkeypatch.setattr("tests.browser.SECONDS", 600)
    page.media(scheme=scheme)
    page.run(Path(AXE).read_text(encoding="utf-8"))
    found = page.run(
        "(async () => { document.querySelectorAll('details').forEach(each => (each.open = true)); "
        "const result = await axe.run({resultTypes: ['violations']}); "
        "return result.violations.map(each => [each.id, each.nodes[0].html]); })()"
    )
    assert found == []


def test_a_telephone(page: Browser) -> None:
    """Nothing but tables and charts is wider than the screen, and no text of a chart is small."""
    for width in (390, 1400):
        page.size(width)
        assert page.run("document.documentElement.scrollWidth") <= width
        smallest = page.run(
            "Math.min(...[...document.querySelectorAll('svg')].flatMap(each => { const scale = "
            "each.getBoundingClientRect().width / each.viewBox.baseVal.width; return "
            "[...each.querySelectorAll('text, tspan')]"
            ".map(text => parseFloat(getComputedStyle(text).fontSize) * scale); }))"
        )
        assert smallest >= 11


def test_on_paper_nothing_is_lost(page: Browser) -> None:
    """A4 with its margins, also without the script: nothing is folded, and nothing is wider than the sheet."""
    width = round((297 - 24) / 25.4 * 96)
    page.size(width)
    page.media("print")
    lost: list[Any] = page.run(
        "[...document.querySelectorAll('main td, main th, main p, main pre, main svg, main img')].filter(each => "
        "!each.closest('.controls, .tools, .fields')).map(each => [each.getBoundingClientRect(), each])"
        f".filter(([box, each]) => box.height > 0 && (box.right > {width} || box.left < 0))"
        ".map(([box, each]) => [box.left, box.right, each.textContent.slice(0, 40)])"
    )
    assert lost == []
    folded = page.run(
        "[...document.querySelectorAll('details > :not(summary)')]"
        ".filter(each => !each.closest('.controls, .tools') && each.getBoundingClientRect().height === 0).length"
    )
    assert folded == 0
    # Chromium paints no button in a table's head that it repeats on the next sheet: the levels were missing there.
    shown = "[...document.querySelectorAll('th button')].map(each => getComputedStyle(each).display)"
    assert set(page.run(shown)) == {"contents"}


def test_without_the_script_every_number_is_there(opened: Browser, many_page: Path, many_run: Path) -> None:
    opened.open(many_page, script=False)
    assert opened.run("document.querySelector('.controls').hidden")
    opened.run("document.querySelectorAll('details').forEach(each => (each.open = true))")
    text = opened.run("document.querySelector('main').innerText").replace("\N{MINUS SIGN}", "-")
    words = set(re.findall(r"-?\d+\.\d", text))
    wanted = {number for cell in from_csv(many_run).values() for number in re.findall(r"-?\d+\.\d", cell)}
    assert len(wanted) > 200
    assert wanted <= words


def test_the_page_holds_all_scores_and_is_small(many_page: Path) -> None:
    text = many_page.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    packed = re.search(r'href="data:application/gzip;base64,([^"]+)"', text)
    assert packed is not None
    assert gzip.decompress(base64.b64decode(packed[1])) == (many_page.parent / "table.csv").read_bytes()


def test_the_scores_inside_are_saved_unpacked(page: Browser, tmp_path: Path, many_page: Path) -> None:
    page.run("URL.createObjectURL = (blob) => { window.saved = blob; return '#'; }")
    click(page, "#csv")
    text = page.run("new Promise(done => setTimeout(() => done(window.saved.text()), 300))")
    assert text == (many_page.parent / "table.csv").read_text(encoding="utf-8")
