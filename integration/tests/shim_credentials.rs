//! Who we are at registries: tokens of a token server, and a password that is typed at a terminal.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod pulled;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use integration::{
    Answer, Body, Fake, ImageMaker, Layout, Request, Running, Shim, Terminal, is_root, json, requires,
};
use pulled::{contents, layout, shim_call};
use rustix::process::Signal;

/// `user` with the password `pass word`, as a header has it.
const PASSWORD: &str = "dXNlcjpwYXNzIHdvcmQ=";
/// What `login` got in a password's place, and how a form has it.
const IDENTITY: (&str, &str) = ("identity/token+1=", "identity%2Ftoken%2B1%3D");
const SCOPE: &str = "repository%3Ateam%2Fbox%3Apull";

/// A token server that gives `token-1`, `token-2`, … to whoever asks as he should.
fn token_server(is_right: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Fake {
    let given = AtomicUsize::new(0);
    Fake::start(move |request| match is_right(request) {
        true => {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            Answer::bytes(json!({"access_token": format!("token-{number}"), "expires_in": 60}).to_string())
        }
        false => Answer::status(401),
    })
}

/// A registry that takes the tokens of this server. The first one expires in the middle of the first layer; from then
/// on layers are at the other host.
fn registry(layout: &Layout, tokens: &Fake, far: &Fake) -> Fake {
    let (layout, valid) = (layout.clone(), AtomicUsize::new(1));
    let (realm, far) = (format!("http://{}/token", tokens.host()), far.host());
    Fake::start(move |request| {
        let token = format!("Bearer token-{}", valid.load(Ordering::SeqCst));
        if request.header("authorization") != Some(&token) {
            let scope = "repository:team/box:pull";
            let challenge = format!("Bearer realm=\"{realm}\",service=\"a & b\",scope=\"{scope}\"");
            return Answer::status(401).header("WWW-Authenticate", challenge);
        }
        if !layout.layers.iter().any(|(digest, _)| request.target.ends_with(digest)) {
            return layout.answer(request);
        }
        if request.target.ends_with(&layout.layers[0].0) && valid.swap(2, Ordering::SeqCst) == 1 {
            let blob = layout.blob(&layout.layers[0].0);
            return Answer::status(200).body(Body::Cut(blob[..blob.len() / 2].to_vec(), blob.len()));
        }
        Answer::status(307).header("Location", format!("http://{far}{}", request.target))
    })
}

/// Another host: it wants to know more than it may, where it is asked for it.
fn far(layout: &Layout) -> Fake {
    let layout = layout.clone();
    Fake::start(move |request| layout.answer(request))
}

fn told(request: &Request) -> String {
    format!("{request:?}")
}

/// Pulls with this entry of `config.json` while the token expires; what was asked of the token server.
fn pull_with(entry: integration::Value, is_right: fn(&Request) -> bool, secrets: &[&str]) -> Vec<Request> {
    let shim = Shim::in_memory();
    let maker = ImageMaker::busybox().layer("a", |folder| fs::write(folder.join("a"), "a").unwrap());
    let layout = layout(&shim.folder().join("layout"), &maker);
    let (tokens, far) = (token_server(is_right), far(&layout));
    let registry = registry(&layout, &tokens, &far);
    fs::create_dir(shim.folder().join("docker")).unwrap();
    let config = json!({"auths": {registry.host(): entry, "other.test": {"auth": "dTpw"}}});
    fs::write(shim.folder().join("docker/config.json"), config.to_string()).unwrap();

    let name = format!("{}/team/box:1", registry.host());
    let output = shim_call(&shim, &["-D", "pull", &name]).output().expect_ok();
    assert_eq!(shim.stdout(&["images", "--format", "{{.ID}}", "--no-trunc"]), format!("{}\n", layout.config));
    let left = contents(&shim.root());
    assert!(
        left.keys().all(|path| !path.starts_with("ingest/") && !path.starts_with("leases/")),
        "{left:#?}"
    );
    // It went on where it was cut, by the new token.
    let digest = &layout.layers[0].0;
    let from: Vec<_> = far.requests().into_iter().filter(|one| one.target.ends_with(digest)).collect();
    assert_eq!(from[0].from(), Some(layout.layers[0].1 / 2), "{from:?}");
    for request in far.requests() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
    // Who may know what.
    for secret in secrets.iter().chain(&["token-1", "token-2", "dTpw"]) {
        assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{output}");
        assert!(!far.requests().iter().any(|request| told(request).contains(secret)), "{secret}");
    }
    for secret in secrets {
        assert!(!registry.requests().iter().any(|request| told(request).contains(secret)), "{secret}");
    }
    tokens.requests()
}

#[test]
fn an_identity_token_is_posted_and_again_when_the_token_expires() {
    requires!(is_root(), "unpacking layers needs root");
    fn is_right(request: &Request) -> bool {
        request.method == "POST"
            && request.target == "/token"
            && request.header("content-type") == Some("application/x-www-form-urlencoded")
            && request.header("authorization").is_none()
    }
    let entry = json!({"auth": "dXNlcjo=", "identitytoken": IDENTITY.0});
    let asked = pull_with(entry, is_right, &[IDENTITY.0, IDENTITY.1]);
    let form = format!(
        "service=a%20%26%20b&grant_type=refresh_token&refresh_token={}&client_id=caisson&scope={SCOPE}",
        IDENTITY.1
    );
    assert_eq!(asked.iter().map(|request| &request.body).collect::<Vec<_>>(), [&form, &form]);
}

#[test]
fn a_password_is_shown_to_the_token_server_and_again_when_the_token_expires() {
    requires!(is_root(), "unpacking layers needs root");
    fn is_right(request: &Request) -> bool {
        request.method == "GET" && request.header("authorization") == Some(&format!("Basic {PASSWORD}"))
    }
    let asked = pull_with(json!({"auth": PASSWORD}), is_right, &[PASSWORD, "pass word"]);
    let target = format!("/token?service=a%20%26%20b&scope={SCOPE}&account=user");
    assert_eq!(asked.iter().map(|request| &request.target).collect::<Vec<_>>(), [&target, &target]);
}

#[test]
fn a_token_server_that_redirects_leads_no_secret_away() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let far = Fake::start(|_| Answer::bytes(r#"{"token":"token-1"}"#));
    let target = format!("http://{}/take", far.host());
    let tokens = Fake::start(move |_| Answer::status(307).header("Location", &target));
    let realm = format!("http://{}/token", tokens.host());
    let registry = Fake::start(move |_| {
        Answer::status(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"s\""))
    });
    let name = format!("{}/team/box:1", registry.host());
    fs::create_dir(shim.folder().join("docker")).unwrap();
    for (entry, reason) in [
        (json!({"auth": "dXNlcjo=", "identitytoken": IDENTITY.0}), "a redirect of what was posted"),
        (json!({"auth": PASSWORD}), "pull access denied"),
    ] {
        let config = json!({"auths": {registry.host(): entry}});
        fs::write(shim.folder().join("docker/config.json"), config.to_string()).unwrap();
        let output = shim_call(&shim, &["pull", &name]).output().expect_code(1).expect_stderr(reason);
        assert!(!output.stderr.contains("identity") && !output.stderr.contains(PASSWORD), "{output}");
    }
    assert!(!tokens.requests().is_empty());
    for request in far.requests() {
        let told = told(&request);
        assert!(!told.contains("identity") && !told.contains(PASSWORD), "{told}");
    }
}

/// A registry that is `user`'s with the password `pass word`.
fn registry_of_user(layout: Option<Layout>) -> Fake {
    Fake::start(move |request| match (request.header("authorization"), &layout) {
        (Some(shown), Some(layout)) if shown == format!("Basic {PASSWORD}") => layout.answer(request),
        _ => Answer::status(401).header("WWW-Authenticate", "Basic realm=\"of user\""),
    })
}

/// `shim login` at a terminal, whose attributes are told too.
fn login(shim: &Shim, host: &str) -> (Terminal, Running, String) {
    let (terminal, other) = Terminal::pair();
    let attributes = terminal.attributes();
    let running = shim_call(shim, &["login", host]).on_terminal(other).spawn();
    (terminal, running, attributes)
}

#[test]
fn a_password_is_typed_unseen_and_pulls_until_the_logout() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = layout(&shim.folder().join("layout"), &ImageMaker::busybox());
    let registry = registry_of_user(Some(layout));
    let (host, name) = (registry.host(), format!("{}/box:1", registry.host()));
    let config = shim.folder().join("docker/config.json");

    let (mut terminal, running, attributes) = login(&shim, &host);
    terminal.read_until("Username: ");
    assert!(terminal.has_echo(), "a name is no secret");
    terminal.send("user\n");
    terminal.read_until("Password: ");
    assert!(!terminal.has_echo(), "the prompt is for who may type now");
    terminal.send("pass wrong\n");
    running.wait().expect_code(1);
    let shown = terminal.read_to_end();
    assert!(shown.contains("unauthorized") && !shown.contains("pass wrong"), "{shown:?}");
    assert_eq!(terminal.attributes(), attributes);
    assert!(!config.exists(), "nothing was kept");

    let (mut terminal, running, attributes) = login(&shim, &host);
    terminal.read_until("Username: ");
    terminal.send("user\n");
    terminal.read_until("Password: ");
    terminal.send("pass word\n");
    running.wait().expect_ok();
    let shown = terminal.read_to_end();
    assert!(shown.contains("Password: \r\n") && shown.contains("Login Succeeded\r\n"), "{shown:?}");
    assert!(!shown.contains("pass word"), "{shown:?}");
    assert_eq!(terminal.attributes(), attributes);
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);

    shim_call(&shim, &["pull", "-q", &name]).output().expect_ok().expect_no_stderr();
    shim_call(&shim, &["logout", &host]).output().expect_ok();
    shim_call(&shim, &["pull", "-q", &name])
        .output()
        .expect_code(1)
        .expect_stderr("no basic auth credentials");
    // At the end of the input there is no password.
    let (mut terminal, running, attributes) = login(&shim, &host);
    terminal.read_until("Username: ");
    terminal.send("user\n");
    terminal.read_until("Password: ");
    terminal.send("\x04");
    running.wait().expect_code(1);
    assert!(terminal.read_to_end().contains("password is empty"));
    assert_eq!(terminal.attributes(), attributes);
}

