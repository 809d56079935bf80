//! What crashes have left of volumes: found and put right by `system check`. Data is never thrown away.

use crate::container::store::Containers;
use crate::error::{Kind, Result};
use crate::volume::fill::Place;
use crate::volume::store::Volumes;
use crate::volume::{ANONYMOUS, DRIVER, Volume, attach};

/// One such thing, by the volume's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A volume whose record is missing or cannot be read.
    Recordless(String),
    /// A volume that somebody was filling when he was killed.
    Unsettled(String),
    /// A volume that is mounted, and no container uses it.
    Mount(String),
}

impl Leftover {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Leftover::Recordless(name) => format!("volume {name:?}: it has no record that can be read"),
            Leftover::Unsettled(name) => format!("volume {name:?}: what fills it was killed"),
            Leftover::Mount(name) => format!("volume {name:?}: it is mounted, and no container uses it"),
        }
    }

    /// Is something wrong for whoever uses the volume?
    #[must_use]
    pub fn is_problem(&self) -> bool {
        matches!(self, Leftover::Recordless(_))
    }
}

/// What there is of it.
///
/// # Errors
/// The system's reason.
pub fn find(volumes: &Volumes, containers: &Containers) -> Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for name in volumes.names()? {
        let volume = match volumes.get(&name) {
            Ok(Some(volume)) => volume,
            Err(error) if error.kind() != Kind::Invalid => return Err(error),
            // It may have gone since it was listed.
            _ if !volumes.folder(&name).exists() => continue,
            _ => {
                found.push(Leftover::Recordless(name));
                continue;
            }
        };
        // Whoever fills it at this moment has the lock.
        let Some(_lock) = volumes.try_lock(&name)? else { continue };
        if is_unsettled(volumes, &volume)? {
            found.push(Leftover::Unsettled(name.clone()));
        }
        if attach::is_useless(volumes, containers, &volume)? {
            found.push(Leftover::Mount(name));
        }
    }
    Ok(found)
}

/// Of a volume that has to be mounted only while it is: its next user looks again.
fn is_unsettled(volumes: &Volumes, volume: &Volume) -> Result<bool> {
    let (folder, data) = volumes.open_folders(&volume.name)?;
    let beside = if volume.is_mount() { &data } else { &folder };
    Place { data: &data, beside }.is_unsettled()
}

/// Puts it right; false if it is gone, or in use by now.
///
/// # Errors
/// The system's reason.
pub fn mend(volumes: &Volumes, containers: &Containers, leftover: &Leftover) -> Result<bool> {
    let (Leftover::Recordless(name) | Leftover::Unsettled(name) | Leftover::Mount(name)) = leftover;
    if !volumes.folder(name).exists() {
        return Ok(false);
    }
    let Some(_lock) = volumes.try_lock(name)? else { return Ok(false) };
    match leftover {
        Leftover::Recordless(_) => {
            if matches!(volumes.get(name), Ok(Some(_))) {
                return Ok(false);
            }
            // As much as the name tells: 64 digits are nobody's name.
            let labels =
                crate::reference::is_full_id(name).then(|| [(ANONYMOUS.to_owned(), String::new())].into());
            volumes.write_record(&Volume {
                created_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                driver: DRIVER.to_owned(),
                labels,
                name: name.clone(),
                options: None,
            })?;
        }
        Leftover::Unsettled(_) => {
            let Some(volume) = volumes.get(name)? else { return Ok(false) };
            let (folder, data) = volumes.open_folders(name)?;
            Place { data: &data, beside: if volume.is_mount() { &data } else { &folder } }.settle()?;
        }
        Leftover::Mount(_) => {
            let Some(volume) = volumes.get(name)? else { return Ok(false) };
            attach::take_away_unused(volumes, containers, &volume)?;
        }
    }
    Ok(true)
}
