"""Steps of a plan: run once, and again only where something real changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planetcr_bench.errors import BenchError
from planetcr_bench.networks import plan
from planetcr_bench.networks.plan import Step, describe, load, run_plan


class Work:
    """A folder with the user's data and a chain train → predict → tables that upper-cases it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data.txt"
        self.memory = folder / "out" / "plan.json"
        self.weights = self.memory.parent / "weights.txt"
        self.preds = self.memory.parent / "preds"
        self.table = self.memory.parent / "table.txt"
        self.recipe = "recipe"
        self.look = "look"
        self.lines: list[str] = []
        self.break_at = ""
        self.data.write_text("clouds")

    def steps(self) -> list[Step]:
        return [
            Step("train", self.train, {"recipe": self.recipe}, (self.data,), (self.weights,), 2.0),
            Step("predict", self.predict, {}, (self.weights,), (self.preds,), 1.0),
            Step("tables", self.tables, {"look": self.look}, (self.preds,), (self.table,)),
        ]

    def train(self) -> None:
        self.weights.write_text(self.data.read_text().upper())
        self.break_if("train")

    def predict(self) -> None:
        self.preds.mkdir(exist_ok=True)
        for name in ("a", "b"):
            (self.preds / name).write_text(name + self.weights.read_text())
            self.break_if("predict")

    def tables(self) -> None:
        self.table.write_text("".join(file.read_text() for file in sorted(self.preds.glob("?"))))
        self.break_if("tables")

    def break_if(self, step: str) -> None:
        if step == self.break_at:
            raise RuntimeError(step)

    def run(self) -> list[str]:
        return run_plan(self.steps(), self.memory, say=self.lines.append)

    def states(self) -> dict[str, str]:
        rows = describe(self.steps(), self.memory)
        return {row.name: f"{row.state}: {row.why}".removesuffix(": ") for row in rows}


