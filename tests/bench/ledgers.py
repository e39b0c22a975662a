"""Ledgers made from a seed: plausible sums without images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planetcr_bench.constants import LAND_COVER_NAMES, OPTICAL_BANDS, REGIONS
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import (
    GROUPS,
    PLAIN_GROUPS,
    SEGMENTER_WIDTH,
    SUMS,
    SceneSums,
    further_sums,
)
from planetcr_bench.results.ledger import Ledger, ledger_table
from planetcr_bench.results.schema import SCHEMA_VERSION

FURTHER_SUMS = further_sums(OPTICAL_BANDS)
"""Columns of further sums of Planet-CR's bands."""

PLANET_CR = {"track": "planet-cr", "scenes": 3000, "expected_scenes": 3000}
"""What a run on the whole test split of the real dataset says of itself."""


def as_planet_cr(ledger: Ledger, **provenance) -> Ledger:
    """The same rows, as if they were of the whole test split of the real dataset."""
    return Ledger(ledger.frame, {**ledger.provenance, **PLANET_CR, **provenance})


def make_scene_sums(
    index: int,
    *,
    seed: int = 0,
    protocols: tuple[str, ...] = ("official", "full"),
    segmenters: int = 0,
    floor: bool = False,
) -> SceneSums:
    """Sums of one scene; three scenes make an AOI, cloud cover walks through the five bins."""
    rng = np.random.default_rng([seed, index])
    sums, segmented, floors = {}, {}, {}
    for protocol in protocols:
        pixels = np.zeros(GROUPS, np.int64)
        plain = pixels[:PLAIN_GROUPS]
        plain += rng.integers(0, 3000, PLAIN_GROUPS) * (rng.random(PLAIN_GROUPS) < 0.6)
        plain[0] += 1
        total = 25_600 if protocol == "official" else 90_000
        plain[-1] += max(0, total - plain.sum())
        columns = {
            "pixels": pixels,
            "values": 4 * pixels,
            "angle_pixels": pixels,
            "input_angle_pixels": pixels,
            "ssim_pixels": pixels,
            "ndvi_pixels": pixels,
            "out_of_range": pixels // 100,
            "worse_pixels": pixels // 10,
        }
        scale = {"angle_deg": 8.0, "input_angle_deg": 20.0, "ssim": 0.8, "input_ssim": 0.6}
        for name in SUMS:
            if name not in columns:
                columns[name] = pixels * rng.uniform(0.5, 1.0, GROUPS) * scale.get(name, 0.05)
        sums[protocol] = np.stack([columns[name] for name in SUMS], 1).astype(np.float64)
        segmented[protocol] = np.concatenate(
            [make_segmenter_counts(pixels, rng) for _ in range(segmenters)]
            or [np.zeros((GROUPS, 0), int)],
            1,
        )
        floored = pixels // 4 if PROTOCOLS[protocol].sam_norm_floor else 0 * pixels
        if floor:
            floors[protocol] = np.stack([floored * rng.uniform(10, 80, GROUPS), floored], 1)
    identity = {
        "scene": f"summer_{index // 3}_p_{index}",
        "split": "test",
        "season": "summer",
        "aoi": f"summer_{index // 3}",
        "patch": index,
        "cloud_cover": (index % 5) / 5 + 0.1,
        "longitude": 10.0 + index // 3 % 40,
        "latitude": 47.0 - index // 3 % 30,
        "prediction_sha256": f"{seed:032x}{index:032x}",
    }
    return SceneSums(identity, sums, segmented, floors, bands=OPTICAL_BANDS)


