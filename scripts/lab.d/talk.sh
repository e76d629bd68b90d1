# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# The talk between outside and inside while something runs there. Sourced by scripts/lab.

# True if file descriptor $1 is the terminal and this script may use it: as a job in the background it
# may not.
is_ours() {
    local stat fields
    [[ -t $1 ]] || return 1
    stat=$(</proc/$$/stat)
    read -ra fields <<<"${stat##*) }"
    # The process group, and the terminal's foreground process group.
    [[ ${fields[2]} == "${fields[5]}" ]]
}

# same_file FD FD: true if both lead to the same place.
same_file() { [[ $(stat -Lc %d:%i "/proc/$$/fd/$1" 2>/dev/null) == $(stat -Lc %d:%i "/proc/$$/fd/$2" 2>/dev/null) ]]; }

# Notes for the inside what the standard streams are.
settle_streams() {
    stdin=pipe stdout=pipe stderr=pipe merged=no
    ! is_ours 0 || stdin=terminal
    ! is_ours 1 || stdout=terminal
    ! same_file 1 2 || merged=yes
    {
        echo "stdin=$stdin stdout=$stdout stderr=$stderr merged=$merged results=$results alive_every=$alive_every gdb_port=$gdb_port"
        echo "size='$(terminal_size)'"
    } >>"$work/settings"
}

# The terminal's size as stty takes it.
terminal_size() {
    local size
    size=$(stty size 2>/dev/null </dev/tty) || size='25 80'
    [[ $size != '0 0' ]] || size='25 80'
    echo "rows ${size% *} columns ${size#* }"
}

tell_inside() { printf '%s\n' "$*" >&"$com0_in"; }

# feed: sends standard input piece by piece, each when the one before it has been taken.
feed() {
    local piece
    while :; do
        piece=$(dd bs=768 count=1 status=none <&"$outer" | base64 -w 0)
        [[ -n $piece ]] || break
        tell_inside "data $piece"
        read -r <&"$taken"
    done
    tell_inside end
}

# connect_streams: from here on what is typed and what is written gets to the other side.
connect_streams() {
    cat <&"$com1_out" &
    readers=$!
    cat <&"$com2_out" >&2 &
    readers+=" $!"
    if [[ $stdin == terminal ]]; then
        modes=$(stty -g <&"$outer")
        # Every key is the guest's, Ctrl-C too.
        stty raw -echo <&"$outer"
        cat <&"$outer" >&"$com1_in" &
    else
        feed &
    fi
    feeder=$!
    # Nobody wants to know how it ended.
    disown "$feeder"
}

# let_go: the pipes end with the emulator, which has them now.
let_go() {
    local pipe
    for pipe in "${hold[@]}"; do exec {pipe}>&-; done
}

# A program that takes gdb's connection as its standard input and output.
write_bridge() {
    cat >"$work/bridge" <<END
#!/usr/bin/env bash
echo gdb >&$com0_in
cat <&$com3_out &
cat >&$com3_in
echo nogdb >&$com0_in
kill \$! 2>/dev/null
END
    chmod +x "$work/bridge"
}

# open_bridge: from here on gdb can connect, once more after each time it has gone.
open_bridge() {
    write_bridge
    socat "TCP-LISTEN:$gdb_port,bind=127.0.0.1,reuseaddr,fork,max-children=1" "EXEC:$work/bridge" 2>"$work/bridge.said" &
    bridge=$!
    disown "$bridge"
    sleep 0.2
    kill -0 "$bridge" 2>/dev/null || {
        cat "$work/bridge.said" >&2
        die "nobody can listen at 127.0.0.1:$gdb_port for gdb; --port takes another port"
    }
}

# give_back_terminal: the terminal is as it was before.
give_back_terminal() {
    [[ -z ${modes-} ]] || stty "$modes" <&"$outer" 2>/dev/null || true
    modes=
}

# Kills what was started here and removes the files.
clean_up() {
    local process
    trap '' INT TERM HUP
    give_back_terminal
    # None of them has anything to lose, and Bochs holds on to life.
    for process in ${feeder-} ${bridge-} ${emulator-} ${readers-}; do
        kill -KILL "$process" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}

# machine VENDOR: runs $work/lab/command inside, and sets `status` to its exit status.
machine() {
    settle_streams
    pack "$1"
    # A closed standard input has nothing to say.
    { exec {outer}<&0; } 2>/dev/null || exec {outer}</dev/null
    mkfifo "$work/taken"
    exec {taken}<>"$work/taken"
    : >"$work/console"
    "start_$1"
    trap 'tell_inside "size $(terminal_size)"' WINCH
    listen
    trap - WINCH
    # gdb reads what is left.
    [[ -z $gdb_port ]] || sleep 0.3
    # What has been written arrives before the end is told.
    kill -KILL "$emulator"
    wait "$emulator" 2>/dev/null || true
    # shellcheck disable=SC2086
    wait $readers || true
    readers=''
    give_back_terminal
    bring_back "$work/changed"
}

# listen: hears what the inside tells until it is done.
listen() {
    local line='' part heard=$SECONDS patience=$boot_patience
    status=
    while [[ -z $status ]]; do
        part=''
        if IFS= read -r -t 1 part <&"$com0_out"; then
            heard=$SECONDS
            hear "${line}${part%$'\r'}"
            line=''
            continue
        fi
        line+=$part
        [[ -z $part ]] || heard=$SECONDS
        if ! kill -0 "$emulator" 2>/dev/null; then
            give_back_terminal
            last_words
            die "the machine of the lab has stopped before its time"
        fi
        if ((SECONDS - heard > patience || SECONDS - began > time_limit)); then
            give_back_terminal
            last_words
            ((SECONDS - began > time_limit)) ||
                die "the machine of the lab is stuck: nothing was heard of it for $patience s"
            die "the lab was given up after $time_limit s"
        fi
    done
}

# hear LINE: does what a line from the inside asks for.
hear() {
    case $1 in
    lab:alive) ;;
    lab:taken) echo >&"$taken" ;;
    lab:file\ *) echo "${1#lab:file }" >>"$work/changed" ;;
    lab:status\ *) status=${1#lab:status } ;;
    lab:ready)
        patience=$quiet_patience
        let_go
        [[ -z $gdb_port ]] || open_bridge
        tell_inside go
        connect_streams
        ;;
    lab:trouble\ *) say "in the lab: ${1#lab:trouble }" ;;
    *) echo "$1" >>"$work/console" ;;
    esac
}
