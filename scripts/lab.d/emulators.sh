# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# Emulators that are newer than the installed ones, from later releases of Debian. Sourced by scripts/lab.

# The program that emulates AMD-V.
qemu=qemu-system-x86_64

# choose_qemu: with KVM_LAB_QEMU=10 it is QEMU 10, fetched once unless it is the installed one.
choose_qemu() {
    local folder=$cache/qemu-10
    case ${KVM_LAB_QEMU-} in
    '') return ;;
    10) ;;
    *) die "KVM_LAB_QEMU '$KVM_LAB_QEMU': there is KVM_LAB_QEMU=10" ;;
    esac
    (($(qemu_version) != 10)) || return 0
    [[ -d $folder ]] || (unpack_from bookworm-backports "$folder" \
        qemu-system-x86 qemu-system-common qemu-system-data seabios)
    # It finds its data beside itself.
    qemu=$folder/usr/bin/qemu-system-x86_64
    "$qemu" --version >/dev/null || die "QEMU 10 does not start here: rm -r $folder, and leave KVM_LAB_QEMU out"
}

# The program that emulates VT-x, and its processor.
bochs=(bochs-bin)
bochs_model=corei7_haswell_4770

# choose_bochs: with KVM_LAB_BOCHS=3, Bochs 3 emulates AMD-V in place of QEMU. It is fetched once, with its libraries.
choose_bochs() {
    local folder=$cache/bochs-3 libraries apt_command
    [[ $KVM_LAB_BOCHS == 3 ]] || die "KVM_LAB_BOCHS '$KVM_LAB_BOCHS': there is KVM_LAB_BOCHS=3"
    apt_command=(install --yes --download-only --no-install-recommends -o Debug::NoLocking=1)
    [[ -d $folder ]] || (unpack_from trixie "$folder" bochs bochs-term)
    libraries=$folder/usr/lib/x86_64-linux-gnu
    bochs=("$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$folder/usr/bin/bochs-bin")
    bochs_model=ryzen
    export LTDL_LIBRARY_PATH=$libraries/bochs/plugins BXSHARE=$folder/usr/share/bochs
}

# qemu_version: the major version of the emulator.
qemu_version() { "$qemu" --version | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p'; }

# unpack_from SUITE FOLDER PACKAGE...: as unpack_packages, from this suite of Debian's archive, whatever release is
# installed. apt-get checks the signatures; its own lists stay as they are.
unpack_from() {
    local suite=$1 own apt_options keys=/usr/share/keyrings/debian-archive-keyring.gpg
    shift
    need_parts debian-archive-keyring
    mkdir -p "$cache"
    own=$(mktemp -d "$cache/new.XXXXXX")
    mkdir -p "$own/lists/partial" "$own/cache/archives/partial" "$own/state"
    echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main" >"$own/sources.list"
    apt_options=(
        -o Dir::Etc::SourceList="$own/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State="$own/state" -o Dir::State::Lists="$own/lists" -o Dir::Cache="$own/cache" -o Dir::State::status=/dev/null
        -o Acquire::Languages=none -o Acquire::Retries=2
    )
    if ! slowly "fetching the list of Debian's $suite" apt-get update -qq -o APT::Sandbox::User=root \
        -o APT::Update::Error-Mode=any "${apt_options[@]}" >"$own/log" 2>&1; then
        cat "$own/log" >&2
        rm -rf "$own"
        die "http://deb.debian.org/debian $suite cannot be reached, for ${*:2}: try again with a network, or without" \
            "the variable that asks for them"
    fi
    (unpack_packages "$@") || {
        rm -rf "$own"
        exit "${die_status:-1}"
    }
    rm -rf "$own"
}
