# shellcheck shell=bash
# Variables are shared with scripts/lab and the files beside this one.
# shellcheck disable=SC2034,SC2154
# Communication with the emulated machine while it runs. Sourced by scripts/lab.

# True if file descriptor $1 is a terminal and this script is in its foreground.
is_foreground_terminal() {
    local stat fields
    [[ -t $1 ]] || return 1
    stat=$(</proc/$$/stat)
    read -ra fields <<<"${stat##*) }"
    # The process group, and the terminal's foreground process group.
    [[ ${fields[2]} == "${fields[5]}" ]]
}

# same_file FD FD: true if both are the same file.
same_file() { [[ $(stat -Lc %d:%i "/proc/$$/fd/$1" 2>/dev/null) == $(stat -Lc %d:%i "/proc/$$/fd/$2" 2>/dev/null) ]]; }

# Writes the kinds of the standard streams to the settings of the machine.
settle_streams() {
    stdin=pipe stdout=pipe stderr=pipe merged=no
    ! is_foreground_terminal 0 || stdin=terminal
    ! is_foreground_terminal 1 || stdout=terminal
    ! same_file 1 2 || merged=yes
    {
        echo "stdin=$stdin stdout=$stdout stderr=$stderr merged=$merged results=$results alive_every=$alive_every gdb_port=$gdb_port"
        echo "size='$(terminal_size)'"
    } >>"$work/settings"
}

# The size of the terminal as arguments of stty.
terminal_size() {
    local size
    size=$(stty size 2>/dev/null </dev/tty) || size='25 80'
    [[ $size != '0 0' ]] || size='25 80'
    echo "rows ${size% *} columns ${size#* }"
}

send_command() { printf '%s\n' "$*" >&"$com0_in"; }

# feed: sends standard input in pieces, each after the previous one was acknowledged.
feed() {
    local piece
    while :; do
        piece=$(dd bs=768 count=1 status=none <&"$outer" | base64 -w 0)
        [[ -n $piece ]] || break
        send_command "data $piece"
        read -r <&"$taken"
    done
    send_command end
}

# connect_streams: connects the standard streams to those of the machine.
connect_streams() {
    cat <&"$com1_out" &
    readers=$!
    cat <&"$com2_out" >&2 &
    readers+=" $!"
    if [[ $stdin == terminal ]]; then
        modes=$(stty -g <&"$outer")
        # The guest gets every key, Ctrl-C too.
        stty raw -echo <&"$outer"
        cat <&"$outer" >&"$com1_in" &
    else
        feed &
    fi
    feeder=$!
    # Its exit status is not reported.
    disown "$feeder"
}

# close_held: closes this script's ends of the pipes, so that they end with the emulator.
close_held() {
    local pipe
    for pipe in "${hold[@]}"; do exec {pipe}>&-; done
}

# Writes a program that bridges gdb's connection on its standard streams to the machine.
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

# open_bridge: lets gdb connect, one connection after the other.
open_bridge() {
    write_bridge
    socat "TCP-LISTEN:$gdb_port,bind=127.0.0.1,reuseaddr,fork,max-children=1" "EXEC:$work/bridge" 2>"$work/bridge.log" &
    bridge=$!
    disown "$bridge"
    sleep 0.2
    kill -0 "$bridge" 2>/dev/null || {
        cat "$work/bridge.log" >&2
        die "cannot listen on 127.0.0.1:$gdb_port for gdb; choose another port with --port"
    }
}

# restore_terminal: restores the modes of the terminal.
restore_terminal() {
    [[ -z ${modes-} ]] || stty "$modes" <&"$outer" 2>/dev/null || true
    modes=
}

# Kills the processes that were started here and removes the files.
clean_up() {
    local process
    trap '' INT TERM HUP
    restore_terminal
    # None of them has anything to save, and Bochs ignores other signals.
    for process in ${feeder-} ${bridge-} ${emulator-} ${readers-}; do
        kill -KILL "$process" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}

# machine VENDOR: runs $work/lab/command in the machine, and sets `status` to its exit status.
machine() {
    settle_streams
    pack "$1"
    # A closed standard input counts as empty.
    { exec {outer}<&0; } 2>/dev/null || exec {outer}</dev/null
    mkfifo "$work/taken"
    exec {taken}<>"$work/taken"
    : >"$work/console"
    "start_$1"
    trap 'send_command "size $(terminal_size)"' WINCH
    listen
    trap - WINCH
    # gdb reads the rest of its input.
    [[ -z $gdb_port ]] || sleep 0.3
    # All output has arrived when the exit status does.
    kill -KILL "$emulator"
    wait "$emulator" 2>/dev/null || true
    # shellcheck disable=SC2086
    wait $readers || true
    readers=''
    restore_terminal
    bring_back "$work/changed"
}

# listen: handles messages of the machine until it reports an exit status.
listen() {
    local line='' part last_message=$SECONDS timeout=$boot_timeout
    status=
    while [[ -z $status ]]; do
        part=''
        if IFS= read -r -t 1 part <&"$com0_out"; then
            last_message=$SECONDS
            handle "${line}${part%$'\r'}"
            line=''
            continue
        fi
        line+=$part
        [[ -z $part ]] || last_message=$SECONDS
        if ! kill -0 "$emulator" 2>/dev/null; then
            restore_terminal
            show_last_lines
            die "the machine of the lab has stopped unexpectedly"
        fi
        if ((SECONDS - last_message > timeout || SECONDS - began > time_limit)); then
            restore_terminal
            show_last_lines
            ((SECONDS - began > time_limit)) ||
                die "the machine of the lab is stuck: no message for $timeout s"
            die "the lab was stopped after $time_limit s, its time limit"
        fi
    done
}

# handle LINE: handles a line from the machine.
handle() {
    case $1 in
    lab:alive) ;;
    lab:taken) echo >&"$taken" ;;
    lab:file\ *) echo "${1#lab:file }" >>"$work/changed" ;;
    lab:status\ *) status=${1#lab:status } ;;
    lab:ready)
        if [[ -n ${readers-} ]]; then
            # The machine has been restarted.
            send_command go
            send_command end
            return
        fi
        timeout=$silence_timeout
        close_held
        [[ -z $gdb_port ]] || open_bridge
        send_command go
        connect_streams
        ;;
    lab:driver\ *)
        # shellcheck disable=SC2086
        [[ -z $debugs_driver ]] || driver_sections ${1#lab:driver }
        ;;
    lab:trouble\ *) say "in the lab: ${1#lab:trouble }" ;;
    *) echo "$1" >>"$work/console" ;;
    esac
}
