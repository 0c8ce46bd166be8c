//! Twenty thousand peers of one shard die in one instant, and each is told once, in time and with its cause, while the living are
//! served.
//!
//! All of them beat once more and then the wire is cut, so that their deadlines come as close together as they can. The figures are
//! printed: how long the verdicts took, how late they were, and how long the shard kept the living waiting.

mod mass_death {
    pub(crate) mod deaths;
    pub(crate) mod living;
    pub(crate) mod trial;
}

/// A test for each way of keeping deadlines, on this backend.
macro_rules! tests {
    ($backend:ident, $module:ident, $($strategy:ident $name:ident)*) => {
        mod $module {
            $(#[test]
            fn $name() {
                let backend = heartring::BackendChoice::$backend;
                let deadlines = Some(heartring::DeadlineStrategy::$strategy);
                heartring_tests::On { backend, deadlines, module: stringify!($module) }.run(|on| {
                    crate::mass_death::trial::run(on, concat!(stringify!($module), "::", stringify!($name)));
                });
            })*
        }
    };
}

tests!(Uring, uring, Linked linked_tells_each_death_once Lease lease_tells_each_death_once Sweep sweep_tells_each_death_once);
tests!(Epoll, epoll, Linked linked_tells_each_death_once Lease lease_tells_each_death_once Sweep sweep_tells_each_death_once);
