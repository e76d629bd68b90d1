# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# Transfers files into the emulated machine and back. Sourced by scripts/lab.
#
# Files have the same path in the machine as on the host, so that names and messages are the same.

# candidates ARGUMENT...: possible paths in arguments of kvm: the whole argument, or the parts before,
# between and after `=` and `:`, as in --module=PATH=TEXT and --serial=1=file:PATH, and before `,`, as in
# --disk PATH,virtio.
candidates() {
    local argument rest
    for argument; do
        rest=$argument
        while :; do
            echo "$rest"
            [[ $rest != *=* ]] || echo "${rest%%=*}"
            [[ $rest != *,* ]] || echo "${rest%%,*}"
            [[ $rest != *:* ]] || echo "${rest#*:}"
            [[ $rest == *=* ]] || break
            rest=${rest#*=}
        done
    done
}

# values_in FILE: possible paths in the values of a config file.
values_in() {
    local value
    sed -n 's/^[^#;=]*=[ \t]*//p' "$1" | sed 's/^"\(.*\)".*/\1/; s/[ \t]*\([ \t][;#].*\)\{0,1\}$//' |
        while IFS= read -r value; do candidates "$value"; done
}

# is_text FILE: true for a file that could be a config file.
is_text() { [[ -f $1 && -r $1 && $(stat -Lc %s -- "$1") -le 65536 ]] && grep -qI '' -- "$1"; }

# carry FOLDER ARGUMENT...: copies the files that are named in these arguments, and in the config file
# that is used; and makes the folders of files that do not exist.
carry() {
    local folder=$1 candidate real
    shift
    mkdir -p "$folder/$PWD"
    {
        candidates "$@"
        echo config.ini
    } | sort -u >"$work/candidates"
    # One of these files may be a config file. Copying too many files is harmless.
    while IFS= read -r candidate; do
        ! is_text "$candidate" || values_in "$candidate"
    done <"$work/candidates" >"$work/values"
    sort -u "$work/values" >>"$work/candidates"
    while IFS= read -r candidate; do
        [[ -n $candidate && $candidate != -* ]] || continue
        real=$candidate
        [[ $real == /* ]] || real=$PWD/$real
        case $real in /dev/[!s]* | /proc/* | /sys/* | /lab/*) continue ;; esac
        if [[ -f $real && -r $real ]]; then
            mkdir -p "$folder/$(dirname "$real")"
            cp -L -- "$real" "$folder/$real"
        elif [[ -d $(dirname -- "$real") ]]; then
            mkdir -p "$folder/$(dirname -- "$real")"
        fi
    done <"$work/candidates"
}

# quoted ARGUMENT...: these words, quoted for any shell.
quoted() {
    local argument
    for argument; do
        printf "'%s' " "${argument//\'/\'\\\'\'}"
    done
    echo
}

# bring_back FILE: unpacks files that were written in the machine to their paths.
bring_back() {
    [[ -s $1 ]] || return 0
    base64 -d "$1" | gzip -dc | cpio -idu --quiet --no-absolute-filenames --no-preserve-owner -D / ||
        say "not all files of the run could be brought back"
}
