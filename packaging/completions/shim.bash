# Completion of shim for bash. For one session: source <(shim completion bash). For good: this file as
# /usr/share/bash-completion/completions/shim or, without that package, read by ~/.bashrc.

_shim() {
    local rest=${COMP_LINE:0:COMP_POINT} word trimmed line number=4 i
    local -a words=() lines=()
    # bash takes "--network=host" and "box:1" for several words: what stands together is one.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        trimmed=${rest#"${rest%%[![:blank:]]*}"}
        [[ $trimmed == "$word"* ]] || word=$trimmed
        if ((i == 0)) || [[ $trimmed != "$rest" ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
        rest=${trimmed#"$word"}
    done
    COMPREPLY=()
    while IFS='' read -r line; do
        case $line in
        :[0-9]*) number=${line#:} ;;
        *) lines+=("$line") ;;
        esac
    done < <("${words[0]/#\~/$HOME}" __complete -- "${words[@]:1}" 2>/dev/null)
    # What bash will put in the place of: the part behind the last of these signs.
    local current=${words[${#words[@]} - 1]} begin='' sign
    for sign in = :; do
        if [[ $current == *"$sign"* && $COMP_WORDBREAKS == *"$sign"* ]]; then
            word=${current%"${current##*"$sign"}"}
            ((${#word} > ${#begin})) && begin=$word
        fi
    done
    local tab=$'\t' longest=0
    for line in "${lines[@]}"; do
        word=${line%%"$tab"*}
        ((${#word} > longest)) && longest=${#word}
    done
    for line in "${lines[@]}"; do
        word=${line%%"$tab"*}
        if ((${#lines[@]} > 1 && COMP_TYPE == 63)) && [[ $line == *"$tab"* ]]; then
            # Only shown: a list of all that it may be.
            printf -v word '%-*s  (%s)' "$longest" "$word" "${line#*"$tab"}"
            word=${word:0:${COLUMNS:-80} - 1}
        fi
        COMPREPLY+=("${word#"$begin"}")
    done
    if ((number & 2)); then
        compopt -o nospace
    fi
    if ((number & 4)); then
        compopt +o default
    fi
}

complete -o default -F _shim shim