def make_segmenter_counts(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts that a segmenter could give for such groups, shape (groups, SEGMENTER_WIDTH)."""
    truth = np.arange(GROUPS) // len(REGIONS) % len(LAND_COVER_NAMES)
    favour = np.eye(len(LAND_COVER_NAMES), 6)[truth] * 6 + 1  # the true class, more often than not
    clear = rng.multinomial(pixels, favour / favour.sum(1, keepdims=True))
    images = []
    for faithful in (9, 2):  # the prediction is read like the clear image more than the cloudy is
        kept = np.eye(6) * faithful + 1
        images.append(rng.multinomial(clear, kept / kept.sum(1, keepdims=True)))
    return np.stack(images, 1).reshape(GROUPS, SEGMENTER_WIDTH)


def make_ledger(name: str = "method", *, scenes: int = 10, seed: int = 0, **provenance) -> Ledger:
    """A ledger with the provenance of a complete run."""
    protocols = provenance.pop("protocols", ("official", "full"))
    segmenters = provenance.pop("segmenters", ())
    floor = provenance.pop("floor", False)
    table = ledger_table(
        [
            make_scene_sums(
                index, seed=seed, protocols=protocols, segmenters=len(segmenters), floor=floor
            )
            for index in range(scenes)
        ],
        segmenters,
    )
    facts = {
        "name": name,
        "track": "fake",
        "split": "test",
        "complete": True,
        "scenes": scenes,
        "expected_scenes": scenes,
        "method": name,
        "tool_version": "0",
        "ledger_schema": SCHEMA_VERSION,
        "protocols": {name: PROTOCOLS[name].signature("all") for name in protocols},
        "fingerprint": "f" * 64,
        "simulation": None,
        "scale": None,
        "optical_thickness": False,
        "segmenters": {
            segmenter: {"name": f"fake {segmenter}", "sha256": segmenter * 8}
            for segmenter in segmenters
        },
        **provenance,
    }
    return Ledger(table.to_pandas(ignore_metadata=True), facts)


def with_further(ledger: Ledger) -> Ledger:
    """The same run with sums of the further metrics that agree with its squared errors.

    In each band the clear image has mean 0.2 and variance 0.01; the errors of an image do not
    depend on it and have half their root mean square as their mean.
    """
    frame = ledger.frame.copy()
    pixels = frame["pixels"].to_numpy(np.float64)
    error_of = {"prediction": "squared_error", "cloudy": "input_squared_error"}
    for band in OPTICAL_BANDS:
        frame[f"clear_sum_{band}"] = 0.2 * pixels
        frame[f"clear_square_{band}"] = 0.05 * pixels
        for image, column in error_of.items():
            square = frame[column].to_numpy() / len(OPTICAL_BANDS)
            error = np.sqrt(square * pixels) / 2
            frame[f"{image}_sum_{band}"] = 0.2 * pixels + error
            frame[f"{image}_square_{band}"] = 0.05 * pixels + 0.4 * error + square
            frame[f"{image}_clear_product_{band}"] = 0.05 * pixels + 0.2 * error
    frame["clear_gradient"], frame["cloudy_gradient"] = 0.10 * pixels, 0.04 * pixels
    frame["prediction_gradient"] = 0.10 * pixels - frame["absolute_error"] / 2
    frame["gradient_error"], frame["input_gradient_error"] = frame["absolute_error"], 0.09 * pixels
    frame["input_ndvi_error"], frame["input_ndvi_pixels"] = 0.3 * pixels, frame["pixels"]
    others = [name for name in frame if name not in FURTHER_SUMS]
    return Ledger(frame[[*others, *FURTHER_SUMS]], ledger.provenance)


def copying_input(ledger: Ledger) -> Ledger:
    """The same scenes, as if the predictions were the input."""
    frame = ledger.frame.copy()
    copies = {"absolute_error": "cloudy_clear", "gradient_error": "input_gradient_error"}
    for name in frame:
        plain = name.removeprefix("input_")
        if plain != name and plain in frame and plain != "gradient_error":
            copies[plain] = name
        if "prediction" in name and name != "prediction_cloudy" and frame[name].dtype != object:
            copies[name] = name.replace("prediction", "cloudy")
    for name, source in copies.items():
        if source in frame:
            frame[name] = frame[source]
    frame["prediction_cloudy"] = 0.0
    frame["worse_pixels"] = 0
    return replace(ledger, frame=frame)
