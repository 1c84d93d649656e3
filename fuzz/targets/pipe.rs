//! What the router reads from a checker that it does not trust, and the other way round.
#![no_main]

use vouchd_ipc::pipe::{FromChecker, ToChecker};

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    if let Ok(message) = serde_json::from_slice::<FromChecker>(datagram) {
        let text = serde_json::to_vec(&message).expect("a message that was read can be written");
        assert_eq!(serde_json::from_slice::<FromChecker>(&text).expect("and read again"), message);
    }
    if let Ok(message) = serde_json::from_slice::<ToChecker>(datagram) {
        serde_json::to_vec(&message).expect("a message that was read can be written");
    }
});
