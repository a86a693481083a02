# Completion of upswap(1) for bash. What there is to complete comes from the program's own tables
# (upswap --words) and from the daemon.

_upswap_services() {
    upswap "$@" --json status 2>/dev/null | grep -oE '"service": ?"[a-z0-9-]+"' | cut -d '"' -f 4 | uniq
}

_upswap() {
    local word=${COMP_WORDS[COMP_CWORD]} command= operands=0 socket=() i words
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --socket) socket=(-s "${COMP_WORDS[++i]}") ;;
        -*) ;;
        *) if [ -z "$command" ]; then command=${COMP_WORDS[i]}; else operands=$((operands + 1)); fi ;;
        esac
    done
    words=$(upswap --words $command 2>/dev/null) || return
    if [ -n "$command" ]; then
        case $operands,$word,${words%%$'\n'*} in
        *,-*,*) words=${words#*$'\n'} ;;
        0,*,service) words=$(_upswap_services "${socket[@]}") ;;
        0,*,file) COMPREPLY=($(compgen -f -- "$word")); return ;;
        *) return ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}

complete -F _upswap upswap
