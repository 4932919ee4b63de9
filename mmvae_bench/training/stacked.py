"""Objectives of one kind as one: their weights are stacked, and the loss is mapped over them.

``torch.func`` maps the loss over members with weights, batches and noise of their own; convolutions become grouped
ones, matrix products batched ones. What a member draws comes from generators of its own, seeded as those of a step are,
so its noise is bit for bit that of the objective trained alone; losses and gradients differ by rounding.

The mapping passes over what it does not know, such as a hook on a gradient, without a word. So at the first, second,
fourth, eighth, ... step of each kind the loss is taken of each member alone too, both ways in float64, and what comes
out must agree. What begins in between is noticed at the next of these steps.

Shapes: M member, B batch, C channel, H height, W width.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.distributions import normal
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..base.errors import BenchmarkError
from ..data.batch import Batch, KnownBatch
from ..objectives.base import Objective, Terms, checked

TOLERANCE = 1e-5
"""By how much, relative to its norm, the gradient of a member's weight may differ from that of the member alone."""
_OF_ALL = 1e-9
"""By how much more, relative to the norm of the gradient of all weights: some gradients are nothing but rounding."""
_PLAIN = (int, float, str, type(None))
_SIZED = (list, dict, set, deque, tuple)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_DRAWS: frozenset[Callable[..., Any]] = frozenset(
    {
        torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like, torch.bernoulli,
        torch.multinomial, torch.normal,
    }
)  # fmt: skip
"""What members draw by; the mapping refuses every other call that is random."""


_Alone = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]
"""Of a member: the loss, the gradients of its weights, and its buffers after the step."""


class Unstackable(BenchmarkError):
    """Objectives that cannot be trained as one; apart they can."""


class Loss(nn.Module):
    """An objective whose call is its loss: Float[] with the penalties of weights, Float[] without, and the parts.

    Attributes:
        seen: Which tensors the buffers were at the end of the last call.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        self.seen: list[int] = []

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :meth:`Objective.terms`."""
        terms = checked(self.objective.terms(batch), len(batch))
        self.seen = [id(buffer) for buffer in self.objective.buffers()]
        return self.objective.penalised(terms), terms.loss, terms.parts


