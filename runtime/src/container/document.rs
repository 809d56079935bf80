//! What `state` and `list` say of a container: the fields of runtime.md "State" and runc's additions.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Entry, Record, Status, Store};
use crate::error::{Error, Kind, Result};

/// One container as `state` and `list --format json` print it; the order of the fields is theirs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// Version of the specification.
    #[serde(rename = "ociVersion")]
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// init's pid, 0 when stopped.
    pub pid: i32,
    /// creating, created, running, paused or stopped.
    pub status: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// From config.json, absent when empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// User name in `list`, empty in `state`.
    pub owner: String,
}

impl Document {
    /// The document of a container; `owner` is left empty.
    pub fn of(entry: &Entry) -> Result<Self> {
        Ok(Self::from_record(entry, entry.record()?)?.0)
    }

    /// The document, and who owns the container.
    fn from_record(entry: &Entry, record: Record) -> Result<(Self, u32)> {
        let status = Status::of(entry, &record)?;
        let pid = match (status, record.init) {
            (Status::Stopped, _) | (_, None) => 0,
            (_, Some(init)) => init.pid,
        };
        let document = Self {
            oci_version: record.oci_version,
            id: record.id.into(),
            pid,
            status: status.to_string(),
            bundle: record.bundle.to_string_lossy().into_owned(),
            rootfs: record.rootfs.to_string_lossy().into_owned(),
            created: record.created,
            annotations: record.annotations,
            owner: String::new(),
        };
        Ok((document, record.owner))
    }

    /// JSON with an indent of two, without a newline at the end.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::other(format!("state: {error}")))
    }
}

/// All containers of a store, sorted by id. What cannot be read goes to `warn` and is left out.
pub fn list(store: &Store, warn: &mut dyn FnMut(Error)) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut names = BTreeMap::new();
    for id in store.ids()? {
        let read = store.entry(&id).and_then(|entry| {
            let record = entry.record()?;
            Document::from_record(&entry, record)
        });
        match read {
            Ok((mut document, owner)) => {
                document.owner = names.entry(owner).or_insert_with(|| user_name(owner)).clone();
                documents.push(document);
            }
            // Deleted since the folder was read.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => warn(error.context(format!("list {:?}", id.as_str()))),
        }
    }
    Ok(documents)
}

/// The name of a user by passwd(5), `#ID` for one without. Not by getpwuid(3): a static program would load
/// libraries for it.
fn user_name(user: u32) -> String {
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    name_in(&String::from_utf8_lossy(&passwd), user).unwrap_or_else(|| format!("#{user}"))
}

fn name_in(passwd: &str, user: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    })
}

/// `list` as a table: cells padded as text/tabwriter does with a minimal width of 12 and a padding of 3.
pub fn table(documents: &[Document]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let mut rows = vec![header];
    for document in documents {
        let document = document.clone();
        rows.push([
            document.id,
            document.pid.to_string(),
            document.status,
            document.bundle,
            document.created,
            document.owner,
        ]);
    }
    let last = rows[0].len() - 1;
    let mut widths = [12; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3);
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column < last {
                text.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

/// `list --format json`: one line, `null` for nothing, as Go prints an empty slice.
pub fn json(documents: &[Document]) -> Result<String> {
    if documents.is_empty() {
        return Ok("null".to_owned());
    }
    serde_json::to_string(documents).map_err(|error| Error::other(format!("list: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, owner: &str) -> Document {
        Document {
            oci_version: "1.3.0".into(),
            id: id.into(),
            pid: 42,
            status: "running".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-02T03:04:05.000000006Z".into(),
            annotations: BTreeMap::new(),
            owner: owner.into(),
        }
    }

    #[test]
    fn state_is_indented_by_two_and_has_an_empty_owner() {
        let dir = crate::container::tests::TempDir::new();
        let store = dir.store();
        let record = crate::container::record::tests::record("web");
        store.create(&record.id).unwrap().write(&record).unwrap();
        let text = Document::of(&store.entry(&record.id).unwrap()).unwrap().to_json().unwrap();
        let pid = std::process::id();
        let wanted = format!(
            "{{\n  \"ociVersion\": \"1.3.0\",\n  \"id\": \"web\",\n  \"pid\": {pid},\n  \"status\": \"running\",\n  \
             \"bundle\": \"/\",\n  \"rootfs\": \"/rootfs\",\n  \"created\": \"2026-01-02T03:04:05.000000006Z\",\n  \
             \"annotations\": {{\n    \"k\": \"v\"\n  }},\n  \"owner\": \"\"\n}}"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_stopped_container_has_no_pid() {
        let dir = crate::container::tests::TempDir::new();
        let store = dir.store();
        let mut record = crate::container::record::tests::record("web");
        record.init = record.init.map(|init| super::super::ProcessId { start_time: 0, ..init });
        record.annotations.clear();
        store.create(&record.id).unwrap().write(&record).unwrap();
        let json = json(&list(&store, &mut |error| panic!("{error}")).unwrap()).unwrap();
        let wanted = r#"[{"ociVersion":"1.3.0","id":"web","pid":0,"status":"stopped","bundle":"/","#;
        assert!(json.starts_with(wanted), "{json}");
        assert!(json.ends_with(r#""created":"2026-01-02T03:04:05.000000006Z","owner":"root"}]"#), "{json}");
    }

    #[test]
    fn what_cannot_be_read_is_a_warning_and_hides_nothing_else() {
        let dir = crate::container::tests::TempDir::new();
        let store = dir.store();
        let record = crate::container::record::tests::record("web");
        store.create(&record.id).unwrap().write(&record).unwrap();
        let half = store.create(&crate::container::tests::id("half")).unwrap().unlock();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(10);
        std::fs::File::open(half.path()).unwrap().set_modified(long_ago).unwrap();
        let mut warnings = Vec::new();
        let documents = list(&store, &mut |warning| warnings.push(warning.to_string())).unwrap();
        assert_eq!(documents.iter().map(|document| document.id.as_str()).collect::<Vec<_>>(), ["web"]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("list \"half\": container is stale"), "{warnings:?}");
    }

    #[test]
    fn the_table_is_padded_as_tabwriter_does() {
        let documents = [document("web", "root"), document("a-much-longer-name", "#7")];
        let pid = "42          ";
        let (bundle, created) = ("/b          ", "2026-01-02T03:04:05.000000006Z   ");
        let wanted = format!(
            "ID                   PID         STATUS      BUNDLE      CREATED                          OWNER\n\
             web                  {pid}running     {bundle}{created}root\n\
             a-much-longer-name   {pid}running     {bundle}{created}#7\n"
        );
        assert_eq!(table(&documents), wanted);
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
        assert_eq!(json(&[]).unwrap(), "null");
    }

    #[test]
    fn names_come_from_the_user_id_field() {
        let passwd = "0:x:7:0::/:\nbroken\nroot:x:0:0:root:/root:/bin/sh\nweb:x:1000:0::/:\n";
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("web"));
        assert_eq!(name_in(passwd, 1), None);
    }
}
