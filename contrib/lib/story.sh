# shellcheck shell=bash
# The steps of contrib/demo: each shows the real output of a command and checks what it tells.

checks=0

# Colours are for people.
bold='' red='' green='' plain=''
[ ! -t 1 ] || { bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; }

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

on() { contrib/lab shell "$@"; }

# Runs a command on the first machine where it succeeds.
on_any() {
    local machine
    for machine in 1 2 3; do
        on "$machine" "$@" 2>/dev/null && return
    done
    return 1
}

# Runs a command on a machine and shows it with its output: show M COMMAND...
show() {
    local machine=$1
    shift
    printf '\nm%s# %s\n' "$machine" "$*"
    on "$machine" "$@"
}

# Runs a command of the lab on this computer and shows it: lab COMMAND...
lab() {
    printf '\n# contrib/lab %s\n' "$*"
    contrib/lab "$@"
}

# Ends the demo unless a command succeeds: check WHAT COMMAND...
check() {
    local what=$1
    shift
    "$@" || { printf '  %s✗ not true: %s%s\n' "$red" "$what" "$plain"; exit 1; }
    checks=$((checks + 1))
    printf '  %s✓%s %s\n' "$green" "$plain" "$what"
}

# Waits for a command to succeed: eventually SECONDS COMMAND...
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }

every_machine() {
    local machine
    for machine in 1 2 3; do
        "$@" "$machine" || return 1
    done
}

is_active() { on "$2" systemctl is-active --quiet "$1" 2>/dev/null; }

# The number of active units on a machine whose names match: active_count PATTERN M
active_count() { on "$2" systemctl list-units --plain --no-legend --state=active "$1" | wc -l; }

