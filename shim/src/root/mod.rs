//! The root folder of a bundle: made of an image's layers, looked into, and taken away again.
//!
//! A root is an overlay of the store's layers (`overlay`) or a copy of them (`copy`). Which bundles stand is known by
//! the store (`record`), so that no garbage collection takes the layers from under one; the bundle itself carries its
//! id. Nothing in a root is reached by a plain path (`lookup`): links of the image lead nowhere but inside of it. No
//! program of the image runs here. What layers look like as one tree, to be read alone, is `view`'s.

pub mod copy;
pub mod data;
pub mod lookup;
pub mod make;
pub mod overlay;
pub mod record;
pub mod remove;
pub mod view;
