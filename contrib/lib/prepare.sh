# shellcheck shell=bash
# What contrib/demo needs before it boots machines: the binary and the machines' image, made side by side.

# Process groups that are at work; whoever ends early ends them: prepare_end
preparing=()

# Starts a command in a process group of its own, with its words in a file: prepare_start FILE COMMAND...
# Its process id is then in $started.
prepare_start() {
    local log=$1
    shift
    set -m
    "$@" </dev/null >"$log" 2>&1 &
    started=$!
    set +m
    preparing+=("$started")
}

prepare_end() {
    local group
    for group in "${preparing[@]}"; do
        kill -TERM -- "-$group" 2>/dev/null || true
        wait "$group" 2>/dev/null || true
    done
    preparing=()
}

# Gives up with the last words of what failed: prepare_failed WHAT FILE
prepare_failed() {
    prepare_end
    printf '\n%s failed; its last words:\n' "$1" >&2
    tr '\r' '\n' <"$2" | grep -vE '^ *Building \[' | tail -n 40 >&2
    exit 1
}

# Builds the binary (only with "yes") and the image: prepare YES-OR-NO
prepare() {
    local build='' image='' end_of_build=-
    if [ "$1" = yes ]; then
        prepare_tools
        say "Building Muster and the machines' image, side by side"
        # Its progress is read from its words, which are not on a terminal.
        prepare_start "$work/build.log" env CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=120 \
            cargo build --profile demo --locked --bin muster
        build=$started
    else
        say "Building the machines' image"
    fi
    prepare_start "$work/image.log" contrib/lab image
    image=$started
    local said=-100
    while [ -n "$build$image" ]; do
        if [ -n "$build" ] && ! kill -0 "$build" 2>/dev/null; then
            wait "$build" || prepare_failed "the build" "$work/build.log"
            build='' end_of_build="done after $SECONDS s"
        fi
        if [ -n "$image" ] && ! kill -0 "$image" 2>/dev/null; then
            wait "$image" || prepare_failed "building the image" "$work/image.log"
            image=''
        fi
        # On a terminal one line that changes; elsewhere a line now and then.
        if [ -t 1 ]; then
            printf '\r\e[K%s' "$(prepare_progress)"
        elif [ $((SECONDS - said)) -ge 15 ] || [ -z "$build$image" ]; then
            prepare_progress
            said=$SECONDS
        fi
        [ -z "$build$image" ] || sleep 0.5
    done
    [ ! -t 1 ] || echo
    preparing=()
}

# One line on how far both are. Reads what "prepare" knows.
prepare_progress() {
    local words="  $SECONDS s"
    if [ -n "$build" ]; then
        words+="  binary: $(prepare_crates)"
    elif [ "$end_of_build" != - ]; then
        words+="  binary: $end_of_build"
    fi
    if [ -n "$image" ]; then
        words+="  image: $(prepare_step)"
    else
        words+="  image: done"
    fi
    printf '%s\n' "$words"
}

# How many crates are built of how many, or what cargo does before it knows.
prepare_crates() {
    local last
    last=$(tr '\r' '\n' <"$work/build.log" | grep -oE '[0-9]+/[0-9]+: ' | tail -n 1) || true
    if [ -n "$last" ]; then
        echo "${last%: } crates"
    else
        echo "fetching crates"
    fi
}

# The last thing that the image's making said, short.
prepare_step() {
    local last
    last=$(tr '\r' '\n' <"$work/image.log" | grep -E '^(lab|I): ' | tail -n 1) || true
    last=${last#*: }
    echo "${last:-waiting}" | cut -c 1-50
}

# The Rust toolchain is there, a linker may not be.
prepare_tools() {
    export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || { echo "demo: there is no cargo; install Rust, see https://rustup.rs" >&2; exit 1; }
    if ! command -v cc >/dev/null; then
        say "Installing a linker with apt-get"
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends gcc libc6-dev
    fi
}
