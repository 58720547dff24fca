# Shell functions shared by the scripts here, ./quickstart and ./check; sourced by bash, never run.
#
# What must stay true: everything said to people goes to standard error, so that a script's standard output holds its result
# and nothing else; a file appears in the cache under its final name only when it is whole (made beside it, then renamed).
# shellcheck shell=bash

tuff_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# What to say when something must be read again: the name people typed.
tuff_me=${0##*/}

say() {
    printf '%s: %s\n' "$tuff_me" "$*" >&2
}

# die CODE MESSAGE...
die() {
    local code=$1
    shift
    say "$@"
    exit "$code"
}

# step "what is done" COMMAND...: a progress line around a slow command. Its output is shown only when it fails: apt's errors
# if there are such lines, else the end.
step() {
    local what=$1 log status=0 start=$SECONDS
    shift
    log=$(mktemp "${TMPDIR:-/tmp}/tuff-step.XXXXXX") || return 1
    say "$what ..."
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" != 0 ]; then
        say "$what failed (exit code $status):"
        grep '^E: ' "$log" >&2 || tail -n 40 "$log" >&2
    elif [ $((SECONDS - start)) -ge 2 ]; then
        say "$what took $((SECONDS - start)) s"
    fi
    rm -f "$log"
    return "$status"
}

# The directory for what is downloaded or made once and used by every checkout: TUFF_CACHE_DIR, or tuff/ in the user's
# cache directory, or guest/ of this checkout when neither can be written.
cache_dir() {
    local dir=${TUFF_CACHE_DIR:-}
    [ -n "$dir" ] || [ -z "${XDG_CACHE_HOME:-}" ] || dir=$XDG_CACHE_HOME/tuff
    [ -n "$dir" ] || [ -z "${HOME:-}" ] || dir=$HOME/.cache/tuff
    if [ -z "$dir" ] || ! mkdir -p "$dir" 2>/dev/null || [ ! -w "$dir" ]; then
        [ -z "${TUFF_CACHE_DIR:-}" ] || die 2 "TUFF_CACHE_DIR=$TUFF_CACHE_DIR cannot be written: name another directory"
        dir=$tuff_top/guest
        mkdir -p "$dir" || die 1 "no directory to keep downloads in: set TUFF_CACHE_DIR"
    fi
    (cd "$dir" && pwd)
}

# with_lock FILE COMMAND...: one process at a time; tests and benchmarks may want the same image at once.
with_lock() {
    local lock=$1
    shift
    (
        if ! flock -n 9; then
            say "waiting for another process that holds $lock"
            flock 9
        fi
        "$@" 9>&-
    ) 9>"$lock"
}
