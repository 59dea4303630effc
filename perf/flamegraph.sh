#!/bin/sh
# A flame graph of a server under one of the harness's scenarios.
#
#   perf/flamegraph.sh [-o OUT.svg] [-p SERVER] [-s SECONDS] SCENARIO [OPTIONS OF THE HARNESS...]
#   perf/flamegraph.sh -o request.svg reqrep --outstanding 10 --shards 2 --placement across
#
# Needs perf, the release build, and inferno (cargo install inferno). The release profile keeps line
# tables, which is what the stacks are read from; kernel frames need root or kernel.perf_event_paranoid
# at 1 or below and kernel.kptr_restrict at 0.
set -eu

out=flamegraph.svg
server=target/release/ramjet
seconds=5
while getopts o:p:s: option; do
    case $option in
    o) out=$OPTARG ;;
    p) server=$OPTARG ;;
    s) seconds=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

need() { command -v "$1" >/dev/null || { echo "$1 is missing. Cure: $2" >&2; exit 1; }; }
need perf "install your distribution's linux-perf"
need inferno-collapse-perf "cargo install inferno"
need inferno-flamegraph "cargo install inferno"
[ -x "$server" ] || { echo "$server is missing. Cure: make build" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without hardware counters the clock samples; 997 Hz beats with no timer.
event=cycles
perf stat -e cycles true 2>&1 | grep -q 'not supported' && event=cpu-clock
target/release/bench-harness --ramjet "$server" --no-system-calls \
    --rounds 1 --warmup 1 --seconds $((seconds + 1)) "$@" >"$work/table.txt" &
load=$!
sleep 1.5
# The server is the harness's child.
process=$(pgrep -P "$load" | head -n 1)
[ -n "$process" ] || { echo "the scenario ended before it could be sampled" >&2; wait "$load"; exit 1; }
perf record --quiet -e "$event" -F 997 -g --call-graph dwarf,16384 -p "$process" \
    -o "$work/perf.data" -- sleep "$seconds" >/dev/null
wait "$load"
cat "$work/table.txt"
perf script -i "$work/perf.data" 2>/dev/null >"$work/stacks.txt"
inferno-collapse-perf <"$work/stacks.txt" 2>/dev/null >"$work/folded.txt"
inferno-flamegraph --title "ramjet: $*" --subtitle "$event, $seconds s, $(uname -r)" \
    <"$work/folded.txt" >"$out"
echo "$out: $(grep -c . "$work/folded.txt") stacks ($event)"
