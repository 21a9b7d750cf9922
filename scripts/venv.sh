#!/bin/sh
# Make a virtual environment; Debian keeps the part that this needs in a package of its own.
set -eu
python=$1 folder=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $python is older." >&2; exit 1; }
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    elif sudo -n true 2>/dev/null; then sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv >/dev/null
    else echo "Python's venv is missing: apt-get install python3-venv" >&2; exit 1; fi
fi
exec "$python" -m venv "$folder"
