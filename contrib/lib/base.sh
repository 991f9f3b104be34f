# shellcheck shell=bash
# Names, places and words that all parts of the lab share.

MUSTER_LAB=${MUSTER_LAB:-lab}
MUSTER_LAB_DIR=$(realpath -m "${MUSTER_LAB_DIR:-/var/lib/muster-lab}")

# Everything of this lab that lies on the disk.
lab_dir=$MUSTER_LAB_DIR/labs/$MUSTER_LAB
# The first three numbers of the machines' addresses; each lab has a network namespace, so all use the same.
subnet=10.77.0

say() { printf 'lab: %s\n' "$*" >&2; }

die() {
    printf 'lab: %s\n' "$*" >&2
    exit 1
}

wrong() {
    printf 'lab: %s\n' "$*" >&2
    exit 64
}

# Runs a function while no other lab's locked function runs: it may build the image or remove a lab.
locked() {
    mkdir -p "$MUSTER_LAB_DIR"
    exec 8>"$MUSTER_LAB_DIR/lock"
    flock 8
    "$@"
    exec 8>&-
}

# Waits until a command succeeds: wait_until SECONDS COMMAND...
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# A process id with its start time, which tells it from a later process of the same id.
process_mark() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The command's name may hold spaces and brackets: count the fields after the last bracket.
    # shellcheck disable=SC2086
    set -- "$1" ${stat##*) }
    printf '%s %s\n' "$1" "${21}"
}

machine_dir() { printf '%s/m%s' "$lab_dir" "$1"; }

machine_address() { printf '%s.%s' "$subnet" "$(($1 + 10))"; }

# The numbers of all machines of this lab.
machine_numbers() {
    local dir
    for dir in "$lab_dir"/m[0-9]*; do
        [ -d "$dir" ] && printf '%s\n' "${dir##*/m}"
    done | sort -n
}
