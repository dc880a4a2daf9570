#!/usr/bin/env bash
# Runs commands side by side, one an argument. The first one's output is shown as it comes, the others' when they end.
# Fails if one of them does; when it is stopped, so are they.
set -uo pipefail
logs=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$logs"' EXIT
trap 'exit 143' TERM INT
for command in "${@:2}"; do
  bash -c "exec $command" >"$logs/${#pids[@]}" 2>&1 &
  pids+=($!)
done
failed=0
bash -c "exec $1" &
pids+=($!)
wait $! || failed=1
for number in $(seq 0 $(($# - 2))); do
  wait "${pids[$number]}" || failed=1
  echo "--- ${*:$((number + 2)):1}"
  cat "$logs/$number"
done
exit $failed
