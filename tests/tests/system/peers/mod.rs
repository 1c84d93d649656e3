//! Advertisements of others: accepted, discarded, misunderstood.

mod discards;
mod limits;
mod reception;
mod split_brain;
