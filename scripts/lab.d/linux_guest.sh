# shellcheck shell=bash
# A Linux guest: Debian's kernel and a small initramfs. Sourced by scripts/linux-guest and scripts/lab.

# linux_guest FOLDER: writes the kernel, vmlinuz, and its initramfs.gz.
linux_guest() {
    local folder=$1 tree name kernel=$kernel KVM_LAB_KERNEL=${KVM_LAB_KERNEL-}
    # The debug kernel has no drivers for a guest's devices.
    if [[ $KVM_LAB_KERNEL == debug ]]; then
        KVM_LAB_KERNEL='' kernel=$cache/kernel
    fi
    [[ -d $kernel ]] || fetch_kernel
    mkdir -p "$folder"
    cp "$(vmlinuz)" "$folder/vmlinuz"
    tree=$(mktemp -d "${TMPDIR:-/tmp}/kvm-initramfs.XXXXXX")
    mkdir -p "$tree"/{bin,dev,proc,sys,modules}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    # In the order in which they are to be loaded.
    for name in $(for module in virtio_pci virtio_blk; do needed_modules "$module"; done | awk '!seen[$0]++'); do
        plain_module "$name" >"$tree/modules/$(basename "${name%%.ko*}").ko"
        basename "${name%%.ko*}" >>"$tree/modules/order"
    done
    # Most of a module is debug symbols.
    strip -g "$tree"/modules/*.ko
    cat >"$tree/init" <<'END'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in $(cat /modules/order); do insmod "/modules/$module.ko"; done
for disk in /sys/block/vd*; do
    [ ! -e "$disk/size" ] || echo "disk ${disk##*/}: $(cat "$disk/size") sectors"
done
echo "Linux $(uname -r): a shell on ttyS0; \`poweroff -f\` ends it"
exec setsid sh -c 'exec sh -i </dev/ttyS0 >/dev/ttyS0 2>&1'
END
    chmod +x "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -9) >"$folder/initramfs.gz"
    rm -r "$tree"
}
