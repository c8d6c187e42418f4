#!/bin/bash
# Prints real records in the load format of ppdb (KEY<TAB>VALUE a line), each key once, sorted by key as bytes:
#   deb/NAME=VERSION:ARCH   Debian's description of every package that apt knows (apt-cache dumpavail)
#   oui/PREFIX              who owns a prefix of network addresses (the IEEE registry, Debian package ieee-data)
set -u -o pipefail
export LC_ALL=C

# Text that goes into a line: backslash and tab escaped, other control bytes made spaces, only valid UTF-8 left.
escape() {
	iconv -c -f UTF-8 -t UTF-8 | sed -e 's/\r$//' -e 's/\\/\\\\/g' -e 's/\t/\\t/g' -e 's/[\x01-\x08\x0b-\x1f\x7f]/ /g'
}

packages() {
	apt-cache dumpavail | escape | awk '
		function flush() {
			if (name != "" && text != "")
				print "deb/" name "=" version ":" arch "\t" text
			name = version = arch = text = ""
		}
		/^$/ { flush(); next }
		/^Package: / { name = substr($0, 10) }
		/^Version: / { version = substr($0, 10) }
		/^Architecture: / { arch = substr($0, 15) }
		{ text = text (text == "" ? "" : "\\n") $0 }
		END { flush() }'
}

prefixes() {
	sed -e 's/\r$//' /usr/share/ieee-data/oui.txt | iconv -c -f UTF-8 -t UTF-8 | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' \
		-e 's/[[:space:]][[:space:]]*/ /g' -e 's/\\/\\\\/g' -e 's/[\x01-\x1f\x7f]/ /g' | awk '
		function flush() {
			if (key != "")
				print "oui/" key "\t" text
			key = text = ""
		}
		/\(hex\)/ {
			flush()
			key = $1
			gsub(/-/, "", key)
			text = substr($0, index($0, "(hex)") + 6)
			next
		}
		/^$/ { flush(); next }
		key != "" && !/\(base 16\)/ { text = text "\\n" $0 }
		END { flush() }'
}

{ packages; prefixes; } | sort -t '	' -k 1,1 -u
