"""Method bayes without a server: Optuna chooses each trial by the scores of those before.

What was chosen is ``sweep/asked.json`` in the run's folder: a position of each parameter for each choice. Optuna itself
stores nothing: for each choice its study is made anew, in memory, from this file and the results of the trials, with a
seed that is the number of the choice. So a sweep that was killed goes on as if it had not been, if one trial runs at a
time; of several, the order in which they end counts.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..base.errors import BenchmarkError, ConfigError, nearest
from ..base.files import DamagedFile, read_json, write_json
from ..base.printable import printable
from ..base.seeds import derive_seed
from ..runs.lock import LockHeld, TrialLock
from ..runs.store import RunStore, writing
from ..specs.sweep_parameters import Parameter
from ..specs.sweeps import MAX_TRIALS, Search
from ..specs.trial import TrialSpec
from .schedule import Trial, trials_of

FOLDER, ASKED = "sweep", "asked.json"
NUM_RANDOM = 10
"""The first choices are random: there is nothing to learn from. As many as by Optuna's default."""
Values = Callable[[Path], Mapping[str, float]]
"""The numbers of a finished trial in a folder, by the names that trackers give them."""
Described = Callable[[Sequence[TrialSpec], int], str]
"""A grid file of some trials, and of how many choices they are."""


