# Completion of shim for fish. For one session: shim completion fish | source. For good: this file as
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
