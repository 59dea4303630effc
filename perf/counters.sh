#!/bin/sh
# Counters per message of a server under one of the harness's scenarios.
#
#   perf/counters.sh [-p SERVER] [-k stock|ramjet] [-s SECONDS] SCENARIO [OPTIONS OF THE HARNESS...]
#   perf/counters.sh pubsub
#   perf/counters.sh -k stock -p .tools/stock/bin/nats-server pubsub
#
# Instructions and cycles need hardware counters, which most virtual machines lack: then they are a
# dash, and it says so. System calls, context switches, migrations and page faults are the kernel's
# and always there (system calls need root, for the tracepoint).
set -eu

server=target/release/ramjet
kind=ramjet
seconds=3
while getopts p:k:s: option; do
    case $option in
    p) server=$OPTARG ;;
    k) kind=$OPTARG ;;
    s) seconds=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
command -v perf >/dev/null || { echo "perf is missing. Cure: install your distribution's linux-perf" >&2; exit 1; }
[ -x "$server" ] || { echo "$server is missing. Cure: make build" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target/release/bench-harness "--$kind" "$server" --no-system-calls --json "$work/run.json" \
    --rounds 1 --warmup 1 --seconds $((seconds + 2)) "$@" >/dev/null &
load=$!
sleep 2
process=$(pgrep -P "$load" | head -n 1)
[ -n "$process" ] || { echo "the scenario ended before it could be counted" >&2; wait "$load"; exit 1; }
# One event that cannot be had must not cost the others.
events=
for event in instructions cycles task-clock context-switches cpu-migrations page-faults raw_syscalls:sys_enter; do
    perf stat -x, -e "$event" true 2>&1 | grep -q '^[0-9]' && events="$events${events:+,}$event"
done
case $events in
*cycles*) ;;
*) echo "no hardware counters on this machine: instructions and cycles are left out" >&2 ;;
esac
perf stat -x, -e "$events" -p "$process" -o "$work/counts.csv" -- sleep "$seconds"
wait "$load"
python3 - "$work/run.json" "$work/counts.csv" <<'PYTHON'
import json
import sys

report = json.load(open(sys.argv[1]))
outcome = report["outcomes"][0]
run = outcome["runs"][0][0]
counts = {}
for line in open(sys.argv[2]):
    fields = line.strip().split(",")
    if len(fields) > 3 and fields[0].replace(".", "", 1).isdigit():
        counts[fields[2].split(":u")[0]] = float(fields[0])
# CPU time ties the counts, taken somewhere within the window, to the window's messages: by the clock
# it would depend on when perf got its turn.
cpu_seconds = counts["task-clock"] / 1e3
messages = cpu_seconds * run["messages"] / run["server_cpu_seconds"]
print(outcome["title"])
print(f"  {run['messages'] / run['seconds'] / 1e6:.3f} M messages/s, {cpu_seconds:.2f} CPU seconds counted")
for event in ("instructions", "cycles", "task-clock", "context-switches", "cpu-migrations",
              "page-faults", "raw_syscalls:sys_enter"):
    if event not in counts:
        print(f"  {event:<24}{'-':>14}")
        continue
    unit = " ns" if event == "task-clock" else ""
    each = counts[event] / messages * (1e6 if event == "task-clock" else 1)
    print(f"  {event:<24}{each:>14.5f}{unit} per message")
PYTHON
