"""Parts end within their limits, with their children, and finished ones are not repeated."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from parts import Part, Runner


def python(code: str, name: str = "part", limit: float = 30.0, **more) -> Part:
    return Part(name=name, command=(sys.executable, "-S", "-c", code), limit=limit, **more)


def runner(folder: Path, seconds: float = 60.0) -> Runner:
    return Runner(folder, time.monotonic() + seconds, os.environ)


def verdicts(runner: Runner) -> dict[str, str]:
    return {result.name: result.verdict for result in runner.results.values()}


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_part_over_its_limit_is_ended_with_its_children(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    time.sleep(60)
print(os.getpgid(0), flush=True)
time.sleep(60)
"""
    monkeypatch.setattr("parts.GRACE", 0.2)
    first = runner(tmp_path)
    first.run([python(code, "long", limit=1.5), python("print('done')", "next")])
    assert verdicts(first) == {"long": "over its limit", "next": "ok"}
    assert "long" in capsys.readouterr().out
    group = int(first.log("long").read_text().splitlines()[-1])
    time.sleep(0.1)
    members = [
        path.name
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and running(int(path.name)) and group_of(int(path.name)) == group
    ]
    assert members == []


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def test_a_failure_is_named_and_what_needs_it_is_left_out(tmp_path: Path) -> None:
    first = runner(tmp_path)
    parts = [
        python("raise SystemExit('error: no such thing')", "a"),
        python("pass", "b", needs=("a",)),
        python("pass", "c"),
    ]
    first.run(parts)
    assert verdicts(first) == {"a": "failed", "b": "left out", "c": "ok"}
    assert "error: no such thing" in first.results["a"].note
    assert first.results["b"].note == "needs a"


def test_finished_parts_are_not_repeated_unless_their_command_changes(tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = f"open({str(count)!r}, 'a').write('x')"
    for parts in ([python(code, "a")], [python(code, "a")]):
        runner(tmp_path).run([*parts, python("raise SystemExit(1)", "bad")])
    assert count.read_text() == "x"
    again = runner(tmp_path)
    again.run([python("pass", "bad"), python(f"{code}  # changed", "a")])
    assert verdicts(again) == {"bad": "ok", "a": "ok"}
    assert count.read_text() == "xx"


def test_a_damaged_state_repeats_all_parts(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('[{"name": 1}]')
    first = runner(tmp_path)
    first.run([python("pass", "a")])
    assert verdicts(first) == {"a": "ok"}


def test_parts_run_side_by_side_after_what_they_need(tmp_path: Path) -> None:
    first = runner(tmp_path)
    code = "import time; print(time.monotonic()); time.sleep(0.5); print(time.monotonic())"
    parts = [python(code, "a"), python(code, "b"), python(code, "c", needs=("a",))]
    first.run(parts, together=3)
    times = {
        part.name: [float(x) for x in first.log(part.name).read_text().split()[-2:]]
        for part in parts
    }
    assert times["b"][0] < times["a"][1]
    assert times["c"][0] >= times["a"][1]


def test_nothing_runs_past_the_deadline(tmp_path: Path) -> None:
    first = runner(tmp_path, seconds=2.5)
    begun = time.monotonic()
    first.run([python("import time; time.sleep(30)", "a"), python("pass", "b")])
    assert verdicts(first) == {"a": "over its limit", "b": "left out"}
    assert time.monotonic() - begun < 10


def test_a_verdict_quotes_the_log_even_of_a_part_that_was_ended(tmp_path: Path) -> None:
    first = runner(tmp_path)
    code = "import time; print(7, flush=True); time.sleep(30)"
    first.run([python(code, limit=1.5, says=lambda log: f"saw {log.split()[-1]}")])
    assert first.results["part"].note == "ended after 2 s; saw 7"
