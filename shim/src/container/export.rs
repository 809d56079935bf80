//! All files of a container as an archive, as it sees them, without what is mounted in it. It may run meanwhile.

use std::io::Write;
use std::os::fd::AsFd as _;

use crate::container;
use crate::container::ContainerId;
use crate::container::changes::sides;
use crate::container::store::Containers;
use crate::error::Result;
use crate::pack::tree::Packer;

/// Writes the archive; the paths of files that changed while they were read.
///
/// # Errors
/// No such container; a file that cannot be read, by its path; what cannot be written.
pub fn export(containers: &Containers, id: &ContainerId, out: impl Write) -> Result<Vec<String>> {
    let container = containers.get(id)?.ok_or_else(|| container::missing(id))?;
    let sides = sides(containers, &container)?;
    let mut packer = Packer::new(sides.merged.as_fd(), out);
    packer.all()?;
    Ok(packer.end()?.1)
}
