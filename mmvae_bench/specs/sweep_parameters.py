"""The parameters of a W&B sweep file: distributions, their values in order, and draws of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any

from ..base.errors import Location, Problem, nearest
from ..base.seeds import derive_seed
from .base import LARGEST
from .overrides import Keys

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform_values": ("min", "max"),
}
"""The supported distributions, with their keys; ``q`` is 1 by default."""
COUNTABLE = ("constant", "categorical", "int_uniform", "q_uniform")
"""The distributions with a finite number of values, as a grid needs."""
ELSEWHERE = "probabilities", "mu", "sigma"
"""Keys of distributions that only W&B's server supports."""

Choice = tuple[Any, Location]
"""A value, and its location in the file."""


@dataclass(frozen=True)
class Parameter:
    """One parameter with its distribution.

    Attributes:
        keys: Its path in a trial's spec.
        place: Its path in the file, below ``parameters``, with the names as written there.
        location: Its location in the file.
        distribution: One of ``ARGUMENTS``.
        values: The values of a constant or a categorical one.
        low: Smallest value.
        high: Largest value.
        q: Step of q_uniform.
    """

    keys: Keys
    place: Keys
    location: Location
    distribution: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    q: float = 1.0

    @property
    def is_countable(self) -> bool:
        """Whether it has a finite number of values."""
        return self.distribution in COUNTABLE

    @property
    def num_values(self) -> int:
        """The number of values, if it is countable; may be more than ``len`` could return."""
        if self.distribution in ("constant", "categorical"):
            return len(self.values)
        first, last = self._steps()
        return last - first + 1

    def every(self, *, at_most: int | None = None) -> list[Choice]:
        """The values in order, all or the first ones, if it is countable."""
        if self.distribution in ("constant", "categorical"):
            return self.ends()[:at_most]
        first, last = self._steps()
        return [(self._step(k), self.location) for k in range(first, last + 1)[:at_most]]

    def ends(self) -> list[Choice]:
        """The values to validate: each of a list, both ends of a range."""
        if self.distribution == "constant":
            return [(self.values[0], (*self.location, "value"))]
        if self.distribution == "categorical":
            return [(value, (*self.location, "values", index)) for index, value in enumerate(self.values)]
        low, high = (self._step(k) for k in self._steps()) if self.is_countable else (self.low, self.high)
        return [(low, (*self.location, "min")), (high, (*self.location, "max"))]

    def at(self, number: float) -> Choice:
        """The value of a position: a countable parameter's values are numbered from 0, others are their own position.

        Raises:
            ValueError: there is no such position.
        """
        if self.is_countable:
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < self.num_values:
                raise ValueError(f"{number!r:.40} is no whole number from 0 to {self.num_values - 1}")
            if self.distribution in ("constant", "categorical"):
                return self.ends()[number]
            return self._step(self._steps()[0] + number), self.location
        if isinstance(number, bool) or not isinstance(number, int | float) or not self.low <= number <= self.high:
            raise ValueError(f"{number!r:.40} is no number from {self.low} to {self.high}")
        return float(number), self.location

    def draw(self, index: int) -> Choice:
        """The value of draw ``index`` (from 0): a function of the parameter's path and the index only.

        A longer series of draws thus begins with the shorter one, and other parameters change no value of this one.
        """
        u = Random(derive_seed("sweep", parameter=list(self.keys), index=index)).random()
        if self.distribution in ("constant", "categorical"):
            choices = self.ends()
            return choices[int(u * len(choices))]
        if self.distribution == "int_uniform":
            return int(self.low) + int(u * (int(self.high) - int(self.low) + 1)), self.location
        if self.distribution == "log_uniform_values":
            value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
            return min(max(value, self.low), self.high), self.location
        value = self.low + u * (self.high - self.low)
        if self.distribution == "uniform":
            return value, self.location
        first, last = self._steps()
        k = int((Decimal(repr(value)) / Decimal(repr(self.q))).to_integral_value(ROUND_HALF_EVEN))
        return self._step(min(max(k, first), last)), self.location

    def _steps(self) -> tuple[int, int]:
        """The first and the last multiple of the step inside the range."""
        if self.distribution == "int_uniform":
            return int(self.low), int(self.high)
        # As decimals: 0.3 / 0.1 is 3, which it is not in binary.
        low, high, q = (Decimal(repr(number)) for number in (self.low, self.high, self.q))
        return int((low / q).to_integral_value(ROUND_CEILING)), int((high / q).to_integral_value(ROUND_FLOOR))

    def _step(self, k: int) -> float | int:
        if self.distribution == "int_uniform":
            return k
        if isinstance(self.q, int):
            return k * self.q
        return float(k * Decimal(repr(self.q)))


def read_parameters(given: Mapping[str, Any]) -> tuple[list[Parameter], list[Problem]]:
    """The parameters of a sweep file, nested ones flattened in order, and everything that is wrong with them."""
    parameters: list[Parameter] = []
    problems: list[Problem] = []
    _read_all(given, (), (), ("parameters",), parameters, problems)
    taken: set[Keys] = set()
    for parameter in parameters:
        if parameter.keys in taken:
            problems.append(Problem("given twice, nested and dotted", parameter.location))
        taken.add(parameter.keys)
    return parameters, problems


