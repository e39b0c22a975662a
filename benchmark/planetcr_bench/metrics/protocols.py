"""Define the two protocols: the conventions under which a metric is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Pool = Literal["scene-mean", "pixels"]
"""``scene-mean``: mean over scenes of each scene's ratio. ``pixels``: one ratio of all sums."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """Conventions that change a number.

    Attributes:
        name: ``official`` or ``full``.
        window: Side of the centre crop in pixels; 0 is the whole patch.
        ssim_centre: Peak of the 11-tap Gaussian window, 5 for a symmetric one.
        ssim_padding: Zeros around the image; without them only pixels where the window fits count.
        sam_norm_floor: Smallest squared norm that SAM divides by; without it, zero spectra have
            no angle.
        perfect_psnr: Decibels of a perfect match.
        pool: How scenes are averaged, in overall figures and per class.
        version: Raised when any of its numbers changes.
    """

    name: str
    window: int
    ssim_centre: float
    ssim_padding: int
    sam_norm_floor: float
    perfect_psnr: float
    pool: Pool
    version: int = 1

    def signature(self, metric: str, pool: Pool | None = None) -> str:
        """Describe in one line how a figure was computed.

        Args:
            metric: Name of a metric; ``all`` for the paper's four together.
            pool: Pooling if it is not the protocol's own.

        Example:
            >>> PROTOCOLS["official"].signature("psnr")
            'psnr|window:centre160|pool:scene-mean|range:1|perfect:100|v1'
        """
        window = f"window:centre{self.window}" if self.window else "window:patch"
        parts = {
            "mae": (),
            "psnr": ("range:1", f"perfect:{self.perfect_psnr:g}"),
            "sam_deg": ("floor:2^-10" if self.sam_norm_floor else "zeros:skip",),
            "ssim": (
                f"gauss:11,1.5@{self.ssim_centre:g}",
                f"border:{'zero-padded' if self.ssim_padding else 'skip5'}",
                "range:1",
            ),
        }
        if metric == "all":
            chosen = [f"{name}({','.join(part)})" for name, part in parts.items() if part]
            metric = self.name
        else:
            chosen = list(parts.get(metric, ()))
        return "|".join((metric, window, f"pool:{pool or self.pool}", *chosen, f"v{self.version}"))


PROTOCOLS: Final = {
    "official": Protocol(
        name="official",
        window=160,
        ssim_centre=5.5,
        ssim_padding=5,
        sam_norm_floor=2.0**-10,
        perfect_psnr=100.0,
        pool="scene-mean",
    ),
    "full": Protocol(
        name="full",
        window=0,
        ssim_centre=5.0,
        ssim_padding=0,
        sam_norm_floor=0.0,
        perfect_psnr=float("inf"),
        pool="pixels",
    ),
}
"""``official`` is what the authors' released tester computes and alone comparable with the
published tables; ``full`` has the clean definitions and is recommended for new work."""
