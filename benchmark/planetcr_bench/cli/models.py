"""``planetcr-bench models``: list the networks."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planetcr_bench.cli import completion, options

if TYPE_CHECKING:
    from rich.table import Table


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            autocompletion=completion.trainable,
            help="Show this method in full, with its options and recipe.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the networks: inputs, parameters, multiply-accumulates, paper, licence, weights.

    `predict NAME --weights` takes the names under "Pretrained here".
    """
    from planetcr_bench.networks.methods import describe, segmenter_weights, summaries

    if name is None and not as_json:
        _print(_table(summaries()))
        weights = ", ".join(segmenter_weights()) or "none"
        _print(f"The land-cover segmenter, DeepLabv3+; pretrained here: {weights}")
        _print("[dim]`planetcr-bench models NAME` shows one in full, and segmenter too.[/]")
        return
    from planetcr_bench.utils.extras import need_networks

    need_networks()  # options are read from the networks' code
    names = [name] if name else [summary["name"] for summary in summaries()]
    cards = [describe(method) for method in names]
    if as_json:
        typer.echo(json.dumps(cards[0] if name else cards, ensure_ascii=False))
    else:
        _print(_details(cards[0]))


def _print(content: Table | str) -> None:
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(content, highlight=False)


def _table(cards: list[dict[str, Any]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title="Networks; GMAC: billion multiply-accumulates to restore one image of that side",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in ("Name", "SAR"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Param.", "GMAC\n160", "GMAC\n300"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Paper", max_width=12, overflow="fold")
    table.add_column("Licence of\nits code", max_width=14, overflow="fold")
    table.add_column("Authors' weights", overflow="fold")
    table.add_column("Pretrained here", no_wrap=True)
    for card in cards:
        table.add_row(
            card["name"],
            "yes" if "sar" in card["inputs"] else "no",
            _millions(card["parameters"]),
            *(f"{macs / 1e9:,.0f}" for macs in card["macs"].values()),
            _short(card["paper"]),
            card["licence"],
            card["weights"],
            ", ".join(card["pretrained"]) or "–",
        )
    return table


def _details(card: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=card["title"], title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {"Name": card["name"]}
    if "parameters" in card:
        rows |= {
            "Inputs": ", ".join(card["inputs"]),
            "Parameters": f"{card['parameters']:,}",
            **{f"GMAC at {side}": f"{macs / 1e9:,.2f}" for side, macs in card["macs"].items()},
            "Paper": card["paper"],
            "Provenance": card["provenance"],
            "Licence of its code": card["licence"],
            "Authors' weights": card["weights"],
        }
    rows["Options"] = ", ".join(f"{key}={value}" for key, value in card["options"].items())
    if "encoders" in card:
        rows["Encoders"] = ", ".join(card["encoders"])
    rows |= _recipe_rows("Recipe", card)
    for recipe, other in card.get("other_recipes", {}).items():
        rows |= _recipe_rows(f"Recipe {recipe}", other)
    for name, weights in card["pretrained"].items():
        rows[f"Pretrained\n{name}"] = _card_lines(weights)
    for heading, text in rows.items():
        table.add_row(heading, text)
    return table


def _recipe_rows(heading: str, card: dict[str, Any]) -> dict[str, str]:
    import tomli_w

    return {
        heading: tomli_w.dumps(card["recipe"]).strip(),
        f"{heading} from": card["recipe_source"],
    }


def _card_lines(card: dict[str, Any]) -> str:
    """What users ask about weights, one fact per line; `--json` has the rest of the card."""
    scores = card.get("scores") or {}
    facts = {
        "trained on": f"{card.get('training_scenes')} scenes of {card.get('track')}",
        "training": f"{card.get('steps')} steps in {card.get('minutes')} minutes, seed "
        f"{card.get('seed')}",
        "command": card.get("command"),
        "validation": ", ".join(
            f"{key} {value:.4g}" for key, value in scores.items() if value is not None
        )
        or "none",
        "options": ", ".join(f"{key}={value}" for key, value in card["options"].items()),
        "parameters": f"{card['parameters']:,}, in {card.get('precision')}",
        "licence": card.get("licence"),
        "made": f"{card.get('date')}, planetcr-bench {card.get('version')}",
        "SHA-256": card["sha256"],
    }
    return "\n".join(f"{key}: {value}" for key, value in facts.items())


def _millions(number: int) -> str:
    return f"{number / 1e6:.2f} M"


def _short(paper: str) -> str:
    """First author and year, if there is one."""
    authors, _, rest = paper.partition(":")
    first, _, others = authors.partition(",")
    years = [word for word in rest.replace(",", " ").split() if word.isdecimal() and len(word) == 4]
    return " ".join([first, "et al."][: 2 if others else 1] + years[-1:])
