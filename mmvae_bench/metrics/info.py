"""What is known about a metric besides its values. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

LAST = 1000
"""The order of metrics that have no place of their own: after the others, by name."""

PROJECT = "this project"
CREMER = "Cremer and Kushman 2018"
"""Where metrics are defined."""

ENCODER = "q(z|x) or q(z|x,y)"
FLOW = "a flow q(z)"
"""What an objective needs to have."""


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
