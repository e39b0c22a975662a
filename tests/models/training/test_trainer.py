"""Test runs: learning, exact resuming, the best weights, and reasons for stopping."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

from fake_patches import MadeUp
from narrow_networks import NARROW
from on_devices import every_device, every_precision, needs_gpu
from planetcr_models import create_model, list_models, load_model, restore_batch, save_model
from planetcr_models.errors import CheckpointError, ModelError, TrainingError
from planetcr_models.inference import ready
from planetcr_models.networks.registry import default_options
from planetcr_models.training import devices as devices_of_runs
from planetcr_models.training import trainer
from planetcr_models.training.checkpoint import CHECKPOINT, Run, read_checkpoint
from planetcr_models.training.devices import TrainingSettings, fast_arithmetic, make_fabric
from planetcr_models.training.loader import Batches, Crops, load
from planetcr_models.training.logger import Logger
from planetcr_models.training.objectives import Supervised, objective_of
from planetcr_models.training.recipes import RECIPES, Recipe, Scalar
from planetcr_models.training.throughput import Speed, estimate_throughput
from planetcr_models.training.trainer import Outcome, train
from planetcr_models.weights.sources import BEST, LAST

QUIET = TrainingSettings(device="cpu", quiet=True)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other take most of the time of networks so small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe_of(name: str, **changes: Scalar) -> Recipe:
    narrow: dict[str, Scalar] = {"width": 4} if "width" in RECIPES[name].plain() else {}
    common: dict[str, Scalar] = {"epochs": 3, "batch": 2, "crop": 40}
    return RECIPES[name].changed(**(narrow | common | changes))


def save(network: nn.Module, path: Path, scores: Mapping[str, float]) -> None:
    del scores
    save_model(network, path)


def run(
    name: str,
    out: Path,
    *,
    patches: Any = None,
    validation: Any = None,
    settings: TrainingSettings = QUIET,
    options: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
    **changes: Scalar,
) -> Outcome:
    recipe = recipe_of(name, **changes)
    torch.manual_seed(recipe.seed)
    network = create_model(name, **(NARROW[name] | dict(options or {})))
    return train(
        objective_of(network, recipe),
        MadeUp(4, side=50) if patches is None else patches,
        out,
        save=save,
        identity=identity or {"name": name, **recipe.plain()},
        validation=validation,
        settings=settings,
    )


class Scores:
    """A validation whose scores are known beforehand."""

    criterion, shown = "psnr", ("psnr",)

    def __init__(self, *scores: float) -> None:
        self.left = list(scores)
        self.networks: list[dict[str, torch.Tensor]] = []

    def __len__(self) -> int:
        return 1

    def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[float]:
        assert list(scenes) == [0]
        self.networks.append({k: v.clone() for k, v in network.state_dict().items()})
        return [self.left.pop(0)]

    def scores(self, measured: Sequence[float]) -> dict[str, float]:
        return {"psnr": float(np.mean(measured))}

    def picture(self, network: nn.Module, path: Path) -> None:
        assert isinstance(network, nn.Module)
        path.write_bytes(b"a picture")


class Failing(MadeUp):
    """Patches that cannot be read any more after so many times."""

    left = 0

    def read(self, index: int, **window: Any) -> Any:
        if self.left == 0:
            raise RuntimeError("pulled the plug")
        self.left -= 1
        return super().read(index, **window)


# --- It learns ------------------------------------------------------------------------------

ONE = {"stages": 1}
OVERFIT: dict[str, tuple[int, dict[str, Any], dict[str, Scalar]]] = {
    "mcgan": (200, {"width": 8}, {"learning_rate": 5e-3}),
    "spa_gan": (
        400,
        {"width": 16, "directional": True},
        # without a bias anywhere it learns to darken clouds through its attention alone: slowly
        {"learning_rate": 5e-3, "beta1": 0.9, "l1_weight": 1000.0, "clip": 10.0},
    ),
    "sar_opt_cgan": (200, {"width": 8}, {"learning_rate": 5e-3}),
    "dsen2_cr": (180, {"width": 8}, {"learning_rate": 1e-2}),
    "glf_cr": (250, ONE, {"learning_rate": 5e-3, "clip": 1.0}),
    "align_cr_no_sar": (450, ONE, {"learning_rate": 5e-3, "clip": 1.0}),
    "align_cr_no_align": (250, ONE, {"learning_rate": 5e-3, "clip": 1.0}),
    "align_cr": (300, ONE, {"learning_rate": 5e-3, "clip": 1.0, "scale.align": 1.0}),
}  # fmt: skip
"""Steps, options of the network and changes of the recipe with which four scenes are learnt."""

QUICK = ("dsen2_cr",)
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in list_models() if name not in QUICK]


def decibels(images: np.ndarray[Any, Any], clear: np.ndarray[Any, Any]) -> float:
    return float(-10 * np.log10(np.square(images - clear).mean()))


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_every_method_overfits_four_scenes(name: str, tmp_path: Path) -> None:
    steps, options, changes = OVERFIT[name]
    four = MadeUp(4, side=32, cell=32)
    per_band = np.broadcast_to(four.clear.mean((0, 2, 3), keepdims=True), four.clear.shape)
    assert decibels(four.cloudy, four.clear) < 15
    assert decibels(per_band, four.clear) < 31
    linear: dict[str, Scalar] = {"decay": "linear", "constant_epochs": steps // 2}
    whole: dict[str, Scalar] = {"epochs": steps, "batch": 4, "crop": 32}
    run(name, tmp_path, patches=four, options=options, **(linear | whole | changes))
    learnt = load_model(tmp_path / LAST)
    assert decibels(restore_batch(learnt, four.cloudy, four.sar), four.clear) >= 35


# --- It goes on -----------------------------------------------------------------------------


RESUMED: dict[str, dict[str, Any]] = {
    "dsen2_cr": {},
    "mcgan": {},  # an adversary, batch normalisation and dropout
    "align_cr": {"stages": 1},  # two rates in one optimizer
}
"""A method of each kind, with options of its network."""


@pytest.mark.parametrize("name", [
    *RESUMED,
    *(pytest.param(n, marks=pytest.mark.slow) for n in list_models() if n not in RESUMED),
])  # fmt: skip
def test_an_interrupted_run_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    options = {"drop_path": 0.5} if name == "glf_cr" else RESUMED.get(name, {})
    two: dict[str, Any] = {"epochs": 2, "options": options}
    at_each_step = TrainingSettings(device="cpu", quiet=True, save_minutes=0)
    whole = run(name, tmp_path / "whole", **two)
    patches = Failing(4, side=50)
    patches.left = 3 * 2  # three steps of two
    with pytest.raises(RuntimeError, match="pulled the plug"):
        run(name, tmp_path / "cut", patches=patches, settings=at_each_step, **two)
    assert read_checkpoint(tmp_path / "cut" / CHECKPOINT)["step"] == 3
    assert run(name, tmp_path / "cut", settings=at_each_step, **two) == whole
    tables = [(tmp_path / way / "steps.csv").read_text() for way in ("whole", "cut")]
    assert tables[0] == tables[1]
    for file in (LAST, BEST):
        uninterrupted, cut = (
            load_model(tmp_path / way / file).state_dict() for way in ("whole", "cut")
        )
        assert_close(uninterrupted, cut, rtol=0, atol=0)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first = run("dsen2_cr", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert run("dsen2_cr", tmp_path) == first
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


class Asking(MadeUp):
    """Patches that stop their run when one is read: by default in the third step of two images."""

    def __init__(self, number: int = signal.SIGINT, *, at: int = 5) -> None:
        super().__init__(4, side=50)
        self.number, self.at, self.reads = number, at, 0

    def read(self, index: int, **window: Any) -> Any:
        self.reads += 1
        if self.reads == self.at:
            os.kill(os.getpid(), self.number)
        return super().read(index, **window)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_first(
    number: signal.Signals, tmp_path: Path
) -> None:
    run("dsen2_cr", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run("dsen2_cr", tmp_path / "cut", patches=Asking(number))
    state = read_checkpoint(tmp_path / "cut" / CHECKPOINT)
    assert state["step"] == 3
    weights = load_model(tmp_path / "cut" / LAST).state_dict()
    assert_close(dict(weights), state["objective"]["networks"]["network"], rtol=0, atol=0)
    run("dsen2_cr", tmp_path / "cut")
    tables = [(tmp_path / way / "steps.csv").read_text() for way in ("whole", "cut")]
    assert tables[0] == tables[1]


def test_a_run_that_is_stopped_leaves_its_averaged_weights(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run("dsen2_cr", tmp_path, patches=Asking(signal.SIGTERM, at=1), ema=0.75, batch=1)
    state = read_checkpoint(tmp_path / CHECKPOINT)
    average = {
        key.removeprefix("module."): value
        for key, value in state["average"].items()
        if key != "n_averaged"
    }
    assert not (tmp_path / BEST).exists()
    assert_close(dict(load_model(tmp_path / LAST).state_dict()), average, rtol=0, atol=0)


# --- It keeps to a budget ---------------------------------------------------------------------


@pytest.fixture
def seconds_per_step(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a step takes by the trainer's clock; all else takes none."""
    now, takes, step = [1000.0], [1.0], Supervised.step

    def later(*args: Any, **options: Any) -> Any:
        now[0] += takes[0]
        return step(*args, **options)

    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=time.perf_counter)
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr(Supervised, "step", later)
    return takes


