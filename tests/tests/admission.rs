//! Who is let in, on real sockets and both backends: limits in all, per shard and per source, the accept rate, and what a
//! client must say about itself.
//!
//! A test's name begins with what it runs on: `cargo test --test admission uring`.

mod admission {
    pub(crate) mod claimant;
    pub(crate) mod identities;
    pub(crate) mod limits;
    pub(crate) mod rate;
    pub(crate) mod refusals;
}

/// A test per name, on this backend.
macro_rules! backend {
    ($backend:ident, $module:ident, $($group:ident: $($name:ident)*;)*) => {
        mod $module {
            $($(
                #[test]
                fn $name() {
                    let backend = heartring::BackendChoice::$backend;
                    heartring_tests::On { backend, deadlines: None, module: stringify!($module) }
                        .run(crate::admission::$group::$name);
                }
            )*)*
        }
    };
}

macro_rules! tests {
    ($backend:ident, $module:ident) => {
        backend! { $backend, $module,
            limits: conns_max_bounds_all_shards_together conns_per_shard_max_bounds_each
                a_source_has_its_share_and_no_more ipv4_counts_alike_on_either_kind_of_listener
                a_site_of_ipv6_is_one_source;
            rate: a_burst_over_the_rate_waits_and_is_not_reset the_rate_holds_for_all_shards_together;
            identities: an_empty_identity_is_refused_and_changes_nothing an_identity_of_1024_bytes_is_granted
                an_identity_of_1025_bytes_is_refused_and_changes_nothing
                an_identity_of_64_kib_is_refused_and_changes_nothing
                a_claim_before_the_hello_is_granted a_second_claim_is_refused_and_changes_nothing
                a_claim_while_closing_is_refused valid_frames_without_a_claim_are_no_hello;
            refusals: a_claim_that_a_stalled_shard_decides_is_refused_in_time
                an_identity_that_is_fought_for_cools_down half_frames_cannot_fill_the_memory;
        }
    };
}

tests!(Uring, uring);
tests!(Epoll, epoll);
