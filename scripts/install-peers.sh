#!/bin/sh
# Install the programs that tests talk to, where this is Debian and we are root; else say what is missing.
# They are installed only: none is started, none is left running, none starts with the machine.
set -eu

packages="curl postfix swaks libnet-ssleay-perl dovecot-lmtpd opendkim opendkim-tools prometheus strace eatmydata unbound fiu-utils faketime nftables iproute2 util-linux wrk"
# Debian lets only one mail system be installed, so Exim is unpacked beside the system (tests/support/peers.py looks there).
unpacked="exim4-base exim4-daemon-light"
beside=/opt/mailrelay-peers/exim

missing=
for package in $packages; do
  if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$'; then
    missing="$missing $package"
  fi
done
has_exim() { [ -x /usr/sbin/exim4 ] || { [ -x "$beside/usr/sbin/exim4" ] && id Debian-exim >/dev/null 2>&1; }; }
has_exim || missing="$missing exim4-daemon-light"
if [ -z "$missing" ]; then exit 0; fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed, so some tests will be skipped:$missing" >&2
  echo "On Debian, as root: scripts/install-peers.sh" >&2
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
install() { apt-get install -qy --no-install-recommends "$@" >/dev/null </dev/null; }
# shellcheck disable=SC2086  # a list of words
install $(printf '%s' "$missing" | sed 's/ exim4-daemon-light//')

# Its libraries, as packages; its programs into $beside, whole or not at all; and the user that they were built to run as.
unpack_exim() {
  rm -rf "$beside.new"
  mkdir -p "$beside.new/packages"
  # shellcheck disable=SC2086  # a list of words
  (cd "$beside.new/packages" && apt-get -qq -o APT::Sandbox::User=root download $unpacked) || return 1
  libraries=
  for file in "$beside.new/packages"/*.deb; do
    libraries="$libraries $(dpkg-deb -f "$file" Depends | tr ',' '\n' | sed -n 's/^ *\(lib[a-z0-9.+-]*\).*/\1/p' | tr '\n' ' ')"
    dpkg -x "$file" "$beside.new" || return 1
  done
  # shellcheck disable=SC2086  # a list of words
  install $libraries || return 1
  id Debian-exim >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin Debian-exim || return 1
  chmod u-s "$beside.new/usr/sbin/exim4" # tests run it without any privilege
  chmod 755 "${beside%/*}" "$beside.new"
  rm -rf "$beside" "$beside.new/packages"
  mv "$beside.new" "$beside"
}
if ! has_exim && ! unpack_exim; then
  rm -rf "$beside.new"
  echo "Not installed, so some tests will be skipped: exim4-daemon-light" >&2
fi

if command -v systemctl >/dev/null; then # also where systemd does not run now: what is enabled starts with the machine
  for service in postfix dovecot opendkim prometheus unbound unbound-resolvconf; do # the last would rewrite /etc/resolv.conf
    case "$missing " in *" ${service%-resolvconf} "* | *" $service-lmtpd "*)
      systemctl disable --quiet "$service" 2>/dev/null || true
      if [ -d /run/systemd/system ]; then systemctl stop "$service"; fi
      ;;
    esac
  done
fi
