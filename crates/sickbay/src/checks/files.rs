//! Files, links, modes and owners of the system itself.
