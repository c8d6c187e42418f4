#!/bin/bash
# Draws latency.svg, arena.svg and handles.svg from the samples of a soak.
# usage: tests/soak/plot.sh DIR      (with samples.tsv in it; default build/soak)
set -u
dir=${1:-build/soak}
command -v gnuplot >/dev/null || { echo "plot: gnuplot is missing (package gnuplot-nox)" >&2; exit 1; }
[ -s "$dir/samples.tsv" ] || { echo "plot: no $dir/samples.tsv: run make soak first" >&2; exit 1; }

# Grey bands: where the phase is not calm. One line of gnuplot a band.
bands=$(awk -F '\t' '
	NR == 1 { next }
	$2 != phase { if (NR > 2) end(); phase = $2; from = $1 }
	{ to = $1 }
	function end() {
		if (phase != "calm")
			printf "set object rectangle from %s, graph 0 to %s, graph 1 fc rgb \"%s\" fs solid noborder behind\n", from, $1,
				colour[phase]
	}
	BEGIN {
		split("kills stops restarts cold full-arena full-disk quiet", name, " ")
		split("#f3e3e3 #f3ece0 #e3ecf5 #d6e2f0 #e9e3f3 #e3f0e6 #eeeeee", tint, " ")
		for (i in name) colour[name[i]] = tint[i]
	}
	END { end() }' "$dir/samples.tsv")

# chart FILE TITLE YLABEL SETTINGS column:title...
chart() {
	local file=$1 title=$2 label=$3 settings=$4 plots= one
	shift 4
	for one; do
		plots+="${plots:+, }'$dir/samples.tsv' skip 1 using 1:${one%%:*} with lines lw 1.3 title '${one#*:}'"
	done
	gnuplot <<-END || echo "plot: $file failed" >&2
		set terminal svg size 1000,420 font "sans-serif,12" background "#ffffff"
		set output "$dir/$file"
		set datafile separator "\t"
		set datafile missing "?"
		set title "$title"
		set xlabel "seconds (bands: red kills, orange stops, blue restarts and cold starts, violet full arena, green full disk, grey quiet)"
		set ylabel "$label"
		set grid ytics lc rgb "#dddddd"
		set key outside right
		set xrange [0:*]
		$settings
		$bands
		plot $plots
	END
}

chart latency.svg "Latency of each half second" "us, logarithmic" "set logscale y" \
	"4:get p50" "5:get p99" "7:scan p50" "8:scan p99" "10:write p50" "11:write p99" "13:durable p50" "14:durable p99"
chart arena.svg "Arena by state, and the log and checkpoints on disk" "MiB" "set yrange [0:*]" \
	"18:committed" "19:live" "20:free" "21:limbo" "22:private" "33:on disk"
chart handles.svg "Slots, process records, the daemon's open files and private memory" "count, MiB" "set yrange [0:*]" \
	"23:slots" "24:process records" "28:sockets" "29:pidfds" "30:memfds" "31:log and checkpoint files" "32:other files" "27:daemon MiB"
echo "written: $dir/report.txt, samples.tsv, latency.svg, arena.svg, handles.svg"
