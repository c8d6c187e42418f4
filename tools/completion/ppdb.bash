# bash completion of ppdb, ppdbd and ppdb-exporter: commands, options, stores, tables, keys, bookmarks, workloads.
# All of it is asked of the programs (--help, once a shell) and of the store, so a new command or option needs nothing here.
# Installed to share/bash-completion/completions; or: source tools/completion/ppdb.bash

declare -gA _ppdb_said

# _ppdb_help WORD...: what they say to --help, into $help
_ppdb_help() {
	[ -n "${_ppdb_said[$*]+set}" ] || _ppdb_said[$*]=$("$@" --help 2>/dev/null </dev/null)
	help=${_ppdb_said[$*]}
}

_ppdb_options() { grep -oE -e '(^|[^[:alnum:]-])--[a-z][a-z-]*' <<<"$help" | grep -oE -e '--[a-z-]+' | sort -u; }
_ppdb_terms() { sed -nE 's/^  ([a-z][a-z0-9-]*)  +[^ ].*/\1/p' <<<"$help"; }

# What the usage offers as first words: "table create|change NAME [...] | drop NAME"
_ppdb_verbs() { sed -nE "1s/^usage: .* $command //p" <<<"$help" | tr '|' '\n' | sed -nE 's/^[ []*([a-z]+)\b.*/\1/p'; }

_ppdb_stores() {
	local file
	for file in /dev/shm/ppdb-"$UID"/*.arena; do
		file=${file##*/}
		echo "${file%.arena}"
	done
	for file in "$([ "$UID" -eq 0 ] && echo /var/lib || echo "${XDG_DATA_HOME:-$HOME/.local/share}")"/ppdb/*/STORE; do
		file=${file%/STORE}
		echo "${file##*/}"
	done
}

# _ppdb_offer WORDS: those that begin with what is being typed, quoted where the shell needs it
_ppdb_offer() {
	local word
	while IFS= read -r word; do
		[[ $word == "$cur"* && $word != '*' && -n $word ]] && COMPREPLY+=("$(printf %q "$word")")
	done < <(sort -u <<<"$1")
}

_ppdb_files() { mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames 2>/dev/null; }
_ppdb_dirs() { mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames 2>/dev/null; }

_ppdb() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev='' program=${COMP_WORDS[0]} command='' help i word place=0 args=()
	local ask=("$program")
	COMPREPLY=()
	[ "$COMP_CWORD" -gt 0 ] && prev=${COMP_WORDS[COMP_CWORD - 1]}
	# --table=T comes as three words
	[ "$cur" = = ] && cur=''
	[ "$prev" = = ] && prev=${COMP_WORDS[COMP_CWORD - 2]}

	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		-n | --name | --table)
			[ "${COMP_WORDS[i + 1]}" = = ] && ((i++))
			((++i < COMP_CWORD)) && args+=("$word" "${COMP_WORDS[i]}")
			[ "$word" != --table ] && ask=("$program" -n "${COMP_WORDS[i]}")
			;;
		-*) ;;
		*)
			if [ -z "$command" ]; then command=$word; else ((place++)); fi
			;;
		esac
	done
	# a store that does not answer must not keep the terminal waiting
	ask=(timeout 2 "${ask[@]}")

	case $prev in
	-n | --name) _ppdb_offer "$(_ppdb_stores)"; return ;;
	--table) _ppdb_offer "$("${ask[@]}" tables --json 2>/dev/null | grep -oE '"name": *"[^"]*"' | sed -E 's/^"name": *"(.*)"$/\1/')"; return ;;
	--bookmark) _ppdb_offer "$("${ask[@]}" bookmark 2>/dev/null | cut -f 1)"; return ;;
	--format) _ppdb_offer $'ppdb\nmdb'; return ;;
	--offline | -d | --data-dir) _ppdb_dirs; return ;;
	--arena | --config | -c | --log | --record | --html) _ppdb_files; return ;;
	esac

	case ${program##*/} in
	ppdbd | ppdb-exporter)
		_ppdb_help "$program"
		_ppdb_offer "$(_ppdb_options)"
		return
		;;
	esac
	if [ -z "$command" ]; then
		_ppdb_help "$program"
		_ppdb_offer "$(_ppdb_terms)"$'\n'"$([[ $cur == -* ]] && _ppdb_options)"
		return
	fi
	if [[ $cur == -* ]]; then
		_ppdb_help "$program" "$command"
		word=$(_ppdb_options)
		[ "$command" = start ] && { _ppdb_help "${program%ppdb}ppdbd"; word+=$'\n'$(_ppdb_options); }
		_ppdb_offer "$word"$'\n--help\n--json\n--name\n--autostart\n--escaped'
		return
	fi
	case $command:$place in
	table:0 | bookmark:0) _ppdb_help "$program" "$command"; _ppdb_offer "$(_ppdb_verbs)" ;;
	table:1) _ppdb_offer "$("${ask[@]}" tables --json 2>/dev/null | grep -oE '"name": *"[^"]*"' | sed -E 's/^"name": *"(.*)"$/\1/')" ;;
	bookmark:1) _ppdb_offer "$("${ask[@]}" bookmark 2>/dev/null | cut -f 1)" ;;
	load:0 | restore:0 | batch:0 | wal:0) _ppdb_files ;;
	backup:0) _ppdb_dirs ;;
	bench:*)
		_ppdb_help "$program" bench
		help=${help##*Workloads:}
		_ppdb_offer "$(_ppdb_terms)"
		;;
	get:0 | put:0 | del:0 | cas:0 | incr:0 | touch:0)
		_ppdb_offer "$("${ask[@]}" scan --keys --limit 100 --prefix "$cur" "${args[@]}" 2>/dev/null)"
		;;
	esac
}

complete -F _ppdb ppdb ppdbd ppdb-exporter