def test_steps_that_are_as_many_as_the_epochs_have_learn_the_same(tmp_path: Path) -> None:
    assert run("dsen2_cr", tmp_path / "epochs") == run("dsen2_cr", tmp_path / "steps", steps=6)
    for name in ("steps.csv", LAST, BEST):
        files = [(tmp_path / way / name).read_bytes() for way in ("epochs", "steps")]
        assert files[0] == files[1]


def test_steps_are_divided_into_validated_epochs(tmp_path: Path) -> None:
    scores = Scores(20.0, 30.0, 25.0)
    outcome = run("dsen2_cr", tmp_path, validation=scores, steps=11)
    assert outcome == Outcome(11, 2, {"psnr": 30.0})
    rows = [line.split(",")[:2] for line in (tmp_path / "epochs.csv").read_text().split()]
    assert rows == [["step", "epoch"], ["4", "1"], ["8", "2"], ["11", "3"]]
    assert run("dsen2_cr", tmp_path, validation=scores, steps=11) == outcome  # it is finished


def test_minutes_end_a_run_and_decay_its_rate(
    tmp_path: Path, seconds_per_step: list[float]
) -> None:
    class Slow(Scores):
        def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[float]:
            seconds_per_step[0] = 2.0  # later steps are slower, so there are fewer
            return super().measure(network, scenes)

    budget: dict[str, Scalar] = {"minutes": 0.5, "epochs": 3, "constant_epochs": 1}
    outcome = run("dsen2_cr", tmp_path, validation=Slow(1.0, 2.0, 3.0), halve_every=1, **budget)
    assert (outcome.steps, outcome.seconds, outcome.epoch) == (20, 30.0, 3)
    lines = (tmp_path / "epochs.csv").read_text().splitlines()
    epochs = [line.split(",") for line in lines]
    assert [row[:2] for row in epochs[1:]] == [["10", "1"], ["15", "2"], ["20", "3"]]
    assert [float(row[-1]) for row in epochs[1:]] == pytest.approx([1 / 6, 1 / 3, 1 / 2])
    header, *rows = (line.split(",") for line in (tmp_path / "steps.csv").read_text().splitlines())
    assert header == ["step", "epoch", "loss", "learning_rate", "minutes"]
    rates = [float(row[3]) for row in rows]
    assert rates == [1e-4] * 10 + [5e-5] * 5 + [2.5e-5] * 5


