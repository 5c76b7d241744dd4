#!/bin/sh
# Starts exonet in a container. Cheetah takes over the container's address, so that published ports, other containers and
# Docker's name service reach the user-space stack:
#
#   docker run [docker's options] exonet [cheetah's options]       serves /srv/site, or --root DIR
#   docker run [docker's options] exonet COMMAND [...]             any other command of exonet, as it is
#
# The container's eth0 and the stack's TAP device become ports of one bridge, and the stack gets the address, the gateway
# and the MAC address that Docker gave to eth0. (DNAT to an address behind eth0 would need net.ipv4.ip_forward, which a
# container can neither rely on nor set; a bridge needs no more than NET_ADMIN and the TUN device, and the stack sees its
# clients' own addresses, offloads included.) All of this is in the container's network namespace and goes with it.
set -eu

LINK=${EXONET_LINK:-eth0}
TAP=exo0
BRIDGE=exonet0

exonet() { exec node /opt/exonet/dist/cli/main.js "$@"; }

refuse() {
  echo "exonet: $1" >&2
  exit 1
}

case ${1-} in
  cheetah) shift ;;
  -* | '') ;;
  *) exonet "$@" ;;
esac
root=/srv/site
for word; do
  case $word in
    --help | -h | --version | --device | --device=*) exonet cheetah "$@" ;;
    --root | --root=*) root='' ;;
  esac
done
[ -z "$root" ] || set -- --root "$root" "$@"

# --network host, or none: there is no link of the container's own to take over, only the TAP device is served.
case $(ip -oneline -details link show dev "$LINK" 2>/dev/null) in
  *' veth '*) ;;
  *) exonet cheetah "$@" ;;
esac

[ -c /dev/net/tun ] || refuse 'there is no /dev/net/tun in this container; start it with --device /dev/net/tun.'

address=$(ip -4 -oneline address show dev "$LINK" scope global | awk '{ print $4; exit }')
gateway=$(ip -4 route show default dev "$LINK" | awk '{ print $3; exit }')
mac=$(cat "/sys/class/net/$LINK/address")
mtu=$(cat "/sys/class/net/$LINK/mtu")
[ -n "$address" ] || refuse "$LINK has no IPv4 address to serve at."

ip link set dev "$LINK" down 2>/dev/null ||
  refuse 'this container may not change its network; start it with --cap-add NET_ADMIN.'
ip address flush dev "$LINK"
# The stack answers to eth0's MAC address, which its peers may know already; eth0 itself takes another.
ip link set dev "$LINK" address "02:$(od -An -N5 -tx1 /dev/urandom | tr ' ' ':' | cut -c 2-)"
ip tuntap add dev "$TAP" mode tap 2>/dev/null ||
  refuse '/dev/net/tun cannot be opened in this container; start it with --device /dev/net/tun.'
ip link set dev "$TAP" mtu "$mtu"
ip link add name "$BRIDGE" mtu "$mtu" type bridge stp_state 0
for port in "$LINK" "$TAP" "$BRIDGE"; do
  ip link set dev "$port" addrgenmode none 2>/dev/null || true
  [ "$port" = "$BRIDGE" ] || ip link set dev "$port" master "$BRIDGE"
  ip link set dev "$port" up
done

[ -z "$gateway" ] || set -- --gateway "$gateway" "$@"
exonet cheetah --device "tap:$TAP" --address "$address" --mac "$mac" --mtu "$mtu" "$@"
