//! Has the kernel take the table: by the host's nft(8), in one transaction, and never by a program of a container.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Context, Error, Kind, Result};
use crate::firewall::Table;
use crate::firewall::netfilter::{Netfilter, Question, attribute};

/// Where nft is.
const PLACES: [&str; 5] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/bin/nft", "/usr/local/sbin/nft"];
/// `NFNL_SUBSYS_NFTABLES`, `NFT_MSG_GETTABLE` (linux/netfilter/nf_tables.h).
const GET_TABLE: u16 = 10 << 8 | 1;
/// `NFTA_TABLE_NAME`.
const TABLE_NAME: u16 = 1;
/// `NFPROTO_INET`.
const INET: u8 = 1;

/// Is a table of ours there? One question to the kernel, without a process. Where it cannot be asked, nft tells why.
#[must_use]
pub fn is_there(table: &Table) -> bool {
    let asked = (|| {
        let mut attributes = Vec::new();
        attribute(&mut attributes, TABLE_NAME, format!("{}\0", table.name()).as_bytes())?;
        let question = Question { kind: GET_TABLE, family: INET, attributes, is_dump: false };
        let mut is_there = false;
        Netfilter::open()?.ask(&question, |_, _| is_there = true)?;
        Ok::<_, Error>(is_there)
    })();
    asked.unwrap_or(false)
}

/// Has the kernel take a script, whole or not at all.
///
/// # Errors
/// There is no nft; what it says.
pub fn load(script: &str) -> Result<()> {
    if script.is_empty() {
        return Ok(());
    }
    nft(&["-f", "-"], script).map(drop)
}

/// What is in a table of ours, as nft tells it to programs (libnftables-json(5)); None where it is not there.
///
/// # Errors
/// There is no nft; what it says.
pub fn list(table: &Table) -> Result<Option<Vec<u8>>> {
    if !is_there(table) {
        return Ok(None);
    }
    match nft(&["--json", "list", "table", "inet", table.name()], "") {
        // Taken away meanwhile.
        Err(_) if !is_there(table) => Ok(None),
        listed => listed.map(Some),
    }
}

/// Runs nft with these words and this input; what it prints.
fn nft(args: &[&str], input: &str) -> Result<Vec<u8>> {
    let words = || "firewall: nft".to_owned();
    let missing =
        || Error::not_found("it is not installed: published ports and networks need it (Debian: nftables)");
    let program = PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    let mut command = Command::new(program.ok_or_else(missing).during(words)?);
    command.args(args).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A monitor has its signals blocked.
    sys::spawn::inherit_nothing(&mut command);
    let mut child = command.spawn().during(words)?;
    // It reads all before it says anything.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().during(words)?;
    if output.status.success() {
        return written.map(|()| output.stdout).during(words);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().find(|line| line.contains("Error:")).or_else(|| said.lines().next());
    let reason = reason.map_or("it does not say why", str::trim);
    Err(Error::new(Kind::System, reason.to_owned())).during(words)
}
