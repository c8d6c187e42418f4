#!/bin/bash
# Draws bench-read.svg, bench-scan.svg, bench-write.svg and bench-latency.svg from a result.tsv.
# usage: bench/plot.sh RESULT.tsv [DIR]      (default docs)
# A chart none of whose workloads was run is left as it is.
set -u
tsv=${1:?usage: bench/plot.sh RESULT.tsv [DIR]}
dir=${2:-docs}
command -v gnuplot >/dev/null || { echo "plot: gnuplot is missing (package gnuplot-nox)" >&2; exit 1; }
data=$(mktemp) || exit 1
trap 'rm -f "$data"' EXIT

# pivot COLUMN SCALE workload[@per-op]...: a line a workload, a column a store; first line names the stores.
pivot() {
	local column=$1 scale=$2
	shift 2
	awk -F '\t' -v column="$column" -v scale="$scale" -v want="$*" '
		BEGIN { n = split(want, names, " ") }
		!($4 in seen) { seen[$4] = 1; stores[++count] = $4 }
		{
			name = $2 > 1 ? $1 " x" $2 : $1
			value[$1, name, $4] = $column
			if (!(($1, name) in known)) { known[$1, name] = 1; lines[$1] = lines[$1] SUBSEP name }
		}
		END {
			# A store that took no part in any of these workloads gets no column.
			for (s = 1; s <= count; s++) {
				any = 0
				for (i = 1; i <= n; i++) {
					split(names[i], part, "@")
					m = split(substr(lines[part[1]], 2), each, SUBSEP)
					for (j = 1; j <= m; j++) any += value[part[1], each[j], stores[s]] + 0 > 0
				}
				if (any) kept[++keep] = stores[s]
			}
			printf "workload"
			for (s = 1; s <= keep; s++) printf "\t%s", kept[s]
			printf "\n"
			for (i = 1; i <= n; i++) {
				split(names[i], part, "@")
				factor = part[2] == "" ? 1 : part[2]
				m = split(substr(lines[part[1]], 2), each, SUBSEP)
				for (j = 1; j <= m; j++) {
					line = ""; any = 0
					for (s = 1; s <= keep; s++) {
						v = value[part[1], each[j], kept[s]]
						if (v == "" || v == "-") { line = line "\t?" } else { line = line "\t" v * factor / scale; any = 1 }
					}
					if (any) print each[j] line
				}
			}
		}' "$tsv" >"$data"
}

# chart FILE TITLE YLABEL [gnuplot settings]
chart() {
	[ "$(wc -l <"$data")" -gt 1 ] || return 0
	local columns
	columns=$(head -1 "$data" | awk -F '\t' '{ print NF }')
	gnuplot <<-END || echo "plot: $1 failed" >&2
		set terminal svg size 860,420 font "sans-serif,13" background "#ffffff"
		set output "$dir/$1"
		set datafile separator "\t"
		set datafile missing "?"
		set title "$2"
		set ylabel "$3"
		set style data histogram
		set style histogram clustered gap 1
		set style fill solid 0.9 border -1
		set boxwidth 0.9
		set grid ytics lc rgb "#dddddd"
		set key outside top center horizontal
		set xtics rotate by -20
		set yrange [0:*]
		colour(name) = name eq "ppdb" ? 0x1f6fb4 : name eq "lmdb" ? 0xe08214 : name eq "rocksdb" ? 0x7f7f7f : 0xfdb863
		names = "$(head -1 "$data" | cut -f 2- | tr '\t' ' ')"
		${4:-}
		plot for [i=2:$columns] "$data" skip 1 using i:xtic(1) title word(names, i-1) lc rgb colour(word(names, i-1))
	END
}

pivot 5 1e6 readrandom readrandom-zipf multireadrandom
chart bench-read.svg "Random reads" "million gets/s"
pivot 5 1e6 readseq seekrandom@100
chart bench-scan.svg "Full scan, and ranges of 100" "million entries/s"
pivot 5 1e3 load overwrite fillrandom fillsync
chart bench-write.svg "Writes: visible, and durable (fillsync)" "thousand puts/s, logarithmic" \
	"set logscale y; set yrange [0.05:*]"
pivot 7 1e3 readrandom seekrandom overwrite fillrandom fillsync
chart bench-latency.svg "Latency, 99th percentile" "microseconds, logarithmic" \
	"set logscale y; set yrange [0.1:*]"
