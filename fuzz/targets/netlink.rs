#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    vouchd_net::decoded_changes(datagram);
});