def test_a_killed_run_resumes_with_the_minutes_that_are_left(
    tmp_path: Path, seconds_per_step: list[float]
) -> None:
    patches = Failing(4, side=50)
    patches.left = 7 * 2
    at_each_step = TrainingSettings(device="cpu", quiet=True, save_minutes=0)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        run("dsen2_cr", tmp_path, patches=patches, settings=at_each_step, minutes=0.25)
    state = read_checkpoint(tmp_path / CHECKPOINT)
    assert (state["step"], state["seconds"]) == (7, 7.0)
    outcome = run("dsen2_cr", tmp_path, minutes=0.25)
    assert (outcome.steps, outcome.seconds) == (15, 15.0)
    seconds_per_step[0] = 99.0
    assert run("dsen2_cr", tmp_path, minutes=0.25) == outcome  # it is finished


@pytest.mark.usefixtures("seconds_per_step")
def test_an_epoch_that_ends_with_a_late_step_is_validated_before_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the run resumes after its budget, with its last epoch unscored."""
    monkeypatch.setitem(trainer.LAG, "cpu", 1)
    at_each_step = TrainingSettings(device="cpu", quiet=True, save_minutes=0)
    scores = Scores(20.0, 30.0)
    budget: dict[str, Scalar] = {"minutes": 0.1, "epochs": 2}
    outcome = run("dsen2_cr", tmp_path, validation=scores, settings=at_each_step, **budget)
    assert outcome == Outcome(6, 2, {"psnr": 30.0})
    assert outcome.seconds == 6.0


def test_the_shortest_budget_still_takes_a_step(
    tmp_path: Path, seconds_per_step: list[float]
) -> None:
    seconds_per_step[0] = 60.0
    outcome = run("dsen2_cr", tmp_path, validation=Scores(20.0), minutes=0.01)
    assert outcome == Outcome(1, 3, {"psnr": 20.0})
    assert (tmp_path / BEST).exists()


def test_start_up_and_validation_are_not_training_time(tmp_path: Path) -> None:
    class Slow(Scores):
        def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[float]:
            time.sleep(0.3)
            return super().measure(network, scenes)

    class SlowStart(MadeUp):
        slept = False

        def read(self, index: int, **window: Any) -> Any:
            if not self.slept:
                time.sleep(0.3)
                self.slept = True
            return super().read(index, **window)

    began = time.monotonic()
    outcome = run(
        "dsen2_cr", tmp_path, patches=SlowStart(4, side=50), validation=Slow(1.0, 2.0, 3.0)
    )
    assert outcome.seconds < time.monotonic() - began - 4 * 0.3
    assert outcome.seconds > 0


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    run("dsen2_cr", tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match="another run; choose a new folder") as refused:
        run("glf_cr", tmp_path, learning_rate=1.0)
    assert "name: dsen2_cr in the checkpoint, glf_cr now" in str(refused.value)
    assert "loss: carl in the checkpoint, l1 now" in str(refused.value)
    assert "learning_rate: 0.0001 in the checkpoint, 1.0 now" in str(refused.value)
    assert "epochs" not in str(refused.value)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", "a list"])
def test_a_file_other_than_a_checkpoint_is_refused(content: bytes | str, tmp_path: Path) -> None:
    if isinstance(content, bytes):
        (tmp_path / CHECKPOINT).write_bytes(content)
    else:
        torch.save([1, 2], tmp_path / CHECKPOINT)
    with pytest.raises(ModelError, match=rf"{CHECKPOINT}: (not a|expected the) checkpoint"):
        run("dsen2_cr", tmp_path)


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"format": Trap()}, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError):
        run("dsen2_cr", tmp_path)
    assert not (tmp_path / "sprung").exists()


# --- It keeps what is good ------------------------------------------------------------------


def test_the_best_epoch_is_kept_and_the_last(tmp_path: Path) -> None:
    scores = Scores(20.0, 30.0, 25.0)
    assert run("dsen2_cr", tmp_path, validation=scores) == Outcome(6, 2, {"psnr": 30.0})
    for file, epoch in ((BEST, 1), (LAST, 2)):
        assert_close(dict(load_model(tmp_path / file).state_dict()), scores.networks[epoch])
    assert [line.split(",")[:3] for line in (tmp_path / "epochs.csv").read_text().split()] == [
        ["step", "epoch", "psnr"],
        ["2", "1", "20.0"],
        ["4", "2", "30.0"],
        ["6", "3", "25.0"],
    ]
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["epoch-001.png", "epoch-002.png", "epoch-003.png"]


def test_a_resumed_run_remembers_the_best_epoch(tmp_path: Path) -> None:
    class Cut(Scores):
        def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[float]:
            if len(self.networks) == 2:
                raise RuntimeError("pulled the plug")
            return super().measure(network, scenes)

    with pytest.raises(RuntimeError, match="plug"):
        run("dsen2_cr", tmp_path, validation=Cut(20.0, 30.0, 25.0))
    best = (tmp_path / BEST).read_bytes()
    assert run("dsen2_cr", tmp_path, validation=Scores(25.0)).epoch == 2
    assert (tmp_path / BEST).read_bytes() == best


def test_an_average_of_the_weights_is_what_is_kept(tmp_path: Path) -> None:
    decay = 0.75
    run("dsen2_cr", tmp_path / "plain", epochs=1, batch=1)
    weights = []
    for steps in range(1, 5):
        patches = Failing(4, side=50)
        patches.left = steps
        out = tmp_path / str(steps)
        with pytest.raises(RuntimeError, match="plug"):
            run(
                "dsen2_cr", out, epochs=2, batch=1, patches=patches,
                settings=TrainingSettings(device="cpu", quiet=True, save_minutes=0),
            )  # fmt: skip
        state = read_checkpoint(out / CHECKPOINT)
        assert state["step"] == steps
        weights.append(state["objective"]["networks"]["network"])
    run("dsen2_cr", tmp_path / "ema", epochs=1, batch=1, ema=decay)
    expected = dict(weights[0])
    for later in weights[1:]:
        expected = {key: decay * expected[key] + (1 - decay) * later[key] for key in expected}
    assert_close(dict(load_model(tmp_path / "ema" / LAST).state_dict()), expected)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    run("dsen2_cr", tmp_path, epochs=1, identity={"a": 1})
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # of every file from now on
    try:
        with pytest.raises(OSError, match=r"too large|full"):
            run("dsen2_cr", tmp_path, epochs=2, identity={"a": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert after[tmp_path / CHECKPOINT] == before[tmp_path / CHECKPOINT]
    assert after[tmp_path / BEST] == before[tmp_path / BEST]
    assert not list(tmp_path.glob(".*.partial"))
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 2


# --- It says why it stops -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dsen2_cr", "spa_gan"])
def test_a_nan_loss_stops_the_run(name: str, tmp_path: Path) -> None:
    patches = MadeUp(4, side=50)
    patches.clear[0, 0, 20, 20] = np.nan
    every_step = TrainingSettings(device="cpu", quiet=True, save_minutes=0)
    with pytest.raises(TrainingError, match=r"step \d: (loss|l1) is nan; .*learning_rate"):
        run(name, tmp_path, batch=1, crop=50, patches=patches, settings=every_step)
    kept = tmp_path / CHECKPOINT
    if kept.exists():
        weights = read_checkpoint(kept)["objective"]["networks"]["network"]
        assert all(value.isfinite().all() for value in weights.values())


def test_nan_weights_are_never_saved(tmp_path: Path) -> None:
    class Spoiling(Scores):
        def measure(self, network: nn.Module, scenes: Sequence[int]) -> list[float]:
            if len(self.networks) == 1:
                with torch.no_grad():
                    next(network.parameters()).fill_(torch.inf)
            return super().measure(network, scenes)

    with pytest.raises(TrainingError, match=r"step 4: weights are NaN .*last.ckpt is kept"):
        run("dsen2_cr", tmp_path, validation=Spoiling(1.0, 0.0))
    for file in (BEST, LAST):
        assert all(value.isfinite().all() for value in load_model(tmp_path / file).parameters())
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 2


def test_a_run_that_diverges_is_stopped(tmp_path: Path) -> None:
    class Worse(MadeUp):
        reads = 0

        def read(self, index: int, **window: Any) -> Any:
            patch = super().read(index, **window)
            self.reads += 1
            if self.reads <= 240:
                return patch
            return SimpleNamespace(**(vars(patch) | {"clear": patch.clear + np.float32(50)}))

    with pytest.raises(TrainingError, match=r"step 1\d\d: training diverged: loss, smoothed"):
        run("dsen2_cr", tmp_path, epochs=100, patches=Worse(4, side=50))


def test_running_out_of_memory_names_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("planetcr_models.training.objectives.Supervised.step", hungry)
    monkeypatch.setattr("planetcr_models.training.objectives.AdversarialObjective.step", hungry)
    with pytest.raises(
        TrainingError, match=r"batch of 2; use a smaller --batch, or .*--micro-batches 2"
    ):
        run("dsen2_cr", tmp_path / "a")
    with pytest.raises(TrainingError, match="smaller --batch, or a smaller --crop"):
        run("spa_gan", tmp_path / "b")


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    settings = TrainingSettings(device="cpu", quiet=True, micro_batches=2)
    with pytest.raises(TrainingError, match=r"multiple of 2 .* got 3"):
        run("dsen2_cr", tmp_path, batch=3, settings=settings)
    with pytest.raises(TrainingError, match="batch normalisation needs the whole batch"):
        run("mcgan", tmp_path, settings=settings)
    with pytest.raises(ModelError, match="scenes for a batch of 5, got 4"):
        run("dsen2_cr", tmp_path, batch=5)
    with pytest.raises(ModelError, match=r"multiple of 10 pixels up to 50.*got 45"):
        run("dsen2_cr", tmp_path, crop=45)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused() -> None:
    with pytest.raises(ModelError, match="expected cuda, PyTorch finds no such GPU"):
        make_fabric(TrainingSettings(device="cuda"))


def test_what_is_for_gpus_is_refused_on_a_cpu() -> None:
    for precision in ("tf32", "fp16"):
        with pytest.raises(TrainingError, match=f"{precision} is for GPUs; on a CPU use bf16 or"):
            make_fabric(TrainingSettings(device="cpu", precision=precision))
    with pytest.raises(TrainingError, match="--cuda-graphs: is for GPUs; on a CPU use --compile"):
        make_fabric(TrainingSettings(device="cpu", cuda_graphs=True))


@needs_gpu
def test_graphs_with_micro_batches_are_refused() -> None:
    with pytest.raises(TrainingError, match="gradient that micro-batches add to"):
        make_fabric(TrainingSettings(device="cuda", cuda_graphs=True, micro_batches=2))


# --- Devices, precision, compiling ----------------------------------------------------------


def losses_of(out: Path) -> list[float]:
    """The main loss of each step; the second one follows from the first update of the weights."""
    _, *rows = [line.split(",") for line in (out / "steps.csv").read_text().splitlines()]
    return [float(row[2]) for row in rows]


@every_precision
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in list_models()],
)
def test_every_device_and_precision_learns_the_same(
    name: str, device: str, precision: Any, tmp_path: Path
) -> None:
    """Two steps from the same weights on the same crops."""
    options: dict[str, Any] = {"dropout": 0.0} if "dropout" in default_options(name) else {}
    here: dict[str, Any] = {"epochs": 1, "options": options}
    run(name, tmp_path / "cpu", **here)
    settings = TrainingSettings(device=device, quiet=True, precision=precision)
    run(name, tmp_path / "other", settings=settings, **here)
    expected = losses_of(tmp_path / "cpu")
    assert len(expected) == 2
    within = 1e-3 if precision == "32" else 0.05
    assert losses_of(tmp_path / "other") == pytest.approx(expected, rel=within)


@every_device
def test_arithmetic_is_what_the_precision_says(device: str) -> None:
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    with fast_arithmetic("32"):
        assert not any(backend.allow_tf32 for backend in backends)
        assert torch.backends.cudnn.benchmark
        model = create_model("dsen2_cr", **NARROW["dsen2_cr"]).to(device)
        with ready(model, None, "tf32"):
            assert all(backend.allow_tf32 for backend in backends)
        assert not any(backend.allow_tf32 for backend in backends)
    with fast_arithmetic("tf32"):
        assert all(backend.allow_tf32 for backend in backends)
        with ready(model, None, "32"):  # as predict does
            assert not any(backend.allow_tf32 for backend in backends)
    assert [backend.allow_tf32 for backend in backends] == before
    assert not torch.backends.cudnn.benchmark


def test_losses_that_are_read_late_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("dsen2_cr", tmp_path / "at once")
    monkeypatch.setitem(trainer.LAG, "cpu", 1)
    run("dsen2_cr", tmp_path / "late")
    tables = [(tmp_path / way / "steps.csv").read_text() for way in ("at once", "late")]
    assert tables[0] == tables[1]
    assert tables[0].count("\n") == 1 + 6


@pytest.mark.parametrize("lag", [0, 1])
def test_nan_is_found_before_a_checkpoint_however_late_it_is_read(
    lag: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoilt(MadeUp):
        reads = 0

        def read(self, index: int, **window: Any) -> Any:
            patch = super().read(index, **window)
            self.reads += 1
            if self.reads <= 2 * 3:
                return patch
            return SimpleNamespace(**(vars(patch) | {"clear": np.nan * patch.clear}))

    monkeypatch.setitem(trainer.LAG, "cpu", lag)
    with pytest.raises(TrainingError, match=r"step 4: loss is nan; .*last.ckpt is kept unchanged"):
        run("dsen2_cr", tmp_path, patches=Spoilt(4, side=50))
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 2
    assert all(value.isfinite().all() for value in load_model(tmp_path / LAST).parameters())


def test_a_stop_that_is_read_late_still_leaves_all_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trainer.LAG, "cpu", 1)
    run("dsen2_cr", tmp_path / "whole", epochs=6)
    with pytest.raises(KeyboardInterrupt):
        run("dsen2_cr", tmp_path / "cut", epochs=6, patches=Asking())
    stopped = read_checkpoint(tmp_path / "cut" / CHECKPOINT)["step"]
    assert stopped in (3, 4)
    assert len(losses_of(tmp_path / "cut")) == stopped
    run("dsen2_cr", tmp_path / "cut", epochs=6)
    assert losses_of(tmp_path / "cut") == losses_of(tmp_path / "whole")


@needs_gpu
@pytest.mark.parametrize("precision", ["32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("name", RESUMED)
def test_no_step_waits_for_the_gpu(name: str, precision: Any, tmp_path: Path) -> None:
    settings = TrainingSettings(device="cuda", quiet=True, precision=precision)
    fabric = make_fabric(settings)
    objective = objective_of(create_model(name, **NARROW[name]), recipe_of(name, clip=1.0))
    state = Run(objective, tmp_path, fabric, {}, ema=0.9)
    logger = Logger(None, first=0, budget=objective.recipe.budget(9), batch=2, quiet=True)
    reports = trainer._Reports(state, trainer._Guard(objective.main, tmp_path), logger)
    crops = Crops(MadeUp(4, side=50), crop=40, turns=False, seed=7)
    batches = Batches(4, batch=2, seed=7, last=6)
    try:
        for number, batch in enumerate(load(crops, batches, workers=0, pin=True)):
            torch.cuda.set_sync_debug_mode("error" if number > 2 else "default")
            objective.set_rate(1.0)
            terms = objective.step(fabric.to_device(batch))
            state.stepped()
            row = trainer._Row(step=state.step, epoch=1, learning_rate=1e-4, waited=0.0)
            reports.add(row, terms, seconds=0.1, stopping=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not reports.read(everything=True)


def test_the_average_is_that_of_pytorch(tmp_path: Path) -> None:
    """McGAN's batch normalisation also counts, in whole numbers."""
    objective = objective_of(create_model("mcgan", **NARROW["mcgan"]), recipe_of("mcgan"))
    state = Run(objective, tmp_path, make_fabric(QUIET), {}, ema=0.9)
    network = objective.network
    expected = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(3):
        with torch.no_grad():
            for value in (*network.parameters(), *network.buffers()):
                value.add_(1 if not value.is_floating_point() else torch.randn_like(value))
        expected.update_parameters(network)
        state.stepped()
    assert state.average is not None
    assert_close(state.average.state_dict(), expected.state_dict(), rtol=0, atol=0)


