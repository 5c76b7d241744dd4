#!/bin/sh
# Starts exonet in a container. Cheetah takes over the container's address, so that published ports, other containers and
# Docker's name service reach the user-space stack:
#
#   docker run [docker's options] exonet [cheetah's options]       serves /srv/site, or --root DIR
#   docker run [docker's options] exonet COMMAND [...]             any other command of exonet, as it is
#
# The stack runs directly on the container's eth0, a veth end, with the address, the gateway and the MAC address that
# Docker gave it; the kernel's side of eth0 keeps none of them. (DNAT to a TAP device behind eth0 would need
# net.ipv4.ip_forward, which a container can neither rely on nor set, and would hide the clients' addresses.) What is
# changed here belongs to the container's network namespace and goes with it. Where there is no such eth0, with
# --network host or none, or when --device is given, cheetah runs as it would outside: on the TAP device exo0.
set -eu

LINK=${EXONET_LINK:-eth0}

exonet() { exec node /opt/exonet/dist/cli/main.js "$@"; }

refuse() {
  echo "exonet: $1" >&2
  exit 1
}

# Whether this process has a capability, by its number in capabilities(7).
capable() {
  capabilities=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
  [ $((0x$capabilities >> $1 & 1)) = 1 ]
}
CAP_NET_ADMIN=12
CAP_NET_RAW=13

case ${1-} in
  cheetah) shift ;;
  -* | '') ;;
  *) exonet "$@" ;;
esac
[ "$*" != --version ] || exonet --version
root=/srv/site
device=packet
for word; do
  case $word in
    --help | -h) exonet cheetah --help ;;
    --device | --device=*) device=given ;;
    --root | --root=*) root='' ;;
  esac
done
[ -z "$root" ] || set -- --root "$root" "$@"

case $(ip -oneline -details link show dev "$LINK" 2>/dev/null) in
  *' veth '*) ;;
  *) device=given ;;
esac
[ "$device" = packet ] || exonet cheetah "$@"

capable $CAP_NET_ADMIN || refuse 'this container may not change its network; start it with --cap-add NET_ADMIN.'
capable $CAP_NET_RAW || refuse 'this container may not send frames; start it with --cap-add NET_RAW.'

address=$(ip -4 -oneline address show dev "$LINK" scope global | awk '{ print $4; exit }')
gateway=$(ip -4 route show default dev "$LINK" | awk '{ print $3; exit }')
mac=$(cat "/sys/class/net/$LINK/address")
[ -n "$address" ] || refuse "$LINK has no IPv4 address to serve at."

# The peers may know eth0's MAC address already: it becomes the stack's, and the kernel's side takes another.
ip link set dev "$LINK" down
ip address flush dev "$LINK"
ip link set dev "$LINK" address "02:$(od -An -N5 -tx1 /dev/urandom | tr ' ' ':' | cut -c 2-)" addrgenmode none
ip link set dev "$LINK" up

[ -z "$gateway" ] || set -- --gateway "$gateway" "$@"
exonet cheetah --device "packet:$LINK" --address "$address" --mac "$mac" "$@"
