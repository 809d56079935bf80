//! Shared ground of the integration tests.
