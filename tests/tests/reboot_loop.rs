//! The reboot loop: devices die without a word and come back from a new port before anybody misses their old connection, again
//! and again, while healthy clients connect. Each ghost goes at the moment when its device is back, and nobody waits.
//!
//! Each test runs in a process of its own, because it counts descriptors. `cargo test --test reboot_loop -- --nocapture`
//! prints what was measured.

mod reboot_loop {
    pub(crate) mod black_hole;
    pub(crate) mod devices;
    pub(crate) mod registry;
    pub(crate) mod trial;
    pub(crate) mod visitors;
}

use std::net::TcpStream;
use std::time::Duration;

use heartring_tests::{Device, On, Wire, skip, vanish};
use reboot_loop::black_hole;
use reboot_loop::devices::Devices;
use reboot_loop::trial::{Plan, Trial};
use reboot_loop::visitors::Visitors;

macro_rules! on_each_backend {
    ($($name:ident)*) => {
        mod uring {
            $(#[test]
            fn $name() {
                let backend = heartring::BackendChoice::Uring;
                heartring_tests::On { backend, deadlines: None, module: "uring" }.run(|on| {
                    heartring_tests::alone(concat!("uring::", stringify!($name)), || super::$name(on));
                });
            })*
        }

        mod epoll {
            $(#[test]
            fn $name() {
                let backend = heartring::BackendChoice::Epoll;
                heartring_tests::On { backend, deadlines: None, module: "epoll" }.run(|on| {
                    heartring_tests::alone(concat!("epoll::", stringify!($name)), || super::$name(on));
                });
            })*
        }
    };
}

on_each_backend! {
    each_reboot_evicts_one_ghost_and_nobody_waits
    slow_handlers_keep_nobody_from_being_accepted
    ghosts_in_a_black_hole_leave_no_orphan
}

/// The figures of the design, ten times as fast.
fn each_reboot_evicts_one_ghost_and_nobody_waits(on: On) {
    let plan = Plan { identities: 200, reboots: 2000, reboots_per_second: 200, hello_takes: Duration::ZERO };
    vanish_and_return(on, plan);
}

fn slow_handlers_keep_nobody_from_being_accepted(on: On) {
    let hello_takes = Duration::from_millis(3);
    vanish_and_return(on, Plan { identities: 200, reboots: 600, reboots_per_second: 100, hello_takes });
}

fn vanish_and_return(on: On, plan: Plan) {
    let (probe, _listener) = connection();
    if let Err(error) = vanish(Device::from_stream(probe)) {
        return skip("TCP_REPAIR", &error.to_string());
    }
    let trial = Trial::begin(on, plan, "127.0.0.1:0");
    let gateway = trial.gateway();
    let visitors = Visitors::begin(gateway);
    let mut devices = Devices::start(gateway, plan.identities, TcpStream::connect);
    devices.reboot(plan, |stream| vanish(Device::from_stream(stream)).expect("it was possible before"));
    trial.check_living();
    let visits = visitors.end();
    trial.end(&devices.leave(), &visits);
}

/// Nothing that a dead device's old connection is sent arrives, and nothing that it sends: not even the end of it.
fn ghosts_in_a_black_hole_leave_no_orphan(on: On) {
    let plan = Plan { identities: 40, reboots: 120, reboots_per_second: 40, hello_takes: Duration::ZERO };
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(why) => return skip("network namespaces", &why),
    };
    if let Err(why) = wire.at_far_end(black_hole::dig) {
        return skip("nft", &why);
    }
    let trial = Trial::begin(on, plan, "10.99.0.1:0");
    let gateway = trial.gateway();
    let visitors = wire.at_far_end(move || Visitors::begin(gateway));
    let devices = wire.at_far_end(move || {
        let mut devices = Devices::start(gateway, plan.identities, black_hole::connect_from_next_port());
        devices.reboot(plan, black_hole::swallow);
        devices
    });
    trial.check_living();
    let visits = visitors.end();
    trial.end(&devices.leave(), &visits);
}

/// A connection that is of no further use.
fn connection() -> (TcpStream, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    (stream, listener)
}
