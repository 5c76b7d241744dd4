#!/bin/bash
# Cheetah without any right: in a user and network namespace of its own, with a shell beside it in which curl reaches it.
#
#   scripts/run-rootless.sh [cheetah's arguments]       (make run-rootless ARGS='...')
#
# Ending the shell ends the server and with it the namespace. The shell reads its commands from standard input:
#   echo 'curl -s http://10.90.0.2/' | make run-rootless
# Two things may forbid it, and each is told apart: the kernel refuses user namespaces to this user, or the permissions of
# /dev/net/tun do (the device of the namespace is ours, but opening the file is still judged by who we are outside).
set -uo pipefail

NODE=${NODE:-node}
PROGRAM=$(dirname "$(readlink -f "$0")")/../dist/cli/main.js
TUN=/dev/net/tun

# The value of a kernel setting, nothing when this kernel does not have it.
setting() { cat "/proc/sys/$1" 2>/dev/null; }

# Why the kernel gives this user no namespaces, one line a cause; `$1` is what unshare said.
explain_namespaces() {
  echo "run-rootless: no user namespace can be made here (${1:-unshare failed})."
  if [ "$(setting user/max_user_namespaces)" = 0 ] || [ "$(setting user/max_net_namespaces)" = 0 ]; then
    echo "  The kernel allows none: sudo sysctl user.max_user_namespaces=10000 user.max_net_namespaces=10000"
  elif [ "$(setting kernel/unprivileged_userns_clone)" = 0 ]; then
    echo "  They are kept for root: sudo sysctl kernel.unprivileged_userns_clone=1"
  elif [ "$(setting kernel/apparmor_restrict_unprivileged_userns)" = 1 ]; then
    echo "  AppArmor keeps them for root: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
  else
    echo "  A container's seccomp profile or another policy forbids them to user $(id -un)."
  fi
}

# Why this user cannot open the TUN device.
explain_tun() {
  if [ -c "$TUN" ]; then
    echo "run-rootless: the permissions of $TUN forbid user $(id -un) to open it ($(stat -c '%A %U:%G' "$TUN"))."
    echo "  Open it for everybody (it gives no right over this machine's network): sudo chmod 666 $TUN"
  else
    echo "run-rootless: there is no $TUN here."
    echo "  Make it: sudo modprobe tun, or sudo mkdir -p /dev/net && sudo mknod -m 666 $TUN c 10 200"
  fi
}

if [ "${1:-}" != --inside ]; then
  forbidden=0
  if ! command -v unshare >/dev/null; then
    echo 'run-rootless: unshare is missing (Debian package util-linux).' >&2
    forbidden=1
  elif ! said=$(unshare --user --map-root-user --net true 2>&1); then
    explain_namespaces "$said" >&2
    forbidden=1
  fi
  if ! [ -c "$TUN" ] || ! [ -r "$TUN" ] || ! [ -w "$TUN" ]; then
    explain_tun >&2
    forbidden=1
  fi
  if [ "$forbidden" = 1 ]; then
    echo "The other ways: sudo make run, or docker run --cap-add NET_ADMIN --device $TUN" >&2
    exit 1
  fi
  exec unshare --user --map-root-user --net -- "$0" --inside "$@"
fi
shift

# A word of cheetah's arguments: the value that follows `--NAME` or is joined to it, else the default.
argument() {
  local name=$1 value=$2
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      "--$name") value=${2:-$value} ;;
      "--$name="*) value=${1#*=} ;;
    esac
    shift
  done
  echo "$value"
}
address=$(argument address 10.90.0.2/24 "$@")
address=${address%/*}
port=$(argument port 80 "$@")

ip link set lo up 2>/dev/null

# A session of its own: the server must not see the Ctrl-C that is typed at curl. It ends when this script does, even by force.
setsid setpriv --pdeathsig TERM -- "$NODE" "$PROGRAM" cheetah "$@" </dev/null &
server=$!
end_server() {
  kill -INT "$server" 2>/dev/null
  wait "$server"
  code=$?
}
trap 'end_server; exit 143' TERM HUP

answers() { (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; }
for _ in $(seq 100); do
  if ! kill -0 "$server" 2>/dev/null; then
    wait "$server"
    exit $?
  fi
  answers && break
  sleep 0.1
done

if [ -t 0 ]; then
  echo "This shell is in the server's network namespace; try: curl -i http://$address$([ "$port" = 80 ] || echo ":$port")/"
  echo 'Leave it with exit or Ctrl-D to end the server.'
fi
trap : INT
PS1='exonet$ ' bash --norc
status=$?
end_server
[ "$code" = 0 ] || status=$code
exit "$status"