class Stacked:
    """Objectives of one kind as one, for the rest of a stage.

    From here on the weights, and the moving means, of the objectives are parts of the stacked ones, so each objective
    can be validated, scored and saved as ever between two steps. Their optimisers only hold the settings and, after
    :meth:`hand_back`, their parts of the moments.

    Args:
        objectives: Equal but for weights and seed, in the same step of the same stage, each with its optimiser.

    Raises:
        Unstackable: if there is an optimiser other than one Adam for each, or a ``training_step`` of their own.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = list(objectives)
        self._losses = [Loss(objective) for objective in objectives]
        _check_kind(self.objectives)
        device = objectives[0].device
        self.noise = MemberNoise(len(objectives), device)
        parameters, buffers = stack_module_state(self._losses)
        self.parameters = {name: _channels_last(value.detach()) for name, value in parameters.items()}
        # A mask that chooses elements of a tensor must be the same for all, and is not mapped.
        self._common = {
            name for name, value in buffers.items() if value.dtype == torch.bool and bool((value == value[:1]).all())
        }
        self.buffers = {
            name: value[0].clone() if name in self._common else value.detach() for name, value in buffers.items()
        }
        for place, loss in enumerate(self._losses):
            for name, parameter in loss.named_parameters():
                stacked = self.parameters[name]
                stacked.requires_grad_(parameter.requires_grad)
                parameter.data = stacked.detach()[place]
            for name, buffer in list(loss.named_buffers()):
                value = self.buffers[name]
                _replace(loss, buffer, value if name in self._common else value[place])
        self._trained = self._of_optimisers()
        trained = [self.parameters[name] for name in self._trained]
        self.optimizer = torch.optim.Adam(trained, **_settings(objectives[0]))
        self._take_moments()
        self._made: Counter[tuple[bool, ...]] = Counter()

    def step(self, batches: Sequence[Batch]) -> list[Terms]:
        """One gradient step of each member on a batch of its own; the terms of each.

        Raises:
            Unstackable: no step was made: the loss cannot be mapped, or a member's would not be what it is alone.
        """
        together, kind = _together(batches)
        self._made[kind] += 1
        if self._made[kind].bit_count() == 1:  # A power of two.
            self._check(batches)
        with _as_unstackable():
            total, loss, parts = self._mapped(together, self.parameters, self.buffers)
            self.optimizer.zero_grad(set_to_none=True)
            total.sum().backward()
        # A loss may have changed them, as a schedule does.
        self.optimizer.param_groups[0].update(_settings(self.objectives[0]))
        self.optimizer.step()
        for objective in self.objectives:
            objective.step_done += 1
        return [
            Terms(loss.detach()[place], {name: part.detach()[place] for name, part in parts.items()})
            for place in range(len(self.objectives))
        ]

    def hand_back(self, place: int) -> None:
        """Gives the optimiser of one objective its part of the moments, as copies."""
        optimiser, named = _adam(self.objectives[place]), dict(self._losses[place].named_parameters())
        for name in self._trained:
            state = self.optimizer.state.get(self.parameters[name])
            if state:
                optimiser.state[named[name]] = {
                    key: (value if value.ndim == 0 else value[place]).clone(memory_format=torch.contiguous_format)
                    for key, value in state.items()
                }

    def _mapped(
        self, together: _Together, parameters: dict[str, Tensor], buffers: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Float[M] with penalties, Float[M] without, and Float[M, B] of each part."""
        base = self._losses[0]
        common = {name: buffers[name] for name in self._common}
        mapped = {name: value for name, value in buffers.items() if name not in self._common}

        def loss(
            member: Tensor, parameters: dict[str, Tensor], buffers: dict[str, Tensor], tensors: dict[str, Tensor]
        ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
            with self.noise.of(member):
                result: tuple[Tensor, Tensor, dict[str, Tensor]] = functional_call(
                    base, (parameters, buffers, common), (together.of(tensors),)
                )
            return result

        places = {name: 1 if name == "image" else 0 for name in together.tensors}
        members = torch.arange(len(self.objectives), device=together.batch.index.device)
        self.noise.seed(self.objectives)
        found: tuple[Tensor, Tensor, dict[str, Tensor]] = vmap(
            loss, in_dims=(0, 0, 0, places), randomness="error"
        )(members, parameters, mapped, together.tensors)  # fmt: skip
        return found

    # ---- the check

    def _check(self, batches: Sequence[Batch]) -> None:
        """Raises Unstackable if the mapping gives a member another loss, gradient or moving mean than it has alone.

        Nothing is changed. In float64, or as it is where the code of an objective insists on that.
        """
        try:
            with _as_unstackable():
                alone = [self._alone(place, _double(batch), double=True) for place, batch in enumerate(batches)]
        except Unstackable:
            self._compare(batches, [self._alone(*each, double=False) for each in enumerate(batches)], double=False)
        else:
            self._compare([_double(batch) for batch in batches], alone, double=True)

    def _alone(self, place: int, batch: Batch, *, double: bool) -> _Alone:
        loss, objective = self._losses[place], self.objectives[place]
        parameters = {name: _as(value.detach()[place], double) for name, value in self.parameters.items()}
        for name, value in parameters.items():
            value.requires_grad_(self.parameters[name].requires_grad)
        buffers = {
            name: _as(value if name in self._common else value[place], double) for name, value in self.buffers.items()
        }
        objective.seed_step()
        before = _state(loss)
        total, _, _ = functional_call(loss, (parameters, buffers), (batch,))
        if set(loss.seen) != {id(value) for value in buffers.values()}:
            raise Unstackable("a buffer is replaced, where it has to be changed in place")
        if changed := [name for name, value in _state(loss).items() if before.get(name) != value]:
            raise Unstackable(
                f"the loss changes {changed[0].removeprefix('objective.')}, which is neither weight nor buffer"
            )
        trained = [name for name, value in parameters.items() if value.requires_grad]
        found = torch.autograd.grad(total, [parameters[name] for name in trained], allow_unused=True)
        gradients = {
            name: torch.zeros_like(parameters[name]) if gradient is None else gradient
            for name, gradient in zip(trained, found, strict=True)
        }
        return total.detach(), gradients, buffers

    def _compare(self, batches: Sequence[Batch], alone: Sequence[_Alone], *, double: bool) -> None:
        together, _ = _together(batches)
        parameters = {
            name: _as(value.detach(), double).requires_grad_(value.requires_grad)
            for name, value in self.parameters.items()
        }
        buffers = {name: _as(value, double) for name, value in self.buffers.items()}
        trained = [name for name, value in parameters.items() if value.requires_grad]
        with _as_unstackable():
            totals, _, _ = self._mapped(together, parameters, buffers)
            found = torch.autograd.grad(totals.sum(), [parameters[name] for name in trained], allow_unused=True)
        # In float32 the two ways may differ by as much as they are rounded.
        relative, of_all = (TOLERANCE, _OF_ALL) if double else (1e-3, 1e-5)
        for place, (total, gradients, own) in enumerate(alone):
            if not bool(total.isfinite()):
                continue  # Its own step says so.
            wrong = [] if torch.allclose(totals[place], total, rtol=relative, atol=relative) else ["loss"]
            norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
            for name, mapped in zip(trained, found, strict=True):
                expected = gradients[name]
                given = torch.zeros_like(expected) if mapped is None else mapped[place]
                if not bool((given - expected).norm() <= relative * expected.norm() + of_all * norm):
                    wrong.append(f"gradient of {name.removeprefix('objective.')}")
            for name, expected in own.items():
                given, before = buffers[name], self.buffers[name]
                if name not in self._common:
                    given, before = given[place], before[place]
                if expected.is_floating_point():
                    change = (expected - before).norm()
                    same = bool((given - expected).norm() <= relative * change + of_all * expected.norm())
                else:
                    same = torch.equal(given, expected)
                if not same and bool(expected.isfinite().all()):
                    wrong.append(f"buffer {name.removeprefix('objective.')}")
            if wrong:
                raise Unstackable(f"mapped over members, the {wrong[0]} is not what it is alone")

    # ---- optimisers

    def _of_optimisers(self) -> list[str]:
        """The names of the weights that the optimisers change, in their order."""
        (found,) = {
            tuple(_names(loss, objective)) for loss, objective in zip(self._losses, self.objectives, strict=True)
        }
        return list(found)

    def _take_moments(self) -> None:
        """Stacks the moments that the optimisers have, after a resume or a change of members."""
        named = [dict(loss.named_parameters()) for loss in self._losses]
        for name in self._trained:
            states = [_adam(each).state.get(own[name]) for each, own in zip(self.objectives, named, strict=True)]
            present = [state for state in states if state]
            if not present:
                continue
            if len(present) < len(states) or len({float(state["step"]) for state in present}) > 1:
                raise Unstackable("their optimisers have made different numbers of steps")
            stacked = self.parameters[name]
            self.optimizer.state[stacked] = {
                key: value.clone()
                if value.ndim == 0
                else torch.empty_like(stacked.detach()).copy_(torch.stack([state[key] for state in present]))
                for key, value in present[0].items()
            }


class MemberNoise(TorchFunctionMode):
    """Inside of :meth:`of`, random numbers of each member from generators in a state of its own.

    Args:
        num_members: M.
        device: Where the members are.
    """

    def __init__(self, num_members: int, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self._states: list[tuple[Tensor, ...]] = [() for _ in range(num_members)]
        self._member: Tensor | None = None

    def seed(self, objectives: Sequence[Objective]) -> None:
        """Seeds the generators of each member for its next step."""
        for place, objective in enumerate(objectives):
            objective.seed_step()
            self._keep(place)

    @contextmanager
    def of(self, member: Tensor) -> Iterator[None]:
        """Inside the block, what is drawn is drawn for each member: Long[], the number of the member, mapped."""
        self._member, standard_normal = member, getattr(normal, "_standard_normal")  # noqa: B009 - not exported

        def drawn(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
            # It fills an empty tensor in place, which is not mapped.
            return self._draw(lambda: standard_normal(shape, dtype=dtype, device=device))

        try:
            with self, patch.object(normal, "_standard_normal", drawn):
                yield
        finally:
            self._member = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _DRAWS:
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:
            raise Unstackable(f"the loss draws from a generator of its own ({func.__name__})")
        flat, structure = tree_flatten((args, kwargs))
        places = [place for place, value in enumerate(flat) if isinstance(value, Tensor)]

        def call(*tensors: Tensor) -> Tensor:
            filled = list(flat)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            given, named = tree_unflatten(filled, structure)
            result: Tensor = func(*given, **named)
            return result

        return self._draw(call, *(flat[place] for place in places))

    def _draw(self, call: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        def own(place: int, given: Sequence[Tensor]) -> Tensor:
            self._restore(place)
            result = call(*given)
            self._keep(place)
            return result

        result: Tensor = _Drawn.apply(self._member, own, *tensors)
        return result

    def _keep(self, place: int) -> None:
        states = [torch.default_generator.get_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        self._states[place] = tuple(states)

    def _restore(self, place: int) -> None:
        torch.default_generator.set_state(self._states[place][0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self._states[place][1], self.device)


class _Drawn(torch.autograd.Function):
    """What a call gives for each member, stacked; it is a constant."""

    @staticmethod
    def forward(member: Tensor, call: Callable[[int, Sequence[Tensor]], Tensor], *tensors: Tensor) -> Tensor:
        raise AssertionError("drawn outside of the mapping")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        member: Tensor,
        call: Callable[[int, Sequence[Tensor]], Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        """The call of each member in turn."""
        found = [
            call(
                place,
                [
                    tensor if dim is None else tensor.select(dim, place)
                    for tensor, dim in zip(tensors, in_dims[2:], strict=True)
                ],
            )
            for place in range(info.batch_size)
        ]
        return torch.stack(found), 0


@dataclass
class _Together:
    """One batch for each member: what is the same for all, and tensors [M, ...], images [B, M, C, H, W]."""

    batch: KnownBatch
    tensors: dict[str, Tensor]

    def of(self, tensors: dict[str, Any]) -> KnownBatch:
        """The batch of one member, from its tensors."""
        return replace(self.batch, **tensors)


def _together(batches: Sequence[Batch]) -> tuple[_Together, tuple[bool, ...]]:
    """Batches as one, and what tells batches apart for which a loss may take another way."""
    known = [KnownBatch.of(batch) for batch in batches]
    first, names = known[0], [field.name for field in fields(Batch)]
    kinds = {(batch.unlabelled, batch.imageless, batch.lacks_labels) for batch in known}
    given = {name for name in names if isinstance(getattr(first, name), Tensor)}
    shapes = {
        tuple(getattr(getattr(batch, name), "shape", None) for name in names if name in given) for batch in batches
    }
    if len(kinds) > 1 or len(shapes) > 1 or any(batch.graph is not None for batch in batches):
        raise Unstackable("their batches are not alike")
    (kind,) = kinds
    # Channels last, member by member: the order in which a grouped convolution is fast on a CPU.
    images = torch.cat([batch.image for batch in batches], 1)
    if images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    tensors = {
        name: torch.stack([getattr(batch, name) for batch in batches]) for name in names if name in given - {"image"}
    }
    tensors["image"] = images.unflatten(1, (len(batches), -1))
    return _Together(first, tensors), kind


def _check_kind(objectives: Sequence[Objective]) -> None:
    kinds = {type(objective) for objective in objectives}
    if len(kinds) > 1:
        raise Unstackable("they are of several kinds")
    (kind,) = kinds
    if kind.training_step is not Objective.training_step or "training_step" in vars(objectives[0]):
        raise Unstackable(f"{kind.__name__} has a training_step of its own")
    if any(_settings(each) != _settings(objectives[0]) for each in objectives):
        raise Unstackable("their optimisers have different settings")
    for name, value in objectives[0].named_parameters():
        if value._backward_hooks or getattr(value, "_post_accumulate_grad_hooks", None):
            raise Unstackable(f"there is a hook on the gradient of {name}")


def _adam(objective: Objective) -> torch.optim.Adam:
    optimiser = objective.optimizer
    if type(optimiser) is not torch.optim.Adam or len(optimiser.param_groups) > 1:
        raise Unstackable(
            f"{type(objective).__name__} is trained by {type(optimiser).__name__}, not by one torch.optim.Adam with "
            "one group of weights"
        )
    if optimiser._optimizer_step_pre_hooks or optimiser._optimizer_step_post_hooks or "step" in vars(optimiser):
        raise Unstackable("there is a hook on the step of the optimiser")
    if unknown := set(optimiser.param_groups[0]) - {"params", *optimiser.defaults}:
        raise Unstackable(f"the optimiser has settings that are not Adam's: {', '.join(sorted(unknown))}")
    return optimiser


def _settings(objective: Objective) -> dict[str, Any]:
    """The settings of its optimiser."""
    return {name: value for name, value in _adam(objective).param_groups[0].items() if name != "params"}


def _names(loss: Loss, objective: Objective) -> Iterator[str]:
    names = {id(parameter): name for name, parameter in loss.named_parameters()}
    for parameter in _adam(objective).param_groups[0]["params"]:
        if id(parameter) not in names:
            raise Unstackable("the optimiser changes weights that are not the objective's")
        yield names[id(parameter)]


def _replace(network: nn.Module, buffer: Tensor, value: Tensor) -> None:
    """Puts a tensor in the place of a buffer, wherever it is one."""
    for module in network.modules():
        for name, own in module._buffers.items():
            if own is buffer:
                module._buffers[name] = value


@contextmanager
def _as_unstackable() -> Iterator[None]:
    """What torch raises inside the block says that a loss cannot be mapped."""
    try:
        yield
    except Unstackable:
        raise
    except (RuntimeError, TypeError, NotImplementedError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unstackable(f"the loss cannot be mapped over members: {said:.200}") from error


def _as(value: Tensor, double: bool) -> Tensor:
    """A copy, in float64 where that is asked for and it has a floating point."""
    copied: Tensor = value.double() if double and value.dtype == torch.float32 else value.clone()
    return copied


def _double(batch: Batch) -> Batch:
    floats: dict[str, Any] = {
        field.name: value.double()
        for field in fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor) and value.is_floating_point()
    }
    return replace(batch, **floats)


def _state(network: nn.Module) -> dict[str, object]:
    """The numbers, and the sizes of collections, that its modules hold beside weights and buffers."""
    found: dict[str, object] = {}
    for path, module in network.named_modules():
        for name, value in vars(module).items():
            if name in _OF_EVERY_MODULE or (isinstance(module, Loss) and name == "seen"):
                continue
            if isinstance(value, _SIZED):
                found[f"{path}.{name}"] = len(value)
            elif isinstance(value, _PLAIN) and not isinstance(value, bool):
                found[f"{path}.{name}"] = value
    return found


def _channels_last(stacked: Tensor) -> Tensor:
    """Weights of convolutions, [M, out, in, H, W], in the order in which the grouped convolution reads them; a copy."""
    if stacked.ndim != 5:
        return stacked.clone(memory_format=torch.contiguous_format)
    whole = stacked.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    result: Tensor = whole.clone(memory_format=torch.preserve_format).unflatten(0, stacked.shape[:2])
    return result
