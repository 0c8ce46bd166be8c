//! A gateway that is stopped (SIGSTOP) for three deadlines blames nobody, whatever keeps its deadlines; and who really died
//! meanwhile is found once it goes on.
//!
//! Ten thousand devices beat all the while: their kernel and ours go on, only the gateway does not. The figures are printed.

mod freeze {
    pub(crate) mod doomed;
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
                heartring_tests::On { backend, deadlines, module: stringify!($module) }
                    .run(|on| crate::freeze::trial::run(on, concat!(stringify!($module), "::", stringify!($name))));
            })*
        }
    };
}

tests!(Uring, uring, Linked linked_blames_nobody Lease lease_blames_nobody Sweep sweep_blames_nobody);
tests!(Epoll, epoll, Linked linked_blames_nobody Lease lease_blames_nobody Sweep sweep_blames_nobody);
