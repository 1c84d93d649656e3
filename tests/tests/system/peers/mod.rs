//! Advertisements of other routers: accepted, discarded, misunderstood.

mod discards;
mod frames;
mod hmac;
mod limits;
mod reception;
mod split_brain;
