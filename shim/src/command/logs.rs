//! `shim logs`

use jiff::Timestamp;

use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::container;
use crate::container::state::Status;
use crate::error::{Error, Result};
use crate::host;
use crate::log::{self, Request};
use crate::time;

pub(super) const VERB: Verb = Verb {
    names: &["container logs", "logs"],
    about: "Fetch the logs of a container",
    form: Form {
        usage: "[OPTIONS] CONTAINER",
        flags: &[&[
            switch("details", "Show extra details provided to logs"),
            switch("follow", "Follow log output").short('f'),
            value(
                "since",
                "string",
                "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
            ),
            value("tail", "string", "Number of lines to show from the end of the logs (default \"all\")")
                .short('n'),
            switch("timestamps", "Show timestamps").short('t'),
            value(
                "until",
                "string",
                "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
            ),
        ]],
        arity: Arity::Exactly(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = super::containers(globals)?;
    let words = given.words()?;
    let id = containers.find(words.first().copied().unwrap_or_default())?;
    let request = Request {
        since: moment(given, "since")?,
        until: moment(given, "until")?,
        tail: tail(given.text("tail")?),
        timestamps: given.is_on("timestamps"),
        details: given.is_on("details"),
    };
    let driver = containers.get(&id)?.ok_or_else(|| container::missing(&id))?.host_config.log_config.kind;
    if driver != "json-file" {
        let mut reason = "configured logging driver does not support reading".to_owned();
        if driver == "journald" {
            reason.push_str(&format!("; journalctl CONTAINER_ID_FULL={id} shows its log"));
        }
        return Err(Error::usage(reason));
    }
    let mut is_over = || {
        let found = containers.observe(&id)?;
        let runs = |status: Status| status.has_process() || status == Status::Restarting;
        Ok(found.is_none_or(|found| !runs(found.state.status)))
    };
    let follow = given.is_on("follow");
    log::show(&containers.folder(&id), id.as_str(), &request, follow.then_some(&mut is_over))?;
    Ok(0)
}

fn moment(given: &Given, flag: &str) -> Result<Option<Timestamp>> {
    let text = given.text(flag)?.filter(|text| !text.is_empty());
    text.map(|text| time::moment(text, Timestamp::now(), &host::time_zone())).transpose()
}

/// What is no number means all, as with docker.
fn tail(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_a_number_or_all() {
        assert_eq!(tail(Some("3")), Some(3));
        assert_eq!(tail(Some("0")), Some(0));
        for text in [None, Some("all"), Some("-1"), Some("")] {
            assert_eq!(tail(text), None);
        }
    }
}
