//! A gateway that is stopped (SIGSTOP) for three deadlines blames nobody, whatever keeps its deadlines; and who really died
//! meanwhile is found once it goes on.
//!
//! And one that is stopped while it ends leaves nothing open.
//!
//! Ten thousand devices beat all the while: their kernel and ours go on, only the gateway does not. The figures are printed.

mod freeze {
    pub(crate) mod doomed;
    pub(crate) mod stopping;
    pub(crate) mod trial;
}

/// A test for each way of keeping deadlines, on this backend.
macro_rules! tests {
    ($backend:ident, $module:ident, $($strategy:ident $name:ident)*) => {
        mod $module {
            use heartring::{BackendChoice, DeadlineStrategy};
            use heartring_tests::On;

            $(#[test]
            fn $name() {
                let deadlines = Some(DeadlineStrategy::$strategy);
                On { backend: BackendChoice::$backend, deadlines, module: stringify!($module) }
                    .run(|on| crate::freeze::trial::run(on, concat!(stringify!($module), "::", stringify!($name))));
            })*

            #[test]
            fn a_freeze_while_it_stops_leaves_nothing_open() {
                const TEST: &str = concat!(stringify!($module), "::a_freeze_while_it_stops_leaves_nothing_open");
                On { backend: BackendChoice::$backend, deadlines: None, module: stringify!($module) }
                    .run(|on| crate::freeze::stopping::run(on, TEST));
            }
        }
    };
}

tests!(Uring, uring, Linked linked_blames_nobody Lease lease_blames_nobody Sweep sweep_blames_nobody);
tests!(Epoll, epoll, Linked linked_blames_nobody Lease lease_blames_nobody Sweep sweep_blames_nobody);
