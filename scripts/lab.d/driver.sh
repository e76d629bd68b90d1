# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# The driver of driver/ in the emulated machine: its module, and gdb in the machine's kernel. Sourced by scripts/lab.

# The only driver so far.
yakvm=/dev/yakvm

# kernel_release: the release of the lab's kernel.
kernel_release() { basename "$kernel"/lib/modules/*; }

# Builds the driver's module for the lab's kernel: target/driver/yakvm.ko.
build_driver() {
    local release headers
    release=$(kernel_release)
    # A kernel that was built here has them.
    headers=$kernel/lib/modules/$release/build
    if [[ ! -d $headers ]]; then
        headers=$release
        [[ -e /usr/src/linux-headers-$release || -e /lib/modules/$release/build ]] || need_headers "$release"
    fi
    slowly "building the driver" "$root/driver/build" "$headers" >/dev/null || die "the driver was not built"
}

# need_headers RELEASE: installs the headers of this kernel.
need_headers() {
    have apt-get || die "the driver needs the headers of Linux $1: install linux-headers-$1 from Debian"
    apt_install "linux-headers-$1"
}

# driver_module FOLDER: puts the driver's module into a folder, and prints its name.
driver_module() {
    # Most of the file is debug symbols.
    strip -g -o "$1/yakvm.ko" "$root/target/driver/yakvm.ko"
    echo yakvm
}

# debug_driver: a shell in the machine, whose kernel gdb can stop in the driver.
debug_driver() {
    need_parts gdb
    gdb_port=
    # While gdb has stopped the machine, it sends nothing.
    silence_timeout=$time_limit
    emulator_options+=(-gdb "tcp:127.0.0.1:$1")
    debugs_driver=$1
    run_shell
}

# driver_sections WORD...: the machine has loaded the driver, with its sections at these addresses (NAME ADDRESS ...).
# Writes the commands of gdb.
driver_sections() {
    local script=$root/target/driver/yakvm.gdb text='' others=()
    while (($# > 1)); do
        if [[ $1 == .text ]]; then text=$2; else others+=(-s "$1" "$2"); fi
        shift 2
    done
    cat >"$script" <<END
set confirm off
set pagination off
set architecture i386:x86-64
set substitute-path $root/target/driver $root/driver
target remote 127.0.0.1:$debugs_driver
add-symbol-file $root/target/driver/yakvm.ko $text ${others[*]}
break vcpu_run
END
    say "the driver is loaded; in another terminal: gdb -x $script"
    say "it stops in vcpu_run; here, \`kvm --device $yakvm hello-serial.elf\` gets there"
}
