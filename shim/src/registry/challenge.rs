//! What a registry wants to be shown: the `WWW-Authenticate` header (RFC 7235, section 2.1). Pure.

/// One challenge that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password.
    Basic,
    /// A token, which this server gives.
    Bearer {
        /// The token server's address.
        realm: String,
        /// What the registry calls itself there.
        service: Option<String>,
        /// What the token has to be good for.
        scope: Option<String>,
    },
}

/// The best of all challenges in these headers: a token is preferred, because it says less than a password.
pub fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for challenge in headers.flat_map(parse) {
        match challenge {
            Challenge::Bearer { .. } => return Some(challenge),
            Challenge::Basic => found = Some(Challenge::Basic),
        }
    }
    found
}

/// All challenges of a header; what is not known is passed over.
fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (scheme, mut behind) = word(rest);
        if scheme.is_empty() {
            break;
        }
        let mut parameters = Vec::new();
        loop {
            let trimmed = behind.trim_start_matches([' ', '\t', ',']);
            let (name, after) = word(trimmed);
            let Some(value) = after.trim_start().strip_prefix('=').filter(|_| !name.is_empty()) else {
                // No parameter: the next challenge, or the end.
                behind = trimmed;
                break;
            };
            let (value, after) = quoted_or_word(value.trim_start());
            parameters.push((name.to_ascii_lowercase(), value));
            behind = after;
        }
        let parameter =
            |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        match (scheme.to_ascii_lowercase().as_str(), parameter("realm")) {
            ("basic", _) => found.push(Challenge::Basic),
            ("bearer", Some(realm)) => {
                let (service, scope) = (parameter("service"), parameter("scope"));
                found.push(Challenge::Bearer { realm, service, scope });
            }
            _ => {}
        }
        if behind.len() >= rest.len() {
            break;
        }
        rest = behind;
    }
    found
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|char: char| !(char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(char)));
    text.split_at(end.unwrap_or(text.len()))
}

fn quoted_or_word(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = word(text);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, char)| char)),
            _ => value.push(char),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn challenges_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let table = [
            (
                hub,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                )],
            ),
            (r#"Basic realm="x""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Negotiate, Basic realm="a, b", bearer Realm=https://h/t , service="q\"q""#,
                vec![Challenge::Basic, bearer("https://h/t", Some("q\"q"), None)],
            ),
            ("Bearer service=x", vec![]),
            (r#"Digest qop="auth", nonce="x""#, vec![]),
            ("", vec![]),
            (r#"Bearer realm="unfinished"#, vec![bearer("unfinished", None, None)]),
            ("=\"\",,,", vec![]),
        ];
        for (header, challenges) in table {
            assert_eq!(parse(header), challenges, "{header}");
        }
        assert_eq!(best(["Basic", hub].into_iter()), parse(hub).pop());
        assert_eq!(best(std::iter::empty()), None);
    }
}
