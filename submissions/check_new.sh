#!/usr/bin/env bash
# Checks every entry that is new or changed in one checkout, compared with another:
#
#   submissions/check_new.sh OLD NEW
#
# OLD is trusted: entries are compared with its results. NEW is only read. Entries on a simulated track
# are compared with its dataset, which is simulated in the current folder. Exits with 1 if an entry is
# refused, or if its dataset cannot be simulated.
set -uo pipefail
shopt -s nullglob dotglob
old="${1:?usage: check_new.sh OLD NEW}" new="${2:?usage: check_new.sh OLD NEW}" status=0

dataset_of() { # prints the folder of a simulated track's dataset, made the first time; else nothing
  case "$1" in
    sim-v1-tiny | sim-v1-demo) size="${1#sim-v1-}" ;;
    sim-v1) size=full ;;
    *) return 0 ;;
  esac
  planetcr-bench simulate "simulated/$size" --size "$size" --train 0 >&2 && echo "simulated/$size"
}

checked=0
for entry in "$new"/submissions/*; do
  name="${entry##*/}"
  [[ -f "$entry" && ! -L "$entry" && "$name" == @(README.md|check_new.sh) ]] && continue
  diff -r --no-dereference -q -- "$entry" "$old/submissions/$name" >/dev/null 2>&1 && continue
  checked=$((checked + 1))
  printf '\n== %q\n' "$name"
  [[ ! -e "$old/submissions/$name" ]] || echo "REPLACES the entry that was there"
  # Only an entry that is sound in itself says reliably which track it belongs to.
  if ! facts="$(planetcr-bench submit check "$entry" --results "$old/results" --json)"; then
    status=1
    continue
  fi
  track="$(python3 -c 'import json, sys; print(json.load(sys.stdin)["track"])' <<<"$facts")"
  if ! data="$(dataset_of "$track")"; then
    echo "error: $track cannot be simulated; the entry is not checked" >&2
    status=1
    continue
  fi
  [[ -n "$data" ]] || echo "NOT compared with the dataset of $track, which is not available here"
  planetcr-bench submit check "$entry" --results "$old/results" \
    ${data:+--data "$data" --sample all} || status=1
done
for entry in "$old"/submissions/*; do
  [[ -e "$new/submissions/${entry##*/}" ]] || printf '\nREMOVED: %q\n' "${entry##*/}"
done
printf '\n%d new or changed entries\n' "$checked"
exit "$status"
