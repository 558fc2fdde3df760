#!/bin/sh
# Stands for the SSH server that `tools/setup.sh sshd` unpacked beside it: finds its libraries, and, as root on a machine
# without a user `sshd` (a package's installation makes one), shows it one in a mount namespace of its own.
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
for directory in "$here"/../lib/*-linux-gnu*; do
    LD_LIBRARY_PATH=$directory
done
export LD_LIBRARY_PATH
if [ "$(id -u)" != 0 ]; then exec "$here/sshd.unpacked" "$@"; fi
mkdir -p /run/sshd
if getent passwd sshd >/dev/null; then exec "$here/sshd.unpacked" "$@"; fi
{
    cat /etc/passwd
    echo 'sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin'
} >"$here/passwd.$$"
# Renamed into place: other servers have the one before mounted, and must not see it empty.
mv -f -- "$here/passwd.$$" "$here/passwd"
# shellcheck disable=SC2016  # expanded by the inner shell
exec unshare --mount sh -c 'mount --bind "$1/passwd" /etc/passwd && shift && exec "$@"' sh "$here" "$here/sshd.unpacked" "$@"
