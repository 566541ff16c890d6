"""How much a network computes: multiply-accumulates of its matrix products, convolutions and recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(function: Callable[..., Any], *arguments: Any) -> int:
    """Multiply-accumulates of one call; element-wise work is not counted.

    torch's counter does not see inside its LSTM and GRU layers: theirs are added by their formula, gates x (input +
    hidden) x hidden a step, from the shapes that pass through them.
    """
    module = getattr(function, "__self__", function)
    recurrent = (
        [m for m in module.modules() if isinstance(m, nn.LSTM | nn.GRU)] if isinstance(module, nn.Module) else []
    )
    extra = 0

    def add(layer: nn.RNNBase, inputs: tuple[Any, ...], _: Any) -> None:
        nonlocal extra
        steps = inputs[0].numel() // layer.input_size
        extra += steps * sum(p.numel() for n, p in layer.named_parameters() if n.startswith("weight"))

    hooks = [layer.register_forward_hook(add) for layer in recurrent]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            function(*arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return counter.get_total_flops() // 2 + extra
