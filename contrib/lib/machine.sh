# shellcheck shell=bash
# One machine: its files, its boot, its supervisor, and commands inside it.

# Lays down what is this machine's own: machine_prepare I
machine_prepare() {
    local i=$1 dir etc
    dir=$(machine_dir "$i")
    etc=$dir/upper/etc
    mkdir -p "$dir"/{upper,work,root} "$etc/systemd/network"
    echo "m$i" >"$etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id"
    cat >"$etc/systemd/network/10-host0.network" <<TEXT
[Match]
Name=host0

[Network]
Address=$(machine_address "$i")/24
Gateway=$subnet.1
LinkLocalAddressing=no
IPv6AcceptRA=no
TEXT
}

# Boots a machine: its supervisor runs in the background, in a cgroup and a mount namespace of its own, so that its
# mounts go with it however it ends.
machine_start() {
    local i=$1 dir
    machine_leader "$i" >/dev/null && machine_booted "$i" && die "m$i runs already"
    # It may still be on its way down.
    wait_until 20 cgroup_empty "m$i" || die "m$i runs already"
    dir=$(machine_dir "$i")
    setsid unshare --mount --propagation private \
        env MUSTER_LAB="$MUSTER_LAB" MUSTER_LAB_DIR="$MUSTER_LAB_DIR" "$here/lab" supervise "$i" "$(readlink /proc/self/ns/mnt)" \
        </dev/null >>"$dir/supervisor.log" 2>&1 &
    wait_until 10 cgroup_populated "m$i" || die "m$i does not start; see $dir/supervisor.log"
}

# The supervisor: boots the machine, and again after each reboot, until it is powered off or killed. It is given the mount
# namespace that it must have left.
machine_supervise() {
    local i=$1 dir code
    case ${2:-} in
        '' | "$(readlink /proc/self/ns/mnt)") wrong "supervise is what the lab itself runs; boot a machine with \"contrib/lab start $i\"" ;;
    esac
    dir=$(machine_dir "$i")
    cgroup_join "m$i/keeper"
    mount -t overlay overlay \
        -o "lowerdir=$lab_dir/payload:$(cat "$lab_dir/image"),upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
    # systemd-nspawn keeps locks and sockets by machine name here; other labs have machines of the same names.
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn
    while :; do
        code=0
        machine_boot "$i" || code=$?
        echo "$(date +%T) systemd-nspawn ended with status $code"
        # 133 is how systemd-nspawn hands on a reboot when it is not its own service manager.
        [ "$code" = 133 ] || break
        wait_until 20 cgroup_empty "m$i/box"
    done
}

machine_boot() (
    local dir
    dir=$(machine_dir "$1")
    cgroup_join "m$1/box"
    exec nsenter --net="/run/netns/$netns" systemd-nspawn --quiet --directory="$dir/root" --boot \
        --machine="m$1" --hostname="m$1" --network-bridge="p$1" --register=no --keep-unit \
        --link-journal=no --resolv-conf=off --timezone=off --console=read-only </dev/null >>"$dir/console.log" 2>&1
)

# Prints the process id, as seen here, of the machine's process 1; fails while it has none.
machine_leader() {
    local scope pid
    scope=$(machine_init_scope "$1") || return 1
    while read -r pid; do
        # Others may be in its cgroup: what was started from outside, or a child that is just being born.
        awk '/^NSpid:/ { exit !($NF == 1) }' "/proc/$pid/status" 2>/dev/null && echo "$pid" && return 0
    done <"$scope/cgroup.procs"
    return 1
}

# The cgroup in which the machine's systemd put itself.
machine_init_scope() {
    local found
    found=$(find "$(cgroup_path "m$1/box")" -maxdepth 2 -name init.scope -print -quit 2>/dev/null)
    [ -n "$found" ] && printf '%s' "$found"
}

# Runs a command in the machine in place of this shell: machine_shell I [COMMAND...]
machine_shell() {
    local i=$1 leader scope hierarchy group
    shift
    leader=$(machine_leader "$i") || die "m$i is not running"
    scope=$(machine_init_scope "$i")
    # Beside the machine's process 1, so that freezing and killing the machine takes this along.
    scope=${scope#"$(cgroup_unified)"}
    for hierarchy in $(cgroup_hierarchies); do
        group=$hierarchy$scope
        [ -d "$group" ] || group=$hierarchy/muster-lab/$MUSTER_LAB/m$i/box
        echo "$BASHPID" >"$group/cgroup.procs"
    done
    [ $# -gt 0 ] || set -- bash --login
    # A bash inside starts the command and waits for it, not nsenter: when systemd stops all processes at shutdown, nsenter
    # stops as well, never collects the command's remains, and the machine never ends. The command dies with that bash, which keeps its own words on the command's end to itself.
    exec nsenter --target="$leader" --all --no-fork env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
        HOME=/root USER=root SHELL=/bin/bash LANG=C.UTF-8 TERM="${TERM:-dumb}" \
        bash -c 'exec 3>&2 2>/dev/null; setpriv --pdeathsig KILL "$@" 2>&3 3>&-; exit' lab "$@"
}

machine_console() { cat "$(machine_dir "$1")/console.log"; }

machine_kill() {
    cgroup_kill "m$1"
    # A paused machine must not be born frozen.
    [ ! -e "$(cgroup_path "m$1/box")" ] || echo 0 >"$(cgroup_path "m$1/box")/cgroup.freeze"
}

machine_pause() { machine_freeze "$1" 1; }

machine_resume() { machine_freeze "$1" 0; }

machine_freeze() {
    cgroup_populated "m$1" || die "m$1 is not running"
    echo "$2" >"$(cgroup_path "m$1/box")/cgroup.freeze"
    wait_until 10 grep -qx "frozen $2" "$(cgroup_path "m$1/box")/cgroup.events" || die "m$1 does not freeze or thaw"
}

# Prints "running" or another word of systemctl, "off" or "paused".
machine_state() {
    cgroup_populated "m$1" || { echo off; return; }
    grep -qx 'frozen 1' "$(cgroup_path "m$1/box")/cgroup.events" 2>/dev/null && { echo paused; return; }
    local said
    # Its exit status is not zero for every word but one; no word at all means that nobody listens yet.
    said=$( (machine_shell "$1" systemctl is-system-running) 2>/dev/null) || true
    echo "${said:-booting}"
}

# True when the machine's boot has come to an end, good or bad.
machine_booted() {
    local state
    state=$(machine_state "$1")
    [ "$state" = running ] || [ "$state" = degraded ]
}
