"""Test that limits of control groups are read, of both versions, and the tightest counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from planetcr_bench.utils.limits import memory_limit, processor_limit


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {"proc/self/cgroup": "0::/job/step\n"}
V1 = {"proc/self/cgroup": "4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "memory", "processors"),
    [
        ({}, None, None),
        (V2, None, None),
        (V2 | {"sys/fs/cgroup/job/memory.max": "1000\n", "sys/fs/cgroup/job/step/memory.max": "max",
               "sys/fs/cgroup/job/cpu.max": "150000 100000\n"}, 1000, 1.5),
        (V2 | {"sys/fs/cgroup/memory.max": "500", "sys/fs/cgroup/job/memory.max": "1000",
               "sys/fs/cgroup/job/cpu.max": "max 100000"}, 500, None),
        (V1 | {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "7",
               "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
               "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 7, 2.0),
        (V1 | {"sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1",
               "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000"}, None, None),
    ],
)  # fmt: skip
def test_the_tightest_limit_of_a_group_or_of_those_above_counts(
    tmp_path: Path, files: dict[str, str], memory: int | None, processors: float | None
) -> None:
    root = machine(tmp_path, files)
    assert memory_limit(root) == memory
    assert processor_limit(root) == processors
