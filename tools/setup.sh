#!/usr/bin/env bash
# Sets up what the testbed needs on Debian 12 or Ubuntu 24.04: `tools/setup.sh [STEP...]`; the first four by default.
#
#   packages   distribution packages, through apt-get (root, or sudo without a password)
#   venv       .venv from /usr/bin/python3, which sees the distribution's Python packages (Mininet is one)
#   python     the pinned Python dependencies of requirements.lock; from build/wheels alone if that is complete
#   engine     the compiled extension, testbed/engine/_engine*.so, and beside it what it was built from and for: one
#              that came from another machine is used where it fits
#   lint       what `./tb lint` runs: requirements-lint.lock
#   fuzzer     what only tests need: clang for fuzzers, nfdump to read sFlow, rsync, an SSH client; where they
#              cannot be installed, most of those tests are skipped
#   sshd       an SSH server for tests, unpacked to build/openssh unless the machine has one; nothing is installed
#   wheels     build/wheels: all of requirements.lock, for a machine that cannot reach the Python index
#   box        what builds a box (`tb vm box`)
#   machine    what runs it without Vagrant (`tb vm up --qemu`)
#   vagrant    what the tests with virtual machines need besides (`tb test --vm`): Vagrant and libvirt
#
# A step that finds nothing to do says nothing and costs milliseconds. Logs: build/setup-STEP.log.
# TB_OFFLINE=1 forbids the network; TB_PACKAGES=skip trusts the machine to have the packages (another distribution).
# Exit code 3 when a step fails. Everything is printed on stderr: stdout belongs to the verb that follows.
set -euo pipefail

