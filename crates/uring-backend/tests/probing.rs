//! Looking whether io_uring can be used leaves nothing behind, in the calling thread neither.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use heartring_core::BackendConfig;

/// The kernel takes a closed ring apart later, and then interrupts the thread that opened it: a read with a bound, whose thread
/// knows nothing of rings, would fail with EINTR.
#[test]
fn the_calling_thread_is_not_interrupted() {
    let (mut reader, _writer) = UnixStream::pair().unwrap();
    reader.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    for round in 0..50 {
        if let Err(refusal) = heartring_uring::probe(&BackendConfig::default()) {
            let required = std::env::var("HEARTRING_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "HEARTRING_REQUIRE_ALL=1, but: {refusal}");
            return println!("SKIPPED: {refusal}");
        }
        let error = reader.read(&mut [0; 8]).expect_err("nobody writes");
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "round {round}");
    }
}