def compiled_learns_the_same(name: str, device: str, out: Path, **settings: Any) -> None:
    torch.compiler.reset()
    for way, more in (("plain", {}), ("compiled", settings)):
        run(name, out / way, epochs=1, settings=TrainingSettings(device=device, quiet=True, **more))
    assert losses_of(out / "compiled") == pytest.approx(losses_of(out / "plain"), rel=1e-3)
    plain, compiled = (load_model(out / way / LAST).state_dict() for way in ("plain", "compiled"))
    assert [*plain] == [*compiled]
    saved = read_checkpoint(out / "compiled" / CHECKPOINT)["objective"]["networks"]["network"]
    assert not any("_orig_mod" in key for key in saved)


@pytest.mark.parametrize("name", ["dsen2_cr", pytest.param("mcgan", marks=pytest.mark.slow)])
def test_a_compiled_run_learns_the_same_under_the_same_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captured as for the compiler, and run by PyTorch: machine code would take half a minute."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile_(network, backend="eager"))
    compiled_learns_the_same(name, "cpu", tmp_path, compile=True)


@pytest.mark.slow
@every_device
def test_machine_code_learns_the_same(device: str, tmp_path: Path) -> None:
    compiled_learns_the_same("dsen2_cr", device, tmp_path, compile=True)


