#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vouchd_simulation::bytes::packet(bytes));
