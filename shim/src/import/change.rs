//! `--change`: instructions of a Dockerfile that describe how an image wants to be run.
//!
//! Source: the Dockerfile reference (docs.docker.com/reference/dockerfile), and which of its instructions docker takes
//! here. Pure. Variables (`$PATH`) are not replaced: there is no image below whose variables they could be.

use crate::error::{Context, Error, Result};
use crate::image::config::{Empty, Execution, Healthcheck};

/// Carries out one instruction, such as `CMD ["sh"]`.
///
/// # Errors
/// An instruction that docker does not take here, or one that is not well-formed.
pub fn apply(execution: &mut Execution, instruction: &str) -> Result<()> {
    let line = instruction.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (name, rest) = (name.to_uppercase(), rest.trim());
    let during = || format!("--change {instruction:?}");
    if !matches!(
        name.as_str(),
        "CMD"
            | "ENTRYPOINT"
            | "ENV"
            | "EXPOSE"
            | "HEALTHCHECK"
            | "LABEL"
            | "ONBUILD"
            | "STOPSIGNAL"
            | "USER"
            | "VOLUME"
            | "WORKDIR"
    ) {
        return Err(Error::usage(format!("{} is not a valid change command", name.to_lowercase())));
    }
    if rest.is_empty() {
        return Err(Error::usage(format!("{name} requires at least one argument"))).during(during);
    }
    carry_out(execution, &name, rest).during(during)
}

fn carry_out(execution: &mut Execution, name: &str, rest: &str) -> Result<()> {
    match name {
        "CMD" => execution.cmd = Some(command(rest)),
        "ENTRYPOINT" => execution.entrypoint = Some(command(rest)),
        "ENV" => {
            for (key, value) in pairs(rest)? {
                let all = execution.env.get_or_insert_default();
                let prefix = format!("{key}=");
                all.retain(|known| !known.starts_with(&prefix));
                all.push(prefix + &value);
            }
        }
        "LABEL" => execution.labels.get_or_insert_default().extend(pairs(rest)?),
        "EXPOSE" => {
            for word in words(rest)? {
                execution
                    .exposed_ports
                    .get_or_insert_default()
                    .extend(ports(&word)?.map(|port| (port, Empty {})));
            }
        }
        "VOLUME" => {
            let paths = match list(rest) {
                Some(paths) => paths,
                None => words(rest)?,
            };
            if paths.iter().any(String::is_empty) {
                return Err(Error::usage("VOLUME specified can not be an empty string"));
            }
            execution.volumes.get_or_insert_default().extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => execution.user = Some(single(rest)?),
        "STOPSIGNAL" => execution.stop_signal = Some(single(rest)?),
        "WORKDIR" => {
            let path = single(rest)?;
            let above =
                execution.working_dir.clone().filter(|above| !above.is_empty()).unwrap_or_else(|| "/".into());
            // Relative to the one before, as in a Dockerfile.
            let joined =
                if path.starts_with('/') { path } else { format!("{}/{path}", above.trim_end_matches('/')) };
            execution.working_dir = Some(joined);
        }
        "ONBUILD" => execution.on_build.get_or_insert_default().push(rest.to_owned()),
        _ => execution.healthcheck = Some(healthcheck(rest)?),
    }
    Ok(())
}

/// A JSON list of words, or a line for the shell.
fn command(rest: &str) -> Vec<String> {
    list(rest).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()])
}

fn list(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str(rest).ok()
}

fn single(rest: &str) -> Result<String> {
    let mut words = words(rest)?;
    match words.len() {
        1 => Ok(words.remove(0)),
        _ => Err(Error::usage("it requires exactly one argument")),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(word: &str) -> Result<impl Iterator<Item = String> + use<>> {
    let wrong = || Error::usage(format!("invalid containerPort: {word}"));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Error::usage(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(move |port| format!("{port}/{protocol}")))
}

/// `key=value other="a value"`, or the old form `key a value`.
fn pairs(rest: &str) -> Result<Vec<(String, String)>> {
    let first = rest.split(char::is_whitespace).next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = rest.split_once(char::is_whitespace).ok_or_else(|| {
            Error::usage(format!("Syntax error - can't find = in {rest:?}. Must be of the form: name=value"))
        })?;
        return Ok(vec![(key.to_owned(), unquoted(value.trim())?)]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(Error::usage("names can not be blank")),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Error::usage(format!(
            "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
        ))),
    };
    words(rest)?.into_iter().map(pair).collect()
}

/// Words as in a Dockerfile: quotes and backslashes keep spaces.
fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let mut quote: Option<char> = None;
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), char) if char == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None | Some('"'), '$') => {
                return Err(Error::usage(
                    "variables are not replaced here: put a backslash before the dollar sign",
                ));
            }
            (None, char) if char.is_whitespace() => words.extend(word.take()),
            (_, char) => word.get_or_insert_default().push(char),
        }
    }
    if quote.is_some() {
        return Err(Error::usage("unexpected end of statement while looking for matching quote"));
    }
    words.extend(word);
    Ok(words)
}

