//! Which containers are made of an image: what keeps it from being removed.

use std::collections::BTreeMap;

use crate::container::state::Status;
use crate::container::store::Containers;
use crate::digest::Digest;
use crate::error::Result;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The first twelve digits of its id.
    pub short_id: String,
    /// Its program runs, or waits to be started again.
    pub is_running: bool,
}

/// Containers by their images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<Digest, Vec<User>>);

impl Users {
    /// Those of this moment.
    ///
    /// # Errors
    /// A damaged record, or the system's reason.
    pub fn read(containers: &Containers) -> Result<Users> {
        let mut users = Users::default();
        for id in containers.ids()? {
            let Some(found) = containers.observe(&id)? else { continue };
            let is_running = found.state.status.has_process() || found.state.status == Status::Restarting;
            let short_id = id.as_str().chars().take(12).collect();
            users.add(found.container.image, User { short_id, is_running });
        }
        Ok(users)
    }

    /// One more.
    pub fn add(&mut self, image: Digest, user: User) {
        self.0.entry(image).or_default().push(user);
    }

    /// One that uses this image.
    #[must_use]
    pub fn any(&self, image: &Digest) -> Option<&User> {
        self.0.get(image)?.first()
    }

    /// One that uses this image and runs.
    #[must_use]
    pub fn running(&self, image: &Digest) -> Option<&User> {
        self.0.get(image)?.iter().find(|user| user.is_running)
    }

    /// How many use this image.
    #[must_use]
    pub fn count(&self, image: &Digest) -> usize {
        self.0.get(image).map_or(0, Vec::len)
    }

    /// How many there are, and how many of them run.
    #[must_use]
    pub fn total(&self) -> (usize, usize) {
        let all = self.0.values().flatten();
        (all.clone().count(), all.filter(|user| user.is_running).count())
    }
}
