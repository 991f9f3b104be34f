# shellcheck shell=bash
# The machines' root file system, made once with mmdebstrap and kept, and the tools of the lab.

# What the machines have beyond a minimal Debian: systemd itself, and a few things for people who look around.
image_packages=systemd,systemd-sysv,dbus,iproute2,iputils-ping,procps,curl,less
# What cannot work in a container, or would wake up by itself in the middle of a test.
image_masked="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
    fstrim.timer systemd-tmpfiles-clean.timer console-getty.service systemd-timesyncd.service proc-sys-fs-binfmt_misc.automount"

# Installs what the lab needs and this computer lacks.
image_tools() {
    local missing=()
    command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
    command -v ip >/dev/null || missing+=(iproute2)
    command -v nsenter >/dev/null || missing+=(util-linux)
    [ -d "$image" ] || command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "needs ${missing[*]}; install them with your package manager"
    say "installing ${missing[*]} with apt-get"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } >&2
}

image_suite() {
    if [ -n "${MUSTER_LAB_SUITE:-}" ]; then
        echo "$MUSTER_LAB_SUITE"
    elif [ -r /etc/os-release ] && grep -qx 'ID=debian' /etc/os-release && grep -q '^VERSION_CODENAME=' /etc/os-release; then
        # The binary is built here: machines of the same release have the C library it was linked with.
        sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
    else
        echo bookworm
    fi
}

# Makes sure that the image is there; its folder is then in $image. The caller holds the lock of all labs.
image_ensure() {
    local suite recipe
    suite=$(image_suite)
    # Another recipe is another image: an old one is never half-updated.
    recipe=$({ declare -f image_build && echo "$image_packages $image_masked"; } | cksum | cut -d' ' -f1)
    image=$MUSTER_LAB_DIR/image-$suite-$recipe
    image_tools
    [ -d "$image" ] && return
    rm -rf "$MUSTER_LAB_DIR"/image-*.new # what a broken build left
    image_build "$suite" "$image.new"
    mv "$image.new" "$image"
}

image_build() {
    local suite=$1 root=$2 unit
    say "building the machines' image (Debian $suite, once, about 20 s and 250 MB) in $MUSTER_LAB_DIR"
    mmdebstrap --variant=minbase --include="$image_packages" \
        --dpkgopt=path-exclude=/usr/share/man/* --dpkgopt=path-exclude=/usr/share/locale/* \
        --dpkgopt=path-exclude=/usr/share/doc/* "$suite" "$root" >&2 ||
        die "mmdebstrap failed; see its words above"
    for unit in $image_masked; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    systemctl --quiet --root="$root" enable systemd-networkd.service
    # A journal on the disk outlives the machine: a killed one can still be asked what happened.
    mkdir -p "$root/var/log/journal"
    # Each machine brings its own.
    rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/machine-id"
}