here=$(readlink -f -- "${BASH_SOURCE[0]}")
root=${here%/tools/*}
system_python=/usr/bin/python3
venv=$root/.venv
build=$root/build
engine_dir=$root/testbed/engine

# What compiles the extension and holds the venv; without these nothing works.
base_packages=(g++ cmake ninja-build libdeflate-dev python3-venv python3-dev)
# What a fabric on real frames needs; without these the `twin` engine still works.
fabric_packages=(mininet python3-setuptools openvswitch-switch iproute2 iputils-ping ethtool tcpdump tshark procps kmod)
# What only tests need.
test_packages=(clang libclang-rt-dev nfdump nfdump-sflow rsync openssh-client)
# What makes a disk image of Debian 12, and what runs it.
box_packages=(mmdebstrap debian-archive-keyring qemu-utils grub-pc-bin fdisk e2fsprogs)
machine_packages=(qemu-system-x86 qemu-utils openssh-client)
# Vagrant, and a libvirt that tests start in namespaces of their own.
vagrant_packages=(vagrant vagrant-libvirt libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients nftables
    iptables dnsmasq-base tini slirp4netns rsync)

say() { printf '%s\n' "$*" >&2; }

fail() { # fail STEP PROBLEM REMEDY; shows the end of `log`, where one is set
    say "error: set-up step '$1' failed: $2"
    if [[ -s ${log:-} ]]; then
        tail -n 15 -- "$log" | sed 's/^/    | /' >&2
        say "log: $log"
    fi
    say "remedy: $3"
    exit 3
}

offline() { [[ ${TB_OFFLINE:-0} == 1 ]]; }

may_be_root() { [[ $EUID -eq 0 ]] || sudo -n true 2>/dev/null; }

as_root() { # as_root NAME=VALUE... COMMAND...
    if [[ $EUID -eq 0 ]]; then env "$@"; else sudo -n env "$@"; fi
}

remedy_for() {
    case $1 in
        packages | fuzzer) echo "see the log; often \`apt-get update\` and \`apt-get -f install\` as root, then ./tb again" ;;
        venv) echo "remove .venv and run ./tb again; python3-venv must be installed" ;;
        python | lint) echo "check the network (pip reads the usual PIP_* variables), then ./tb again" ;;
        engine) echo "see the log; \`rm -rf build\` and ./tb starts the build afresh" ;;
        wheels) echo "check the network (pip reads the usual PIP_* variables), then again" ;;
        box | machine | vagrant) echo "see the log; often \`apt-get update\` and \`apt-get -f install\` as root, then again" ;;
        sshd) echo "see the log; \`apt-get update\` as root, or install openssh-server yourself, then again" ;;
    esac
}

run_step() { # run_step STEP WHAT FUNCTION
    local began=$EPOCHREALTIME
    local log=$build/setup-$1.log
    if ! mkdir -p -- "$build" 2>/dev/null || ! : 2>/dev/null >"$log"; then
        local unwritable=$log
        log=''
        fail "$1" "$2: cannot write to $unwritable" "run ./tb as the owner of $root, or with sudo"
    fi
    printf 'setup  %-9s %s ... ' "$1" "$2" >&2
    # In a subshell of its own, so that errexit holds in it; without the lock, so that no daemon keeps it.
    set +e
    (
        set -e
        "$3"
    ) >"$log" 2>&1 9<&-
    local code=$?
    set -e
    if ((code != 0)); then
        say "failed"
        fail "$1" "$2" "$(remedy_for "$1")"
    fi
    printf '%s s\n' "$(seconds_since "$began")" >&2
    if [[ ${SUDO_UID:-0} != 0 && $EUID -eq 0 ]]; then give_back; fi
}

seconds_since() {
    local now=${EPOCHREALTIME/[.,]/} then=${1/[.,]/}
    local tenths=$(((now - then) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

give_back() { # under sudo, what set-up made belongs to the one who called sudo
    local owner
    owner=$(stat -c %u -- "$root")
    [[ $owner == "$SUDO_UID" ]] || return 0
    chown -Rh -- "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$build" "$venv" "$engine_dir" 2>/dev/null || true
}

# packages --------------------------------------------------------------------------------------------------

missing_of() { # prints those of the named packages that are not installed
    local installed
    installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
    local package
    for package in "$@"; do
        [[ $installed == *" installed:$package "* ]] || printf '%s ' "$package"
    done
}

packages_needed() {
    [[ ${TB_PACKAGES:-} != skip ]] || return 1
    if ! command -v dpkg-query >/dev/null; then
        fail packages "this is neither Debian nor Ubuntu: there is no dpkg" \
            "install by hand: ${base_packages[*]} ${fabric_packages[*]}; then TB_PACKAGES=skip ./tb"
    fi
    missing=$(missing_of "${base_packages[@]}" "${fabric_packages[@]}")
    missing=${missing% }
    [[ -n $missing ]] || return 1
    if ! offline && may_be_root; then return 0; fi
    local why="installing needs root" remedy="sudo apt-get install $missing"
    if offline; then
        why="installing needs the network, which TB_OFFLINE=1 forbids" remedy="run ./tb once without TB_OFFLINE"
    fi
    if [[ -z $(missing_of "${base_packages[@]}") ]]; then
        say "setup  packages  not installed: $missing; $why; without them only the twin engine is sure to run"
        return 1
    fi
    fail packages "not installed: $missing; $why" "$remedy"
}

do_packages() {
    local proxies=() name
    for name in http_proxy https_proxy no_proxy; do
        [[ -z ${!name:-} ]] || proxies+=("$name=${!name}")
    done
    local apt=(as_root "${proxies[@]}" DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -y
        -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
    "${apt[@]}" update
    # tshark asks whether ordinary users may capture: no.
    echo 'wireshark-common wireshark-common/install-setuid boolean false' | as_root debconf-set-selections
    # shellcheck disable=SC2086  # a list of words
    "${apt[@]}" install --no-install-recommends $missing
}

# venv ------------------------------------------------------------------------------------------------------

python_version() { # python3.11, from the name of the file behind /usr/bin/python3: starts no process
    local file
    file=$(readlink -f -- "$system_python")
    printf '%s' "${file##*/}"
}

venv_needed() { [[ ! -x $venv/bin/python || ! -d $(site_packages)/pip ]]; }

do_venv() { "$system_python" -m venv --clear --system-site-packages "$venv"; }

