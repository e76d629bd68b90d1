# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# An emulated machine whose processor has virtualisation: its image, its start and its end.
# Sourced by scripts/lab.
#
# Four serial ports connect it with the host; scripts/lab.d/init describes their use. With QEMU they are
# pipes in a temporary folder, with Bochs TCP connections at 127.0.0.1.

# Options that make the start fast and the kernel quiet.
kernel_options='console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off cryptomgr.notests=1'
kernel_options+=' random.trust_cpu=on nowatchdog'
# Later ones override them: `mitigations=auto` for example.
kernel_options+=" ${KVM_LAB_KERNEL_OPTIONS-}"
# More options of QEMU.
read -ra qemu_options <<<"${KVM_LAB_QEMU_OPTIONS-}"
# Number of processors with AMD-V. More than one slow the machine down.
processors=${KVM_LAB_PROCESSORS:-1}

# The processor of Bochs executes at most this many instructions in a second of the machine's clock.
ips=${KVM_LAB_IPS:-50000000}

# pack VENDOR: makes the initial file system, $work/initrd, from $work/lab, which becomes /lab, and from
# $work/files, which is unpacked at the root later, over /dev for example.
pack() {
    local names
    mkdir -p "$work/lab/modules" "$work/files"
    cp "$(command -v busybox)" "$work/lab/busybox"
    cp "$scripts/lab.d/init" "$work/init"
    chmod +x "$work/init"
    names=$(module_files "$1" "$work/lab/modules")
    [[ -z $driver ]] || names+=" $(driver_module "$work/lab/modules")"
    {
        echo "modules='$(echo "$names" | paste -sd ' ')'"
        cat "$work/settings"
    } >"$work/lab/settings"
    (cd "$work/files" && find . -mindepth 1 | cpio -o -H newc --quiet) >"$work/lab/files.cpio"
    (cd "$work" && find init lab | cpio -o -H newc --quiet) >"$work/initrd"
}

# start_amd: starts QEMU, which emulates AMD-V, or Bochs, which can, too.
start_amd() {
    if [[ -z ${KVM_LAB_BOCHS-} ]]; then start_qemu; else start_bochs; fi
}

# start_intel: starts Bochs, which emulates VT-x.
start_intel() { start_bochs; }

start_qemu() {
    local port fd serial=() irqs=(4 3 5 7)
    for port in 0 1 2 3; do
        mkfifo "$work/com$port.in" "$work/com$port.out"
        serial+=(-chardev "pipe,id=com$port,path=$work/com$port")
        # Each has its own interrupt; QEMU loses some interrupts of shared lines.
        serial+=(-device "isa-serial,chardev=com$port,index=$port,irq=${irqs[port]}")
    done
    # Opening a named pipe for reading and writing does not block. The descriptors of pipes that have to
    # end with QEMU are closed once it has opened them.
    exec {com0_in}<>"$work/com0.in" {com0_out}<>"$work/com0.out" {com1_in}<>"$work/com1.in"
    exec {com3_in}<>"$work/com3.in"
    for port in 1 2 3; do
        exec {fd}<>"$work/com$port.out"
        hold+=("$fd")
    done
    exec {com1_out}<"$work/com1.out" {com2_out}<"$work/com2.out" {com3_out}<"$work/com3.out"
    "$qemu" -accel tcg -cpu EPYC,+svm -smp "$processors" -m "$megabytes" -nodefaults -display none \
        -no-reboot -kernel "$(vmlinuz)" -initrd "$work/initrd" -append "$kernel_options" \
        "${serial[@]}" "${emulator_options[@]}" "${qemu_options[@]}" </dev/null >"$work/emulator" 2>&1 &
    emulator=$!
}

start_bochs() {
    local tries
    make_disc
    for tries in 1 2 3 4 5; do
        ! try_bochs $((20000 + RANDOM % 10000 * 4)) || return 0
        wait "$emulator" || true
    done
    tail -n 20 "$work/emulator" "$work/bochs.log" >&2
    die "Bochs did not start in $tries tries"
}

# The compact disc that Bochs starts from.
make_disc() {
    local disc=$work/disc
    mkdir -p "$disc/isolinux"
    cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$disc/isolinux/"
    cp "$(vmlinuz)" "$disc/kernel"
    # Bochs reads a disc slower than it decompresses.
    gzip -1 <"$work/initrd" >"$disc/initrd"
    printf '%s\n' 'DEFAULT lab' 'PROMPT 0' 'TIMEOUT 0' 'LABEL lab' 'KERNEL /kernel' 'INITRD /initrd' \
        "APPEND $kernel_options" >"$disc/isolinux/isolinux.cfg"
    xorriso -as mkisofs -quiet -o "$work/lab.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
        -no-emul-boot -boot-load-size 4 -boot-info-table "$disc" 2>/dev/null
    rm -rf "$disc"
}

# try_bochs PORT: starts Bochs with its serial ports at this TCP port and the three after it. Fails if one
# of them is in use.
try_bochs() {
    local port com
    # The terminal display without a terminal shows nothing; the others need a window, or open a port to
    # the network.
    cat >"$work/bochsrc" <<END
display_library: term
cpu: model=$bochs_model, count=1, ips=$ips, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=$megabytes, host=$megabytes
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/lab.iso, status=inserted
boot: cdrom
clock: sync=$clock, time0=$(date +%s)
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
mouse: enabled=0
END
    for com in 0 1 2 3; do
        echo "com$((com + 1)): enabled=1, mode=socket-server, dev=127.0.0.1:$(($1 + com))"
    done >>"$work/bochsrc"
    # Debian's Bochs starts in its debugger.
    printf 'c\nq\n' >"$work/bochs.commands"
    TERM=vt100 "${bochs[@]}" -q -f "$work/bochsrc" -rc "$work/bochs.commands" </dev/null >"$work/emulator" 2>&1 &
    emulator=$!
    # It waits for each of them in turn.
    for com in 0 1 2 3; do
        until { exec {port}<>"/dev/tcp/127.0.0.1/$(($1 + com))"; } 2>/dev/null; do
            kill -0 "$emulator" 2>/dev/null || return 1
            sleep 0.02
        done
        printf -v "com${com}_in" %s "$port"
        printf -v "com${com}_out" %s "$port"
    done
}

# Shows the last lines of the machine and the emulator after a failure.
show_last_lines() {
    say "--- the last lines of the machine's console"
    tail -n 20 "$work/console" >&2
    say "--- the last lines of the emulator"
    tail -n 20 "$work/emulator" >&2
}
