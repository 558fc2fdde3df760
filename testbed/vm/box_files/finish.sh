#!/bin/sh
# Removes from a root directory what differs between two builds or belongs to one machine: `finish.sh ROOT`; as root,
# with SOURCE_DATE_EPOCH set. Nothing runs in it any more.
set -eu
root=$1
cd -- "$root"
rm -rf -- tmp var/tmp run var/log/journal
mkdir -m 1777 tmp var/tmp
mkdir -m 755 run
rm -f -- etc/ssh/ssh_host_* etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- \
    var/lib/systemd/random-seed var/lib/systemd/credential.secret var/cache/ldconfig/aux-cache \
    var/lib/dpkg/*-old var/cache/debconf/*-old var/cache/apt/*.bin etc/.pwd.lock var/lib/dpkg/lock* \
    var/lib/dpkg/triggers/Lock etc/.updated var/.updated etc/.resolv.conf.systemd-resolved.bak
find var/log -type f -delete
find var/cache/apt/archives var/lib/apt/lists -type f -delete
: >etc/machine-id # made at the first boot
ln -sf /etc/machine-id var/lib/dbus/machine-id
# The day of a password that nobody has.
sed -i "s/^\([^:]*:[^:]*\):[^:]*:/\1:$((SOURCE_DATE_EPOCH / 86400)):/" etc/shadow
# Files of packages may be newer than the date of the build; those made here always are.
find . -xdev -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" -- {} +