# python ----------------------------------------------------------------------------------------------------

site_packages() { printf '%s/lib/%s/site-packages' "$venv" "$(python_version)"; }

python_key() { printf '%s %s %s\n' "$(python_version)" "$root" "$(sha256sum <"$root/requirements.lock")"; }

python_needed() { [[ "$(cat -- "$venv/.tb-python" 2>/dev/null)" != "$(python_key)" ]]; }

do_python() {
    local pip=("$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --no-compile)
    ! offline || pip+=(--no-index)
    mkdir -p -- "$wheels"
    if wheels_complete && "${pip[@]}" --no-index --find-links "$wheels" --requirement "$root/requirements.lock"; then
        echo "installed from $wheels"
    else
        local ryu
        ryu=$(grep '^ryu==' "$root/requirements.lock")
        grep -v '^ryu==' "$root/requirements.lock" >"$build/requirements.txt"
        "${pip[@]}" --requirement "$build/requirements.txt"
        offline || ryu_wheel "$wheels" || true
        "${pip[@]}" --find-links "$wheels" --no-index "$ryu" || "${pip[@]}" "$ryu" ||
            echo "Ryu cannot be installed here; the controller runs on os-ken"
    fi
    # On all cores, which pip does not, and without what a run never imports; some sources are for other Pythons.
    "$venv/bin/python" -m compileall -q -j 0 -x '/(tests|scapy|hypothesis|pip|lexers)/' "$(site_packages)" || true
    # The packages of this tree are importable in the venv from any directory, without an install.
    printf '%s\n' "$root" >"$(site_packages)/transparent_nic_testbed.pth"
    python_key >"$venv/.tb-python"
}

# lint ------------------------------------------------------------------------------------------------------

lint_key() { printf '%s %s\n' "$(python_version)" "$(sha256sum <"$root/requirements-lint.lock")"; }

lint_needed() { [[ "$(cat -- "$venv/.tb-lint" 2>/dev/null)" != "$(lint_key)" ]]; }

do_lint() {
    local pip=("$venv/bin/python" -m pip install --disable-pip-version-check --no-deps)
    ! offline || pip+=(--no-index)
    "${pip[@]}" --requirement "$root/requirements-lint.lock"
    lint_key >"$venv/.tb-lint"
}

# wheels ----------------------------------------------------------------------------------------------------

wheels=$build/wheels

ryu_wheel() { # ryu_wheel DIRECTORY: puts Ryu's wheel there, unless it is there
    local ryu
    ryu=$(grep '^ryu==' "$root/requirements.lock")
    ! compgen -G "$1/ryu-${ryu#ryu==}-*.whl" >/dev/null || return 0
    # Ryu's last release builds with no newer setuptools than this; its wheel is kept, for a venv made without network.
    echo 'setuptools==67.6.1' >"$build/ryu-build.txt"
    PIP_CONSTRAINT=$build/ryu-build.txt "$venv/bin/python" -m pip wheel --disable-pip-version-check --no-deps \
        --use-pep517 --wheel-dir "$1" "$ryu"
}

wheels_key() { printf '%s %s %s\n' "$(python_version)" "$HOSTTYPE" "$(sha256sum <"$root/requirements.lock")"; }

wheels_complete() { [[ "$(cat -- "$wheels/complete" 2>/dev/null)" == "$(wheels_key)" ]]; }

wheels_needed() { ! wheels_complete; }

do_wheels() { # made aside and renamed, so that nothing old stays in it
    if offline; then
        echo "collecting wheels needs the network, which TB_OFFLINE=1 forbids"
        return 1
    fi
    local new=$wheels.new
    rm -rf -- "$new"
    mkdir -p -- "$wheels" "$new"
    cp -- "$wheels"/ryu-*.whl "$new" 2>/dev/null || true
    ryu_wheel "$new"
    grep -v '^ryu==' "$root/requirements.lock" >"$build/requirements.txt"
    "$venv/bin/python" -m pip wheel --disable-pip-version-check --no-deps --find-links "$wheels" --wheel-dir "$new" \
        --requirement "$build/requirements.txt"
    wheels_key >"$new/complete"
    rm -rf -- "$wheels"
    mv -- "$new" "$wheels"
}

# engine ----------------------------------------------------------------------------------------------------

sources_hash() { # the content of all that the extension is built from
    (
        cd -- "$root"
        find CMakeLists.txt pyproject.toml testbed nic_emulator -type f \
            \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name '*.cmake' -o -name CMakeLists.txt \
            -o -name pyproject.toml \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    ) | sha256sum
}

machine_name() { # what a compiled extension depends on: the Python, the distribution's libraries, the processor
    local ID='' VERSION_ID=''
    # shellcheck source=/dev/null
    [[ ! -r /etc/os-release ]] || . /etc/os-release
    printf '%s %s %s %s' "$(python_version)" "${ID:-unknown}" "${VERSION_ID:-rolling}" "$HOSTTYPE"
}

engine_key() { # engine_key SOURCES EXTENSION: what is in the file EXTENSION.key
    printf 'sources %s\nextension %s\nfor %s\n' "${1%% *}" "$(sha256sum <"$2" | cut -d' ' -f1)" "$(machine_name)"
}

engine_needed() { # the extensions of other machines may lie beside this one's
    local built sources=''
    for built in "$engine_dir"/_engine*.so; do
        [[ -f $built.key ]] || continue
        [[ "$(<"$built.key")" == *"for $(machine_name)" ]] || continue
        [[ -n $sources ]] || sources=$(sources_hash)
        [[ "$(<"$built.key")" != "$(engine_key "$sources" "$built")" ]] || return 1
    done
    return 0
}

do_engine() {
    local sources out=$build/release built name
    sources=$(sources_hash) # before the build: a file changed meanwhile is built by the next tb
    # CMake refuses a build directory that was made for another path.
    if [[ -f $out/CMakeCache.txt ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$out/CMakeCache.txt"; then
        rm -rf -- "$out"
    fi
    cmake -S "$root" -B "$out" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
        -DPython_EXECUTABLE="$venv/bin/python"
    cmake --build "$out"
    built=$(find "$out" -name '_engine*.so' -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d' ' -f2-)
    [[ -n $built ]] || { echo "the build left no _engine*.so in $out"; return 1; }
    "$venv/bin/python" -c 'import importlib.util as u, sys
spec = u.spec_from_file_location("_engine", sys.argv[1])
spec.loader.exec_module(u.module_from_spec(spec))' "$built" # a shared object links with symbols missing
    # Renamed into place: a process that has the old one mapped keeps it. The key comes last.
    name=${built##*/}
    cp -- "$built" "$engine_dir/.$name.new"
    rm -f -- "$engine_dir/$name.key"
    mv -- "$engine_dir/.$name.new" "$engine_dir/$name"
    engine_key "$sources" "$engine_dir/$name" >"$engine_dir/$name.key"
}

# fuzzer ----------------------------------------------------------------------------------------------------

fuzzer_needed() {
    [[ ${TB_PACKAGES:-} != skip ]] && command -v dpkg-query >/dev/null || return 1
    missing=$(missing_of "${test_packages[@]}")
    missing=${missing% }
    [[ -n $missing ]] || return 1
    if offline || ! may_be_root; then
        say "setup  fuzzer    not installed, and installing needs root and the network: $missing"
        return 1
    fi
}

do_fuzzer() { do_packages; }

# sshd ------------------------------------------------------------------------------------------------------

openssh=$build/openssh

sshd_needed() {
    [[ ! -x /usr/sbin/sshd && ! -x $openssh/usr/sbin/sshd ]] || return 1
    [[ ${TB_PACKAGES:-} != skip ]] && command -v dpkg-deb >/dev/null || return 1
    if offline; then
        say "setup  sshd      no SSH server is installed, and TB_OFFLINE=1 forbids the network"
        return 1
    fi
}

do_sshd() { # the package is unpacked, not installed: installing it would start a server on this machine
    local new=$openssh.new package
    rm -rf -- "$new"
    mkdir -p -- "$new/packages"
    (
        cd -- "$new/packages"
        apt-get -o APT::Sandbox::User=root download openssh-server libwrap0 || {
            may_be_root
            as_root apt-get update
            apt-get -o APT::Sandbox::User=root download openssh-server libwrap0
        }
    )
    for package in "$new"/packages/*.deb; do dpkg-deb -x "$package" "$new"; done
    rm -rf -- "$new/packages"
    mv -- "$new/usr/sbin/sshd" "$new/usr/sbin/sshd.unpacked"
    cp -- "$root/tools/unpacked_sshd.sh" "$new/usr/sbin/sshd"
    # It says its version only when all its libraries are found.
    "$new/usr/sbin/sshd" '-?' >"$new/usage" 2>&1 || true
    grep -F OpenSSH "$new/usage" || { cat -- "$new/usage"; return 1; }
    rm -rf -- "$openssh"
    mv -- "$new" "$openssh"
}

# box, machine, vagrant -------------------------------------------------------------------------------------

required_packages() { # required_packages STEP PACKAGE...: sets `missing`; exits where they cannot be installed
    local step=$1
    shift
    [[ ${TB_PACKAGES:-} != skip ]] || return 1
    command -v dpkg-query >/dev/null ||
        fail "$step" "this is neither Debian nor Ubuntu: there is no dpkg" "install by hand: $*; then TB_PACKAGES=skip ./tb"
    missing=$(missing_of "$@")
    missing=${missing% }
    [[ -n $missing ]] || return 1
    ! offline || fail "$step" "not installed: $missing; TB_OFFLINE=1 forbids the network" "run it without TB_OFFLINE"
    may_be_root || fail "$step" "not installed: $missing; installing needs root" "sudo apt-get install $missing"
}

box_needed() { required_packages box "${box_packages[@]}"; }

do_box() { do_packages; }

machine_needed() { required_packages machine "${machine_packages[@]}"; }

do_machine() { do_packages; }

vagrant_needed() {
    local packages=("${vagrant_packages[@]}")
    # HashiCorp's Vagrant has the same package name and plug-ins of its own: Debian's do not fit it.
    if command -v vagrant >/dev/null && [[ "$(dpkg-query -W -f '${Version}' vagrant 2>/dev/null)" != *dfsg* ]]; then
        packages=("${packages[@]:2}")
    fi
    required_packages vagrant "${packages[@]}"
}

do_vagrant() { do_packages; }

# -----------------------------------------------------------------------------------------------------------

describe() {
    case $1 in
        packages | fuzzer | box | machine | vagrant) printf 'installing %s' "$missing" ;;
        venv) printf 'making .venv from %s' "$system_python" ;;
        lint) printf 'installing what ./tb lint runs' ;;
        python) printf 'installing the Python dependencies%s' "$(! offline || printf ' (no network: TB_OFFLINE=1)')" ;;
        engine) printf 'compiling the engine' ;;
        wheels) printf 'collecting the Python dependencies in build/wheels' ;;
        sshd) printf 'unpacking an SSH server for tests to build/openssh' ;;
    esac
}

take_lock() { # two set-ups at once: the second waits, then finds nothing to do
    exec 9<"$root"
    flock --nonblock 9 || { say "setup  waiting for another ./tb that is setting up"; flock 9; }
    locked=1
}

main() {
    local step steps=("$@")
    ((${#steps[@]})) || steps=(packages venv python engine)
    missing='' locked=0
    for step in "${steps[@]}"; do
        case $step in
            packages | venv | python | engine | lint | fuzzer | sshd | wheels | box | machine | vagrant) ;;
            *)
                say "error: no set-up step '$step'"
                say "remedy: packages venv python engine lint fuzzer sshd wheels box machine vagrant"
                exit 2
                ;;
        esac
        "${step}_needed" || continue
        if ((!locked)); then
            take_lock
            "${step}_needed" || continue
        fi
        run_step "$step" "$(describe "$step")" "do_$step"
    done
}

main "$@"
