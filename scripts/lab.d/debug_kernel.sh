# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# KVM_LAB_KERNEL=debug: a kernel that checks itself (KASAN, lockdep, kmemleak). No package has one, so it is built, once,
# from Debian's source with the options of debug-kernel.config. Sourced by scripts/lab.

# The version of Debian's package of the source: that of the lab's usual kernel, whose names of options the list has.
debug_source=linux-source-6.1
debug_options=$scripts/lab.d/debug-kernel.config
# Files that the build compiles, for its progress.
debug_files=1240

# prepare_debug_kernel VENDOR: makes $kernel, unless it is there and has these options; sets what the machine needs for it.
prepare_debug_kernel() {
    [[ $1 == amd ]] || die "KVM_LAB_KERNEL=debug has KVM for AMD-V only: add --cpu amd"
    # KASAN keeps a byte for each eight, and freed memory for a while.
    megabytes=1024
    # Notes the owners of pages only when it is asked to.
    kernel_options+=' page_owner=on'
    ! cmp -s "$debug_options" "$kernel/options" || return 0
    mkdir -p "$cache"
    # Another process may be building it.
    exec {debug_lock}>"$cache/debug-kernel.lock"
    flock -n "$debug_lock" || { say "waiting for another build of the debug kernel" && flock "$debug_lock"; }
    cmp -s "$debug_options" "$kernel/options" || build_debug_kernel
    exec {debug_lock}>&-
}

# build_debug_kernel: unpacks the source, builds it, and keeps what is needed of it.
build_debug_kernel() {
    local new=$cache/debug-kernel.new log=$cache/debug-kernel.log began=$SECONDS ticker status=0 release
    need_parts gcc make flex bison bc libelf-dev
    [[ -d $cache/$debug_source ]] || unpack_package "$debug_source" "$cache/$debug_source"
    say "building the debug kernel, with a line each minute; it needs 3 GiB in $cache meanwhile"
    # A build that was interrupted has left it.
    rm -rf "$new"
    mkdir -p "$new/tree"
    show_progress "$new/tree" &
    ticker=$!
    (compile_debug_kernel "$new/tree") >"$log" 2>&1 || status=$?
    { kill "$ticker" && wait "$ticker"; } 2>/dev/null || true
    if ((status)); then
        tail -n 20 "$log" >&2
        die "the debug kernel was not built; $log has the messages, $new what was built"
    fi
    release=$(<"$new/tree/include/config/kernel.release")
    keep_debug_kernel "$new/tree" "$new/all" "$release"
    rm -rf "$kernel" "$kernel-modules"
    mv -T "$new/all" "$kernel"
    rm -rf "$new"
    say "the debug kernel $release was built in $((SECONDS - began)) s: $kernel"
}

# show_progress TREE: a line each minute, until it is killed.
show_progress() {
    local seconds=0
    # Short sleeps, because the last one is not killed with this.
    while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        ((++seconds % 60)) ||
            say "the debug kernel after $((seconds / 60)) min: $(find "$1" -name '*.o' | wc -l) of about $debug_files files"
    done
}

# compile_debug_kernel TREE: from the package's archive to the kernel and its modules.
compile_debug_kernel() {
    local option refused=()
    tar -xf "$cache/$debug_source/usr/src/$debug_source.tar.xz" --strip-components=1 -C "$1" || return
    cd "$1" || return
    make -s KCONFIG_ALLCONFIG="$debug_options" allnoconfig || return
    while IFS= read -r option; do
        grep -qxF "$option" .config || refused+=("$option")
    done < <(grep '^CONFIG_' "$debug_options")
    if ((${#refused[@]})); then
        echo "$debug_options: this kernel refuses ${refused[*]}: their names or what they depend on have changed"
        return 1
    fi
    make -s -j "$(nproc)" bzImage modules
}

# keep_debug_kernel TREE FOLDER RELEASE: the kernel, its modules, and what the build of a driver needs of the tree, as in
# Debian's packages of a kernel and its headers.
keep_debug_kernel() {
    local tree=$1 folder=$2 modules=$2/lib/modules/$3 file
    mkdir -p "$folder/boot" "$modules/kernel" "$modules/build"
    cp "$tree/arch/x86/boot/bzImage" "$folder/boot/vmlinuz-$3"
    cp "$tree/System.map" "$folder/boot/System.map-$3"
    find "$tree" -name '*.ko' -exec cp -t "$modules/kernel" {} +
    (
        cd "$tree"
        find . -name '*.o' -delete
        for file in Makefile .config Module.symvers arch/x86/{Makefile,Makefile_32.cpu,include} include scripts \
            tools/objtool/objtool; do
            cp -a --parents "$file" "$modules/build"
        done
    )
    cp "$debug_options" "$folder/options"
}
