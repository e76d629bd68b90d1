# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2154
# Guests of others, from Debian's packages. Sourced by scripts/lab.

# foreign_guests FOLDER: copies Memtest86+, iPXE and Xen there, unmodified. The packages are unpacked, not installed.
# What cannot be fetched is missing, and so are its tests.
foreign_guests() {
    local folder=$1 name package file
    mkdir -p "$folder"
    for name in memtest86+ ipxe xen; do
        [[ ! -d $cache/$name ]] || continue
        package=$name
        [[ $name != xen ]] || package=$(dependency xen-system-amd64 xen-hypervisor-)
        (unpack_package "${package:-xen-hypervisor}" "$cache/$name") || say "the tests with $name are skipped"
    done
    for file in "$cache"/memtest86+/boot/memtest86+x64.bin "$cache"/ipxe/boot/ipxe.lkrn; do
        [[ ! -e $file ]] || cp "$file" "$folder/"
    done
    for file in "$cache"/xen/boot/xen-*-amd64.gz; do
        [[ ! -e $file ]] || cp "$file" "$folder/xen.gz"
    done
}
