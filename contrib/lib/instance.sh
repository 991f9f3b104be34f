# shellcheck shell=bash
# A whole lab: up, down, status.

instance_exists() { [ -e "$lab_dir/image" ]; }

instance_expect() { instance_exists || die "there is no lab named \"$MUSTER_LAB\"; \"contrib/lab up\" makes one"; }

instance_up() {
    local count=$1 bare=$2 i began=$SECONDS owner=
    if [ -n "${MUSTER_LAB_OWNER:-}" ]; then
        owner=$(process_mark "$MUSTER_LAB_OWNER") || die "there is no process $MUSTER_LAB_OWNER, which MUSTER_LAB_OWNER names"
    fi
    locked image_ensure
    locked instance_reap
    instance_clean
    mkdir -p "$lab_dir"
    [ -z "$owner" ] || echo "$owner" >"$lab_dir/owner"
    payload_make "$count" "$bare"
    network_up "$count"
    for ((i = 1; i <= count; i++)); do
        machine_prepare "$i"
        [ "$bare" = yes ] || payload_configure "$i" "$count"
    done
    echo "$image" >"$lab_dir/image"
    say "booting $count machine(s) in lab \"$MUSTER_LAB\""
    for i in $(machine_numbers); do
        machine_start "$i"
    done
    for i in $(machine_numbers); do
        instance_await "$i"
    done
    [ "$bare" = yes ] || instance_await_store
    local lab=contrib/lab
    [ "$MUSTER_LAB" = lab ] || lab="MUSTER_LAB=$MUSTER_LAB $lab"
    say "up after $((SECONDS - began)) s; \"$lab shell 1\" gets in, \"$lab down\" ends it"
}

# Waits for the end of a machine's boot and says how it went.
instance_await() {
    local i=$1 state
    wait_until 120 machine_booted "$i" ||
        { instance_explain "$i"; die "m$i has not finished booting after 120 s (it says: $(machine_state "$i"))"; }
    state=$(machine_state "$i")
    say "m$i  $(machine_address "$i")  $state"
    if [ "$state" = degraded ]; then
        (machine_shell "$i" systemctl list-units --failed --plain --no-legend --no-pager) >&2
    fi
}

# What a machine that does not get ready is doing, for whoever must find out why.
instance_explain() {
    { (machine_shell "$1" systemctl list-jobs --no-pager) && (machine_shell "$1" journalctl -b -p warning -n 30 --no-pager); } >&2 || true
}

instance_await_store() {
    wait_until 60 instance_store_answers || { instance_explain 1; die "the store does not answer after 60 s"; }
}

instance_store_answers() { (machine_shell 1 muster status) >/dev/null 2>&1; }

instance_down() {
    instance_clean
    say "lab \"$MUSTER_LAB\" is gone; the image stays in $MUSTER_LAB_DIR"
}

# Removes what there is of this lab, running or broken.
instance_clean() {
    cgroup_kill
    cgroup_remove
    network_down
    # Mounts are in the supervisors' namespaces, which ended with them: nothing is mounted below.
    rm -rf "$lab_dir"
}

# Removes labs whose owner has gone without a word, such as a test that was killed.
instance_reap() {
    local owner name pid mark
    for owner in "$MUSTER_LAB_DIR"/labs/*/owner; do
        # It may be about to be written, or to go with its lab.
        mark=$(cat "$owner" 2>/dev/null) || continue
        [ -n "$mark" ] || continue
        pid=${mark% *}
        [ "$(process_mark "$pid")" != "$mark" ] || continue
        name=$(basename "$(dirname "$owner")")
        say "removing lab \"$name\": its owner, process $pid, is gone"
        MUSTER_LAB=$name "$here/lab" down
    done
}

instance_status() {
    local i state boot
    instance_expect
    printf '%-8s %-12s %-6s %-10s %s\n' MACHINE ADDRESS LINK STATE BOOT
    for i in $(machine_numbers); do
        state=$(machine_state "$i")
        boot=-
        case $state in
            off | paused | booting) ;;
            *) boot=$(machine_shell "$i" cat /proc/sys/kernel/random/boot_id) ;;
        esac
        printf '%-8s %-12s %-6s %-10s %s\n' "m$i" "$(machine_address "$i")" \
            "$(network_is_cut "$i" && echo cut || echo up)" "$state" "$boot"
    done
}
