#!/bin/sh
# Makes the disk, the kernel and the initial RAM disk of a Debian machine for the tests in virtual machines, unless this recipe has
# made them before. Prints the folder. As root: image.sh trixie|bookworm
set -eu

suite=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/teredo-test
folder=$cache/machine-$suite-$(sha256sum "$0" | cut -c1-12)
if [ -e "$folder/disk.raw" ]; then
	echo "$folder"
	exit
fi

echo "making a Debian machine ($suite), one to four minutes" >&2
mkdir -p "$cache"
work=$(mktemp -d "$cache/.making.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The guest agent is how a test runs commands. Nothing but the kernel prints to the serial line. A boot in software emulation is slow,
# so the initial RAM disk has only what finds the disk, and units that no test needs are masked: timers, which a jump of the clock would
# start, and mounts. The .updated files say that nothing is left to do after the installation.
if ! mmdebstrap --variant=minbase --mode=root \
	--include=systemd-sysv,systemd-resolved,dbus,udev,kmod,linux-image-amd64,initramfs-tools,zstd,qemu-guest-agent \
	--include=iproute2,iputils-ping,nftables,procps,curl,iperf3,ca-certificates,network-manager,ethtool \
	--aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--customize-hook='printf "virtio_blk\nvirtio_pci\next4\n" >>"$1/etc/initramfs-tools/modules"' \
	--customize-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/machine"; chroot "$1" update-initramfs -u' \
	--customize-hook='chroot "$1" systemctl mask serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer \
		dpkg-db-backup.timer systemd-tmpfiles-clean.timer dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
		modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service' \
	--customize-hook='chroot "$1" systemctl disable NetworkManager.service systemd-networkd.service' \
	--customize-hook='printf "debian\n" >"$1/etc/hostname"; printf "127.0.0.1 localhost debian\n" >"$1/etc/hosts"; : >"$1/etc/machine-id"' \
	--customize-hook='ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"' \
	--customize-hook='touch "$1/etc/.updated" "$1/var/.updated"' \
	"$suite" "$work/root" >"$work/log" 2>&1; then
	tail -n 20 "$work/log" >&2
	exit 1
fi
mv "$work"/root/boot/vmlinuz-* "$work/kernel"
mv "$work"/root/boot/initrd.img-* "$work/initrd"
truncate -s 3G "$work/disk.raw"
mke2fs -q -t ext4 -d "$work/root" "$work/disk.raw"
rm -rf "$work/root"
mkdir -p "$folder"
mv "$work/kernel" "$work/initrd" "$folder"
mv "$work/disk.raw" "$folder" # last: it says that all is there
echo "$folder"
