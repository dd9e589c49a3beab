#!/bin/sh
# Make .venv and install what a lock names, once: `scripts/install.sh dev` or `scripts/install.sh run`.
# A stamp named after the lock's hash says that it is done; a virtual environment that exists is added to, never made anew.
set -eu

cd "$(dirname "$0")/.."
case "${1:-}" in
dev) lock=requirements-dev.lock ;;
run) lock=requirements.lock ;;
*) echo "usage: $0 dev|run" >&2; exit 64 ;;
esac

stamp() { echo ".venv/.stamp-$1-$(cat "$2" pyproject.toml | sha256sum | cut -c1-16)"; }
done_already() { [ -e "$(stamp "$1" "$2")" ] && [ -x .venv/bin/mailrelay ]; }

# The development lock holds everything that the other one does.
if done_already dev requirements-dev.lock || { [ "$1" = run ] && done_already run requirements.lock; }; then exit 0; fi

mkdir -p .make
exec 9>.make/install.lock
if command -v flock >/dev/null; then flock 9; fi
if done_already "$1" "$lock"; then exit 0; fi # another make was first

if [ ! -x .venv/bin/python ]; then
  python=
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3.14 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "mailrelay needs Python 3.11 or later; set PYTHON=/path/to/python3 if it is not on PATH" >&2
    exit 1
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "$python cannot make virtual environments yet: installing python3-venv"
    apt-get -q update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv >/dev/null
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python cannot make virtual environments: apt-get install python3-venv (or your system's package of that kind)" >&2
    exit 1
  fi
  echo "Making .venv with $("$python" --version)"
  "$python" -m venv .venv
fi

echo "Installing $lock into .venv"
with_uv() {
  command -v uv >/dev/null || return 1
  # A machine behind its own certificate authority has it in the system's store, which uv does not ask by itself.
  export UV_SYSTEM_CERTS=1
  uv pip install --quiet --python .venv/bin/python --require-hashes -r "$lock" &&
    uv pip install --quiet --python .venv/bin/python --no-deps -e .
}
with_pip() {
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then .venv/bin/python -m ensurepip >/dev/null; fi
  .venv/bin/python -m pip --disable-pip-version-check --quiet install --use-pep517 --require-hashes -r "$lock"
  .venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps -e .
}
with_uv || with_pip
rm -f .venv/.stamp-"$1"-*
touch "$(stamp "$1" "$lock")"
