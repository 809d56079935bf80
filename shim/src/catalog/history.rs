//! How an image came about: what its configuration tells of each step, and what each step added.

use jiff::Timestamp;

use crate::catalog::summary::Summary;
use crate::error::{Error, Result};
use crate::store::Store;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub created: Option<Timestamp>,
    /// By which command.
    pub created_by: String,
    /// What was said about it.
    pub comment: String,
    /// Bytes of the files that it added.
    pub size: u64,
}

/// The steps, the last first.
///
/// # Errors
/// More steps that made layers than there are layers; a layer that is gone.
pub fn steps(store: &Store, image: &Summary) -> Result<Vec<Step>> {
    let mut layers = image.image.layers.iter();
    let mut steps = Vec::new();
    for told in image.config.history.iter().flatten() {
        let size = match told.empty_layer {
            Some(true) => 0,
            _ => {
                let chain_id = layers
                    .next()
                    .ok_or_else(|| Error::invalid("too many non-empty layers in History section"))?;
                store.layers.get(chain_id)?.map_or(0, |layer| layer.size)
            }
        };
        steps.push(Step {
            created: told.created.as_deref().and_then(|created| created.parse().ok()),
            created_by: told.created_by.clone().unwrap_or_default(),
            comment: told.comment.clone().unwrap_or_default(),
            size,
        });
    }
    steps.reverse();
    Ok(steps)
}
