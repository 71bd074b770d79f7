#compdef PROGRAM
# Completion of PROGRAM for zsh. The program itself knows what a word can become.
FUNCTION() {
    local line colon='\:'
    local -a candidates
    for line in "${(@f)$(PROGRAM complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            [[ $PREFIX == --*=* ]] && compset -P '*='
            _files
            return
        fi
        [[ -n $line ]] && candidates+=("${${line//:/$colon}/$'\t'/:}")
    done
    _describe -V PROGRAM candidates
}
if [[ $funcstack[1] == FUNCTION ]]; then
    FUNCTION "$@"
else
    compdef FUNCTION PROGRAM
fi