@needs_gpu
@pytest.mark.parametrize("name", RESUMED)
def test_cuda_graphs_learn_the_same(name: str, tmp_path: Path) -> None:
    compiled_learns_the_same(name, "cuda", tmp_path, cuda_graphs=True)


def test_a_missing_compiler_is_refused(tmp_path: Path) -> None:
    from torch._inductor import config

    torch.compiler.reset()
    settings = TrainingSettings(device="cpu", quiet=True, compile=True)
    missing = {"cpp.cxx": (str(tmp_path / "g++"),), "force_disable_caches": True}
    with config.patch(missing), pytest.raises(TrainingError) as refused:
        run("dsen2_cr", tmp_path / "run", settings=settings)
    assert re.match(
        r"--compile: PyTorch cannot compile on this machine \(.*\); install a C\+\+ "
        r"compiler such as g\+\+",
        str(refused.value),
    )
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_network_that_cannot_be_compiled_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(nn.Module):
        def forward(self, *_: object) -> None:
            raise torch._dynamo.exc.Unsupported("data-dependent\nand much more")

    monkeypatch.setattr(trainer, "compiler", lambda *_: lambda _: Broken())
    with pytest.raises(
        TrainingError, match=r"^--compile: .* network \(data-dependent\); train without it$"
    ):
        run("dsen2_cr", tmp_path)


