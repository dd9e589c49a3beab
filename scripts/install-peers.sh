#!/bin/sh
# Install the programs that tests talk to, where this is Debian and we are root; else say what is missing.
# They are installed only: none is started, none is left running, none starts with the machine.
set -eu

packages="postfix swaks libnet-ssleay-perl opendkim opendkim-tools prometheus strace eatmydata"

missing=
for package in $packages; do
  if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$'; then
    missing="$missing $package"
  fi
done
if [ -z "$missing" ]; then exit 0; fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed, so some tests will be skipped:$missing" >&2
  echo "On Debian, as root: apt-get install --no-install-recommends$missing" >&2
  exit 0
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi

echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get -q update >/dev/null
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections 2>/dev/null || true
# shellcheck disable=SC2086  # a list of words
apt-get install -qy --no-install-recommends $missing >/dev/null </dev/null

if [ -d /run/systemd/system ]; then
  for service in postfix opendkim prometheus; do
    case "$missing " in *" $service "*) systemctl disable --quiet --now "$service" ;; esac
  done
fi
