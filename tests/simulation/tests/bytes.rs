//! The fuzz targets of `fuzz/` on the stable toolchain: arbitrary bytes into the packet parser, the state machine, the netlink
//! reader and the pipe.

use proptest::collection::vec;
use proptest::prelude::*;
use vouchd_ipc::pipe::{FromChecker, ToChecker};
use vouchd_simulation::bytes;

/// Bytes that often look like an advertisement.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let header = (prop_oneof![Just(0x21u8), Just(0x31), any::<u8>()], any::<[u8; 3]>());
    (header, vec(any::<u8>(), 0..60)).prop_map(|((first, start), rest)| [&[first][..], &start, &rest].concat())
}

/// A netlink message of links or addresses, with attributes of any length.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    (prop_oneof![16u16..22, any::<u16>()], vec(any::<u8>(), 0..200)).prop_map(|(kind, body)| {
        let length = u32::try_from(16 + body.len()).expect("short");
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &body].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn packet_parser_survives_any_bytes(bytes in payload()) {
        bytes::packet(&bytes);
    }

    #[test]
    fn state_machine_survives_any_sequence_of_inputs(bytes in vec(any::<u8>(), 0..300)) {
        bytes::machine(&bytes);
    }

    #[test]
    fn netlink_reader_survives_any_datagram(bytes in datagram()) {
        prop_assert!(vouchd_net::decoded_changes(&bytes) <= 1 + bytes.len() / 16);
    }

    #[test]
    fn message_of_the_pipe_is_read_or_refused(text in "\\{\"type\":\"(heartbeat|run|plugin|check|pace|init)\"(,\"(check|name|fast)\":(true|1|\"a\"|null|[0-9]{1,30}))*\\}|.{0,60}") {
        if let Ok(message) = serde_json::from_str::<FromChecker>(&text) {
            let again = serde_json::to_string(&message).expect("it can be written");
            prop_assert_eq!(serde_json::from_str::<FromChecker>(&again).expect("and read again"), message);
        }
        let _: Result<ToChecker, _> = serde_json::from_str(&text);
    }
}
