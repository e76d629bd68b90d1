# shellcheck shell=bash
# How a bare-metal guest is built. The build scripts of target-examples/, esempi-io/ and
# benches/guests/ source this file and then call `guest` or `rust_guest` once per guest.
#
# What the flags are for:
#   -mgeneral-regs-only   floating point and SSE are slow on hosts without VT-x or AMD-V, so most
#                         guests do without; `vector_guest` builds those that use them
#   -mno-red-zone         an interrupt handler would overwrite the 128 bytes below RSP
#   separate-code         code, constants and data in segments of their own, none of them both
#                         writable and executable, so that a strict loader takes the guest
#   frame-pointer, sibling-calls   every caller is there for a debugger to list
#   file-prefix-map       no path of the building machine ends up in the file: the same sources
#                         and the same compiler give the same bytes anywhere

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lib=target-examples/lib

compile_flags=(
    -std=gnu11 -O2 -g -Wall -Wextra -m64 -march=x86-64 -mno-red-zone
    -ffreestanding -fno-stack-protector -fcf-protection=none
    -fno-omit-frame-pointer -fno-optimize-sibling-calls
    -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns
    -gno-record-gcc-switches "-ffile-prefix-map=$root=." "-I$lib"
)
registers=(-mgeneral-regs-only)
link_flags=(
    -nostdlib -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,separate-code
    -Wl,-z,max-page-size=4096 -Wl,-z,norelro -Wl,--gc-sections
)
fixed_address=(-fno-pic -no-pie -static)

# Stops, naming the package, if a tool is missing.
need_tools() {
    local tool
    for tool in gcc ld objcopy objdump; do
        command -v "$tool" >/dev/null && continue
        echo "building guests needs $tool: install gcc and binutils" \
            "(Debian, Ubuntu: apt install gcc binutils; Fedora: dnf install gcc binutils)" >&2
        exit 1
    done
}

# Prints what decides which bytes come out.
tool_versions() {
    gcc --version | head -n 1
    ld --version | head -n 1
}

# start_build OUTDIR: every guest that follows is written to OUTDIR, as NAME.elf.
start_build() {
    need_tools
    mkdir -p "$1"
    outdir=$(cd "$1" && pwd)
    cd "$root" || exit 1
    # Two builds at the same time would disturb each other: the second one waits, and finds everything built.
    exec {build_lock}>"$outdir/.lock"
    flock "$build_lock"
}

