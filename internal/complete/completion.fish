# Completion of PROGRAM for fish. The program itself knows what a word can become.
function FUNCTION
    set -l words (commandline -opc) (commandline -ct)
    set -l candidates (PROGRAM complete -- $words[2..] 2>/dev/null)
    if test "$candidates" = :files
        __fish_complete_path (string replace -r '^--[^=]*=' '' -- $words[-1])
        return
    end
    printf '%s\n' $candidates
end
complete -c PROGRAM -f -a '(FUNCTION)'
