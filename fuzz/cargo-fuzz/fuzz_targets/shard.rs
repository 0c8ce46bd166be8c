#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heartring_fuzz::shard(data));
