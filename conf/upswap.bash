# Completion of upswap(1) for bash. What there is to complete comes from the program's own tables
# (upswap --words) and from the daemon.

_upswap_services() {
    upswap "$@" --json status 2>/dev/null | grep -oE '"service": ?"[a-z0-9-]+"' | cut -d '"' -f 4 | uniq
}

_upswap() {
    local word=${COMP_WORDS[COMP_CWORD]} line=() socket=() inside= i part words
    COMPREPLY=()
    for part in "${COMP_WORDS[@]:1:COMP_CWORD}"; do # bash has split words at = and :
        if [[ ${#line[@]} -gt 0 && ( -n $inside || $part == [=:]* ) ]]; then
            line[${#line[@]} - 1]+=$part
        else
            line+=("$part")
        fi
        [[ $part == *[=:] ]] && inside=1 || inside=
    done
    [[ ${line[${#line[@]} - 1]} == "$word" ]] || return # inside of such a word
    unset "line[${#line[@]} - 1]"
    for ((i = 0; i < ${#line[@]}; i++)); do
        case ${line[i]} in
        -s | --socket) socket=(-s "${line[++i]}") ;;
        --socket=*) socket=("${line[i]}") ;;
        esac
    done
    words=$(upswap --words "${line[@]}" 2>/dev/null) || return
    case $word,${words%%$'\n'*} in
    *,value)
        [[ ${line[${#line[@]} - 1]} =~ ^(-s|--socket)$ ]] && COMPREPLY=($(compgen -f -- "$word"))
        return
        ;;
    -*) words=${words#*$'\n'} ;;
    *,word) words=$(sed '1d; /^-/d' <<<"$words") ;;
    *,service) words=$(_upswap_services "${socket[@]}") ;;
    *,file) COMPREPLY=($(compgen -f -- "$word")); return ;;
    *,none | *,other) return ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}

complete -F _upswap upswap
