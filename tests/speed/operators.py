"""Count the operators of a training step of Align-CR and GLF-CR, as a GPU would run them.

Nothing is computed: tensors are fake, so that the count needs neither a GPU nor time. Attention is
not divided into portions, and the deformable convolution is torchvision's, as on a GPU. Operators
that return a view of their input launch no kernel and are left out.

    PYTHONPATH=tests/models .venv/bin/python tests/speed/operators.py
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import deform_conv2d

from plain import PlainAlignCR, PlainGLFCR
from planetcr_models import create_model
from planetcr_models.layers import deformable, window_attention
from planetcr_models.training.objectives import optimizer_of
from planetcr_models.training.recipes import RECIPES

PUBLISHED: dict[str, Callable[[], nn.Module]] = {"align_cr": PlainAlignCR, "glf_cr": PlainGLFCR}


class CountKernels(TorchDispatchMode):
    """Count operators by name, without those that only make views."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        views = [r.alias_info for r in operator._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in views)
        if not is_view and operator.namespace not in ("prim", "profiler"):
            name = operator._schema.name.removeprefix("aten::")
            if name not in ("_unsafe_view", "empty", "lift_fresh"):  # no kernels either
                self.operators[name] += 1
        return operator(*arguments, **(keywords or {}))


def count(name: str, network: Callable[[], nn.Module], options: argparse.Namespace):
    """Operators of the forward pass, the backward pass and the second step of the optimizer."""
    size, batch = options.size, options.batch
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = network().train()
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(key not in getattr(model, "unused_parameters", ()))
        optimizer = optimizer_of(model, RECIPES[name], {})
        cloudy, clear = torch.rand(2, batch, 4, size, size).unbind()
        sar = torch.rand(batch, 2, size, size)
        for _ in range(2):  # the first one makes the optimizer's state
            with CountKernels() as forward:
                loss = (model(cloudy, sar) - clear).abs().mean()
            with CountKernels() as backward:
                loss.backward()
            with CountKernels() as update:
                optimizer.step()
            optimizer.zero_grad()
    return forward.operators, backward.operators, update.operators


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--most", type=int, default=0, help="also print the most frequent ones")
    parser.add_argument("--networks", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    options = parser.parse_args()
    window_attention.PORTION_LOGITS = 2**62
    deformable.sample_and_mix = lambda features, moves, modulation, weight, bias: deform_conv2d(
        features, moves, weight, bias, padding=1, mask=modulation
    )
    print(f"batch {options.batch}, {options.size} × {options.size}, torch {torch.__version__}\n")
    print("| | forward | backward | optimizer | step |\n|:--|--:|--:|--:|--:|")
    for name in options.networks:
        here = {"published form": PUBLISHED[name], "here": lambda name=name: create_model(name)}
        for form, network in here.items():
            parts = count(name, network, options)
            totals = [sum(part.values()) for part in parts]
            cells = " | ".join(f"{total:,}" for total in (*totals, sum(totals)))
            print(f"| {name}, {form} | {cells} |", flush=True)
            for part in parts if options.most else ():
                print("  ", *(f"{key} {n}," for key, n in part.most_common(options.most)))


if __name__ == "__main__":
    main()
