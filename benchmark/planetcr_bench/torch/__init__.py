"""What PyTorch takes: metrics for torchmetrics, and scenes for a DataLoader.

Needs the extra ``models``; the metrics need torchmetrics, which comes with the extra ``torch``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planetcr_bench.torch.metrics import CloudRemovalMetrics
    from planetcr_bench.torch.scenes import TorchScenes

_HOME = {"CloudRemovalMetrics": "metrics", "TorchScenes": "scenes"}

__all__ = ["CloudRemovalMetrics", "TorchScenes"]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from planetcr_bench.utils.extras import need_networks, need_torchmetrics

    need_torchmetrics() if name == "CloudRemovalMetrics" else need_networks()
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