class Proposals:
    """Chooses the trials of a sweep, and remembers what it has chosen.

    Args:
        search: What is varied and optimised.
        root: The run's folder; need not exist.
        described: Writes the grid file.

    Raises:
        BenchmarkError: Optuna is not installed.
        ConfigError: what was chosen in this folder is not of this sweep, or cannot be read.
    """

    def __init__(self, search: Search, root: Path, described: Described) -> None:
        if find_spec("optuna") is None:
            raise BenchmarkError(
                "method bayes needs the package optuna without W&B's server: run `pip install optuna`; or use "
                "W&B's own commands, `wandb sweep FILE` and `wandb agent SWEEP`"
            )
        self.search, self.path, self.described = search, root / FOLDER / ASKED, described
        self.store, self.values = RunStore(root), None  # type: RunStore, Values | None
        self.asked = self._read()
        self.trials = [self._trial(positions) for positions in self.asked]
        if not self.asked:
            self._choose()

    @property
    def left(self) -> int:
        """How many choices there are still to be made."""
        return max(0, self.search.count - len(self.asked))

    @property
    def specs(self) -> list[TrialSpec]:
        """The trials so far, each once."""
        return list({spec.key: spec for spec in self.trials if spec is not None}.values())

    def grid_text(self) -> str:
        """The grid file of the trials so far."""
        return self.described(self.specs, len(self.asked))

    @contextmanager
    def begin(self, store: RunStore, values: Values | None) -> Iterator[None]:
        """In this block nobody else chooses for the folder.

        Raises:
            ConfigError: somebody else does.
        """
        self.store, self.values = store, values
        with writing(store.root):
            store.trials_root.mkdir(parents=True, exist_ok=True)
            self.path.parent.mkdir(exist_ok=True)
            lock = TrialLock(self.path.parent, wait=0)
            try:
                lock.__enter__()
            except LockHeld:
                advice = "Wait until it has ended, or choose another folder with --out."
                raise ConfigError(f"{store.root}: another process runs this sweep here\n  {advice}") from None
            try:
                if self._read() != self.asked[: len(self._read())]:
                    raise ConfigError(f"{store.root}: another process has continued this sweep: run the command again")
                self._write()
                yield
            finally:
                lock.__exit__(None, None, None)

    def __call__(self) -> Sequence[Trial]:
        """Chooses the next trial and makes its folder; none if all choices are made."""
        known = {spec.key for spec in self.specs}
        while self.left:
            self._choose()
            self._write()
            spec = self.trials[-1]
            if spec is None or spec.key in known:
                continue  # Told to Optuna at the next choice.
            specs = self.specs
            self.store.create(
                [(spec.key, spec.canonical(), spec.evaluation.canonical())],
                grid_text=self.grid_text(),
                grid_keys={each.key for each in specs},
            )
            return trials_of(specs, self.store)[-1:]
        return ()

    def _choose(self) -> None:
        import optuna

        parameters = self.search.parameters
        spaces = {".".join(parameter.keys): _space(parameter) for parameter in parameters if not _is_fixed(parameter)}
        told = [self._told(spec) for spec in self.trials]
        seed = derive_seed("sweep by bayes", index=len(self.asked)) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of what is experimental in Optuna.
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=NUM_RANDOM, seed=seed, constant_liar="running" in told
            )
            goal: Any = self.search.metric.goal
            study = optuna.create_study(direction=goal, sampler=sampler)
            for positions, value in zip(self.asked, told, strict=True):
                chosen = {name: number for parameter, number in zip(parameters, positions, strict=True)
                          if (name := ".".join(parameter.keys)) in spaces}  # fmt: skip
                states = {"running": optuna.trial.TrialState.RUNNING, "failed": optuna.trial.TrialState.FAIL}
                outcome = {"state": states[value]} if isinstance(value, str) else {"value": value}
                study.add_trial(optuna.trial.create_trial(params=chosen, distributions=spaces, **outcome))
            found = study.ask(spaces).params
        positions = [found.get(".".join(parameter.keys), 0) for parameter in parameters]
        self.asked.append(positions)
        self.trials.append(self._trial(positions, say=True))

    def _told(self, spec: TrialSpec | None) -> float | Literal["running", "failed"]:
        """The value of a choice; a number that is none is a failure, as for W&B."""
        if spec is None:
            return "failed"
        folder = self.store.folder(spec.key)
        state = folder.status(spec.evaluation.canonical()).state
        if state == "failed":
            return "failed"
        if state != "done" or self.values is None:
            return "running"
        known, name = self.values(folder.directory), self.search.metric.name
        if name not in known:
            near = nearest(name, known)
            raise BenchmarkError(
                f"trial {spec.key} has no {printable(name)}, which this sweep optimises"
                f"{f'; nearest: {near}' if near else ''}\n  Correct metric.name in the sweep file."
            )
        return known[name] if math.isfinite(known[name]) else "failed"

    def _trial(self, positions: Sequence[float], *, say: bool = False) -> TrialSpec | None:
        try:
            return self.search.trial(positions)
        except ConfigError as error:
            if say:
                sys.stderr.write(f"no trial can have these settings, which counts as a failure: {error}\n")
            return None

    def _write(self) -> None:
        names = [".".join(parameter.keys) for parameter in self.search.parameters]
        write_json(self.path, {"parameters": names, "asked": self.asked})

    def _read(self) -> list[list[float]]:
        if self.path.parent.is_symlink():
            reason = "a link; the folder of a run holds no links to others"
            raise ConfigError(f"{DamagedFile(self.path.parent, reason)}\n  Choose another folder with --out.")
        try:
            plain = read_json(self.path)
        except FileNotFoundError:
            return []
        except DamagedFile as error:
            raise ConfigError(f"{error}\n  Choose another folder with --out.") from None
        parameters = self.search.parameters
        names = [".".join(parameter.keys) for parameter in parameters]
        asked = plain.get("asked") if isinstance(plain, dict) else None
        try:
            if not isinstance(asked, list) or len(asked) > MAX_TRIALS or plain.get("parameters") != names:
                raise ValueError("it has other parameters")
            for positions in asked:
                if not isinstance(positions, list) or len(positions) != len(names):
                    raise ValueError("a choice has not one number for each parameter")
                for parameter, number in zip(parameters, positions, strict=True):
                    parameter.at(number)
        except ValueError as error:
            advice = "A changed sweep is another comparison: choose another folder with --out."
            raise ConfigError(f"{self.path}: is not of this sweep: {printable(str(error))}\n  {advice}") from None
        return asked


def _is_fixed(parameter: Parameter) -> bool:
    return parameter.is_countable and parameter.num_values == 1


def _space(parameter: Parameter) -> Any:
    """What Optuna chooses from: positions, see :meth:`Parameter.at`."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.distribution == "categorical":
        return CategoricalDistribution(range(parameter.num_values))
    if parameter.is_countable:
        return IntDistribution(0, parameter.num_values - 1)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.distribution == "log_uniform_values")
