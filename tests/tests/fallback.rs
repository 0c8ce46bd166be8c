//! io_uring is forbidden by seccomp, as in most containers: heartring runs on epoll and says why, or, where io_uring was
//! demanded, does not run and says why.

use std::time::Duration;

use heartring::{Backend, BackendChoice, Config, DeadlineStrategy, Error, Gateway, Lines};
use heartring_tests::{Device, Fleet, GatewayProbe, On, alone, forbid_io_uring};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Runs `body` in a process in which io_uring is forbidden.
fn without_io_uring(test: &str, body: impl FnOnce()) {
    alone(test, || {
        forbid_io_uring().expect("the kernel has seccomp");
        body();
    });
}

fn config(backend: BackendChoice) -> Config {
    On { backend, deadlines: None, module: "fallback" }.config(Duration::from_secs(1))
}

#[test]
fn auto_falls_back_to_epoll_and_says_why() {
    without_io_uring("auto_falls_back_to_epoll_and_says_why", || {
        let make = |_shard| Silent;
        let running = Gateway::new(config(BackendChoice::Auto)).listen("127.0.0.1:0").start(make).unwrap();
        let reason = running.backend_reason();
        assert!(reason.contains("io_uring") && reason.contains("EPERM"), "{reason}");
        assert!(reason.contains("seccomp") && !reason.contains('\n'), "one line with a remedy: {reason}");
        assert_eq!((running.backend(), running.deadlines()), (Backend::Epoll, DeadlineStrategy::Sweep));
        running.stop();
        assert_eq!(running.join().unwrap().backend, Backend::Epoll);
    });
}

#[test]
fn what_it_falls_back_to_keeps_its_deadlines() {
    without_io_uring("what_it_falls_back_to_keeps_its_deadlines", || {
        let probe = GatewayProbe::start::<Lines>(config(BackendChoice::Auto));
        let beating = Device::connect(probe.addr());
        let living = beating.addr();
        let fleet = Fleet::beat(vec![beating], Duration::from_millis(100), b"\n");
        let silent = Device::connect_and_send(probe.addr(), b"hello\n");
        assert_eq!(probe.closed(silent.addr()).cause, heartring::Cause::HeartbeatMissed);
        assert!(!probe.is_closed(living));
        fleet.stop();
        assert_eq!(probe.finish().backend, Backend::Epoll);
    });
}

#[test]
fn a_demand_for_io_uring_is_an_error_with_a_remedy() {
    without_io_uring("a_demand_for_io_uring_is_an_error_with_a_remedy", || {
        let start = Gateway::new(config(BackendChoice::Uring)).listen("127.0.0.1:0").start(|_shard| Silent);
        let Err(error) = start else { panic!("it started") };
        assert!(matches!(error, Error::UringRefused(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("EPERM") && text.contains("seccomp"), "{text}");
        assert!(text.contains("epoll") && !text.contains('\n'), "one line with a remedy: {text}");
    });
}

/// The probe's small ring fits into what memory may be locked, those of the shards do not. (Kernels 5.12 to 6.13 do not charge
/// rings to their user: there the gateway gets them.)
#[test]
fn auto_falls_back_to_epoll_when_the_rings_do_not_fit() {
    alone("auto_falls_back_to_epoll_when_the_rings_do_not_fit", || {
        let mut sets = capabilities(None).expect("a thread may read its own");
        sets.effective.remove(CapabilitySet::IPC_LOCK); // With it, nothing is charged.
        set_capabilities(None, sets).expect("a thread may give them up");
        let little = Rlimit { current: Some(64 << 10), maximum: Some(64 << 10) };
        setrlimit(Resource::Memlock, little).expect("a limit can be lowered");
        let make = |_shard| Silent;
        let running = Gateway::new(config(BackendChoice::Auto)).listen("127.0.0.1:0").start(make).unwrap();
        let (backend, reason) = (running.backend(), running.backend_reason().to_owned());
        assert!(backend == Backend::Uring || reason.contains("RLIMIT_MEMLOCK"), "{reason}");
        running.stop();
        assert_eq!(running.join().unwrap().backend, backend);
    });
}

/// Nobody comes to these gateways.
struct Silent;

impl heartring::Handler for Silent {
    type Protocol = Lines;

    fn received(&mut self, _conn: &mut heartring::Conn<'_>, _line: &[u8]) {}
}
