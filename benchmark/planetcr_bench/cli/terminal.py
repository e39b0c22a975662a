"""Tables on the terminal, as wide as they need to be."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from planetcr_bench.ledger import Ledger
from planetcr_bench.protocols import Pool
from planetcr_bench.render import cover_block, pool_block, sky_block, table2_blocks, to_rich
from planetcr_bench.tables import measured_protocols


def console() -> Console:
    """Standard output; where it is no terminal, lines are not broken to some width."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def print_runs(
    ledgers: Sequence[Ledger], *, pool: Pool | None = None, published: bool = False
) -> None:
    """Print Tab. 2, the figures of Fig. 5 and the scores by sky, in each protocol."""
    out = console()
    for protocol in measured_protocols(ledgers):
        blocks = table2_blocks(ledgers, protocol, pool=pool, published=published)
        blocks += [block(ledgers, protocol) for block in (sky_block, cover_block, pool_block)]
        for block in blocks:
            out.print(to_rich(block))
            out.print()
