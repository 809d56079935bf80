//! `--env`, `--env-file` and labels, which share their grammar.

use crate::error::{Error, Result};

/// A variable and its value; None is to be taken from the caller's environment.
pub type Variable = (String, Option<String>);

/// `NAME=value`, or `NAME`.
///
/// # Errors
/// Docker's words.
pub fn variable(text: &str) -> Result<Variable> {
    match text.split_once('=') {
        Some(("", _)) => Err(Error::usage(format!("invalid environment variable: {text}"))),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None if text.is_empty() => Err(Error::usage("invalid environment variable: ")),
        None => Ok((text.to_owned(), None)),
    }
}

/// The lines of a file: variables, comments behind `#`, empty ones.
///
/// # Errors
/// Docker's words, with the number of the line.
pub fn file(text: &str) -> Result<Vec<Variable>> {
    let mut variables = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(Error::usage(format!("line {}: no variable name on line '{line}'", number + 1)));
        }
        if name.contains(char::is_whitespace) {
            return Err(Error::usage(format!("line {}: variable '{name}' contains whitespaces", number + 1)));
        }
        variables.push(variable(line)?);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_docker_reads_them() {
        let of = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(variable("A=b=c").unwrap(), of("A", Some("b=c")));
        assert_eq!(variable("A=").unwrap(), of("A", Some("")));
        assert_eq!(variable("A").unwrap(), of("A", None));
        assert!(variable("=b").is_err() && variable("").is_err());
        let text = "\u{feff}A=1\n# B=2\n\n  C= x \r\nHOME\nD=#no comment\n";
        let wanted =
            [of("A", Some("1")), of("C", Some(" x ")), of("HOME", None), of("D", Some("#no comment"))];
        assert_eq!(file(text).unwrap(), wanted);
        assert!(file("A=1\n=2").unwrap_err().to_string().contains("line 2: no variable name on line '=2'"));
        assert!(file("A B=1").unwrap_err().to_string().contains("variable 'A B' contains whitespaces"));
    }
}
