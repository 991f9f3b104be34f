# shellcheck shell=bash
# What is laid over the image in every machine of a lab: Muster as its packages would install it.

# Files that all machines share, as a read-only layer: payload_make COUNT BARE
payload_make() {
    local count=$1 bare=$2 payload=$lab_dir/payload i
    mkdir -p "$payload/etc"
    {
        echo "127.0.0.1 localhost"
        for ((i = 1; i <= count; i++)); do
            echo "$(machine_address "$i") m$i"
        done
    } >"$payload/etc/hosts"
    if [ "$bare" = no ]; then
        payload_muster "$payload"
    fi
}

# The program for the machines: what MUSTER_BIN names, else the newest that was built for the demo or for release.
payload_binary() {
    local binary=${MUSTER_BIN:-} profile
    if [ -z "$binary" ]; then
        for profile in demo release; do
            if [ "$checkout/target/$profile/muster" -nt "${binary:-/nowhere}" ]; then
                binary=$checkout/target/$profile/muster
            fi
        done
    fi
    [ -n "$binary" ] || die "there is no target/demo/muster or target/release/muster; build one with \"cargo build --profile demo\", or name one in MUSTER_BIN"
    [ -x "$binary" ] || die "$binary is no program"
    echo "$binary"
}

payload_muster() {
    local payload=$1 binary
    binary=$(payload_binary) || exit 1
    # A copy: a later build must not change the program under running machines.
    install -D -m 0755 "$binary" "$payload/usr/bin/muster"
    install -D -m 0644 -t "$payload/usr/lib/systemd/system" "$checkout"/units/*.service
    install -D -m 0644 "$checkout/units/sysusers.d/muster.conf" "$payload/usr/lib/sysusers.d/muster.conf"
    install -D -m 0644 "$checkout/units/tmpfiles.d/muster.conf" "$payload/usr/lib/tmpfiles.d/muster.conf"
    systemctl --quiet --root="$payload" enable muster-store.service muster-agent.service muster-rebootd.service
}

# One machine's /etc/muster/muster.toml: payload_configure I COUNT
payload_configure() {
    local i=$1 count=$2 address cluster='' endpoints='' other
    address=$(machine_address "$i")
    for ((other = 1; other <= count; other++)); do
        cluster+="${cluster:+,}m$other=http://$(machine_address "$other"):2380"
    done
    # The machine's own node first: the others are asked when it does not answer.
    for other in "$i" $(seq "$count" | grep -vx "$i"); do
        endpoints+="${endpoints:+, }\"http://$(machine_address "$other"):2379\""
    done
    mkdir -p "$(machine_dir "$i")/upper/etc/muster"
    cat >"$(machine_dir "$i")/upper/etc/muster/muster.toml" <<TEXT
[store]
name = "m$i"
data_dir = "/var/lib/muster/store"
listen_client_urls = ["http://$address:2379", "http://127.0.0.1:2379"]
advertise_client_urls = ["http://$address:2379"]
listen_peer_urls = ["http://$address:2380"]
initial_advertise_peer_urls = ["http://$address:2380"]
initial_cluster = "$cluster"
initial_cluster_state = "new"
initial_cluster_token = "muster-lab"

[client]
endpoints = [$endpoints]
TEXT
}
