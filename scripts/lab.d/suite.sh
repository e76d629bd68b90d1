# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# The end-to-end tests in the emulated machine. Sourced by scripts/lab.

# Number of bytes that tests/guests/serial-million sends there.
flood=102400
# Programs of the tests that busybox lacks, or has with fewer options.
suite_tools=(bash chroot setsid socat minicom)

# carry_program PROGRAM NAME: copies a program of this host to /tools/bin, with its libraries.
carry_program() {
    local library
    mkdir -p "$work/files/tools/bin"
    cp "$1" "$work/files/tools/bin/$2"
    # Lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, and one with the loader.
    for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
        cp -L --parents "$library" "$work/files"
    done
}

# build_suite: builds the test program. Prints its path.
build_suite() {
    local program
    program=$(cd "$root" &&
        slowly "building the tests" \
            cargo test --quiet --release --test e2e --no-run --message-format json-render-diagnostics |
        sed -n 's/.*"name":"e2e".*"executable":"\([^"]*\)".*/\1/p') || die "the tests were not built"
    [[ -x $program ]] || die "cargo named no test program that it has built"
    echo "$program"
}

# suite [FILTER...]: runs the end-to-end tests in one machine; `status` is theirs.
suite() {
    local tool gdb version=''
    [[ $cpu != amd ]] || version=$(qemu_version)
    mkdir -p "$work/lab" "$work/files/guests" "$work/files/sources" "$work/files/etc"
    strip -o "$work/lab/kvm" "$kvm"
    strip -o "$work/files/e2e" "$tests"
    cp "$root"/target/guests/{*.{elf,bzImage,img,bin,sym,o,tar},instructions-on-linux} "$work/files/guests/"
    # In Bochs, a boot loader that polls the keyboard never gives the processor up, and others take too long.
    if [[ $cpu == amd ]]; then
        if "$root/scripts/grub-images"; then
            cp -r "$root/target/guests/grub" "$work/files/guests/"
        else
            say "the tests with GRUB are skipped"
        fi
        # The tests on this host find them, too.
        foreign_guests "$root/target/guests/foreign"
        cp -r "$root/target/guests/foreign" "$work/files/guests/"
    fi
    [[ $cpu != amd ]] || linux_guest "$work/files/guests/linux"
    for tool in /usr/share/{seabios/{,vga}bios*.bin,bochs/BIOS-bochs-*,vgabios/vgabios.bin}; do
        [[ ! -e $tool ]] || cp --parents "$tool" "$work/files"
    done
    # An exit takes ten times as long there.
    rm "$work/files/guests/serial-million.elf"
    COUNT=$flood "$root/tests/guests/build" "$work/flood" >/dev/null
    cp "$work/flood/serial-million.elf" "$work/files/guests/"
    cp -r "$root"/{esempi-io,docs,target-examples,tests,config.ini} "$root"/*.md "$work/files/sources/"
    echo 'root:x:0:0:root:/:/bin/sh' >"$work/files/etc/passwd"
    for tool in "${suite_tools[@]}"; do
        ! have "$tool" || carry_program "$(command -v "$tool")" "$tool"
    done
    # Of the programs with this name, only this one supports unix sockets.
    ! have nc.openbsd || carry_program "$(command -v nc.openbsd)" nc
    if gdb=$(small_gdb); then carry_program "$gdb" gdb; fi
    [[ ! -d /lib/terminfo ]] || cp --parents /lib/terminfo/x/xterm* "$work/files"
    cat >"$work/lab/command" <<END
rm /lab/bin/nc /lab/bin/setsid
export PATH=/tools/bin:/lab/bin HOME=/tmp KVM_LANE=$cpu KVM_LANE_QEMU=$version ${driver:+KVM_TEST_DEVICE=$yakvm} ${all:+KVM_LANE_ALL=1} ${KVM_LANE_PART:+KVM_LANE_PART=$KVM_LANE_PART} KVM_FLOOD=$flood KVM_BIN=/lab/kvm KVM_GUESTS=/guests KVM_SOURCES=/sources
cd /tmp
# Not with exec: this shell leads the session, and the first terminal that a session leader opens becomes
# its controlling terminal, whose end would kill it.
/e2e $(quoted "$@")
exit \$?
END
    machine "$cpu"
}
