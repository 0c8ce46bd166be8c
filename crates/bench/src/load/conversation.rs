//! What each busy device waits for: the echo of the one message that it has under way.

use super::window::Window;
use crate::clock;

/// What one device waits for.
#[derive(Clone, Copy)]
struct Awaited {
    /// When the message went out.
    sent_at: u64,
    /// Still to come back.
    bytes: usize,
}

/// All devices, by the index of their connection.
pub(super) struct Conversation {
    awaited: Vec<Awaited>,
    message_bytes: usize,
}

impl Conversation {
    /// Everyone has just sent a first message, of `message_bytes` like all others.
    pub(super) fn new(devices: usize, message_bytes: usize) -> Conversation {
        let awaited = Awaited { sent_at: clock::now_ns(), bytes: message_bytes };
        Conversation { awaited: vec![awaited; devices], message_bytes }
    }

    /// Notes that a message goes out now.
    pub(super) fn ask(&mut self, device: usize) {
        self.awaited[device] = Awaited { sent_at: clock::now_ns(), bytes: self.message_bytes };
    }

    /// Bytes that are still to come back.
    pub(super) fn missing(&self, device: usize) -> usize {
        self.awaited[device].bytes
    }

    /// Notes that `bytes` came back. True when the echo is complete and the next message may go out.
    ///
    /// # Errors
    ///
    /// More came back than was sent.
    pub(super) fn hear(&mut self, device: usize, bytes: usize, window: &mut Window) -> Result<bool, String> {
        let awaited = &mut self.awaited[device];
        let Some(missing) = awaited.bytes.checked_sub(bytes) else {
            return Err(format!("connection {device} returned more than was sent"));
        };
        awaited.bytes = missing;
        if missing > 0 {
            return Ok(false);
        }
        window.answered(clock::now_ns().saturating_sub(awaited.sent_at));
        Ok(true)
    }
}