@pytest.fixture(autouse=True, scope="module")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """No test pulls the plug, and hundreds of files are written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


ALL = ["train", "predict", "tables"]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


@pytest.fixture
def finished(work: Work) -> Work:
    assert work.run() == ALL
    return work


def test_a_plan_runs_in_order_and_then_not_again(work: Work) -> None:
    assert work.run() == ALL
    assert work.table.read_text() == "aCLOUDSbCLOUDS"
    work.lines.clear()
    assert work.run() == []
    assert work.lines == ["[1/3] train: done", "[2/3] predict: done", "[3/3] tables: done"]


def test_every_step_that_runs_says_why_and_that_it_finished(finished: Work) -> None:
    finished.look = "bold"
    finished.lines.clear()
    finished.run()
    assert finished.lines[2:] == [
        "[3/3] tables: stale, input look changed",
        "[3/3] tables: finished after 0.00 hours",
    ]


@pytest.mark.parametrize(
    ("change", "step", "why"),
    [
        (lambda work: setattr(work, "look", "bold"), "tables", "input look changed"),
        (lambda work: work.data.write_text("clouda"), "train", "../data.txt changed"),
        (lambda work: work.table.write_text("other"), "tables", "table.txt changed"),
        (lambda work: work.table.unlink(), "tables", "{out}/table.txt is missing"),
        (lambda work: shutil.rmtree(work.preds), "predict", "{out}/preds is missing"),
        (lambda work: (work.preds / "a").unlink(), "predict", "preds/a is gone"),
        (lambda work: (work.preds / "c").write_text(""), "predict", "preds/c is new"),
        (lambda work: (work.preds / "b").rename(work.preds / "c"), "predict", "preds/b is gone"),
    ],
)
def test_a_change_makes_its_step_stale_by_name(
    finished: Work, change: Callable[[Work], object], step: str, why: str
) -> None:
    change(finished)
    why = why.format(out=finished.memory.parent)
    assert finished.states()[step] == f"stale: {why}"
    assert step in finished.run()


def test_an_input_that_comes_or_goes_makes_a_step_stale(tmp_path: Path) -> None:
    def why(inputs: dict[str, str]) -> str:
        steps = [Step("train", lambda: None, inputs)]
        (row,) = describe(steps, tmp_path / "plan.json")
        run_plan(steps, tmp_path / "plan.json", say=str)
        return f"{row.state}: {row.why}"

    assert why({}) == "never run: "
    assert why({"seed": ""}) == "stale: input seed is new"
    assert why({"seed": ""}) == "done: "
    assert why({"torch": "2"}) == "stale: input seed is gone"


def test_an_output_that_a_step_newly_promises_makes_it_stale(tmp_path: Path) -> None:
    memory = tmp_path / "runs" / "paper" / "plan.json"
    run_plan([Step("train", lambda: None, {})], memory, say=str)
    (row,) = describe([Step("train", lambda: None, {}, (), (tmp_path / "weights",))], memory)
    assert (row.state, row.why) == ("stale", f"{tmp_path / 'weights'} is missing")


def test_a_path_that_a_step_newly_reads_makes_it_stale(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("same")
    memory = tmp_path / "plan.json"
    run_plan([Step("train", lambda: None, {}, (one,))], memory, say=str)
    more = [Step("train", lambda: None, {}, (one, other))]
    assert describe(more, memory)[0].why == f"{other} is missing"
    with pytest.raises(BenchError, match=f"train: expected to read {other}, found nothing there"):
        run_plan(more, memory, say=str)
    other.write_text("same")
    assert describe(more, memory)[0].why == "other is new"


def test_new_times_without_new_content_change_nothing(finished: Work) -> None:
    for file in (finished.data, finished.weights, finished.preds / "a"):
        os.utime(file, (1, 1))
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    assert finished.run() == []


def test_hidden_files_and_locks_do_not_count(finished: Work) -> None:
    (finished.preds / ".unfinished").mkdir()
    for name in (".unfinished/part", ".hidden", "lock", "a.lock"):
        (finished.preds / name).write_text("")
    assert finished.run() == []


def test_only_real_changes_pass_from_step_to_step(finished: Work) -> None:
    finished.data.write_text("Clouds")  # gives the same upper case
    waits = {"predict": "waits: for train", "tables": "waits: for predict"}
    assert finished.states() == {"train": "stale: ../data.txt changed", **waits}
    assert finished.run() == ["train"]
    finished.data.write_text("haze")
    assert finished.run() == ALL
    assert finished.table.read_text() == "aHAZEbHAZE"


def test_a_step_that_runs_in_any_case_does_not_wait(finished: Work) -> None:
    finished.recipe, finished.look = "other", "other"
    assert finished.states() == {
        "train": "stale: input recipe changed",
        "predict": "waits: for train",
        "tables": "stale: input look changed",
    }


def test_a_step_waits_once_for_each_step_before_it(finished: Work) -> None:
    files = (finished.preds / "a", finished.preds / "b")
    steps = [*finished.steps()[:2], Step("compare", lambda: None, {}, (finished.weights, *files))]
    run_plan(steps, finished.memory, say=str)
    finished.recipe = "other"
    rows = describe([*finished.steps()[:2], steps[2]], finished.memory)
    assert (rows[2].state, rows[2].why) == ("waits", "for train, predict")


def test_a_step_finds_what_an_earlier_run_left(finished: Work) -> None:
    finished.recipe = "longer"
    seen = []
    train = finished.train
    finished.train = lambda: (seen.append(finished.weights.read_text()), train())[1]
    finished.run()
    assert seen == ["CLOUDS"]


@pytest.mark.parametrize("step", ALL)
def test_a_failing_step_is_the_first_of_the_next_run(work: Work, step: str) -> None:
    work.break_at = step
    with pytest.raises(RuntimeError, match=step):
        work.run()
    work.break_at = ""
    assert work.run() == ALL[ALL.index(step) :]
    assert work.run() == []


def test_a_step_that_has_finished_is_remembered_at_once(work: Work) -> None:
    seen = []

    def say(line: str) -> None:
        if "finished" in line:
            seen.append([row.state for row in describe(work.steps(), work.memory)])

    run_plan(work.steps(), work.memory, say=say)
    never = "never run"
    assert seen == [["done", never, never], ["done", "done", never], ["done", "done", "done"]]


def test_what_a_failing_step_half_wrote_is_not_taken_for_its_work(finished: Work) -> None:
    finished.data.write_text("haze")
    finished.break_at = "predict"
    with pytest.raises(RuntimeError):
        finished.run()
    finished.data.write_text("clouds")
    finished.break_at = ""
    assert finished.run() == ["train", "predict"]
    assert finished.table.read_text() == "aCLOUDSbCLOUDS"


def test_a_killed_run_keeps_what_had_finished(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from planetcr_bench.networks.plan import Step, run_plan

        first, second = Path("first"), Path("second")

        def die():
            second.write_text("half")
            if "die" in sys.argv:
                os.kill(os.getpid(), signal.SIGKILL)

        steps = [
            Step("one", lambda: first.write_text("1"), {}, (), (first,)),
            Step("two", die, {}, (first,), (second,)),
        ]
        print(run_plan(steps, Path("plan.json"), say=str))
    """

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("die").returncode == -signal.SIGKILL
    assert run().stdout == "['two']\n"
    assert run().stdout == "[]\n"


