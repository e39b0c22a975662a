"""Test that a Dask cluster's workers give what one process gives, and that losses are survived."""

from __future__ import annotations

import socket
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
import rasterio
from distributed import Client, LocalCluster

from cluster_work import OneIsKilled, broken, killed_at_five, squared, squared_slowly, status_of
from conftest import Cli
from orders import ground, swath, write_order, write_sar
from planetcr_bench.errors import BenchError, DatasetError
from planetcr_bench.utils import cluster as clusters
from planetcr_bench.utils.parallel import run_ordered


@pytest.fixture(scope="module")
def to_be_killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file exists, the first worker that begins a batch is killed."""
    return tmp_path_factory.mktemp("cluster") / "kill"


@pytest.fixture(scope="module")
def cluster(to_be_killed: Path) -> Iterator[LocalCluster]:
    """A scheduler in this process and two workers in processes of their own."""
    with (
        dask.config.set(
            {
                "distributed.deploy.lost-worker-timeout": "1 hour",  # killed workers start again
                "distributed.scheduler.allowed-failures": 1,
                "distributed.scheduler.worker-saturation": 1.0,  # a killed worker had one batch
                "distributed.scheduler.no-workers-timeout": "60 s",  # no test waits for ever
            }
        ),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(OneIsKilled(to_be_killed))
        yield cluster


@pytest.fixture(scope="module")
def address(cluster: LocalCluster) -> str:
    return cluster.scheduler_address


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --- Batches ------------------------------------------------------------------------------------


def test_results_come_in_order_although_a_worker_is_killed(
    address: str, to_be_killed: Path
) -> None:
    to_be_killed.touch()
    results = [*run_ordered(squared, range(20), workers=address, batch=3)]
    assert results == [number**2 for number in range(20)]
    assert not to_be_killed.exists()


def test_few_batches_are_in_flight_and_none_is_left_when_the_command_stops(
    cluster: LocalCluster,
) -> None:
    results = run_ordered(squared_slowly, range(1000), workers=cluster.scheduler_address, batch=1)
    assert [next(results), next(results)] == [0, 1]
    assert len(cluster.scheduler.tasks) <= 6
    results.close()
    end = time.monotonic() + 10
    while cluster.scheduler.tasks and time.monotonic() < end:
        time.sleep(0.1)
    assert not cluster.scheduler.tasks


def test_a_batch_that_kills_every_worker_is_named(address: str) -> None:
    with pytest.raises(BenchError, match=r"the batch 4 to 5 died.*memory") as told:
        [*run_ordered(killed_at_five, range(8), workers=address, batch=2)]
    assert "\n" not in str(told.value)


def test_errors_name_the_host_and_what_it_does_not_see(address: str, tmp_path: Path) -> None:
    host = f"worker on {socket.gethostname()}: "
    with pytest.raises(DatasetError, match=f"^{host}scene: broken$"):
        [*run_ordered(broken, ["scene"], workers=address)]
    with pytest.raises(BenchError, match=f"^{host}{tmp_path}/a: No such file"):
        [*run_ordered(status_of, [tmp_path / "a"], workers=address)]
    with pytest.raises(BenchError, match=f"^{host}{tmp_path}/b: no such folder; workers need it"):
        [*run_ordered(squared, [1], workers=address, folders=[tmp_path, tmp_path / "b"])]
    with pytest.raises(BenchError, match=r"^data: expected an absolute path"):
        [*run_ordered(squared, [1], workers=address, folders=[Path("data")])]


def test_another_version_on_a_worker_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("only_here")
    exec("def work(item): return item", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(BenchError, match=r"cannot import .*only_here.*; install planetcr-bench"):
        [*run_ordered(module.work, [1], workers=address)]
    monkeypatch.setattr(clusters, "_versions", lambda: ("3.99", "9.9"))
    with pytest.raises(BenchError, match=r"expected Python 3\.99 with planetcr-bench 9\.9, got"):
        [*run_ordered(squared, [1], workers=address)]


# --- Commands -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("ledgers_alone")
def test_commands_give_the_same_bytes_although_workers_are_killed(
    cli: Cli, data: Path, predicted: Path, simulated: Path, tmp_path: Path, address: str,
    to_be_killed: Path,
) -> None:  # fmt: skip
    def on_the_cluster(*words: object) -> str:
        to_be_killed.touch()
        done = cli(*words, "--cluster", address)
        assert done.returncode == 0, done.stderr
        assert not to_be_killed.exists()
        return done.stdout

    here = cli("check", data, "--json", "--workers", 0)
    assert on_the_cluster("check", data, "--json", "--batch", 1) == here.stdout
    on_the_cluster("simulate", "sim", "--size", "tiny")
    assert contents(tmp_path / "sim") == contents(simulated)
    on_the_cluster("predict", "mean-fill", "--data", data, "--batch", 2)
    assert contents(tmp_path / "preds/mean-fill") == contents(predicted)
    evaluate = ("evaluate", "preds/mean-fill", "--batch", 1, "--results")
    cli(*evaluate, "here", "--workers", 0)
    on_the_cluster(*evaluate, "there", "--force")
    ledgers = [*tmp_path.glob("*here/fake/mean-fill/ledger.parquet")]
    assert len(ledgers) == 2
    assert len({ledger.read_bytes() for ledger in ledgers}) == 1


def test_scenes_are_restored_by_workers(cli: Cli, tmp_path: Path, address: str) -> None:
    scene = write_order(tmp_path, ground(150, 200), swath(150, 200))
    sar = write_sar(tmp_path / "s1.tif", 150, 200)
    words = ("restore", scene.name, "--method", "dsen2_cr", "--weights", "sim-v1-small", "--sar",
             sar.name, "--tile", 128, "--overlap", 32, "--batch", 2)  # fmt: skip
    pixels = []
    for out, more in (("here", ()), ("there", ("--cluster", address))):
        done = cli(*words, "--out", out, *more)
        assert done.returncode == 0, done.stderr
        with rasterio.open(tmp_path / out / f"{scene.stem}_restored.tif") as image:
            pixels.append(image.read().tobytes())
    assert pixels[0] == pixels[1]
    net = tmp_path / "net.py"
    net.write_text("import torch\ndef build():\n    return torch.nn.Identity()\n")
    done = cli("restore", scene, "--method", f"{net.name}:build", "--sar", sar, "--out", "net",
               "--cluster", address)  # fmt: skip
    assert done.returncode == 1
    assert f"error: worker on {socket.gethostname()}: {net}:build: forward" in done.stderr


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://127.0.0.1", "node:x"])
def test_a_scheduler_that_cannot_be_reached_is_said_in_one_line(
    address: str, cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_CONNECT_SECONDS", 0.5)
    done = cli("check", data, "--cluster", address)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {address}: expected the address of a running Dask")
    assert done.stderr.count("\n") == 1


def test_workers_here_and_networks_are_not_for_a_cluster(cli: Cli, data: Path) -> None:
    for words, complaint in (
        (("check", data, "--workers", 2), "--workers: counts processes of this machine"),
        (("predict", "dsen2_cr", "--data", data), "--cluster: applies to copy-cloudy, mean-fill"),
    ):
        done = cli(*words, "--cluster", "tcp://127.0.0.1:9")
        assert done.returncode == 2
        assert complaint in done.stderr
