# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# The requirements of the lab: emulators, a kernel with KVM, tools. Sourced by scripts/lab.

# Not in target/, so that a `cargo clean` or another work tree does not fetch the kernel again.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kvm-lab
# KVM_LAB_KERNEL=6.12 is another of Debian's kernels for clouds, for its driver: the one of linux-image-6.12-cloud-amd64;
# KVM_LAB_KERNEL=debug is that of debug_kernel.sh.
kernel=$cache/kernel${KVM_LAB_KERNEL:+-$KVM_LAB_KERNEL}

# Installs what a processor of this vendor needs.
prepare_lab() {
    local parts=(cpio busybox-static seabios bochsbios vgabios)
    case $1 in
    amd)
        parts+=(qemu-system-x86)
        [[ -z ${KVM_LAB_BOCHS-} ]] || parts+=(xorriso isolinux syslinux-common)
        ;;
    intel) parts+=(bochs bochs-term xorriso isolinux syslinux-common) ;;
    esac
    need_parts "${parts[@]}"
    if [[ $1 == amd && -n ${KVM_LAB_BOCHS-} ]]; then
        choose_bochs
    elif [[ $1 == amd ]]; then
        choose_qemu
    fi
    if [[ ${KVM_LAB_KERNEL-} == debug ]]; then
        prepare_debug_kernel "$1"
    elif [[ ! -d $kernel ]]; then
        fetch_kernel
    fi
    [[ -z $driver ]] || build_driver
}

# unpack_package PACKAGE FOLDER: fetches a Debian package and unpacks it, without installing it.
unpack_package() { unpack_packages "$2" "$1"; }

# The command of apt-get for downloads, and more options.
apt_command=(download)
apt_options=()

# download FOLDER PACKAGE...: fetches packages; messages of apt-get are in FOLDER/log.
download() {
    cd "$1" || return
    # By default apt-get downloads as another user, who cannot write to this folder.
    mkdir partial
    apt-get "${apt_command[@]}" -qq -o APT::Sandbox::User=root "${apt_options[@]}" -o Dir::Cache::archives="$1" \
        "${@:2}" >>log 2>&1
}

# unpack_packages FOLDER PACKAGE...: the same for several, into one folder. It is created only if it is complete.
unpack_packages() {
    local folder=$1 new file
    shift
    have apt-get && have dpkg-deb || die "the lab needs the Debian package $*:" \
        "on another distribution, unpack it (\`dpkg-deb -x\`) as $folder"
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/new.XXXXXX")
    (slowly "fetching $*" download "$new" "$@") || refuse_packages "$new" "$@"
    for file in "$new"/*.deb; do
        dpkg-deb -x "$file" "$new/all" 2>>"$new/log" || refuse_packages "$new" "$@"
    done
    # Another process may have created it meanwhile.
    mv -T "$new/all" "$folder" 2>/dev/null || [[ -d $folder ]] || die "$folder cannot be made"
    rm -rf "$new"
}

# refuse_packages FOLDER PACKAGE...: ends the script: these could not be fetched into this folder.
refuse_packages() {
    cat "$1/log" >&2
    rm -rf "$1"
    (($# == 2)) || die "the Debian packages ${*:2} could not be fetched"
    die "the Debian package $2 could not be fetched"
}

# dependency PACKAGE PREFIX: the first package with this prefix that PACKAGE depends on; nothing if there is none.
dependency() {
    have apt-cache || return 0
    apt-cache depends "$1" 2>/dev/null | awk -v prefix="$2" '/Depends: / && index($2, prefix) == 1 { print $2; exit }' ||
        true
}

# The kernel that Debian makes for clouds: small, and with KVM for both vendors.
fetch_kernel() {
    local package meta=linux-image-${KVM_LAB_KERNEL:+$KVM_LAB_KERNEL-}cloud-amd64
    package=$(dependency "$meta" linux-image-)
    if [[ -z $package ]] && have apt-get; then
        slowly "refreshing the package lists" apt-get update -qq >/dev/null 2>&1 || true
        package=$(dependency "$meta" linux-image-)
    fi
    [[ -n $package ]] || die "the lab runs Debian's kernel for clouds, which is not to be had here by apt-get:" \
        "get the package that $meta depends on from Debian, and unpack it" \
        "(\`dpkg-deb -x\`) as $kernel"
    unpack_package "$package" "$kernel"
}

# gdb without Python, for tests in the machine; the gdb of this host would need all of Python.
small_gdb() {
    [[ -d $cache/gdb ]] || unpack_package gdb-minimal "$cache/gdb"
    echo "$cache/gdb/usr/bin/gdb"
}

# The kernel's own file, and the folder of its modules.
vmlinuz() { echo "$kernel"/boot/vmlinuz-*; }
modules() { echo "$kernel"/lib/modules/*/kernel; }

# needed_modules MODULE: this kernel module after its dependencies, as paths in the folder of modules.
needed_modules() {
    local file depends module
    file=$(cd "$(modules)" && find . -name "${1//_/-}.ko*" -o -name "${1//-/_}.ko*")
    # A missing module is built into this kernel.
    [[ -n $file ]] || return 0
    depends=$(plain_module "$file" | tr '\0' '\n' | sed -n 's/^depends=//p')
    for module in ${depends//,/ }; do
        needed_modules "$module"
    done
    echo "$file"
}

# plain_module FILE: prints a kernel module, uncompressed.
plain_module() {
    local file
    file=$(modules)/$1
    case $file in
    *.xz) xz -dc "$file" ;;
    *.zst) zstd -dc "$file" ;;
    *) cat "$file" ;;
    esac
}

# module_files VENDOR FOLDER: puts the modules KVM needs into a folder, and prints their names in the
# order in which they are to be loaded.
module_files() {
    local file name
    for file in $(needed_modules "kvm-$1" | awk '!seen[$0]++'); do
        name=$(basename "${file%%.ko*}")
        if [[ ! -e $kernel-modules/$name.ko ]]; then
            mkdir -p "$kernel-modules"
            plain_module "$file" >"$kernel-modules/$name.$$"
            # Most of the file is debug symbols.
            strip -g "$kernel-modules/$name.$$"
            mv "$kernel-modules/$name.$$" "$kernel-modules/$name.ko"
        fi
        cp "$kernel-modules/$name.ko" "$2"
        echo "$name"
    done
}
