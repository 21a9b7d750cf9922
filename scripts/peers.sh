#!/bin/sh
# The tests hold our files against other people's tools: install those that are missing where we may, else say so.
set -eu
missing=
have() { command -v "$1" >/dev/null 2>&1; }
have dsrdump || missing="$missing dcmtk"
have dciodvfy || missing="$missing dicom3tools"
have Orthanc || missing="$missing orthanc orthanc-dicomweb"
[ -n "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" ] || missing="$missing postgresql"
have chromium || missing="$missing chromium"
have turnserver || missing="$missing coturn"
have minisign || missing="$missing minisign"
[ -n "$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null)" ] || missing="$missing faketime"
[ -d /usr/share/fonts/opentype/noto ] || missing="$missing fonts-noto-cjk"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo=sudo
else echo "Some tests will be skipped; for all of them: apt-get install$missing" >&2; exit 0; fi
echo "Installing peers of the tests (once):$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