def test_lower_precision_learns_nearly_the_same(tmp_path: Path) -> None:
    full, less = (
        run(
            "dsen2_cr",
            tmp_path / way,
            settings=TrainingSettings(device="cpu", quiet=True, precision=way),
        )
        for way in ("32", "bf16")
    )
    assert full == less
    losses = [
        [
            float(line.split(",")[2])
            for line in (tmp_path / way / "steps.csv").open().readlines()[1:]
        ]
        for way in ("32", "bf16")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]


def test_images_enter_the_network_unrounded_in_any_precision(tmp_path: Path) -> None:
    seen = []
    recipe = recipe_of("dsen2_cr", epochs=1)
    network = create_model("dsen2_cr", **NARROW["dsen2_cr"])
    network.register_forward_hook(lambda _, inputs, out: seen.append((*inputs, out)))
    train(
        objective_of(network, recipe), MadeUp(4, side=50), tmp_path, save=save, identity={},
        settings=TrainingSettings(device="cpu", quiet=True, precision="bf16"),
    )  # fmt: skip
    assert {image.dtype for images in seen for image in images} == {torch.float32}
    cloudy, _, restored = seen[-1]
    assert not torch.equal(restored, restored.bfloat16().float())
    assert not torch.equal(cloudy, cloudy.bfloat16().float())


