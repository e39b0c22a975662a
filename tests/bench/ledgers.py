"""Ledgers made from a seed: plausible sums without images."""

from __future__ import annotations

import numpy as np

from planetcr_bench.ledger import GROUPS, SCHEMA_VERSION, SUMS, Ledger, SceneSums, ledger_table
from planetcr_bench.protocols import PROTOCOLS


def make_scene_sums(
    index: int, *, seed: int = 0, protocols: tuple[str, ...] = ("official", "full")
) -> SceneSums:
    """Sums of one scene; three scenes make an AOI, cloud cover walks through the five bins."""
    rng = np.random.default_rng([seed, index])
    sums = {}
    for protocol in protocols:
        pixels = rng.integers(0, 3000, GROUPS) * (rng.random(GROUPS) < 0.6)
        pixels[0] += 1
        total = 25_600 if protocol == "official" else 90_000
        pixels[-1] += max(0, total - pixels.sum())
        columns = {
            "pixels": pixels,
            "values": 4 * pixels,
            "angle_pixels": pixels,
            "input_angle_pixels": pixels,
            "ssim_pixels": pixels,
            "ndvi_pixels": pixels,
            "out_of_range": pixels // 100,
        }
        scale = {"angle_deg": 8.0, "input_angle_deg": 20.0, "ssim": 0.8, "input_ssim": 0.6}
        for name in SUMS:
            if name not in columns:
                columns[name] = pixels * rng.uniform(0.5, 1.0, GROUPS) * scale.get(name, 0.05)
        sums[protocol] = np.stack([columns[name] for name in SUMS], 1).astype(np.float64)
    identity = {
        "scene": f"summer_{index // 3}_p_{index}",
        "split": "test",
        "season": "summer",
        "aoi": f"summer_{index // 3}",
        "patch": index,
        "cloud_cover": (index % 5) / 5 + 0.1,
        "prediction_sha256": f"{index:064x}",
    }
    return SceneSums(identity, sums)


def make_ledger(name: str = "method", *, scenes: int = 10, seed: int = 0, **provenance) -> Ledger:
    """A ledger with the provenance of a complete run."""
    protocols = provenance.pop("protocols", ("official", "full"))
    table = ledger_table(
        [make_scene_sums(index, seed=seed, protocols=protocols) for index in range(scenes)]
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
        "scale": None,
        "judge": None,
        **provenance,
    }
    return Ledger(table.to_pandas(ignore_metadata=True), facts)
