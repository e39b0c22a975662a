"""Estimate the time and memory of a training run from a few of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from planetcr_bench.networks.training import Request, prepare
from planetcr_models.training.throughput import estimate_throughput as measure_speed


def estimate_throughput(request: Request, *, cached: bool = False) -> dict[str, Any]:
    """Estimate how long a run would take on this machine; only a cache is kept.

    Args:
        request: The run.
        cached: Ignore the time for reading, as if the cache existed already.

    Returns:
        The attributes of ``Speed``, with ``steps``, ``passes`` over the training scenes and
        ``hours`` of the whole run, its ``name``, ``identity``, ``epochs``, ``minutes`` (0 if they
        do not limit it), ``devices``, ``batch``, ``crop`` and ``micro_batches``.
    """
    prepared = prepare(request)
    speed = measure_speed(
        prepared.objective, prepared.patches, prepared.validation, prepared.settings
    )
    recipe = prepared.objective.recipe
    steps = speed.total_steps(recipe, cached=cached)
    return {
        "name": request.name,
        "identity": dict(prepared.identity),
        **asdict(speed),
        "steps": steps,
        "passes": steps / speed.steps,
        "hours": speed.hours(recipe, cached=cached),
        "epochs": recipe.epochs,
        "minutes": recipe.minutes,
        "devices": request.devices * request.nodes,
        "batch": recipe.batch,
        "crop": recipe.crop,
        "micro_batches": request.micro_batches,
    }


def format_dry_run(estimate: Mapping[str, Any]) -> str:
    """Describe an estimate."""
    width = max(map(len, estimate["identity"]))
    lines = [f"{key:{width}}  {value}" for key, value in estimate["identity"].items()]
    hint = ""
    if estimate["loader"] < estimate["step"]:
        hint = "; reading is the bottleneck: give --cache, or more --loader-workers"
    speed = (
        f"{_format_steps(estimate)}; loader alone {estimate['loader']:.3g} samples/s, step "
        f"alone {estimate['step']:.3g} samples/s{hint}"
    )
    time = (
        f"about {_format_hours(estimate['hours'])} on this machine, with "
        f"{estimate['validation_seconds']:,.0f} s of validation an epoch"
    )
    return "\n".join([*lines, "", *_format_memory(estimate), speed, time])


def _format_steps(estimate: Mapping[str, Any]) -> str:
    """Steps and passes over the training scenes that fit into the budget."""
    steps, passes, epochs = (estimate[key] for key in ("steps", "passes", "epochs"))
    if passes == epochs:
        return f"{steps:,} steps"
    text = f"{steps:,} steps, {passes:,.1f} passes over the training scenes, in {epochs} epochs"
    if estimate["minutes"]:
        text = f"{estimate['minutes']:g} minutes suffice for about {text}"
        if steps < epochs:
            text += f" (too few: some epochs would have no step; use --set epochs={steps})"
    return text


def _format_memory(estimate: Mapping[str, Any]) -> list[str]:
    """Device, batch, and the memory that each step takes."""
    images, crop, crops = (estimate[key] for key in ("tried_images", "tried_crop", "crop"))
    share = estimate["batch"] // (estimate["devices"] * estimate["micro_batches"])
    whole = (images, crop) == (share, crops)
    peak, step, available = (
        estimate[key] / 1e9 for key in ("peak_bytes", "step_bytes", "memory_bytes")
    )
    noun = "image" if images == 1 else "images"
    tried = f"measured on {images} {noun} of {crop} x {crop} pixels"
    tried += f", which took {peak:.1f} GB" if peak else ""
    count = estimate["micro_batches"]
    split = f" in {count} micro-batches" if count > 1 else ""
    devices = f" over {estimate['devices']} devices" if estimate["devices"] > 1 else ""
    lines = [
        f"device: {estimate['device']}{f', {available:.0f} GB' if available else ''}",
        f"batch: {estimate['batch']} crops of {crops} x {crops} pixels{devices}{split}; {tried}",
    ]
    if step and not whole:
        lines.append(f"memory: a step would take about {step:.0f} GB")
        if available and step > available:
            lines[-1] += (
                f", more than the {available:.0f} GB available: use a smaller --batch, or "
                "--micro-batches to split it"
            )
    return lines


def _format_hours(hours: float) -> str:
    """Hours, rounded for reading."""
    if hours >= 10:
        return f"{hours:,.0f} hours"
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours:.2g} hours"
