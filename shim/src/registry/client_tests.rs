//! Addresses, redirects and pauses; what goes over the network is tested with whole commands.

use super::*;
use crate::registry::cancel::Cancel;
use crate::registry::response::retry_after;

#[test]
fn only_what_may_be_seen_of_an_address_is_shown() {
    for (url, text) in [
        ("https://h:1/a/b?X-Signature=secret#x", "https://h:1/a/b"),
        ("https://user:secret@h/a", "https://h/a"),
        ("http://h?secret", "http://h"),
        ("nothing", "nothing"),
    ] {
        assert_eq!(shown(url), text);
    }
}

#[test]
fn an_address_is_of_http_has_a_host_and_no_credentials() {
    for url in [
        "https://h/x",
        "http://127.0.0.1:5000/v2/",
        "https://[::1]:5000/",
        "https://h?x=y",
        "https://my_store.s3.example.org/x",
    ] {
        parse(url).unwrap();
    }
    for url in [
        "ftp://h/",
        "file:///etc/passwd",
        "https://u:secret@h/",
        "https://../x",
        "https://h/ x",
        "https:///x",
        "/x",
        "",
        "https://.h/",
    ] {
        let error = parse(url).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_redirect_leads_to_https_or_where_plain_http_is_permitted() {
    let cancel = Cancel::default();
    let settings = Settings { insecure_registries: vec!["r.lan".into()], ..Settings::default() };
    let network = Network::new(settings, &cancel, Patience::default());
    let client = Client::new(&network, "h", None, || Ok(None));
    let resolve =
        |base: &str, location: &str| client.resolve(base, location).map_err(|error| error.to_string());
    for (base, location, url) in [
        ("https://h/v2/x", "https://cdn/y?sig", "https://cdn/y?sig"),
        ("https://h/v2/x", "/y", "https://h/y"),
        ("https://h/v2/x?q", "y?z", "https://h/v2/y?z"),
        ("https://h/v2/x", "//cdn/y", "https://cdn/y"),
        ("http://localhost:1/x", "https://cdn/y", "https://cdn/y"),
        ("http://localhost:1/x", "http://127.0.0.1:2/y", "http://127.0.0.1:2/y"),
        ("http://localhost:1/x", "http://r.lan/y", "http://r.lan/y"),
    ] {
        assert_eq!(resolve(base, location).as_deref(), Ok(url));
    }
    for (base, location) in [
        ("https://h/x", "http://h/x"),
        ("https://h/x", "http://localhost/x"),
        ("http://localhost/x", "http://far.org/x"),
        ("https://h/x", "ftp://h/x"),
        ("https://h/x", "https://u:p@h/x"),
    ] {
        assert!(resolve(base, location).is_err(), "{location}");
    }
}

#[test]
fn the_same_server_is_the_same_scheme_host_and_port() {
    let same = |one: &str, other: &str| origin_of(&parse(one).unwrap()) == origin_of(&parse(other).unwrap());
    assert!(same("https://h/x", "https://H:443/y"));
    assert!(same("http://h:80", "http://h"));
    for other in ["http://h/", "https://h:5000/", "https://h.org/", "https://a.h/"] {
        assert!(!same("https://h/", other), "{other}");
    }
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let cancel = Cancel::default();
    let patience = Patience { pause: Duration::from_millis(1), ..Patience::default() };
    let network = Network::new(Settings::default(), &cancel, patience);
    let run = |mut answers: Vec<Attempt<u32>>| {
        let mut asked = 0;
        let result = network.retry(|| {
            asked += 1;
            answers.remove(0)
        });
        (asked, result.map_err(|error| error.to_string()))
    };
    let again =
        |after: Option<u64>| Err(Failure::Again(Error::invalid("busy"), after.map(Duration::from_millis)));
    let no = || Err(Failure::Final(Error::invalid("no")));
    assert_eq!(run(vec![Ok(1)]), (1, Ok(1)));
    assert_eq!(run(vec![again(None), again(Some(2)), Ok(1)]), (3, Ok(1)));
    assert_eq!(run(vec![again(None), no(), Ok(1)]), (2, Err("no".into())));
    assert_eq!(run((0..9).map(|_| again(None)).collect()), (5, Err("busy".into())));
    let (asked, result) = run(vec![again(Some(900_000)), Ok(1)]);
    assert_eq!((asked, result.unwrap_err().as_str()), (1, "it asks to wait 900 seconds: busy"));
    cancel.cancel();
    assert_eq!(run(vec![Ok(1)]).0, 0);
}

#[test]
fn a_pause_is_seconds_or_a_time() {
    assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
    assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(50);
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).unwrap();
    assert!((48..=50).contains(&retry_after(&text).unwrap().as_secs()), "{text}");
    for text in ["", "soon", "-1", "1.5"] {
        assert_eq!(retry_after(text), None, "{text}");
    }
}
