"""Scores by processor time, of trials whose curves are known."""

from __future__ import annotations

from pathlib import Path

import ablations
import learnt
import pytest


@pytest.mark.parametrize(
    ("wanted", "value"), [(1.9, None), (2.0, 0.1), (3.0, 0.2), (4.0, 0.3), (7.0, 0.6), (8.0, 0.7), (8.1, None)]
)
def test_between_two_scores_is_a_line(wanted: float, value: float | None) -> None:
    found = learnt.at(wanted, [2.0, 4.0, 8.0], [0.1, 0.3, 0.7])
    assert found == (None if value is None else pytest.approx(value))


def test_seeds_share_a_row_and_each_has_its_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two seeds, one takes 20 ms a step and one 40: at 4 s they are at steps 200 and 100."""
    spec: dict[str, dict[str, object]] = {
        "objective": {"name": "jmvae"},
        "dataset": {"split": "iid"},
        "backbone": {"name": "mlp"},
    }
    spec["training"] = {"learning_rate": 2e-3}
    curves = {"a": ([100, 200], [0.5, 0.7]), "b": ([100, 200], [0.2, 0.9])}
    seconds = {"a": 4.0, "b": 8.0}

    def result(path: Path) -> dict[str, object]:
        if path.parent.name == "unfinished":
            raise FileNotFoundError
        return {"spec": spec, "training": {"steps": 200, "processor_seconds": seconds[path.parent.name]}}

    monkeypatch.setattr(ablations, "read_result", result)
    monkeypatch.setattr(learnt, "score_curves", lambda folder: {("correctness", None, 4): curves[folder.name]})
    for name in (*curves, "unfinished"):
        (tmp_path / "trials" / name).mkdir(parents=True)
    assert list(learnt.rows(tmp_path, "correctness", 4, [2, 4])) == [
        "| jmvae, iid, mlp, 0.002 | 30.0 | – | 45.0 (20.0 to 70.0) | 80.0 (70.0 to 90.0) (8 s) |"
    ]
    # At 10 ms a step, both are at step 200 after 2 s.
    assert list(learnt.rows(tmp_path, "correctness", 4, [2], {"mlp": 0.01})) == [
        "| jmvae, iid, mlp, 0.002 | 10.0 | 80.0 (70.0 to 90.0) | 80.0 (70.0 to 90.0) (2 s) |"
    ]
