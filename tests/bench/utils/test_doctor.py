"""Test that every probe says what it found, and what to do when it breaks."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from planetcr_bench.utils import doctor
from planetcr_bench.utils.doctor import PROBES, Finding, examine


def found(name: str) -> Finding:
    """The first finding of a probe."""
    return doctor._guarded(name)[0]


def test_all_is_well_here() -> None:
    findings = examine()
    assert {finding.name for finding in findings} >= {
        "Python", "planetcr-bench", "NumPy", "rasterio", "PROJ data", "PyTorch", "processors",
        "memory", "shared memory", "cache", "temporary", "current folder", "extra torch",
    }  # fmt: skip
    assert not [finding for finding in findings if finding.status == "fail"]
    assert all(finding.remedy for finding in findings if finding.status != "ok")


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_that_breaks_is_a_finding_with_a_remedy_and_hides_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[Finding]:
        raise OSError("it is\nbroken")

    _, status, remedy = PROBES[name]
    calls = {other: (list, *PROBES[other][1:]) for other in PROBES}
    monkeypatch.setattr(doctor, "PROBES", calls | {name: (broken, status, remedy)})
    assert examine() == [Finding(name, status, "OSError: it is", remedy)]
    assert remedy


@pytest.mark.parametrize(
    ("name", "module"), [("NumPy", "numpy"), ("rasterio", "rasterio"), ("PROJ data", "rasterio")]
)
def test_a_library_that_cannot_be_imported(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.warp", None)
    assert found(name).status == "fail"
    assert found(name).remedy == "install again: pip install --force-reinstall planetcr-bench"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("raise OSError('libcudart is missing')", "OSError: libcudart is missing"),
        ("import os; os.write(2, b'FATAL: no AVX'); os.abort()", "FATAL: no AVX"),
        ("import os; os.abort()", "its import ends the process with -6"),
    ],
)
def test_a_pytorch_that_breaks_or_ends_the_process_that_imports_it(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(line)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert found("PyTorch") == Finding(
        "PyTorch", "warn", said, "install again: pip install --force-reinstall torch"
    )


def test_pytorch_is_missed_by_nobody_who_does_not_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert found("PyTorch") == Finding(
        "PyTorch", "ok", "not installed; only networks and segmenters need it"
    )


def test_a_gpu_and_a_driver_without_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = {"version": "2.9", "cuda": "13.0", "cards": [("NVIDIA H200", 140 << 30)]}
    monkeypatch.setattr(doctor, "_torch_facts", lambda: facts)
    monkeypatch.setattr(doctor, "_DRIVER", tmp_path / "version")
    assert doctor._guarded("PyTorch")[-1].text == "NVIDIA H200, 140.0 GiB"
    (tmp_path / "version").write_text("580.65\n")
    assert doctor._guarded("PyTorch")[-1] == Finding(
        "GPU 0", "ok", "NVIDIA H200, 140.0 GiB, driver 580.65"
    )
    facts["cards"] = []
    monkeypatch.setattr("ctypes.util.find_library", lambda _: "libcuda.so.1")
    assert doctor._guarded("PyTorch")[-1].status == "warn"
    assert "fits the driver" in doctor._guarded("PyTorch")[-1].remedy
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    assert doctor._guarded("PyTorch")[-1].status == "ok"


def test_proj_of_another_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rasterio.warp.transform", lambda *_: ([0.0], [0.0]))
    assert found("PROJ data").status == "fail"
    assert "PROJ_DATA" in found("PROJ data").remedy


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert doctor._guarded("versions")[1].status == "fail"


def test_what_a_container_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planetcr_bench.utils.parallel.processors", lambda: 64)
    monkeypatch.setattr(doctor, "processor_limit", lambda: 1.5)
    monkeypatch.setattr(doctor, "memory_limit", lambda: 1 << 30)
    assert found("processors") == Finding(
        "processors", "warn", "64, of which 1.5 are granted", "give --workers 2"
    )
    assert found("memory").status == "warn"
    assert found("memory").text.startswith("1.0 GiB of ")


@pytest.mark.parametrize("name", ["shared memory", "cache", "temporary", "current folder"])
def test_a_full_disk_and_one_that_cannot_be_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1))
        assert found(name).status == "warn"
        assert found(name).remedy

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert found(name).status == ("fail" if name == "temporary" else "warn")
    assert found(name).remedy == PROBES[name][2]
    assert found(name).text.endswith("cannot be written: Permission denied")


def test_no_shared_memory(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        list(doctor._shared_memory(tmp_path / "none"))


def test_an_extra_that_is_missing_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_is_installed", lambda name: name != "torchmetrics")
    extras = {finding.name: finding for finding in doctor._guarded("extras")}
    assert extras["extra torch"].text == "without torchmetrics"
    assert extras["extra torch"].remedy.endswith("pip install 'planetcr-bench[torch]'")
    assert extras["extra models"] == Finding("extra models", "ok", "installed")
    assert not {"extra all", "extra dev", "extra docs", "extra test"} & extras.keys()
