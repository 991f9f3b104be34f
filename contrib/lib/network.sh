# shellcheck shell=bash
# A lab's network: a namespace with the bridge "sw", which is this computer's 10.77.0.1, and for each machine
# a bridge of its own "p1" that hangs on it by the cable "sw-1"/"up-1". The machine's own link ends in p1 and comes and
# goes with its reboots; cutting the cable behind it lasts, and looks to the machine like a far failure, not
# like a pulled plug.

netns=muster-$MUSTER_LAB

network_exists() { [ -e "/run/netns/$netns" ]; }

network_up() {
    local count=$1 i
    ip netns add "$netns"
    {
        echo "link set lo up"
        echo "link add sw type bridge"
        echo "address add $subnet.1/24 dev sw"
        echo "link set sw up"
        for ((i = 1; i <= count; i++)); do
            echo "link add p$i type bridge"
            echo "link add sw-$i type veth peer name up-$i"
            echo "link set sw-$i master sw up"
            echo "link set up-$i master p$i up"
            echo "link set p$i up"
        done
    } | ip -netns "$netns" -batch -
}

network_down() {
    network_exists && ip netns del "$netns"
    return 0
}

# Runs a command of this computer inside the lab's network.
# (Not "ip netns exec": it mounts /sys anew and hides the cgroups from systemd-nspawn.)
network_exec() { exec nsenter --net="/run/netns/$netns" "$@"; }

machine_cut() { ip -netns "$netns" link set "sw-$1" down; }

machine_heal() { ip -netns "$netns" link set "sw-$1" up; }

network_is_cut() { ! ip -netns "$netns" -brief link show "sw-$1" | grep -qw 'UP'; }