def _read_all(
    given: Mapping[str, Any],
    keys: Keys,
    place: Keys,
    location: Location,
    parameters: list[Parameter],
    problems: list[Problem],
) -> None:
    for name, value in given.items():
        here, path, where = (*location, name), keys + tuple(name.split(".")), (*place, name)
        if not all(path):
            problems.append(Problem("expected dotted keys, such as training.steps", here, repr(name)))
        elif not isinstance(value, Mapping) or not value:
            message = "expected a mapping, such as {value: 1} or {values: [1, 2]}"
            problems.append(Problem(message, here, repr(value)[:120]))
        elif "parameters" in value:
            inner, others = value["parameters"], sorted(set(value) - {"parameters"})
            problems += [Problem("cannot be combined with nested parameters", (*here, key)) for key in others]
            if isinstance(inner, Mapping) and inner:
                _read_all(inner, path, where, (*here, "parameters"), parameters, problems)
            else:
                problems.append(Problem("expected a mapping of parameters", (*here, "parameters"), repr(inner)[:120]))
        else:
            read = _read(value, path, where, here)
            if isinstance(read, Parameter):
                parameters.append(read)
            else:
                problems += read


def _read(given: Mapping[str, Any], keys: Keys, place: Keys, location: Location) -> Parameter | list[Problem]:
    distribution = given.get("distribution") or _inferred(given)
    if distribution is None:
        message = "nothing to sample from: give value, values, or min and max"
        near = nearest(next(iter(given)), ("value", "values", "min", "max", "distribution", "parameters"))
        return [Problem(message, location, repr(dict(given))[:120], near=near)]
    if not isinstance(distribution, str) or distribution not in ARGUMENTS:
        names = tuple(ARGUMENTS)
        message = f"distribution {distribution!r} is not supported without W&B's server"
        return [Problem(message, (*location, "distribution"), choices=names, near=nearest(distribution, names))]
    allowed = ARGUMENTS[distribution]
    problems = []
    for key in given:
        if key in ELSEWHERE:
            message = f"{key!r} is not supported without W&B's server"
            problems.append(Problem(message, (*location, key), choices=("distribution", *allowed)))
        elif key not in (*allowed, "distribution"):
            message = f"unknown key {key!r} of distribution {distribution}"
            problems.append(Problem(message, (*location, key), None, ("distribution", *allowed), nearest(key, allowed)))
    missing = [key for key in allowed if key != "q" and key not in given]
    problems += [Problem(f"distribution {distribution} needs {key!r}", location) for key in missing]
    if problems:
        return problems
    if distribution == "constant":
        return Parameter(keys, place, location, distribution, (given["value"],))
    if distribution == "categorical":
        values = given["values"]
        if not isinstance(values, list) or not values:
            message = "expected a list of at least one value"
            return [Problem(message, (*location, "values"), repr(values)[:120])]
        return Parameter(keys, place, location, distribution, tuple(values))
    return _range(given, Parameter(keys, place, location, distribution))


def _range(given: Mapping[str, Any], empty: Parameter) -> Parameter | list[Problem]:
    whole = empty.distribution == "int_uniform"
    numbers = {"min": given["min"], "max": given["max"], "q": given.get("q", 1)}
    wanted = "a whole number" if whole else "a number"
    problems = [
        Problem(f"expected {wanted}", (*empty.location, key), repr(value)[:120])
        for key, value in numbers.items()
        if isinstance(value, bool)
        or not isinstance(value, int if whole else int | float)
        or (isinstance(value, float) and not math.isfinite(value))
        or (key == "q" and value <= 0)
    ]
    problems += [
        Problem("not between -2^53 and 2^53", (*empty.location, key), repr(value)[:120])
        for key, value in numbers.items()
        if isinstance(value, int) and abs(value) > LARGEST
    ]
    if problems:
        return problems
    low, high = numbers["min"], numbers["max"]
    if low > high:
        return [Problem("smaller than min", (*empty.location, "max"), f"{high} (min is {low})")]
    if empty.distribution == "log_uniform_values" and low <= 0:
        return [Problem("must be greater than 0 for a logarithm", (*empty.location, "min"), repr(low))]
    found = Parameter(empty.keys, empty.place, empty.location, empty.distribution, (), low, high, numbers["q"])
    if found.is_countable and found.num_values < 1:
        return [Problem("there is no multiple of q between min and max", empty.location, repr(dict(given)))]
    return found


def _inferred(given: Mapping[str, Any]) -> str | None:
    """The distribution that W&B infers if none is named."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical"
    if "min" in given or "max" in given:
        ends = [given[key] for key in ("min", "max") if key in given]
        return "int_uniform" if all(isinstance(end, int) for end in ends) else "uniform"
    return None


def size_of(parameters: Sequence[Parameter]) -> int:
    """The number of combinations of countable parameters."""
    return math.prod(parameter.num_values for parameter in parameters)
