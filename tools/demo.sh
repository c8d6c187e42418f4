#!/bin/bash
# make demo: the main job of ppdb on real data, verified, in well under a minute.
#
#   4 processes load Debian's package descriptions and the IEEE registry; 4 readers compare values in place meanwhile
#   one loader is SIGKILLed in the middle of its work; its part is loaded again
#   the daemon is SIGKILLed and started again: once with the shared memory still there, once without
#   after each: the dump must be exactly the sorted input
#
# Needs PPDB_BUILD (the folder of ppdb and ppdbd; default: build). Exit 0: everything was as it must be. Cleans up.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 2
export LC_ALL=C
build=${PPDB_BUILD:-$PWD/build}
ppdb=$build/ppdb
export PPDBD=$build/ppdbd
name=demo-$$
loaders=4 readers=4

for program in "$ppdb" "$PPDBD" "$build/tests/progs/demo_reader"; do
	[ -x "$program" ] || { echo "demo: $program is not there; run 'make demo'" >&2; exit 2; }
done

scratch=$(mktemp -d "${TMPDIR:-/tmp}/ppdb-demo-XXXXXX") || exit 2
daemon_pid= arena= socket= reader_pids=()
clean_up() {
	local pid
	trap '' INT TERM
	for pid in "${reader_pids[@]}" $(jobs -p); do
		kill -9 "$pid" 2>/dev/null
	done
	[ -n "$daemon_pid" ] && kill -9 "$daemon_pid" 2>/dev/null
	[ -n "$arena" ] && rm -f "$arena" "$arena.lock" "$socket"
	rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

p() { "$ppdb" -n "$name" "$@"; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
rate() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%d", n / (s > 0.01 ? s : 0.01) }'; }
any_alive() { local pid; for pid; do kill -0 "$pid" 2>/dev/null && return 0; done; return 1; }
say() { printf '%s\n' "$*"; }
fail() {
	printf 'demo: FAILED: %s\n' "$*" >&2
	tail -n 20 "$scratch/messages" >&2
	tail -n 20 "$scratch/data/ppdbd.log" >&2
	exit 1
}
# The first member of that name: what comes first is about the daemon itself.
member() { grep -o "\"$1\": *\"\{0,1\}[^\",}]*" <<<"$2" | head -n 1 | sed 's/.*: *"\{0,1\}//'; }

start_daemon() {
	local status
	"$PPDBD" -n "$name" -d "$scratch/data" --memory 1G >>"$scratch/messages" 2>&1 </dev/null || fail "ppdbd did not start"
	p wait --timeout 30 2>>"$scratch/messages" || fail "ppdbd did not become ready"
	status=$(p status --json) || fail "no status"
	daemon_pid=$(member pid "$status")
	arena=$(member arena "$status")
	socket=$(member socket "$status")
	[ -n "$daemon_pid" ] && [ -n "$arena" ] || fail "status says neither pid nor arena: $status"
}

kill_daemon() {
	kill -9 "$daemon_pid" || fail "cannot kill the daemon"
	while kill -0 "$daemon_pid" 2>/dev/null && [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$daemon_pid/status" 2>/dev/null)" != Z ]; do
		sleep 0.01
	done
}

verify() { # what
	p dump >"$scratch/dump" 2>>"$scratch/messages" || fail "dump: $1"
	cmp -s "$scratch/input" "$scratch/dump" || {
		diff <(cut -c 1-100 "$scratch/input") <(cut -c 1-100 "$scratch/dump") | head -n 10 >&2
		fail "the dump is not the sorted input: $1"
	}
	say "  the dump is byte for byte the sorted input"
}

# --- input ---

began=$(now)
tools/demo_input.sh >"$scratch/input" 2>>"$scratch/messages"
records=$(wc -l <"$scratch/input")
[ "$records" -gt 1000 ] || fail "only $records records: is there no 'apt-cache dumpavail' and no package ieee-data?"
sort -c "$scratch/input" || fail "the input is not sorted"
bytes=$(wc -c <"$scratch/input")
say "input: $records records, $((bytes >> 20)) MiB (Debian packages, IEEE prefixes), made in $(since "$began") s"
# Mixed, and dealt out to the loaders: each writes all over the key space.
shuf --random-source="$scratch/input" "$scratch/input" | split -n "r/$loaders" -a 1 -d - "$scratch/part"

# --- load, with readers, and a killed loader ---

start_daemon
say "ppdbd '$name' runs, pid $daemon_pid, arena $arena"
for ((i = 1; i <= readers; i++)); do
	"$build/tests/progs/demo_reader" "$name" "$scratch/input" "$i" >"$scratch/reader$i" 2>>"$scratch/messages" &
	reader_pids+=($!)
done

load() { exec "$ppdb" -n "$name" load "$scratch/part$1" --batch 256; }
began=$(now)
load_pids=()
for ((i = 0; i < loaders - 1; i++)); do
	load "$i" >>"$scratch/messages" 2>&1 &
	load_pids+=($!)
done

# The last loader: killed as soon as a key from the middle of its part is there. On a very fast machine it may be done first: again.
last=$((loaders - 1))
part_records=$(wc -l <"$scratch/part$last")
middle=$(sed -n "$((part_records / 3))p" "$scratch/part$last" | cut -f 1)
killed=0
for ((try = 0; try < 20 && !killed; try++)); do
	load "$last" >>"$scratch/messages" 2>&1 &
	victim=$!
	[ "$try" -gt 0 ] && sleep "0.0$((try % 9 + 1))"
	while [ "$try" -eq 0 ] && kill -0 "$victim" 2>/dev/null && ! p get "$middle" >/dev/null 2>&1; do
		:
	done
	kill -9 "$victim" 2>/dev/null
	wait "$victim" 2>/dev/null
	[ $? -eq 137 ] && killed=1
done
[ "$killed" -eq 1 ] || fail "the last loader was always done before it could be killed"
say "loader $loaders was SIGKILLed in the middle of its part; its part is loaded again"
load "$last" >>"$scratch/messages" 2>&1 &
load_pids+=($!)
# Latencies are kept in the slots of living threads: look while the loaders are there.
while any_alive "${load_pids[@]}"; do
	p stat >"$scratch/stat.new" 2>>"$scratch/messages" && grep -q '^put ' "$scratch/stat.new" &&
		mv "$scratch/stat.new" "$scratch/stat"
	sleep 0.1
done
for pid in "${load_pids[@]}"; do
	wait "$pid" || fail "a loader ended with $?"
done
seconds=$(since "$began")
latencies=$(sed -n 's/^ppdb load: put until/put until/p' "$scratch/messages" | tail -n 1)
say "loaded by $loaders processes in $seconds s: $(rate "$records" "$seconds") records/s, every 256 of a loader made durable"
say "  one loader: $latencies"
verify "after the load"

# --- daemon killed: with and without the shared memory ---

began=$(now)
kill_daemon
say "ppdbd SIGKILLed; the readers go on reading"
sleep 0.3
start_daemon
say "ppdbd started again (pid $daemon_pid) and took the shared memory over, after $(since "$began") s"
verify "after the restart"

for pid in "${reader_pids[@]}"; do
	kill -TERM "$pid"
done
for pid in "${reader_pids[@]}"; do
	wait "$pid" || fail "a reader found wrong data (status $?)"
done
reader_pids=()
cat "$scratch"/reader* | tr ' ' '\n' | awk -F= -v readers="$readers" '
	{ sum[$1] += $2; if ($2 > max[$1]) max[$1] = $2 }
	END {
		printf "%d readers verified %d values in place (%d keys were not there yet) and %d ranges with %d entries\n",
			readers, sum["hits"], sum["misses"], sum["ranges"], sum["entries"]
		printf "  %d gets/s in all while loading and restarting, p50 %d ns, p99 %d ns (slowest reader)\n",
			(sum["hits"] + sum["misses"]) / (max["ms"] / 1000), max["p50_ns"], max["p99_ns"]
	}'
p check >"$scratch/check" 2>&1 || { cat "$scratch/check" >&2; fail "ppdb check found problems"; }
say "ppdb check: $(head -n 2 "$scratch/check" | tr '\n' ';' | sed 's/;$//; s/;/; /')"

began=$(now)
kill_daemon
rm -f "$arena"
start_daemon
seconds=$(since "$began")
say "ppdbd SIGKILLed, shared memory removed: recovered from disk in $seconds s, $(rate "$records" "$seconds") records/s"
verify "after the recovery"

# --- figures ---

p stat >"$scratch/stat.new" 2>>"$scratch/messages" || fail "ppdb stat"
say "figures (ppdb stat, operations: while the loaders ran):"
{
	sed '/^operation /,$d' "$scratch/stat.new"
	[ -s "$scratch/stat" ] && sed -n '/^operation /,$p' "$scratch/stat"
} | sed 's/^/  /'
p stop 2>>"$scratch/messages" || fail "ppdbd did not stop"
daemon_pid=
say "demo: all good, $records records verified three times, in $SECONDS s"
