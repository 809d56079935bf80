//! The scripts by which shells ask what may come next. They know nothing of commands: the program itself answers
//! (`complete`), so that a script never grows old, and names of containers and images are those of this moment.
//!
//! What is typed is data here: none of the scripts evaluates it.

/// The shells that there is a script for.
pub const SHELLS: [&str; 3] = ["bash", "fish", "zsh"];

/// The script of a shell, if there is one.
#[must_use]
pub fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(BASH),
        "fish" => Some(FISH),
        "zsh" => Some(ZSH),
        _ => None,
    }
}

const BASH: &str = r#"# Completion of shim for bash. For one session: source <(shim completion bash). For good: this file as
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
"#;

const ZSH: &str = r#"#compdef shim
# Completion of shim for zsh. For one session: source <(shim completion zsh). For good: this file as _shim in a folder of
# $fpath, such as /usr/share/zsh/vendor-completions.

_shim() {
    local line number=4
    local -a words_so_far plain described options
    words_so_far=("${(@)words[2,CURRENT]}")
    words_so_far=("${(@Q)words_so_far}")
    for line in "${(@f)$("${words[1]/#\~/$HOME}" __complete -- "${words_so_far[@]}" 2>/dev/null)}"; do
        case $line in
        :[0-9]*) number=${line#:} ;;
        *$'\t'*) described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        ?*) plain+=("$line") ;;
        esac
    done
    ((number & 2)) && options=(-S '')
    if (($#described)); then
        _describe -t commands 'shim' described "${options[@]}"
    fi
    if (($#plain)); then
        compadd "${options[@]}" -a plain
    fi
    if ((!(number & 4) && !$#described && !$#plain)); then
        # Behind "--output=" too.
        compset -P '--*='
        _files
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _shim "$@"
else
    compdef _shim shim
fi
"#;

const FISH: &str = r#"# Completion of shim for fish. For one session: shim completion fish | source. For good: this file as
# ~/.config/fish/completions/shim.fish or /usr/share/fish/vendor_completions.d/shim.fish.

function __shim_ask
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --cut-at-cursor --current-token)
    set -l lines (command shim __complete -- $words[2..-1] "$current" 2>/dev/null)
    set -l number 4
    set -g __shim_words
    for line in $lines
        if string match --quiet --regex '^:[0-9]+$' -- $line
            set number (string sub --start 2 -- $line)
        else
            set --append __shim_words $line
        end
    end
    # Files where there are no words and files are meant.
    test (count $__shim_words) -gt 0 -o $number -ge 4
end

complete --command shim --erase
complete --command shim --condition __shim_ask --no-files --arguments '$__shim_words'
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_that_asks_the_program() {
        for shell in SHELLS {
            assert!(script(shell).is_some_and(|script| script.contains("__complete")), "{shell}");
        }
        assert_eq!(script("csh"), None);
    }
}