# The units that Muster runs on a machine, with their main processes.
# shellcheck disable=SC2016 # the shell on the machine expands it
main_processes() { on "$1" sh -c 'for unit in $(systemctl list-units --plain --no-legend --state=active "web@*" "roam@*" "beater*" | cut -d" " -f1); do
    echo "$unit $(systemctl show -P MainPID "$unit")"; done'; }

all_main_processes() { every_machine main_processes; }

boot_id() { on "$1" cat /proc/sys/kernel/random/boot_id 2>/dev/null; }

leader() { on "$1" muster status 2>/dev/null | awk '$3 == "leader" { print $1 }'; }

# The store's index on every node is the same and not empty.
indexes_agree() {
    local indexes
    indexes=$(on 1 muster status 2>/dev/null | awk '$4 == "healthy" { print $5 }')
    [ "$(wc -w <<<"$indexes")" = 3 ] && [ "$(sort -u <<<"$indexes" | wc -l)" = 1 ]
}

# Puts a unit file into /root/units of machine 2: unit_file NAME, its text from standard input
unit_file() { on 2 sh -c "mkdir -p /root/units && cat >/root/units/$1"; }

# ---- a writer that never rests

endpoints=http://10.77.0.11:2379,http://10.77.0.12:2379,http://10.77.0.13:2379

# Writes one key after the other, from this computer, and notes each acknowledged one and when that was.
writer_begin() {
    rm -f "$work/acknowledged"
    (
        # It ends with the demo, however that ends.
        for ((n = 1; ; n++)); do
            kill -0 $$ 2>/dev/null || exit
            contrib/lab exec "$MUSTER_BIN" --endpoints "$endpoints" kv set "/demo/$1/$n" "$n" >/dev/null 2>&1 || continue
            echo "$n $(milliseconds)" >>"$work/acknowledged"
        done
    ) &
    writer=$!
}

writer_end() {
    [ -n "${writer:-}" ] || return 0
    kill "$writer" 2>/dev/null || true
    wait "$writer" 2>/dev/null || true
    writer=
}

longest_gap() { awk 'NR > 1 && $2 - last > gap { gap = $2 - last } { last = $2 } END { print gap + 0 }' "$work/acknowledged"; }

# Every acknowledged write of a run is in the store: nothing_lost RUN
nothing_lost() {
    on 1 muster kv ls "/demo/$1" | sed 's,.*/,,' | sort >"$work/stored"
    cut -d' ' -f1 "$work/acknowledged" | sort >"$work/wanted"
    [ -s "$work/wanted" ] && [ -z "$(comm -23 "$work/wanted" "$work/stored")" ]
}

# ---- the story

same_leader() {
    local machine first
    first=$(leader 1)
    [ -n "$first" ] || return 1
    for machine in 2 3; do
        [ "$(leader "$machine")" = "$first" ] || return 1
    done
}

one_cluster() {
    say "a. Three machines, one cluster."
    check "each machine names the same leader" eventually 20 same_leader
    check "all three nodes have the same index" eventually 20 indexes_agree
    show 1 muster status
}

one_unit_each() {
    say "b. Units find their places: three of a template that tolerates no other of its kind on its machine, and three that go anywhere."
    unit_file web@.service <<'TEXT'
[Unit]
Description=Web server %i

[Service]
ExecStart=/bin/sleep infinity

[X-Fleet]
Conflicts=web@*.service
TEXT
    unit_file roam@.service <<'TEXT'
[Unit]
Description=Worker %i

[Service]
ExecStart=/bin/sleep infinity
TEXT
    show 2 muster unit submit /root/units/web@.service /root/units/roam@.service
    show 2 muster unit start web@1.service web@2.service web@3.service
    show 2 muster unit start roam@1.service roam@2.service roam@3.service
    show 2 muster unit ls
    check "systemd of each machine runs one web@" every_machine has_one 'web@*'
    check "systemd of each machine runs one roam@" every_machine has_one 'roam@*'
}

has_one() { [ "$(active_count "$1" "$2")" = 1 ]; }

lose_a_machine() {
    say "c. Machine 3 loses its power, while a writer keeps writing."
    web_of_3=$(on 3 systemctl list-units --plain --no-legend 'web@*' | cut -d' ' -f1)
    roam_of_3=$(on 3 systemctl list-units --plain --no-legend 'roam@*' | cut -d' ' -f1)
    kept=$(main_processes 1; main_processes 2)
    local began
    writer_begin loss
    eventually 10 test -s "$work/acknowledged"
    began=$(milliseconds)
    lab kill 3
    # Presence lasts 10 s; two more to decide and to start.
    check "$roam_of_3 runs elsewhere within 12 s" eventually 13 runs_on_1_or_2 "$roam_of_3"
    local took=$(($(milliseconds) - began))
    check "that was after $took ms" test "$took" -le 12000
    writer_end
    show 1 muster unit ls
    check "$web_of_3 waits, and the reason is said" cannot_be_placed "$web_of_3"
    echo "  the longest gap between two successful writes: $(longest_gap) ms, in $(wc -l <"$work/acknowledged") writes"
    check "no acknowledged write is lost" nothing_lost loss
}

runs_on_1_or_2() { is_active "$1" 1 || is_active "$1" 2; }

cannot_be_placed() { on 1 muster unit ls | grep "^$1 " | grep -q conflicts; }

the_machine_returns() {
    say "d. Machine 3 comes back."
    lab start 3
    check "its store has caught up: the same index on all three" eventually 60 indexes_agree
    check "$web_of_3 runs again" eventually 30 is_active "$web_of_3" 3
    show 3 muster unit ls
    check "nothing that ran meanwhile was stopped" still_there "$kept"
}

# Each unit of a list still has the same main process: still_there LIST
still_there() {
    local missing
    missing=$(comm -23 <(sort <<<"$1") <(all_main_processes | sort))
    [ -z "$missing" ]
}

reboot_in_turn() {
    say "e. All three ask for a reboot at once; the lock lets one go at a time."
    local before=() machine
    for machine in 1 2 3; do
        before[machine]=$(boot_id "$machine")
    done
    writer_begin reboots
    for machine in 1 2 3; do
        show "$machine" muster reboot request
    done
    echo
    watch_reboots
    writer_end
    check "never two machines were away, and never did two hold the lock" true
    check "all three are in a new boot" all_rebooted
    show 1 muster reboot status
    check "the lock is free" lock_is_free
    echo "  the longest gap between two successful writes: $(longest_gap) ms, in $(wc -l <"$work/acknowledged") writes"
    check "no acknowledged write is lost" nothing_lost reboots
}

# Watches until all have rebooted and the lock is free, and tells who holds it and how far that machine is.
watch_reboots() {
    local end=$((SECONDS + 180)) away machine held line last=
    until all_rebooted && lock_is_free; do
        [ "$SECONDS" -lt "$end" ] || { contrib/lab status; check "the reboots end within 180 s" false; }
        away=()
        for machine in 1 2 3; do
            [ -n "$(boot_id "$machine")" ] || away+=("m$machine")
        done
        [ ${#away[@]} -le 1 ] || check "never two machines are away (now: ${away[*]})" false
        mapfile -t held < <(holders)
        [ ${#held[@]} -le 1 ] || check "never two hold the lock (now: ${held[*]})" false
        [ ${#held[@]} = 1 ] || continue
        line="${held[0]%%/*} holds the lock: ${held[0]#* }"
        [ "$line" = "$last" ] || echo "  $line"
        last=$line
    done
}

# Each machine that holds the lock, with its phase.
holders() { on_any muster reboot status | awk '$2 == "held" { print $1, $3 }'; }

# Each machine has another boot id than in the caller's "before".
all_rebooted() {
    local machine now
    for machine in 1 2 3; do
        now=$(boot_id "$machine")
        [ -n "$now" ] && [ "$now" != "${before[machine]}" ] || return 1
    done
}

lock_is_free() { on_any muster reboot status | grep -q '^Available: 1'; }

a_heartbeat_stops() {
    say "f. A service hangs: systemd still calls it active, but it stops beating."
    unit_file beater.service <<'TEXT'
[Unit]
Description=A service that beats for itself

[Service]
ExecStart=/bin/sh -c 'while :; do muster heartbeat beat beater --ttl 5s && touch /run/beaten; sleep 1; done'
TEXT
    show 2 muster unit start /root/units/beater.service
    local home watcher beaten lost took
    for home in 1 2 3; do
        is_active beater.service "$home" && break
    done
    watcher=$((home % 3 + 1))
    on "$watcher" systemd-run --quiet --unit=watcher muster heartbeat watch \
        --exec "echo \"\$MUSTER_HEARTBEAT_NAME: \$MUSTER_HEARTBEAT_EVENT\" >>/root/events" beater
    check "it beats" eventually 10 heartbeat_is_alive "$watcher"
    show "$watcher" muster heartbeat ls
    # Right after a beat, so that none is on its way.
    beaten=$(changed_at "$home" /run/beaten)
    eventually 10 has_changed "$home" /run/beaten "$beaten"
    show "$home" systemctl kill --signal=STOP beater.service
    check "the hook on machine $watcher tells that it is lost" eventually 10 hook_said "$watcher" lost
    beaten=$(changed_at "$home" /run/beaten) lost=$(changed_at "$watcher" /root/events)
    took=$((lost - beaten))
    # The file is touched a moment after the beat has arrived.
    check "that was $took ms after the last beat" test "$took" -ge 4900 -a "$took" -le 6000
    check "systemd still calls it active" is_active beater.service "$home"
    show "$home" systemctl kill --signal=CONT beater.service
    check "awake again, it is back" eventually 10 hook_said "$watcher" back
    show "$watcher" cat /root/events
    show "$watcher" muster heartbeat ls
}

# When a file was written, in milliseconds: changed_at M FILE
changed_at() { on "$1" stat -c %.3Y "$2" | tr -d .; }

has_changed() { [ "$(changed_at "$1" "$2")" != "$3" ]; }

heartbeat_is_alive() { on "$1" muster heartbeat ls | grep -q '^beater.*alive'; }

hook_said() { on "$1" grep -qs "beater: $2" /root/events; }

the_store_is_away() {
    say "g. Every node of the store is stopped for 20 s, twice as long as a machine that is gone would be waited for. Units are systemd's: they go on."
    local before machine
    before=$(all_main_processes)
    for machine in 1 2 3; do
        show "$machine" systemctl stop muster-store.service
    done
    sleep 20
    show 1 systemctl list-units --all --plain --no-legend muster-store.service 'web@*' 'roam@*' 'beater*'
    check "every unit runs with the same main process, without a store" still_there "$before"
    for machine in 1 2 3; do
        on "$machine" systemctl start --no-block muster-store.service
    done
    check "the store serves again" eventually 60 indexes_agree
    # As long as a machine that did not come back would be given: nobody may be declared dead by mistake.
    check "every machine is registered again" eventually 30 three_machines
    show 1 muster status
    check "every unit has kept its main process" still_there "$before"
}

three_machines() { [ "$(on 1 muster machine ls | grep -cE '^[0-9a-f]{8} +m[123] ')" = 3 ]; }
