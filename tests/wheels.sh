#!/usr/bin/env bash
# Builds the source distribution and, from it, the wheel, and tries the wheel in a clean environment of
# every supported Python at hand (python3.11 to python3.13, or those that PYTHONS names):
#
#   tests/wheels.sh [FOLDER]     by default build/wheels; the distributions go to dist/
set -euo pipefail
cd "$(dirname "$0")/.."
work="${1:-build/wheels}"
mkdir -p "$work" dist
work="$(cd "$work" && pwd)"

"${PYTHON:-python3}" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet build
rm -f dist/planetcr_bench-*
"$work/tools/bin/python" -m build --outdir dist . >"$work/build.log" || { cat "$work/build.log"; exit 1; }
ls -l dist/planetcr_bench-*
wheel="$(echo "$PWD"/dist/planetcr_bench-*.whl)"

try() { # PYTHON: install the wheel, and do the main job in an empty folder
  local home
  home="$work/$("$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
  export PATH="$home/venv/bin:$PATH" XDG_CACHE_HOME="$home/cache"
  rm -rf "$home" && mkdir -p "$home/work" && cd "$home/work" && # joined: set -e is off after ||
    "$1" -m venv "$home/venv" &&
    "$home/venv/bin/pip" install --quiet "$wheel" &&
    planetcr-bench --version &&
    planetcr-bench doctor &&
    planetcr-bench demo &&
    planetcr-bench evaluate demo/preds/mean-fill --results again --json >scores.json &&
    du -sh "$home/venv"
}

tried=0
for python in ${PYTHONS:-python3.11 python3.12 python3.13}; do
  "$python" --version >/dev/null 2>&1 || { echo "$python: not at hand, not tried"; continue; }
  echo "== $python"
  (try "$python") >"$work/$(basename "$python").log" 2>&1 || { cat "$work/$(basename "$python").log"; exit 1; }
  tail -n 1 "$work/$(basename "$python").log"
  tried=$((tried + 1))
done
[[ "$tried" -gt 0 ]] || { echo "no supported Python at hand" >&2; exit 1; }