/// All of a line, without its quotes and backslashes.
fn unquoted(text: &str) -> Result<String> {
    Ok(words(text)?.join(" "))
}

/// `NONE`, or options and `CMD` with a command.
fn healthcheck(rest: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut left = rest;
    while let Some(flag) = left.strip_prefix("--") {
        let (flag, behind) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) =
            flag.split_once('=').ok_or_else(|| Error::usage(format!("Missing a value on flag: {flag}")))?;
        let target = match name {
            "interval" => &mut check.interval,
            "timeout" => &mut check.timeout,
            "start-period" => &mut check.start_period,
            "start-interval" => &mut check.start_interval,
            "retries" => {
                check.retries =
                    value.parse().map_err(|_| Error::usage(format!("invalid --retries {value:?}")))?;
                left = behind.trim_start();
                continue;
            }
            _ => return Err(Error::usage(format!("Unknown flag: {name}"))),
        };
        *target =
            nanoseconds(value).ok_or_else(|| Error::usage(format!("invalid duration --{name}={value}")))?;
        left = behind.trim_start();
    }
    let (kind, command) = left.split_once(char::is_whitespace).unwrap_or((left, ""));
    check.test = Some(match (kind.to_uppercase().as_str(), command.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("NONE", _) => return Err(Error::usage("HEALTHCHECK NONE takes no arguments")),
        ("CMD", "") => return Err(Error::usage("Missing command after HEALTHCHECK CMD")),
        ("CMD", command) => match list(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        (kind, _) => return Err(Error::usage(format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)"))),
    });
    Ok(check)
}

fn nanoseconds(text: &str) -> Option<i64> {
    i64::try_from(crate::time::duration(text)?.as_nanos()).ok().filter(|duration| *duration >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(instructions: &[&str]) -> serde_json::Value {
        let mut execution = Execution::default();
        for instruction in instructions {
            apply(&mut execution, instruction).unwrap();
        }
        let mut value = serde_json::to_value(execution).unwrap();
        value.as_object_mut().unwrap().retain(|_, member| !member.is_null());
        value
    }

    #[test]
    fn instructions_become_the_configuration() {
        let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
        for (instructions, config) in [
            (&["CMD [\"sh\", \"-c\", \"x\"]"][..], r#"{"Cmd":["sh","-c","x"]}"#),
            (&["cmd echo hi"], r#"{"Cmd":["/bin/sh","-c","echo hi"]}"#),
            (&["ENTRYPOINT [\"/x\"]"], r#"{"Entrypoint":["/x"]}"#),
            (
                &["ENV A=1 B=\"two words\" C=x\\ y", "ENV A 3 \"4\""],
                r#"{"Env":["B=two words","C=x y","A=3 4"]}"#,
            ),
            (&["LABEL a.b=1 'c d'=e", "LABEL a.b="], r#"{"Labels":{"a.b":"","c d":"e"}}"#),
            (
                &["EXPOSE 80 81/udp", "EXPOSE 7-8/tcp"],
                r#"{"ExposedPorts":{"7/tcp":{},"8/tcp":{},"80/tcp":{},"81/udp":{}}}"#,
            ),
            (&["VOLUME /a /b", "VOLUME [\"/c d\"]"], r#"{"Volumes":{"/a":{},"/b":{},"/c d":{}}}"#),
            (&["USER 1000:1000", "STOPSIGNAL SIGINT"], r#"{"User":"1000:1000","StopSignal":"SIGINT"}"#),
            (&["WORKDIR /a", "WORKDIR b"], r#"{"WorkingDir":"/a/b"}"#),
            (&["ONBUILD RUN x"], r#"{"OnBuild":["RUN x"]}"#),
            (&["HEALTHCHECK NONE"], r#"{"Healthcheck":{"Test":["NONE"]}}"#),
            (
                &["HEALTHCHECK --interval=5s --retries=3 CMD curl -f x"],
                r#"{"Healthcheck":{"Test":["CMD-SHELL","curl -f x"],"Interval":5000000000,"Retries":3}}"#,
            ),
        ] {
            assert_eq!(applied(instructions), json(config), "{instructions:?}");
        }
    }

    #[test]
    fn what_docker_does_not_take_or_means_nothing_is_refused() {
        for (instruction, reason) in [
            ("RUN x", "run is not a valid change command"),
            ("", " is not a valid change command"),
            ("CMD", "CMD requires at least one argument"),
            ("ENV a", "Must be of the form: name=value"),
            ("ENV =x", "names can not be blank"),
            ("ENV a=\"x", "matching quote"),
            ("ENV PATH=$PATH:/x", "variables are not replaced here"),
            ("EXPOSE x", "invalid containerPort: x"),
            ("EXPOSE 80/x", "invalid proto: x"),
            ("USER a b", "exactly one argument"),
            ("HEALTHCHECK x", "Unknown type"),
            ("HEALTHCHECK --interval=x CMD y", "invalid duration"),
        ] {
            let error = apply(&mut Execution::default(), instruction).expect_err(instruction).to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{instruction}: {error}");
        }
    }
}