# up_to_date ELF SOURCE...: true if ELF is newer than all it is made from.
up_to_date() {
    local elf=$1 input
    shift
    [[ -e $elf ]] || return 1
    for input in "$@" "$lib"/* "${BASH_SOURCE[-1]}"; do
        [[ $input -nt $elf ]] && return 1
    done
    return 0
}

# Fails if the ELF holds an instruction that needs the x87, MMX, SSE or AVX registers.
general_registers_only() {
    local found
    found=$(objdump -d --no-show-raw-insn "$1" | grep -m 3 -E '%([xyz]?mm[0-9]|st\b)') || return 0
    echo "$1 uses floating point or SSE registers; if that is meant, build it as a vector_guest:" >&2
    echo "$found" >&2
    return 1
}

# make_elf NAME SCRIPT INPUT-OR-FLAG...: compiles, links, checks, and only then puts NAME.elf in
# place. Objects are named after their sources, because the linker notes their names.
make_elf() {
    local name=$1 script=$2 elf=$outdir/$1.elf argument object objects=()
    local scripted=() flags=()
    shift 2
    [[ $script ]] && scripted=(-T "$lib/$script")
    rm -rf "$elf.parts"
    mkdir "$elf.parts"
    for argument; do
        case $argument in
        *.[cS])
            object=$elf.parts/$(basename "$argument").o
            gcc "${compile_flags[@]}" "${registers[@]}" "${flags[@]}" -c "$argument" -o "$object" || not_built "$name"
            objects+=("$object")
            ;;
        *.o | *.rlib) objects+=("$argument") ;;
        *) flags+=("$argument") ;;
        esac
    done
    gcc "${flags[@]}" "${link_flags[@]}" "${scripted[@]}" "${objects[@]}" -o "$elf.new" &&
        { [[ ${#registers[@]} == 0 ]] || general_registers_only "$elf.new"; } || not_built "$name"
    mv "$elf.new" "$elf"
    rm -r "$elf.parts"
    echo "built ${elf#"$root"/}"
}

not_built() {
    rm -rf "$outdir/$1.elf.new" "$outdir/$1.elf.parts"
    echo "guest $1 was not built" >&2
    exit 1
}

# guest SOURCE [LINKER-SCRIPT [FLAG...]]: builds one guest from C or assembly. A C guest is given
# lib/start.S; an assembly guest brings its own _start.
guest() {
    local source=$1 script=${2:-guest.ld} name inputs
    shift; shift || true
    name=$(basename "${source%.*}")
    up_to_date "$outdir/$name.elf" "$source" "${source%/*}"/*.h && return
    inputs=("$source")
    [[ $source == *.c ]] && inputs=("$lib/start.S" "$source")
    make_elf "$name" "$script" "${fixed_address[@]}" "$@" "${inputs[@]}"
}

# multiboot_guest SOURCE [FLAG...]: builds a 32-bit C guest for a Multiboot loader; -DMULTIBOOT2 for
# version 2.
multiboot_guest() {
    local source=$1 name
    shift
    name=$(basename "${source%.*}")
    up_to_date "$outdir/$name.elf" "$source" "${source%/*}"/*.h && return
    make_elf "$name" multiboot.ld "${fixed_address[@]}" -m32 -march=i686 "$@" "$lib/multiboot.S" "$source"
}

# limine_guest SOURCE [FLAG...]: builds a C guest for the Limine boot protocol, which brings its own _start.
limine_guest() {
    local source=$1 name
    shift
    name=$(basename "${source%.*}")
    up_to_date "$outdir/$name.elf" "$source" "${source%/*}"/*.h && return
    make_elf "$name" limine.ld "${fixed_address[@]}" -mcmodel=kernel "$@" "$source"
}

# object_32 SOURCE: compiles a 32-bit relocatable object, NAME.o.
object_32() {
    local source=$1 object
    object=$outdir/$(basename "${source%.*}").o
    up_to_date "$object" "$source" && return
    gcc "${compile_flags[@]}" "${registers[@]}" -fno-pic -m32 -march=i686 -c "$source" -o "$object.new"
    mv "$object.new" "$object"
    echo "built ${object#"$root"/}"
}

# archive NAME FILE...: packs files of target-examples, as a tar archive that is the same each time.
archive() {
    local file=$outdir/$1
    shift
    up_to_date "$file" "${@/#/target-examples/}" && return
    tar --format=ustar --owner=0 --group=0 --numeric-owner --mode=0644 --mtime=@0 \
        -C target-examples -cf "$file.new" "$@"
    mv "$file.new" "$file"
    echo "built ${file#"$root"/}"
}

# vector_guest SOURCE [LINKER-SCRIPT [FLAG...]]: the same for a guest that uses floating point or
# SSE registers, wherever the compiler likes to.
vector_guest() {
    local registers=()
    guest "$@"
}

# pie_guest SOURCE: builds one position-independent C guest: linked at 0 by the linker's own
# script, with relative relocations that are the loader's to apply.
pie_guest() {
    local source=$1 name
    name=$(basename "${source%.*}")
    up_to_date "$outdir/$name.elf" "$source" && return
    make_elf "$name" "" -fPIE -fvisibility=hidden -static-pie -Wl,--no-dynamic-linker \
        -Wl,-z,text "$lib/start.S" "$source"
}

# flat_guest SOURCE [ADDRESS [NAME]]: builds a flat image from assembly, linked at ADDRESS, as NAME.bin, and NAME.sym,
# an ELF file with its symbols.
flat_guest() {
    local source=$1 address=${2:-0} name=${3:-} parts
    [[ $name ]] || name=$(basename "${source%.*}")
    up_to_date "$outdir/$name.bin" "$source" "${source%/*}"/*.h && return
    parts=$outdir/$name.bin.parts
    rm -rf "$parts"
    mkdir "$parts"
    if gcc -m32 -g -gno-record-gcc-switches "-ffile-prefix-map=$root=." -c "$source" -o "$parts/$name.o" &&
        ld -m elf_i386 --build-id=none -z noexecstack -n -Ttext="$address" -e _start "$parts/$name.o" -o "$parts/sym" &&
        objcopy -O binary "$parts/sym" "$parts/bin"; then
        mv "$parts/sym" "$outdir/$name.sym"
        mv "$parts/bin" "$outdir/$name.bin"
        rm -r "$parts"
        echo "built ${outdir#"$root"/}/$name.bin"
    else
        rm -r "$parts"
        not_built "$name"
    fi
}

# boot_disk SOURCE: builds a disk image, NAME.img, from 16-bit assembly for address 0x7C00.
boot_disk() {
    local source=$1 name image
    name=$(basename "${source%.*}")
    image=$outdir/$name.img
    up_to_date "$image" "$source" "${source%/*}"/*.h && return
    gcc -m32 -nostdlib -static -no-pie -Wl,-m,elf_i386 -Wl,--build-id=none -Wl,-z,noexecstack \
        -Wl,-Ttext=0x7c00 "$source" -o "$image.elf" &&
        objcopy -O binary -j .text "$image.elf" "$image.new" || not_built "$name"
    rm "$image.elf"
    chmod -x "$image.new"
    mv "$image.new" "$image"
    echo "built ${image#"$root"/}"
}

# rust_guest SOURCE: builds one Rust guest with rustc alone. The bare-metal target is used where it
# is installed; elsewhere the host's `core` serves, with SSE switched off, about which rustc warns.
rust_guest() {
    local source=$1 name object log libdir target flags
    name=$(basename "${source%.*}")
    up_to_date "$outdir/$name.elf" "$source" && return
    if ! command -v rustc >/dev/null; then
        echo "guest $name was skipped: it needs rustc (https://rustup.rs)" >&2
        return
    fi
    target=x86_64-unknown-none
    flags=()
    libdir=$(rustc --print target-libdir --target "$target")
    if ! compgen -G "$libdir/libcore-*.rlib" >/dev/null; then
        target=x86_64-unknown-linux-gnu
        flags=(-C target-feature=-sse,-sse2)
        libdir=$(rustc --print target-libdir --target "$target")
    fi
    object=$outdir/$name.o
    log=$outdir/$name.log
    if ! rustc --edition 2024 --crate-type lib --emit "obj=$object" --target "$target" \
        -C opt-level=2 -C debuginfo=2 -C panic=abort -C relocation-model=static \
        -C no-redzone=yes -C force-frame-pointers=yes "${flags[@]}" \
        "--remap-path-prefix=$root=." "$source" 2>"$log"; then
        cat "$log" >&2
        exit 1
    fi
    make_elf "$name" guest.ld "${fixed_address[@]}" "$lib/start.S" "$object" \
        "$libdir"/libcore-*.rlib
    rm -f "$object" "$log"
}
