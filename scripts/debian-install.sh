#!/bin/bash
# Installs Debian packages that are not there yet, as root, without questions, without starting the services they bring,
# and again when the mirror is slow or flaky:
#
#   scripts/debian-install.sh PACKAGE ...
set -euo pipefail

missing=()
for package in "$@"; do
  case $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) in
    installed) ;;
    *) missing+=("$package") ;;
  esac
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "debian-install: only root can install: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi

# Debian's own way to keep packages from starting their daemons; one that is there already is left alone.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
options=(-qq -o Acquire::Retries=3 -o Acquire::http::Timeout=60 -o DPkg::Lock::Timeout=300)
log=$(mktemp)
for try in 1 2 3 4; do
  if { timeout 600 apt-get "${options[@]}" update &&
    timeout 1200 apt-get "${options[@]}" --yes --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  echo "debian-install: try $try failed: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")" >&2
  dpkg --configure -a >>"$log" 2>&1 || true
  sleep $((try * 10))
done
cat "$log" >&2
rm -f "$log"
exit 1
