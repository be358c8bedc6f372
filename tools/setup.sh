#!/bin/sh
# Brings .venv to the pinned packages: tools/setup.sh sim|bench|test PYTHON VENV
set -eu
set_name=$1 python=$2 venv=$3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Lepton needs Python 3.11 or newer as $python (found: $("$python" --version 2>&1 || echo none))." >&2
    echo "Name another one with: make PYTHON=/path/to/python3" >&2
    exit 1
}
for tool in g++ make; do
    command -v "$tool" >/dev/null || {
        echo "Lepton needs $tool to build the simulated chip; install it with: apt-get install g++ make" >&2
        exit 1
    }
done
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
    echo "Could not create $venv; on Debian install the module with: apt-get install python3-venv" >&2
    exit 1
}
echo "Installing the packages of requirements/$set_name.txt into $venv (once) ..."
export PIP_DISABLE_PIP_VERSION_CHECK=1
# torch first and alone: the pinned version may be a file on this machine, and nothing may replace it.
if torch=$(grep '^torch==' "requirements/$set_name.txt"); then
    "$venv/bin/pip" install -qq "$torch"
fi
"$venv/bin/pip" install -qq -r "requirements/$set_name.txt"
"$venv/bin/pip" install -qq --no-deps --no-build-isolation --editable .
touch "$venv/.$set_name"
