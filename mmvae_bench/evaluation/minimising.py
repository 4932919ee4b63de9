"""Many small minimisations at once: L-BFGS, each row a problem of its own.

``torch.optim.LBFGS`` takes all rows for one problem: one step length and one estimate of curvature for all of them, and
a result for a row that depends on the others.

Shapes: N problem, n problem still at work, D dimension, M remembered step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Energy = Callable[[Tensor, Tensor], Tensor]
"""Float[n, D] and the numbers of their problems, Long[n], to Float[n]."""

State = tuple[Tensor, Tensor, Tensor]
"""Places, Float[n, D], their energies, Float[n], and the gradients there, Float[n, D]."""

MEMORY = 10
"""M, steps from which the curvature is estimated."""
SUFFICIENT = 1e-4
"""Of the decrease that the slope promises, the share that a step must bring (Armijo)."""
MAX_SHORTENINGS = 20
"""How often a step is shortened before its direction is given up."""


def minimise(energy: Energy, start: Tensor, *, steps: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Local minima by L-BFGS (Nocedal and Wright 2006, algorithm 7.4), steps shortened until they descend enough.

    A problem's energy never rises. It is done when two steps in a row bring less than ``tolerance``, or no step along
    the gradient descends.

    Args:
        energy: Differentiable; a problem's value must not depend on which others are at work.
        start: Float[N, D].
        steps: The largest number of steps.
        tolerance: In units of the energy.

    Returns:
        (Float[N, D], Float[N]): where each has ended, and its energy there.
    """
    place = start.detach().clone()
    value, gradient = _value_and_gradient(energy, place, torch.arange(len(place), device=place.device))
    moves, turns = place.new_zeros(2, MEMORY, *place.shape).unbind()
    weights, scale = place.new_zeros(MEMORY, len(place)), place.new_zeros(len(place))
    slow = torch.zeros(len(place), dtype=torch.long, device=place.device)
    at_work = torch.isfinite(value)
    for _ in range(steps):
        rows = at_work.nonzero()[:, 0]
        if not len(rows):
            break
        direction = _direction(gradient[rows], moves[:, rows], turns[:, rows], weights[:, rows], scale[rows])
        fresh = scale[rows] == 0  # Nothing is known of its curvature: the first step has at most length one.
        slope = (direction * gradient[rows]).sum(-1)
        length = torch.where(fresh, 1 / gradient[rows].norm(dim=-1).clamp_min(1), 1.0)
        now = (place[rows], value[rows], gradient[rows])
        (new_place, new_value, new_gradient), moved = _descend(energy, rows, now, direction, slope, length)
        move, turn = new_place - place[rows], new_gradient - gradient[rows]
        curvature = (move * turn).sum(-1)
        usable = moved & (curvature > 1e-10 * turn.square().sum(-1).clamp_min(torch.finfo(turn.dtype).tiny))
        for history, newest in ((moves, move), (turns, turn)):
            history[:, rows] = torch.cat([newest[None], history[:-1, rows]])
        inverse = torch.where(usable, 1 / torch.where(usable, curvature, 1), 0)
        weights[:, rows] = torch.cat([inverse[None], weights[:-1, rows]])
        ratio = curvature / turn.square().sum(-1).clamp_min(torch.finfo(turn.dtype).tiny)
        scale[rows] = torch.where(usable, ratio, scale[rows])
        # What was remembered may be misleading: a problem that cannot move starts afresh once, then it is done.
        weights[:, rows] = weights[:, rows] * moved
        scale[rows] = scale[rows] * moved
        slow[rows] = torch.where(value[rows] - new_value < tolerance, slow[rows] + 1, 0)
        at_work[rows] = torch.where(moved, slow[rows] < 2, ~fresh)
        place[rows], value[rows], gradient[rows] = new_place, new_value, new_gradient
    return place, value


def _value_and_gradient(energy: Energy, place: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        place = place.detach().requires_grad_()
        value = energy(place, rows)
        (gradient,) = torch.autograd.grad(value.sum(), place)
    value = value.detach()
    bad = ~(torch.isfinite(value) & torch.isfinite(gradient).all(-1))
    return value.masked_fill(bad, torch.inf), gradient.masked_fill(bad[:, None], 0)


def _direction(gradient: Tensor, moves: Tensor, turns: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
    """The two loops of L-BFGS, from the newest step to the oldest and back; steps of weight zero do not count.

    Where that does not descend, or nothing is remembered, minus the gradient.
    """
    found, shares = gradient, []
    for move, turn, weight in zip(moves, turns, weights, strict=True):
        shares.append(weight * (move * found).sum(-1))
        found = found - shares[-1][:, None] * turn
    found = found * torch.where(scale > 0, scale, 1)[:, None]
    for move, turn, weight, share in zip(
        *(part.flip(0) for part in (moves, turns, weights)), shares[::-1], strict=True
    ):
        found = found + (share - weight * (turn * found).sum(-1))[:, None] * move
    descends = (found * gradient).sum(-1) > 0
    return -torch.where(descends[:, None], found, gradient)


def _descend(
    energy: Energy, rows: Tensor, now: State, direction: Tensor, slope: Tensor, length: Tensor
) -> tuple[State, Tensor]:
    """Each row after a step that descends enough, and whether there was one: Bool[n]."""
    place, value, _ = now
    end, end_value, end_gradient = (part.clone() for part in now)
    moved, waiting = torch.zeros_like(rows, dtype=torch.bool), torch.arange(len(rows), device=rows.device)
    length = length.clone()
    for _ in range(MAX_SHORTENINGS):
        tried = place[waiting] + length[waiting, None] * direction[waiting]
        found, gradient = _value_and_gradient(energy, tried, rows[waiting])
        promised = length[waiting] * slope[waiting]
        enough = found <= value[waiting] + SUFFICIENT * promised
        good = waiting[enough]
        end[good], end_value[good], end_gradient[good], moved[good] = (
            tried[enough],
            found[enough],
            gradient[enough],
            True,
        )
        # The minimum of the parabola through both values and the slope, within limits.
        rise = (found - value[waiting] - promised).to(length.dtype)
        factor = (-promised / (2 * rise)).nan_to_num(0.1).clamp(0.1, 0.5)
        length[waiting] = length[waiting] * factor
        waiting = waiting[~enough]
        if not len(waiting):
            break
    return (end, end_value, end_gradient), moved
