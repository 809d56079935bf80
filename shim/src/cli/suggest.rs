//! What somebody may have meant by a command that there is not: names that a few slips of the fingers lead to. Pure.

use super::{GROUPS, Verb, help};

/// Slips that are taken for slips: more, and it is another word.
const SLIPS_MAX: usize = 2;

/// What may stand first on a command line.
pub(super) fn commands(verbs: &[&'static Verb]) -> Vec<&'static str> {
    let short = verbs.iter().flat_map(|verb| help::short_names(verb));
    short.chain(GROUPS.iter().map(|(group, _)| *group)).collect()
}

/// What may stand behind a group.
pub(super) fn commands_of(group: &str, verbs: &[&'static Verb]) -> Vec<&'static str> {
    help::commands_of(group, verbs).into_iter().map(|(name, _)| name).collect()
}

/// Those of the names that are like this word, the likest first.
pub(super) fn like<'a>(word: &str, names: &[&'a str]) -> Vec<&'a str> {
    // A word of two letters is two slips from any other.
    let most = SLIPS_MAX.min(word.chars().count().saturating_sub(1));
    let mut found: Vec<(usize, &str)> = names
        .iter()
        .map(|name| (slips(word, name), *name))
        .filter(|(slips, name)| *slips <= most || word.len() > 2 && name.starts_with(word))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|(_, name)| name).collect()
}

/// As docker tells it; nothing where nothing is alike.
pub(super) fn told(names: &[&str]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let lines: String = names.iter().map(|name| format!("  {name}\n")).collect();
    format!("Did you mean this?\n{lines}\n")
}

/// Letters that were left out, put in, replaced or exchanged with their neighbour, at least (the optimal string
/// alignment distance).
fn slips(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, char) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, wanted) in other.iter().enumerate() {
            let replaced = last[column] + usize::from(char != wanted);
            let mut least = replaced.min(last[column + 1] + 1).min(next[column] + 1);
            let is_exchanged = row > 0 && column > 0 && *char == other[column - 1] && one[row - 1] == *wanted;
            if is_exchanged {
                least = least.min(before_last[column - 1] + 1);
            }
            next.push(least);
        }
        before_last = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_are_counted() {
        for (one, other, count) in [
            ("strat", "start", 1),
            ("sop", "stop", 1),
            ("stop", "stop", 0),
            ("", "ps", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(slips(one, other), count, "{one} {other}");
            assert_eq!(slips(other, one), count, "{other} {one}");
        }
    }

    #[test]
    fn what_is_like_a_word_is_told_the_likest_first() {
        let names = ["start", "stats", "stop", "ps", "rm", "restart", "container"];
        assert_eq!(like("strat", &names), ["start", "stats"]);
        assert_eq!(like("cont", &names), ["container"]);
        assert_eq!(like("p", &names), [""; 0]);
        assert_eq!(like("xyz", &names), [""; 0]);
        assert_eq!(told(&["start"]), "Did you mean this?\n  start\n\n");
        assert_eq!(told(&[]), "");
    }
}
