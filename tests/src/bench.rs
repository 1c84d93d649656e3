//! The comparison with keepalived.
