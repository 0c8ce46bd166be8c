//! Busy devices on io_uring: each sends a message, waits for its echo, and sends the next. A closed loop: the
//! server is never asked for more than it can do, and how long it takes is the latency.
//!
//! Cheaper per message than any echo server can be, since it looks at no byte, keeps no buffer, and hears of no
//! send that succeeded.

use std::time::Duration;

use super::conversation::Conversation;
use super::fleet::Fleet;
use super::window::Window;
use super::{Link, LoadPlan};
use crate::clock;
use crate::ring_unsafe::{Completion, Kind, Ring};

/// How long the generator sleeps at most, so that it hears the suite even when the server is silent.
const TURN_MAX: Duration = Duration::from_millis(50);

struct Devices {
    ring: Ring,
    conversation: Conversation,
    message: &'static [u8],
}

pub(super) fn drive(plan: &LoadPlan, fleet: &Fleet, link: &mut Link<'_>) -> Result<(), String> {
    let mut devices = Devices::new(fleet, plan.workload.message())?;
    let mut window = Window::new(plan, clock::now_ns());
    let mut completions = Vec::new();
    while window.turn(clock::now_ns(), link).is_continue() {
        devices.ring.wait_at_most(TURN_MAX, &mut completions).map_err(broken)?;
        for completion in completions.drain(..) {
            devices.handle(&completion, &mut window)?;
        }
    }
    Ok(())
}

impl Devices {
    fn new(fleet: &Fleet, message: Vec<u8>) -> Result<Devices, String> {
        let mut ring = Ring::open(fleet.len() as u32, message.len() as u32).map_err(broken)?;
        for index in 0..fleet.len() {
            ring.adopt(index as u32, fleet.conn(index)).map_err(broken)?;
            ring.receive(index as u32).map_err(broken)?;
        }
        let conversation = Conversation::new(fleet.len(), message.len());
        Ok(Devices { ring, conversation, message: message.leak() })
    }

    fn ask(&mut self, device: u32) -> Result<(), String> {
        self.conversation.ask(device as usize);
        self.ring.say(device, self.message).map_err(broken)
    }

    fn handle(&mut self, completion: &Completion, window: &mut Window) -> Result<(), String> {
        match completion.kind {
            Kind::Receive => self.received(completion, window),
            Kind::Send => match completion.result {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("connection {}: send: {error}", completion.slot)),
            },
            Kind::Accept | Kind::Close | Kind::Deadline | Kind::Cancel => {
                Err("a completion of nothing that was asked".into())
            }
        }
    }

    fn received(&mut self, completion: &Completion, window: &mut Window) -> Result<(), String> {
        let device = completion.slot;
        if let Some(buffer) = completion.received_buffer {
            self.ring.recycle(buffer);
        }
        match completion.result {
            Ok(0) => return Err(format!("the server closed connection {device}")),
            Ok(count) => {
                if self.conversation.hear(device as usize, count as usize, window)? {
                    self.ask(device)?;
                }
            }
            // Every buffer is back by the end of a turn, so arming again cannot fail for ever.
            Err(rustix::io::Errno::NOBUFS) => {}
            Err(error) => return Err(format!("connection {device}: recv: {error}")),
        }
        if completion.more { Ok(()) } else { self.ring.receive(device).map_err(broken) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn broken(error: std::io::Error) -> String {
    format!("generator: {error}")
}
