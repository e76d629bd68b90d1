# shellcheck shell=bash
# A guest in one window or pane and its log in another.
# Sourced by scripts/run, and once more by the shells that it starts in those windows and panes.

panes_file=$(readlink -f "${BASH_SOURCE[0]}")

# A command that runs a function of this file, which follows with its arguments, in a new shell.
# shellcheck disable=SC2016
new_shell=(bash -c '. "$0"; "$@"' "$panes_file")

# recorded_status STATUS-FILE: the exit status in the file; that of a run ended by a signal if the window
# was closed before.
recorded_status() {
    local status
    status=$(<"$1")
    echo "${status:-16}"
}

# follow LOG PID: shows the log as it grows, until process PID has ended.
follow() { tail -n +1 -F -s 0.2 --pid="$2" -- "$1" 2>/dev/null; }

# run_and_hold STATUS-FILE COMMAND...: runs the command, records its exit status, and keeps its last output
# on the screen until Enter is pressed. The file is created empty at the start.
run_and_hold() {
    local status_file=$1 status=0
    shift
    : >"$status_file"
    # The command also gets the signal of a closed window; its status must still be recorded.
    trap : HUP
    "$@" || status=$?
    echo "$status" >"$status_file"
    stty sane
    read -rp "-- ended with exit status $status; Enter closes this window " || true
}

# log_pane LOG PID: runs in the lower pane.
log_pane() {
    follow "$@"
    read -rp "-- ended; Enter closes the log " || true
}

# open_log_pane LOG PID: splits the current pane. The log stays after the end of process PID until Enter or
# until the next run in this window.
open_log_pane() {
    local arguments=("$@") pane
    pane=$(tmux show-options -wqv -t "$TMUX_PANE" @kvm-log-pane 2>/dev/null) || true
    [[ -z $pane ]] || tmux kill-pane -t "$pane" 2>/dev/null || true
    # tmux takes a `;` at the end of an argument for the end of the command, unless escaped.
    if pane=$(tmux split-window -d -v -l 10 -t "$TMUX_PANE" -c "$PWD" -P -F '#{pane_id}' -- \
        "${new_shell[@]}" log_pane "${arguments[@]/%;/\\;}" 2>/dev/null); then
        tmux set-option -w -t "$TMUX_PANE" @kvm-log-pane "$pane"
    else
        echo "no room for another pane; the log is in $1" >&2
    fi
}

# In tmux: the guest replaces this script, and the log gets a pane below.
run_in_tmux() {
    local log=$1
    shift
    open_log_pane "$log" $$
    exec "$@"
}

# An xterm for the guest; the log in this terminal. Returns if no window can be opened.
run_in_xterm() {
    local log=$1 window status
    shift
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    xterm -T "kvm" -e "${new_shell[@]}" run_and_hold "$work/status" "$@" 2>/dev/null &
    window=$!
    trap 'kill "$window" 2>/dev/null || true' INT TERM HUP
    follow "$log" "$window" || true
    wait "$window" || true
    trap - INT TERM HUP
    if [[ -e $work/status ]]; then
        status=$(recorded_status "$work/status")
        exit "$status"
    fi
    echo "xterm cannot open a window on display $DISPLAY" >&2
    rm -rf "$work"
}

# Runs in the upper pane of a new session.
session_pane() {
    local status_file=$1 log=$2
    shift 2
    open_log_pane "$log" $$
    run_and_hold "$status_file" "$@"
    tmux kill-server
}

# A new tmux session with two panes. Returns if it cannot be opened.
run_in_session() {
    local arguments=("$@") status
    work=$(mktemp -d)
    # A new server has this shell's environment, and no other sessions.
    server=$work/tmux
    trap 'tmux -S "$server" kill-server 2>/dev/null || true; rm -rf "$work"' EXIT
    tmux -S "$server" new-session -n kvm -c "$PWD" -- \
        "${new_shell[@]}" session_pane "$work/status" "${arguments[@]/%;/\\;}" >/dev/null || true
    if tmux -S "$server" has-session 2>/dev/null; then
        echo "detached: the guest runs on. Attach again with: tmux -S $server attach" >&2
        while tmux -S "$server" has-session 2>/dev/null; do sleep 0.2; done
    fi
    if [[ -e $work/status ]]; then
        status=$(recorded_status "$work/status")
        exit "$status"
    fi
    echo "tmux cannot open a session on this terminal" >&2
    rm -rf "$work"
}