def test_as_many_devices_as_processes_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for devices in (1, 3):
        with pytest.raises(TrainingError, match=rf"were started, 2, got {devices}"):
            make_fabric(TrainingSettings(device="cpu", devices=devices))


def test_nan_scores_still_leave_a_best_epoch(tmp_path: Path) -> None:
    assert run("dsen2_cr", tmp_path, epochs=2, validation=Scores(np.nan, np.nan)).epoch == 1
    assert (tmp_path / BEST).exists()
    outcome = run("dsen2_cr", tmp_path / "later", validation=Scores(np.nan, 2.0, 1.0))
    assert (outcome.epoch, outcome.scores) == (2, {"psnr": 2.0})


def test_one_gpu_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(devices_of_runs, "choose_device", torch.device)
    monkeypatch.setattr(devices_of_runs, "Fabric", lambda **options: given.update(options))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    make_fabric(TrainingSettings(device="cuda:2"))
    assert (given["accelerator"], given["devices"]) == ("cuda", [2])
    make_fabric(TrainingSettings(device="cuda", devices=2))
    assert given["devices"] == 2
    with pytest.raises(TrainingError, match="expected cuda for several devices, got cuda:2"):
        make_fabric(TrainingSettings(device="cuda:2", devices=2))


def test_a_dry_run_skips_steps_that_are_too_small_for_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe_of("dsen2_cr").changed(crop=100, batch=4)
    objective = objective_of(create_model("dsen2_cr", **NARROW["dsen2_cr"]), recipe)
    step = objective.step

    def large(batch: dict[str, torch.Tensor], **options: int) -> dict[str, torch.Tensor]:
        if len(batch["cloudy"]) < 3:
            raise RuntimeError("too few")
        return step(batch, **options)

    monkeypatch.setattr(objective, "step", large)
    speed = estimate_throughput(objective, MadeUp(5, side=100), None, QUIET, seconds=0.1)
    assert (speed.tried_images, speed.tried_crop) == (4, 100)

    def never(*_: object) -> dict[str, torch.Tensor]:
        raise RuntimeError("never")

    monkeypatch.setattr(objective, "step", never)
    with pytest.raises(RuntimeError, match="never"):
        estimate_throughput(objective, MadeUp(5, side=100), None, QUIET, seconds=0.1)


