//! The nine ways in which clients come to be ESTABLISHED and are never accepted, on both backends.
//!
//! Each test brings the condition about, shows it with a naive server or with the kernel's own tables, and then that
//! heartring goes on serving under the same condition: healthy clients have their answers soon, and the ledger is zero in
//! the end. A test's name begins with what it runs on: `cargo test --test starvation uring`.

mod starvation {
    pub(crate) mod departures;
    pub(crate) mod ghosts;
    pub(crate) mod overflow;
    pub(crate) mod shards;
    pub(crate) mod shortage;
    pub(crate) mod site;
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
                        .run(crate::starvation::$group::$name);
                }
            )*)*
        }
    };
}

/// The tests, numbered as the facts number the causes.
macro_rules! tests {
    ($backend:ident, $module:ident) => {
        backend! { $backend, $module,
            ghosts: cause_1_a_ghost_that_does_not_go_on_blocks_nobody
                cause_2_a_queue_full_of_reboot_ghosts_is_emptied;
            departures: cause_3_clients_reset_in_the_queue_give_their_places_back
                cause_9_a_client_gone_before_its_accept_still_has_an_address;
            overflow: cause_4_a_queue_full_at_the_third_packet_loses_nobody
                cause_5_behind_syn_cookies_who_speaks_is_served;
            shards: cause_6_many_clients_in_one_event_are_all_accepted
                cause_7_a_stalled_shard_loses_nobody_and_stops_nobody_else;
            shortage: cause_8_ten_seconds_without_descriptors a_full_table_refuses_without_spinning;
        }
    };
}

tests!(Uring, uring);
tests!(Epoll, epoll);
