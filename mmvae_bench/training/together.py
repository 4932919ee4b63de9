"""Trains objectives that differ in nothing but the seed in one process, as one; each saves what it would alone.

Each has a loop of its own (:class:`~.fit.StageLoop`), which validates, logs, scores and saves it; only the steps are
made together (:class:`~.stacked.Stacked`). So each can be resumed alone, and those that were trained alone together.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from ..base.allocation import freed_memory_kept
from ..objectives.base import Terms
from .fit import Fitting, StageLoop, TrainingInterrupted, training_mode
from .stacked import Stacked, Unstackable
from .watch import NonFiniteLossError


def fit_together(fittings: Sequence[Fitting]) -> None:
    """Trains objectives to the end of their last stage.

    Those that are behind, after a kill in between their saves, first catch up alone. One whose loss is no longer finite
    is left where it was last saved, and the others go on.

    Args:
        fittings: Begun, of trials that are equal but for the seed, on one device and one data module.

    Raises:
        Unstackable: they cannot be trained as one (any further); each can still be trained alone, from its checkpoint.
        TrainingInterrupted: after saving all, when the ``control.stop`` of any returns true.
    """
    if (reason := fittings[0].training.together_obstacle) is not None:
        raise Unstackable(reason)
    fittings = list(fittings)
    with training_mode(fittings[0].training), freed_memory_kept():
        while not all(fitting.finished for fitting in fittings):
            _level(fittings)
            if fittings[0].finished:
                break
            failed = _stage(fittings)
            fittings = [fitting for fitting in fittings if fitting not in failed]
            if len(fittings) < 2:
                raise Unstackable("only one of them has a finite loss")
    for fitting in fittings:
        fitting.objective.end_stages()


def _level(fittings: Sequence[Fitting]) -> None:
    """Trains those that are behind, alone, until they are where the first one is."""
    stage, step = max((fitting.state.stage, fitting.state.step) for fitting in fittings)
    for fitting in fittings:
        while fitting.state.stage < stage:
            fitting.loop().run()
        if fitting.state.step < step:
            fitting.loop().run(until=step)


def _stage(fittings: Sequence[Fitting]) -> list[Fitting]:
    """Trains to the end of the stage that all are in, or until the loss of some, which are returned, breaks."""
    loops = [fitting.loop(together=len(fittings)) for fitting in fittings]
    for loop in loops:
        loop.begin()
    stacked = Stacked([fitting.objective for fitting in fittings])
    for place, loop in enumerate(loops):
        loop.before_saving = partial(stacked.hand_back, place)
    for batches in zip(*(loop.batches() for loop in loops), strict=True):
        each = stacked.step([batch.to(loop.device) for batch, loop in zip(batches, loops, strict=True)])
        if broken := _after(loops, each):
            for place, loop in enumerate(loops):
                if place not in broken:
                    with suppress(NonFiniteLossError):  # Then it breaks at its next step.
                        loop.save()
            return [fittings[place] for place in broken]
    for loop in loops:
        loop.finish()
    return []


def _after(loops: Sequence[StageLoop], terms: Sequence[Terms]) -> list[int]:
    """What follows a step of each; the places of those whose loss, or weights, are no longer finite.

    Raises:
        TrainingInterrupted: when all have saved.
    """
    broken: list[int] = []
    unsaved: list[StageLoop] = []
    interrupted: TrainingInterrupted | None = None
    for place, (loop, own) in enumerate(zip(loops, terms, strict=True)):
        try:
            loop.after(own)
            unsaved.append(loop)
            for other in loops:
                if other is not loop and any(loop.paused):
                    other.pause(*loop.paused)
            loop.paused = (0.0, 0.0)
        except NonFiniteLossError:
            broken.append(place)
        except TrainingInterrupted as error:
            interrupted = error
    if interrupted is not None:
        for loop in unsaved:  # They were asked before the process was.
            with suppress(NonFiniteLossError):
                loop.save()
        raise interrupted
    return broken
