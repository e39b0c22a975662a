"""Assemble the command line and turn known errors into one message and an exit code."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from planetcr_bench import __version__
from planetcr_bench.cli import (
    check,
    compact,
    compare,
    curate,
    demo,
    describe,
    doctor,
    evaluate,
    gallery,
    leaderboard,
    masks,
    models,
    overview,
    pairs,
    paper,
    predict,
    report,
    reproduce,
    restore,
    simulate,
    submit,
    train,
)
from planetcr_bench.errors import BenchError, BenchWarning
from planetcr_bench.networks import ModelError


class _Group(TyperGroup):
    """Commands whose known errors become a message on standard error and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", BenchWarning)
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BenchError as error:
            lines, exit_code = (error.message, *error.problems), error.exit_code
        except ModelError as error:
            lines, exit_code = (error.message, *error.problems), 1
        except OSError as error:
            lines, exit_code = (_os_error(error),), 1
        except UnicodeEncodeError as error:
            lines, exit_code = (_unwritable(error),), 1
        except KeyboardInterrupt:
            typer.secho("stopped; run the same command again to resume", err=True)
            raise typer.Exit(130) from None
        from planetcr_bench.utils.untrusted import printable  # --help must start fast

        typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
        typer.echo("\n  ".join(map(printable, lines)), err=True)
        raise typer.Exit(exit_code)


def _os_error(error: OSError) -> str:
    """What the system refused, and, where it met a file instead of a folder, which."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        names = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if name]
        for path in (above for name in names for above in (name, *name.parents)):
            if path.is_file():
                return f"{path}: expected a folder, got a file; choose another, or move it away"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


_show_others = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of ours as one line; leave all others as they are."""
    if not issubclass(category, BenchWarning):
        _show_others(message, category, filename, lineno, file, line)
        return
    typer.secho("warning: ", fg="yellow", bold=True, err=True, nl=False)
    from planetcr_bench.utils.untrusted import printable  # --help must start fast

    typer.echo(printable(message), err=True)


def _unwritable(error: UnicodeEncodeError) -> str:
    """Message for a file's name with bytes outside the encoding of this locale."""
    if error.reason != "surrogates not allowed":
        raise error
    from planetcr_bench.utils.untrusted import printable

    return (
        f"{printable(error.object)}: expected a name in the encoding of this system, got other "
        "bytes; rename it, or set PYTHONUTF8=1 if names are in UTF-8"
    )


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Score cloud removal on Planet-CR (M3R-CR): MAE, PSNR, SAM and SSIM, overall, per "
    "land-cover class and per cloud-cover bin.",
)

app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.command("describe")(describe.describe)
app.command("check")(check.check)
app.command("overview")(overview.overview)
app.command("masks")(masks.masks)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("restore")(restore.restore)
app.command("pairs")(pairs.pairs)
app.command("curate")(curate.curate)
app.command("report")(report.report)
app.command("train")(train.train)
app.command("reproduce")(reproduce.reproduce)
app.command("models")(models.models)
app.command("compare")(compare.compare)
app.command("compact")(compact.compact)
app.command("gallery")(gallery.gallery)
app.command("paper")(paper.paper)
app.add_typer(submit.app, name="submit")
app.command("leaderboard")(leaderboard.leaderboard)
app.command("doctor")(doctor.doctor)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"planetcr-bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass
