#!/usr/bin/env bash
# Sets up what the testbed needs on Debian 12 or Ubuntu 24.04: `tools/setup.sh [STEP...]`, all steps by default.
#
#   packages   distribution packages, through apt-get (root, or sudo without a password)
#   venv       .venv from /usr/bin/python3, which sees the distribution's Python packages (Mininet is one)
#   python     the pinned Python dependencies of requirements.lock
#   engine     the compiled extension, testbed/engine/_engine*.so
#   fuzzer     what only tests need: clang, which builds the fuzzers, and nfdump, a collector of sFlow; where they
#              cannot be installed, those tests are skipped
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
test_packages=(clang libclang-rt-dev nfdump nfdump-sflow)

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
        python) echo "check the network (pip reads the usual PIP_* variables), then ./tb again" ;;
        engine) echo "see the log; \`rm -rf build\` and ./tb starts the build afresh" ;;
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

venv_needed() {
    [[ -x $venv/bin/python && -d $venv/lib/$(python_version)/site-packages/pip ]] && return 1
    return 0
}

do_venv() { "$system_python" -m venv --clear --system-site-packages "$venv"; }

# python ----------------------------------------------------------------------------------------------------

site_packages() { printf '%s/lib/%s/site-packages' "$venv" "$(python_version)"; }

python_key() { printf '%s %s %s\n' "$(python_version)" "$root" "$(sha256sum <"$root/requirements.lock")"; }

python_needed() {
    [[ "$(cat -- "$venv/.tb-python" 2>/dev/null)" != "$(python_key)" ]] || return 1
    return 0
}

do_python() {
    local pip=("$venv/bin/python" -m pip install --disable-pip-version-check --no-deps)
    ! offline || pip+=(--no-index)
    local wheels=$build/wheels ryu
    mkdir -p -- "$wheels"
    ryu=$(grep '^ryu==' "$root/requirements.lock")
    grep -v '^ryu==' "$root/requirements.lock" >"$build/requirements.txt"
    "${pip[@]}" --requirement "$build/requirements.txt"
    # Ryu's last release builds with no newer setuptools than this; its wheel is kept, for a venv made without network.
    echo 'setuptools==67.6.1' >"$build/ryu-build.txt"
    if ! compgen -G "$wheels/ryu-${ryu#ryu==}-*.whl" >/dev/null && ! offline; then
        PIP_CONSTRAINT=$build/ryu-build.txt "$venv/bin/python" -m pip wheel --disable-pip-version-check --no-deps \
            --use-pep517 --wheel-dir "$wheels" "$ryu" || true
    fi
    "${pip[@]}" --find-links "$wheels" --no-index "$ryu" || "${pip[@]}" "$ryu" ||
        echo "Ryu cannot be installed here; the controller runs on os-ken"
    # The packages of this tree are importable in the venv from any directory, without an install.
    printf '%s\n' "$root" >"$(site_packages)/transparent_nic_testbed.pth"
    python_key >"$venv/.tb-python"
}

# engine ----------------------------------------------------------------------------------------------------

engine_key() { # the content of all that the extension is built from
    (
        cd -- "$root"
        python_version
        find CMakeLists.txt pyproject.toml testbed nic_emulator -type f \
            \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name '*.cmake' -o -name CMakeLists.txt \
            -o -name pyproject.toml \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    ) | sha256sum
}

engine_needed() {
    compgen -G "$engine_dir/_engine*.so" >/dev/null || return 0
    [[ "$(cat -- "$build/release/.tb-engine" 2>/dev/null)" != "$(engine_key)" ]] || return 1
    return 0
}

do_engine() {
    local key out=$build/release built
    key=$(engine_key) # before the build: a file changed meanwhile is built by the next tb
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
    # Renamed into place: a process that has the old one mapped keeps it.
    cp -- "$built" "$engine_dir/.${built##*/}.new"
    find "$engine_dir" -maxdepth 1 -name '_engine*.so' ! -name "${built##*/}" -delete
    mv -- "$engine_dir/.${built##*/}.new" "$engine_dir/${built##*/}"
    printf '%s\n' "$key" >"$out/.tb-engine"
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

# -----------------------------------------------------------------------------------------------------------

describe() {
    case $1 in
        packages | fuzzer) printf 'installing %s' "$missing" ;;
        venv) printf 'making .venv from %s' "$system_python" ;;
        python) printf 'installing the Python dependencies%s' "$(! offline || printf ' (no network: TB_OFFLINE=1)')" ;;
        engine) printf 'compiling the engine' ;;
    esac
}

take_lock() { # two set-ups at once: the second waits, then finds nothing to do
    exec 9<"$root"
    flock --nonblock 9 || { say "setup  waiting for another ./tb that is setting up"; flock 9; }
    locked=1
}

main() {
    local step steps=("$@")
    ((${#steps[@]})) || steps=(packages venv python engine fuzzer)
    missing='' locked=0
    for step in "${steps[@]}"; do
        case $step in
            packages | venv | python | engine | fuzzer) ;;
            *) say "error: no set-up step '$step'"; say "remedy: packages venv python engine fuzzer"; exit 2 ;;
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