def test_a_dry_run_measures_and_keeps_nothing(tmp_path: Path) -> None:
    recipe = recipe_of("dsen2_cr")
    objective = objective_of(create_model("dsen2_cr", **NARROW["dsen2_cr"]), recipe)
    speed = estimate_throughput(
        objective, MadeUp(5, side=50), Scores(*range(99)), QUIET, seconds=0.2
    )
    assert speed.steps == 2
    assert min(speed.loader, speed.step, speed.validation_seconds) > 0
    assert not list(tmp_path.iterdir())


def test_hours_of_a_run_follow_from_the_pace_of_all_devices_together() -> None:
    speed = Speed(steps=100, loader=50.0, step=20.0, scene_seconds=1, validation_seconds=400)
    recipe = RECIPES["dsen2_cr"].changed(epochs=9, batch=40)
    assert speed.hours(recipe) == pytest.approx(9 * (100 * 40 / 20 + 400) / 3600)
    slow = replace(speed, loader=10.0)
    assert slow.hours(recipe) == pytest.approx(9 * (100 * 40 / 10 + 400) / 3600)
    assert slow.hours(recipe, cached=True) == speed.hours(recipe)


def test_steps_of_a_run_follow_from_its_budget() -> None:
    speed = Speed(steps=100, loader=50.0, step=20.0, scene_seconds=1, validation_seconds=400)
    recipe = RECIPES["dsen2_cr"].changed(epochs=9, batch=40)
    assert speed.total_steps(recipe) == 900
    some = recipe.changed(steps=30)
    assert speed.total_steps(some) == 30
    assert speed.hours(some) == pytest.approx((30 * 40 / 20 + 9 * 400) / 3600)
    timed = recipe.changed(minutes=10.0)
    assert speed.total_steps(timed) == 300
    assert speed.hours(timed) == pytest.approx((600 + 9 * 400) / 3600)
    assert speed.total_steps(recipe.changed(minutes=1e-9)) == 1


def test_a_dry_run_stays_small_where_steps_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("dsen2_cr").changed(crop=100, batch=4)
    objective = objective_of(create_model("dsen2_cr", **NARROW["dsen2_cr"]), recipe)
    tried: list[tuple[int, ...]] = []
    step = objective.step

    def slow(batch: dict[str, torch.Tensor], **options: int) -> dict[str, torch.Tensor]:
        tried.append(tuple(batch["cloudy"].shape))
        time.sleep(0.2)
        return step(batch, **options)

    monkeypatch.setattr(objective, "step", slow)
    speed = estimate_throughput(objective, MadeUp(5, side=100), None, QUIET, seconds=0.3)
    assert (speed.tried_images, speed.tried_crop) == (1, 80)
    assert set(tried) == {(1, 4, 80, 80)}
    assert speed.step == pytest.approx(1 / (0.2 * (100 / 80) ** 2), rel=0.5)
    assert speed.device.startswith("cpu")
    assert speed.step_bytes >= speed.peak_bytes > 0
