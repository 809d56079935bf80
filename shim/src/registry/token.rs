//! Tokens, as token servers give them to whoever shows who he is.
//!
//! Sources: the distribution project's "Token Authentication Specification" and "Docker Registry v2 Bearer token
//! specification, OAuth2". What is asked of the server is built here, and its answer read; `client` asks. Pure.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::registry::credentials::Credentials;

/// What we call ourselves at token servers.
const CLIENT: &str = "caisson";

/// A question to a token server.
pub struct Question {
    /// The whole address.
    pub url: String,
    /// A form to be posted; without one, it is a GET.
    pub form: Option<String>,
    /// Name and password to be shown.
    pub basic: Option<(String, String)>,
}

/// What is asked for: a token for these scopes. `is_login` asks for an identity token beside it.
#[must_use]
pub fn question(
    realm: &str,
    service: Option<&str>,
    scopes: &[&str],
    credentials: Option<&Credentials>,
    is_login: bool,
) -> Question {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    fields.extend(service.map(|service| ("service", service)));
    if let Some(Credentials::IdentityToken(token)) = credentials {
        let scope = scopes.join(" ");
        fields.extend([("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLIENT)]);
        if !scopes.is_empty() {
            fields.push(("scope", &scope));
        }
        return Question { url: realm.to_owned(), form: Some(encode(&fields)), basic: None };
    }
    fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
    let basic = match credentials {
        Some(Credentials::Password(user, password)) => {
            fields.push(("account", user));
            Some((user.clone(), password.clone()))
        }
        _ => None,
    };
    if is_login {
        fields.extend([("client_id", CLIENT), ("offline_token", "true")]);
    }
    let separator = if realm.contains('?') { '&' } else { '?' };
    let query = encode(&fields);
    let url = if query.is_empty() { realm.to_owned() } else { format!("{realm}{separator}{query}") };
    Question { url, form: None, basic }
}

/// As a form or a query has it.
fn encode(fields: &[(&str, &str)]) -> String {
    let part = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect()
    };
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", part(name), part(value))).collect();
    fields.join("&")
}

/// What a token server gave.
#[derive(Deserialize)]
pub struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// In place of the password, from now on.
    pub refresh_token: Option<String>,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// What has no token in it.
    pub fn parse(bytes: &[u8]) -> Result<Answer> {
        serde_json::from_slice(bytes)
            // Without the text: a token may be in it.
            .map_err(|_| Error::invalid("the token server's answer is not what it has to be"))
    }

    /// The token.
    ///
    /// # Errors
    /// There is none, or none that could stand in a header.
    pub fn token(self) -> Result<String> {
        let token = self.token.filter(|token| !token.is_empty()).or(self.access_token).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid("the token server gave no token"));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_token_server() {
        let ask = |credentials: Option<&Credentials>, is_login: bool| {
            let scopes = ["repository:a/b:pull", "x"];
            let question = question("https://t/token", Some("r & s"), &scopes, credentials, is_login);
            (question.url, question.form, question.basic)
        };
        let url = "https://t/token?service=r%20%26%20s&scope=repository%3Aa%2Fb%3Apull&scope=x";
        assert_eq!(ask(None, false), (url.to_owned(), None, None));
        let password = Credentials::Password("u".into(), "p w".into());
        let basic = Some(("u".to_owned(), "p w".to_owned()));
        assert_eq!(ask(Some(&password), false), (format!("{url}&account=u"), None, basic.clone()));
        let login = format!("{url}&account=u&client_id=caisson&offline_token=true");
        assert_eq!(ask(Some(&password), true), (login, None, basic));
        let (url, form, basic) = ask(Some(&Credentials::IdentityToken("t+k".into())), false);
        let fields = "service=r%20%26%20s&grant_type=refresh_token&refresh_token=t%2Bk&client_id=caisson";
        assert_eq!((url.as_str(), basic), ("https://t/token", None));
        assert_eq!(form.unwrap(), format!("{fields}&scope=repository%3Aa%2Fb%3Apull%20x"));
        assert_eq!(question("https://t?a=b", None, &[], None, false).url, "https://t?a=b");
        assert_eq!(question("https://t?a=b", Some("s"), &[], None, false).url, "https://t?a=b&service=s");
    }

    #[test]
    fn answers_have_a_token_under_one_of_two_names() {
        let token = |text: &str| Answer::parse(text.as_bytes()).and_then(Answer::token);
        assert_eq!(token(r#"{"token":"a"}"#).unwrap(), "a");
        assert_eq!(token(r#"{"access_token":"b","expires_in":300}"#).unwrap(), "b");
        assert_eq!(token(r#"{"token":"","access_token":"b"}"#).unwrap(), "b");
        for text in ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":"a\r\nX: y"}"#, r#"{"token":1}"#] {
            assert!(token(text).is_err(), "{text}");
        }
    }
}
