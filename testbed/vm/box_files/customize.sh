#!/bin/sh
# Makes a public box of a fresh root directory: `customize.sh ROOT`, as root, while the packages' tools can run in it.
set -eu
root=$1
files=${0%/*}/root

mode_and_copy() { # plain modes, whatever the umask of whoever checked the tree out
    (cd -- "$files" && find . -type f -printf '%P\n') | while IFS= read -r name; do
        mode=644
        case $name in
            usr/local/sbin/*) mode=755 ;;
            etc/sudoers.d/*) mode=440 ;;
        esac
        install -D -m "$mode" -o root -g root -- "$files/$name" "$root/$name"
    done
}

mode_and_copy
chroot "$root" useradd --uid 1000 --user-group --no-create-home --home-dir /home/vagrant --shell /bin/bash vagrant
# No password opens an account here, the key does; `*` rather than `!`, which sshd takes for a locked account.
chroot "$root" usermod --password '*' vagrant
chroot "$root" usermod --password '*' root
cp -r -- "$root/etc/skel/." "$root/home/vagrant/"
chmod 700 "$root/home/vagrant/.ssh"
chmod 600 "$root/home/vagrant/.ssh/authorized_keys"
chown -R 1000:1000 "$root/home/vagrant"
install -d -m 755 -o 1000 -g 1000 "$root/vagrant"

ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-resolved.service \
    systemd-timesyncd.service ssh.service ssh-host-keys.service
# Work that would start by itself in the middle of a measurement.
for timer in apt-daily apt-daily-upgrade man-db fstrim e2scrub_all dpkg-db-backup; do
    ln -sf /dev/null "$root/etc/systemd/system/$timer.timer"
done
ln -sf /dev/null "$root/etc/systemd/system/e2scrub_reap.service"

# Packed again with what was copied above.
chroot "$root" update-initramfs -u -k all
