#!/usr/bin/env bash
# Runs commands side by side, one an argument. The first one's output is shown as it comes, the others' when they end.
# Fails if one of them does.
set -uo pipefail
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$logs"' EXIT
failed=0
pids=()
for command in "${@:2}"; do
  bash -c "$command" >"$logs/${#pids[@]}" 2>&1 &
  pids+=($!)
done
bash -c "$1" || failed=1
for number in "${!pids[@]}"; do
  wait "${pids[$number]}" || failed=1
  echo "--- ${*:$((number + 2)):1}"
  cat "$logs/$number"
done
exit $failed