def test_a_file_that_changes_while_a_step_reads_it_makes_the_step_stale(work: Work) -> None:
    train = work.train
    work.train = lambda: (train(), work.data.write_text("later"))[0]
    work.run()
    work.train = train
    assert work.states()["train"] == "stale: ../data.txt changed"


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir], ids=["nothing", "an empty folder"])
def test_a_step_must_make_what_it_promised(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "preds"
    steps = [Step("predict", lambda: make(path), {}, (), (path,))]
    with pytest.raises(BenchError, match=f"predict: expected it to make {path}, found nothing"):
        run_plan(steps, tmp_path / "plan.json", say=str)
    assert describe(steps, tmp_path / "plan.json")[0].state == "never run"


def test_missing_data_is_said_before_and_refused(work: Work) -> None:
    work.data.unlink()
    assert work.states()["train"] == f"never run: {work.data} is missing"
    assert work.states()["predict"] == "never run"
    with pytest.raises(BenchError, match=f"train: expected to read {work.data}, found nothing"):
        work.run()
    assert not work.weights.exists()


def test_a_dry_run_changes_nothing_on_disk(work: Work) -> None:
    def tree() -> dict[Path, tuple[int, int]]:
        found = work.data.parent.rglob("*")
        return {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in found}

    before = tree()
    assert work.states() == dict.fromkeys(ALL, "never run")
    assert tree() == before
    work.run()
    work.data.write_text("haze")
    before = tree()
    work.states()
    assert tree() == before


def test_a_dry_run_gives_the_hours(work: Work) -> None:
    assert [row.hours for row in describe(work.steps(), work.memory)] == [2.0, 1.0, None]


def test_a_step_does_not_start_when_it_could_not_be_remembered(work: Work) -> None:
    (work.memory.parent / ".plan.json.partial").mkdir(parents=True)
    with pytest.raises(OSError, match="partial"):
        work.run()
    assert not work.weights.exists()


def test_only_one_run_works_in_a_folder(finished: Work) -> None:
    seen = []

    def second() -> None:
        with pytest.raises(BenchError, match="another run works there"):
            finished.run()
        seen.append(finished.states())  # a dry run may look meanwhile

    run_plan([Step("other", second, {})], finished.memory, say=str)
    assert seen == [dict.fromkeys(ALL, "done")]
    with filelock.FileLock(finished.memory.with_name(".plan.json.lock"), timeout=0):
        pass  # it is free again


def test_steps_of_another_plan_are_not_forgotten(finished: Work) -> None:
    run_plan([Step("other", lambda: None, {})], finished.memory, say=str)
    assert finished.run() == []


def test_a_folder_of_results_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    Work(tmp_path / "first").run()
    (tmp_path / "first").rename(tmp_path / "second")
    second = Work(tmp_path / "second")
    assert second.run() == []


def test_links_to_files_and_folders_are_followed(finished: Work, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    finished.preds.rename(moved)
    finished.preds.mkdir()
    (finished.preds / "a").symlink_to(moved / "a")
    (finished.preds / "b").write_bytes((moved / "b").read_bytes())
    (finished.preds / "more").symlink_to(moved)
    assert finished.states()["predict"] == "stale: preds/more/a is new"
    (finished.preds / "more").unlink()
    assert finished.states()["predict"] == "done"
    (moved / "a").unlink()
    assert finished.states()["predict"] == "stale: preds/a is gone"


def test_what_is_no_file_has_no_content(finished: Work) -> None:
    (finished.preds / "device").symlink_to("/dev/null")
    assert finished.run() == []


def test_a_file_in_place_of_a_folder_hides_what_was_in_it(tmp_path: Path) -> None:
    folder, memory = tmp_path / "run", tmp_path / "plan.json"
    folder.mkdir()
    (folder / "rows").write_text("")
    steps = [Step("tables", lambda: None, {}, (folder / "rows",))]
    run_plan(steps, memory, say=str)
    shutil.rmtree(folder)
    folder.write_text("")
    assert describe(steps, memory)[0].why == f"{folder / 'rows'} is missing"


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    finished: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="preds"):
        finished.states()


def test_settled_files_are_read_once(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    file_digest = hashlib.file_digest

    def counted(stream, name):
        read.append(Path(stream.name).name)
        return file_digest(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    work.run()
    read.clear()
    work.run()
    assert set(read) == {"data.txt", "weights.txt", "a", "b", "table.txt"}  # too young to trust
    monkeypatch.setattr(plan, "_SETTLED_NS", -(10**12))
    work.run()
    read.clear()
    assert work.run() == []
    assert read == []
    work.weights.write_text("CLOUDZ")
    times = work.data.stat()
    work.data.write_text("clouda")
    os.utime(work.data, ns=(times.st_atime_ns, times.st_mtime_ns))  # as rsync and cp -p do
    assert work.states()["train"] == "stale: ../data.txt changed"


def test_an_empty_memory_file_is_refused(work: Work) -> None:
    work.memory.parent.mkdir()
    work.memory.write_text("")
    with pytest.raises(BenchError, match=r"expected the memory of a plan .*, got a damaged"):
        work.run()
    assert not work.weights.exists()


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"known": {}}', "[" * 100_000])
def test_a_foreign_memory_file_is_refused(work: Work, content: str) -> None:
    work.memory.parent.mkdir()
    work.memory.write_text(content)
    with pytest.raises(BenchError, match="damaged or foreign"):
        work.states()


def test_the_memory_of_another_format_is_refused(finished: Work) -> None:
    written = json.loads(finished.memory.read_text())
    finished.memory.write_text(json.dumps({**written, "format": 2}))
    with pytest.raises(BenchError, match="as this version writes it"):
        finished.run()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work(tmp_path_factory.mktemp("sound"))
    work.run()
    return work


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_never_makes_a_step_done(sound: Work, data: st.DataObject) -> None:
    good = sound.memory.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = data.draw(
        st.one_of(
            st.just(good[:at]),
            st.binary(max_size=3).map(lambda junk: good[:at] + junk + good[at + len(junk) :]),
        )
    )
    elsewhere = sound.memory.with_name("damaged.json")
    elsewhere.write_bytes(damaged)
    try:
        read = load(elsewhere)
    except BenchError:
        return
    assert (read.finished, read.digests) == (
        load(sound.memory).finished,
        load(sound.memory).digests,
    )


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
TREES = st.dictionaries(
    NAMES.filter(lambda name: name[0] != "." and len(name.encode()) < 200), st.binary(), max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=TREES, now=TREES, inputs=st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_step_is_done_exactly_when_its_files_are_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, bytes],
    now: dict[str, bytes],
    inputs: dict[str, str],
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    memory = folder / "plan.json"
    made = folder / "made"

    def make(files: dict[str, bytes]) -> None:
        made.mkdir()
        (made / "always").write_text("")
        for name, content in files.items():
            (made / name).write_bytes(content)

    steps = [Step("make", lambda: make(before), inputs, (), (made,))]
    run_plan(steps, memory, say=str)
    assert describe(steps, memory)[0].state == "done"
    for file in made.iterdir():
        file.unlink()
    made.rmdir()
    make(now)

    def counted(files: dict[str, bytes]) -> dict[str, bytes]:
        files = {"always": b"", **files}
        return {k: v for k, v in files.items() if k != "lock" and not k.endswith(".lock")}

    same = counted(before) == counted(now)
    assert describe(steps, memory)[0].state == ("done" if same else "stale")


def step(name: str, reads: str = "", writes: str = "") -> Step:
    def paths(text: str) -> tuple[Path, ...]:
        return tuple(Path(word) for word in text.split())

    return Step(name, lambda: None, {}, paths(reads), paths(writes))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([step("a"), step("a")], "two steps are called a"),
        ([step("a", writes="x"), step("b", writes="y ./z/../x")], "a and b both write .*x"),
        ([step("a", writes="x"), step("b", writes="x/y")], "a and b both write"),
        ([step("a", reads="x"), step("b", writes="x")], "a reads .*x, which b writes later"),
        ([step("a", reads="x"), step("b", writes="x/y")], "a reads .*x, which b writes later"),
        ([step("a", reads="x/y", writes="x")], "a reads .*x/y, which it writes itself"),
        ([step("a", writes="out")], "a: .*out is or holds the memory"),
        ([step("a", reads="out/plan.json")], "a: .*plan.json is or holds the memory"),
    ],
)
def test_steps_that_make_no_plan_are_a_mistake_of_the_programmer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[Step], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        describe(steps, Path("out/plan.json"))
    with pytest.raises(ValueError, match=message):
        run_plan(steps, Path("out/plan.json"), say=str)
    assert list(tmp_path.iterdir()) == []


def test_a_step_may_name_a_folder_and_a_file_in_it(tmp_path: Path) -> None:
    run_folder = tmp_path / "run"

    def make() -> None:
        run_folder.mkdir()
        (run_folder / "rows").write_text("")

    steps = [Step("evaluate", make, {}, (), (run_folder, run_folder / "run.json"))]
    with pytest.raises(BenchError, match=r"expected it to make .*run.json, found nothing there"):
        run_plan(steps, tmp_path / "plan.json", say=str)
