"""Test that the container file is sound: what a builder would refuse, and who runs what."""

from __future__ import annotations

import json
import re
import tomllib

from paths import ROOT

FILE = ROOT / "docs/Containerfile"
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its text, continued lines joined."""
    lines = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", lines)
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line]


def texts(name: str) -> list[str]:
    return [text for instruction, text in instructions() if instruction == name]


def test_it_is_made_of_known_instructions_from_a_supported_python() -> None:
    assert {name for name, _ in instructions()} == INSTRUCTIONS
    assert instructions()[0][0] == "FROM"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for base in texts("FROM"):
        python = re.match(r"docker\.io/library/python:(3\.\d+)-slim", base)
        assert f"Programming Language :: Python :: {python[1]}" in project["classifiers"]


def test_what_it_copies_is_there_and_is_sent_to_the_build() -> None:
    sent = (ROOT / "docs/Containerfile.dockerignore").read_text().splitlines()
    for text in texts("COPY"):
        *sources, _ = text.split()
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source}" in sent
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = " ".join(texts("COPY")).split()
    assert {needed["project"]["readme"], *needed["project"]["license-files"]} <= {*copied}
    packages = needed["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {package.split("/")[0] for package in packages} <= {*copied}


def test_nothing_runs_as_root_and_all_caches_are_in_the_temporary_folder() -> None:
    last = [name for name, _ in instructions()].index("USER")
    assert texts("USER") == ["1000:1000"]
    assert "RUN" not in [name for name, _ in instructions()[last:]]
    environment = dict(re.findall(r'(\w+)="?([^" ]+)', texts("ENV")[0]))
    assert environment["HOME"] == "/tmp"
    assert environment["XDG_CACHE_HOME"].startswith("/tmp/")
    assert json.loads(texts("ENTRYPOINT")[0]) == ["planetcr-bench"]
    assert json.loads(texts("CMD")[0]) == ["--help"]


def test_no_list_of_packages_stays_in_the_image() -> None:
    for text in texts("RUN"):
        assert "apt-get" not in text or "rm -rf /var/lib/apt/lists/*" in text
        assert "pip install" not in text or "--no-cache-dir" in text
