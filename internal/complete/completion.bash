# Completion of PROGRAM for bash. The program itself knows what a word can become.
FUNCTION() {
    local typed=${COMP_LINE:0:COMP_POINT} last='' breaks='' candidate
    local -a words
    # bash takes IPv6 addresses apart at their colons, so the line is read anew.
    read -ra words <<<"$typed"
    [[ $typed == *[[:space:]] ]] && words+=('')
    last=${words[-1]}
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        if [[ $candidate == :files ]]; then
            compopt -o default
            return
        fi
        # bash replaces only what follows the last such character.
        [[ -n $breaks ]] && candidate=${candidate#"${last%"${last##*["$breaks"]}"}"}
        COMPREPLY+=("$candidate")
    done < <(PROGRAM complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F FUNCTION PROGRAM
