# shellcheck shell=bash
# Shared by the scripts: finding the repository, preparing the machine, building.
# All messages go to standard error; standard output has only the result of a script.

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")

say() { echo "$*" >&2; }

# die MESSAGE...: prints the message and ends the script, with the exit status $die_status (1 unless set).
die() {
    say "$*"
    exit "${die_status:-1}"
}

have() { command -v "$1" >/dev/null 2>&1; }

# slowly MESSAGE COMMAND...: runs the command, and prints MESSAGE if it still runs after a second.
slowly() {
    local message=$1 timer status=0
    shift
    # A sleep that outlives the timer must not keep a pipe open whose reader waits for its end.
    (sleep 1 >/dev/null 2>&1 && say "$message") >/dev/null &
    timer=$!
    "$@" || status=$?
    { kill "$timer" && wait "$timer"; } 2>/dev/null || true
    return "$status"
}

# has_part PART: true if this part of the build tools is installed.
has_part() {
    case $1 in
    binutils) have ld && have objdump ;;
    libc.a) have gcc && [[ $(gcc -print-file-name=libc.a) == /* ]] ;;
    # The rest is only for scripts/lab, under the names of Debian's packages.
    qemu-system-x86) have qemu-system-x86_64 ;;
    bochs) have bochs-bin ;;
    bochs-term) compgen -G '/usr/lib/*/bochs/plugins/libbx_term_gui.so' >/dev/null ;;
    bochsbios) [[ -e /usr/share/bochs/BIOS-bochs-latest ]] ;;
    debian-archive-keyring) [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] ;;
    seabios) [[ -e /usr/share/seabios/bios.bin ]] ;;
    vgabios) [[ -e /usr/share/vgabios/vgabios.bin ]] ;;
    # For the debug kernel.
    libelf-dev) [[ -e /usr/include/libelf.h ]] ;;
    # For scripts/grub-images.
    grub-pc-bin) [[ -e /usr/lib/grub/i386-pc/boot.img ]] ;;
    grub-common) have grub-mkimage && have grub-mkrescue ;;
    mtools) have mformat ;;
    isolinux) [[ -e /usr/lib/ISOLINUX/isolinux.bin ]] ;;
    syslinux-common) [[ -e /usr/lib/syslinux/modules/bios/ldlinux.c32 ]] ;;
    # It must run without libraries.
    busybox-static) have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1 ;;
    *) have "$1" ;;
    esac
}

# package MANAGER PART: the name of the package that brings PART.
package() {
    case $1/$2 in
    apt-get/libc.a) echo libc6-dev ;;
    dnf/libc.a) echo glibc-static ;;
    zypper/libc.a) echo glibc-devel-static ;;
    pacman/libc.a) echo glibc ;;
    dnf/g++ | zypper/g++) echo gcc-c++ ;;
    pacman/g++) echo gcc ;;
    # The clients of the console's tests.
    apt-get/nc) echo netcat-openbsd ;;
    dnf/nc | zypper/nc) echo netcat ;;
    pacman/nc) echo openbsd-netcat ;;
    *) echo "$2" ;;
    esac
}

# need_parts PART...: installs missing parts with apt-get; without it prints what to install, and ends.
need_parts() {
    local part manager missing=() packages=()
    for part; do
        has_part "$part" || missing+=("$part")
    done
    ((${#missing[@]})) || return 0
    for manager in apt-get dnf zypper pacman none; do
        have "$manager" && break
    done
    for part in "${missing[@]}"; do
        packages+=("$(package "$manager" "$part")")
    done
    case $manager in
    apt-get) apt_install "${packages[@]}" ;;
    dnf | zypper) die "please install what is missing, then start this again: sudo $manager install ${packages[*]}" ;;
    pacman) die "please install what is missing, then start this again: sudo pacman -S ${packages[*]}" ;;
    none) die "please install what is missing, then start this again: ${missing[*]}" \
        "(libc.a is the C library for static linking)" ;;
    esac
}

# apt_install PACKAGE...: the output of apt-get is shown only if it fails.
apt_install() {
    local as_root=() output
    if ((EUID != 0)); then
        have sudo || die "please install what is missing, as root, then start this again: apt-get install $*"
        as_root=(sudo)
    fi
    say "installing $* with apt-get"
    output=$(mktemp)
    # Old package lists may suffice, so the update may fail.
    "${as_root[@]}" apt-get update -qq </dev/null >"$output" 2>&1 || true
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$@" \
        </dev/null >>"$output" 2>&1; then
        cat "$output" >&2
        rm -f "$output"
        die "apt-get could not install $*"
    fi
    rm -f "$output"
}

# Ends the script unless there is a cargo that can build kvm. Never fetches one.
need_cargo() {
    local needed found
    # rustup puts cargo here, and on the PATH only of shells started later.
    have cargo || PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
    have cargo || die "cargo, which builds kvm, is missing: get Rust from https://rustup.rs, then start this again"
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    found=$(cd "$root" && cargo --version) ||
        die "cargo does not start; with rustup, \`rustup default stable\` gives it a toolchain"
    found=$(cut -d' ' -f2 <<<"$found")
    [[ $(printf '%s\n' "$needed" "$found" | sort -V | head -n 1) == "$needed" ]] ||
        die "kvm needs Rust $needed or later and this is Rust $found:" \
            "\`rustup update stable\`, or get Rust from https://rustup.rs"
}

# prepare [PART...]: installs what building kvm and its guests needs, and these parts.
prepare() {
    [[ $(uname -s -m) == "Linux x86_64" ]] || die "kvm runs on Linux on x86-64; this is $(uname -s -m)"
    need_parts gcc binutils libc.a "$@"
    need_cargo
}

# Builds kvm in release mode. Prints the path of the program. On a terminal cargo shows its progress; elsewhere a
# slow build is announced.
build_kvm() {
    local program build=(slowly "building kvm; the first time takes a minute or two" cargo build --quiet)
    [[ ! -t 2 ]] || build=(cargo build)
    # From the root, because cargo looks for .cargo/config.toml where it is started.
    program=$(cd "$root" &&
        "${build[@]}" --release --bin kvm --message-format json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p') || die "kvm was not built"
    [[ -x $program ]] || die "cargo named no program that it has built"
    echo "$program"
}

# Builds the example guests, in target/guests.
build_guests() {
    slowly "building the example guests" "$root/target-examples/build" >/dev/null
}

# failed_tests: the names of the tests that failed, from the list with which a test program ends its output, on
# standard input. A line of its progress may be torn by what else is written.
failed_tests() {
    awk '/^failures:$/ { listed = 1; delete names; count = 0; next }
        listed && /^    [^ ]/ { sub(/^    /, ""); sub(/ +$/, ""); names[++count] = $0; next }
        /^test result: / { for (i = 1; i <= count; i++) print names[i]; listed = 0; count = 0 }'
}
