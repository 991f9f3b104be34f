# shellcheck shell=bash
# Every process of a lab lives below the cgroup muster-lab/NAME: nothing is ever looked for by name or by a
# process id that may have been reused, and one write ends or freezes a whole machine.
#
#   muster-lab/NAME/mI/keeper   the loop that boots machine I again after a reboot
#   muster-lab/NAME/mI/box      systemd-nspawn and the machine

# Mount points of all cgroup hierarchies, version 2 and version 1.
cgroup_hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts; }

# The version 2 hierarchy, alone or beside version 1: it can kill and freeze.
cgroup_unified() {
    local mount
    mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
    [ -n "$mount" ] || die "no cgroup version 2 hierarchy is mounted"
    printf '%s' "$mount"
}

# The folder of a group in the version 2 hierarchy: cgroup_path [BELOW]
cgroup_path() { printf '%s/muster-lab/%s%s' "$(cgroup_unified)" "$MUSTER_LAB" "${1:+/$1}"; }

# Moves this shell (not its parent) into a group of every hierarchy: cgroup_join BELOW
# A machine whose systemd shared a hierarchy's root with another would fight over it.
cgroup_join() {
    local hierarchy
    for hierarchy in $(cgroup_hierarchies); do
        cgroup_make "$hierarchy" "muster-lab/$MUSTER_LAB/$1"
        echo "$BASHPID" >"$hierarchy/muster-lab/$MUSTER_LAB/$1/cgroup.procs"
    done
}

# Makes a group and what is above it, so that it can hold processes and controllers: cgroup_make HIERARCHY GROUP
cgroup_make() {
    local at=$1 part controller
    for part in ${2//\// }; do
        if [ -e "$at/cgroup.subtree_control" ]; then
            for controller in cpu io memory pids; do
                grep -qw "$controller" "$at/cgroup.controllers" || continue
                # A controller that is bound to something else here is not needed to boot.
                echo "+$controller" 2>/dev/null >"$at/cgroup.subtree_control" || true
            done
        fi
        mkdir -p "$at/$part"
        # A version 1 cpuset takes no process before it has processors and memory.
        if [ -e "$at/cpuset.cpus" ] && [ ! -e "$at/cgroup.controllers" ]; then
            cat "$at/cpuset.cpus" >"$at/$part/cpuset.cpus"
            cat "$at/cpuset.mems" >"$at/$part/cpuset.mems"
        fi
        at=$at/$part
    done
}

cgroup_populated() { grep -qx 'populated 1' "$(cgroup_path "${1:-}")/cgroup.events" 2>/dev/null; }

cgroup_empty() { ! cgroup_populated "${1:-}"; }

# SIGKILLs everything in a group, at once: cgroup_kill [BELOW]
cgroup_kill() {
    local group
    group=$(cgroup_path "${1:-}")
    [ -d "$group" ] || return 0
    echo 0 >"$group/cgroup.freeze"
    echo 1 >"$group/cgroup.kill"
    wait_until 20 cgroup_empty "${1:-}" || die "processes in $group do not end"
}

# Removes the empty groups of a lab or of one machine: cgroup_remove [BELOW]
cgroup_remove() {
    local hierarchy group
    for hierarchy in $(cgroup_hierarchies); do
        group=$hierarchy/muster-lab/$MUSTER_LAB${1:+/$1}
        [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} +
        rmdir "$hierarchy/muster-lab" 2>/dev/null || true # another lab may be running
    done
}
