"""Print what this Python has, whether it works, and the GPU, as one JSON object."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform

MODULES = {
    "numpy": "numpy",
    "numba": "numba",
    "rasterio": "rasterio",
    "pydantic": "pydantic",
    "torch": "torch",
    "torchvision": "torchvision",
    "lightning": "lightning.fabric",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
}
"""Distributions whose compiled parts or versions may not fit together."""


def use(module: str) -> None:
    """Import a module; compile a loop with numba."""
    imported = importlib.import_module(module)
    if module == "numba":
        assert imported.njit(lambda x: x + 1)(1) == 2


def main() -> None:
    versions, errors = {}, {}
    for name, module in MODULES.items():
        try:
            versions[name] = importlib.metadata.version(name)
            use(module)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is reported
            errors[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"python": platform.python_version(), "cores": cores, **versions}
    gpu = None
    if "torch" not in errors:
        import torch

        if torch.cuda.is_available():
            facts = torch.cuda.get_device_properties(0)
            gpu = {"name": facts.name, "gib": round(facts.total_memory / 2**30)}
    print(json.dumps({"versions": found, "errors": errors, "gpu": gpu}))


if __name__ == "__main__":
    main()
