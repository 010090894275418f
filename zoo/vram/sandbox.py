"""A device that is not there: networks and batches without content on it, and what they take of its memory."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_impls import register_op_impl
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from zoo import devices
from zoo.vram.allocator import Peak
from zoo.vram.kernels import as_on_cuda
from zoo.vram.storages import Storages

_ATEN = torch.ops.aten


class Sandbox:
    """Runs a task's real code with tensors that have a shape and no content.

    Args:
        capability: of the CUDA GPU that the memory is counted for, as (8, 9); None for a CPU, to compare with.
    """

    def __init__(self, capability: tuple[int, int] | None):
        self.capability = capability
        self.fakes = FakeTensorMode(allow_non_fake_inputs=True)
        self.storages = Storages(kernels_take_memory=capability is not None)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, code is told that a plan is made, and CPU tensors are computed as CUDA does."""
        kind = "cpu" if self.capability is None else "cuda"
        with ExitStack() as stack:
            if self.capability is not None:
                stack.enter_context(as_on_cuda())
            plan = devices.Plan(kind, self.capability or (0, 0), _disable_current_modes)
            stack.enter_context(devices.planned(plan))
            yield

    @contextmanager
    def running(self, phase: str) -> Iterator[None]:
        """Inside, what is made is on the device."""
        self.storages.begin(phase)
        with self.fakes, self.storages:
            yield

    def take(self, tensor: Tensor, kind: str | None = None) -> Tensor:
        """A tensor of the host on the device, laid out as `Tensor.to` would."""
        with _disable_current_modes():
            strides = torch.empty_like(tensor, device="meta").stride()
            with self.fakes:
                taken = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype)
        self.storages.note(taken, kind)
        return taken

    def take_network(self, module: nn.Module) -> None:
        """Put all parameters and buffers of a module on the device; what is shared stays shared."""
        known: dict[int, Any] = {}
        for part in module.modules():
            tensors: Any
            for tensors in (part._parameters, part._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        tensors[name] = known.get(id(tensor)) if id(tensor) in known else self._like(known, tensor)

    def _like(self, known: dict[int, Any], tensor: Tensor) -> Tensor:
        with self.fakes:
            made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, requires_grad=tensor.requires_grad)
        self.storages.note(made, "weights")
        known[id(tensor)] = made
        if made.requires_grad:
            made.register_post_accumulate_grad_hook(self._note_gradient)
        return made

    def _note_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        self.storages.note(parameter.grad, "gradients")

    def note_state(self, optimizer: torch.optim.Optimizer) -> None:
        for values in optimizer.state.values():
            for value in values.values():
                if isinstance(value, Tensor):
                    self.storages.note(value, "optimizer")

    def peak(self) -> Peak:
        return self.storages.peak()


@contextmanager
def without_weights() -> Iterator[None]:
    """Inside, a network is built without room for its weights: each goes to the meta device once it is registered."""
    usual = nn.Module.register_parameter

    def register(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        usual(module, name, parameter)
        if parameter is not None and parameter.device.type != "meta" and type(parameter) is nn.Parameter:
            empty = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
            module._parameters[name] = empty

    nn.Module.register_parameter = register  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = usual  # type: ignore[method-assign]


def on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors that are on the host, and have content. It still knows which device the plan is for."""

    def called(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            return function(*args, **kwargs)

    return called


# torch has no rule for the shapes of these. Source: ATen/native/LossCTC.cpp


@register_op_impl([_ATEN._ctc_loss.default, _ATEN._ctc_loss.Tensor])
def _ctc_loss(mode: Any, func: Any, log_probabilities: Tensor, targets: Tensor, *rest: Any, **kwargs: Any) -> Any:
    frames, batch, _ = log_probabilities.shape
    with mode:
        sums = log_probabilities.new_empty(batch, frames, 2 * targets.shape[-1] + 1)
        return log_probabilities.new_empty(batch), sums


@register_op_impl([_ATEN._ctc_loss_backward.default, _ATEN._ctc_loss_backward.Tensor])
def _ctc_loss_backward(mode: Any, func: Any, gradient: Tensor, log_probabilities: Tensor, *rest: Any, **kw: Any) -> Any:
    with mode:
        return torch.empty_like(log_probabilities)
