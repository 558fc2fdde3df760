#!/usr/bin/env bash
# Makes this virtual machine ready for `tb run`: `bash tools/provision.sh`, as a user who may use sudo, or as root.
# Vagrant runs it, and so does `tb vm up --qemu`. What it installs is what `./tb` installs anywhere: tools/setup.sh.
# Ends with a check of itself; exit code 3 when something does not work, with the reason. The second time it only checks.
set -euo pipefail
exec 2>&1

here=$(readlink -f -- "${BASH_SOURCE[0]}")
root=${here%/tools/*}
began=$SECONDS

say() { printf 'provision  %s\n' "$*"; }

fail() {
    say "error: $1"
    exit 3
}

as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi; }

load_datapath() { # the kernel's Open vSwitch, now and at every boot; some kernels for clouds lack it
    local list=/etc/modules-load.d/transparent-nic-testbed.conf
    if ! as_root modprobe openvswitch 2>/dev/null; then
        say "kernel $(uname -r) has no module openvswitch: switches use the datapath in user space"
        return
    fi
    [[ -e $list ]] || echo openvswitch | as_root tee "$list" >/dev/null
}

link_tb() {
    [[ "$(readlink -- /usr/local/bin/tb || true)" == "$root/tb" ]] || as_root ln -sfn -- "$root/tb" /usr/local/bin/tb
}

check_itself() { # shows the output of a check only when it fails
    local what=$1 log
    shift
    log=$(mktemp)
    if ! (cd / && "$@") >"$log" 2>&1; then
        tail -n 40 -- "$log" | sed 's/^/    | /'
        rm -f -- "$log"
        fail "$what"
    fi
    rm -f -- "$log"
}

"$root/tools/setup.sh" packages venv python engine
load_datapath
link_tb
check_itself "the Wireshark dissector cannot be installed" tb capture --install-dissector
check_itself "\`tb check\` finds that this machine is not ready" tb check
results=$(mktemp -d)
trap 'rm -rf -- "$results"' EXIT
check_itself "a small run fails" tb run quickstart --engine twin --out "$results" --set topology=single_switch \
    --set nics=transparent --set scenarios=idle --set sizes=4KiB --set records=100
say "ready after $((SECONDS - began)) s: tb run"