#[test]
fn whoever_gives_up_at_a_prompt_gets_his_terminal_back() {
    let shim = Shim::in_memory();
    let registry = registry_of_user(None);
    for (prompt, key, name) in [
        ("Username: ", "\x03", "Ctrl-C at the name"),
        ("Password: ", "\x03", "Ctrl-C"),
        ("Password: ", "\x1c", "Ctrl-\\"),
        ("Password: ", "", "SIGTERM"),
    ] {
        let (mut terminal, running, attributes) = login(&shim, &registry.host());
        if prompt == "Password: " {
            terminal.read_until("Username: ");
            terminal.send("user\n");
        }
        terminal.read_until(prompt);
        match key {
            "" => running.signal(Signal::TERM),
            key => terminal.send(key),
        }
        running.wait().expect_code(130);
        assert_eq!(terminal.attributes(), attributes, "{name}");
        // The shell's prompt begins a line of its own.
        assert!(terminal.read_to_end().ends_with('\n'), "{name}");
    }
    assert!(!shim.folder().join("docker/config.json").exists());
    // Where somebody is known who is not taken any more, he is asked for after a conversation with the registry.
    fs::create_dir(shim.folder().join("docker")).unwrap();
    let stale = json!({"auths": {registry.host(): {"auth": "dTpw"}}});
    fs::write(shim.folder().join("docker/config.json"), stale.to_string()).unwrap();
    let (mut terminal, running, attributes) = login(&shim, &registry.host());
    terminal.read_until("Login did not succeed with the existing credentials");
    terminal.read_until("Username: ");
    terminal.send("user\n");
    terminal.read_until("Password: ");
    terminal.send("\x03");
    running.wait().expect_code(130);
    assert_eq!(terminal.attributes(), attributes);
}
