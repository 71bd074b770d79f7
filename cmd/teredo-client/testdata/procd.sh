# What OpenWrt's shell library does for an init script, as far as ours uses it. CONFIG is the file of settings, SCRIPT the init
# script. It prints the parameters of each instance, one word a line.

config_load() { :; }

# words SECTION KIND NAME: prints the values of an option or list.
words() {
	awk -v section="$1" -v kind="$2" -v name="$3" '
		function unquoted(s) { gsub(/^'\''|'\''$/, "", s); return s }
		$1 == "config" { in_section = unquoted($3) == section }
		in_section && $1 == kind && $2 == name { sub(/^[ \t]*[a-z]+[ \t]+[a-z0-9_]+[ \t]+/, ""); print unquoted($0) }' "$CONFIG"
}
config_get() { eval "$1=\$(words \"\$2\" option \"\$3\")"; }
config_get_bool() {
	config_get "$1" "$2" "$3"
	eval "case \$$1 in 1|on|true|yes|enabled) $1=1;; 0|off|false|no|disabled) $1=0;; *) $1=\$4;; esac"
}
config_list_foreach() {
	function=$3
	extra=$4
	list=$(words "$1" list "$2")
	for item in $list; do "$function" "$item" "$extra"; done
}
config_foreach() { for section in $(awk -v type="$2" '$1 == "config" && $2 == type { gsub("'\''", "", $3); print $3 }' "$CONFIG"); do "$1" "$section"; done; }

procd_open_instance() { echo "instance $1"; }
procd_close_instance() { echo end; }
procd_set_param() { echo "set $1"; shift; printf '%s\n' "$@"; }
procd_append_param() { echo "append $1"; shift; printf '%s\n' "$@"; }
mkdir() { :; }

. "$SCRIPT"
start_service
