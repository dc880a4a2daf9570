#!/usr/bin/env bash
# Make the virtual environment DIRECTORY, or say in plain words why that is not possible here.
# Usage: deploy/environment.sh DIRECTORY PYTHON MEGABYTES
# PYTHON may be empty: then the first suitable one on the PATH is taken. MEGABYTES must be free on the disk.
set -euo pipefail

directory=$1 python=$2 megabytes=$3

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

is_suitable() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

free=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1024))
if [ "$free" -lt "$megabytes" ] && ! compgen -G "$directory/installed-*" >/dev/null; then
  fail "The disk is too full: $directory needs $megabytes MB and $(pwd) has $free MB free." \
    "Free some space, then run the same command again."
fi

if [ -x "$directory/bin/python" ] && is_suitable "$directory/bin/python"; then
  exit 0
fi

if [ -n "$python" ]; then
  is_suitable "$python" || fail "PYTHON=$python is not a Python 3.11 or newer."
else
  for candidate in python3.11 python3.12 python3.13 python3; do
    if is_suitable "$candidate"; then
      python=$candidate
      break
    fi
  done
  [ -n "$python" ] || fail "No Python 3.11 or newer was found on the PATH." \
    "Install one, or name it: make up PYTHON=/path/to/python3.11"
fi

echo "Making $directory with $("$python" --version)."
rm -rf "$directory"
"$python" -m venv "$directory" || fail "This Python cannot make virtual environments." \
  "On Debian and Ubuntu install its venv package, for example python3.11-venv; then run the same command again."
