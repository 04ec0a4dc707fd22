#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sni::fuzzing::message(data));
