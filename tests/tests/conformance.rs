//! The contract of `heartring_core::Backend`, one test per clause and backend, and the cases beside each clause in which
//! bugs hide. A clause's test has the clause's name, so that `cargo test close_joins` runs it everywhere.
//!
//! Every completion of every test is also judged by a model of the whole contract (`heartring_tests::Model`), clause 3
//! with it.

mod conformance {
    pub(crate) mod accepting;
    pub(crate) mod closing;
    pub(crate) mod examining;
    pub(crate) mod ops;
    pub(crate) mod receiving;
    pub(crate) mod resets;
    pub(crate) mod ringing;
    pub(crate) mod sending;
    pub(crate) mod the_end;
    pub(crate) mod waiting;
    pub(crate) mod watching;
}

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A test per name, in the module of its backend; `on` runs it.
macro_rules! tests {
    ($on:expr, $rig:ty, $ip:expr, $($group:ident: $($clause:ident)*;)*) => {
        $($(
            #[test]
            fn $clause() {
                $on($ip, crate::conformance::$group::$clause::<$rig>);
            }
        )*)*
    };
}

/// The module of a backend: everything on IPv4, and what depends on the address family or on the kernel's paths below
/// it again on IPv6.
macro_rules! backend {
    ($name:ident, $rig:ty) => {
        mod $name {
            tests! { heartring_tests::on::<$rig>, $rig, crate::IPV4,
                ops: submit_never_completes_inline each_op_has_one_terminal_completion
                    every_op_on_a_reset_connection_ends;
                accepting: accept_binds_the_reserved_slot clients_wait_in_the_queue_until_they_are_asked_for
                    unlisten_ends_every_accept_first a_failed_accept_is_not_retried
                    the_address_is_free_after_unlistened
                    a_listener_that_was_shut_and_reopened_accepts_again;
                receiving: bytes_arrive_in_order_each_once end_of_stream_comes_after_every_byte
                    a_lease_ends_at_its_deadline_never_before a_lease_that_has_passed_ends_at_once
                    a_lease_ends_although_bytes_keep_coming
                    a_lease_that_ends_while_the_thread_is_away_loses_nothing a_flood_does_not_starve_others
                    a_flood_does_not_starve_others_of_buffers;
                watching: a_watch_is_ready_when_anything_arrives a_watch_never_expires_early
                    a_watch_whose_bytes_were_taken_ends_once a_watch_after_old_bytes_expires
                    a_beat_in_time_is_told_to_a_late_thread
                    a_renewed_watch_is_not_ended_by_the_deadline_of_the_last
                    three_thousand_watches_expire_in_one_instant;
                sending: a_send_takes_a_prefix_and_returns_the_payload a_send_to_a_reset_peer_fails
                    a_parked_send_resumes_when_the_peer_reads;
                examining: examination_sees_unread_bytes examination_sees_unsent_bytes_and_the_state;
                closing: shutdown_keeps_receiving close_joins_every_op_first
                    close_in_the_turn_of_its_ops_joins_them abortive_close_resets_the_peer
                    abortive_close_resets_in_any_state
                    orderly_close_delivers_what_was_sent a_slot_is_free_after_closed
                    a_slot_is_reused_a_thousand_times_with_late_data;
                resets: a_reset_at_any_moment_ends_everything_once;
                waiting: wait_returns_at_until wait_without_a_bound_returns_for_a_completion one_instant_per_batch
                    a_wake_is_never_lost a_thousand_wakes_from_another_thread_are_heard;
                ringing: a_ring_from_another_backend_is_a_wake
                    a_ring_from_a_backend_of_another_kind_is_a_wake a_backend_can_ring_itself
                    a_ring_is_heard_by_who_waits_for_company a_ring_is_heard_although_the_ringer_ends
                    a_ring_for_who_has_ended_does_nothing two_backends_that_ring_each_other_lose_nothing
                    a_storm_of_rings_meets_backends_that_end;
                the_end: the_ledger_returns_to_zero ten_thousand_connections_leave_nothing
                    dropping_a_backend_frees_its_sockets;
            }

            mod ipv6 {
                tests! { heartring_tests::on::<$rig>, $rig, crate::IPV6,
                    ops: each_op_has_one_terminal_completion;
                    accepting: accept_binds_the_reserved_slot unlisten_ends_every_accept_first;
                    receiving: bytes_arrive_in_order_each_once end_of_stream_comes_after_every_byte
                        a_lease_ends_at_its_deadline_never_before;
                    watching: a_watch_is_ready_when_anything_arrives a_watch_never_expires_early;
                    sending: a_send_takes_a_prefix_and_returns_the_payload a_send_to_a_reset_peer_fails;
                    examining: examination_sees_unread_bytes;
                    closing: shutdown_keeps_receiving close_joins_every_op_first abortive_close_resets_the_peer
                        orderly_close_delivers_what_was_sent a_slot_is_free_after_closed;
                    resets: a_reset_at_any_moment_ends_everything_once;
                    the_end: the_ledger_returns_to_zero;
                }
            }
        }
    };
}

backend!(sim, heartring_tests::SimRig);
backend!(epoll, heartring_tests::TcpRig<heartring_tests::Epoll>);
backend!(uring, heartring_tests::TcpRig<heartring_tests::Uring>);
backend!(uring_plain, heartring_tests::TcpRig<heartring_tests::UringPlain>);

/// The simulator with faults by chance, one seed after the other. Left out are
///
/// - the tests that count descriptors or take them away (`alone`), those of wakes and rings and of a listener's socket, and
///   that of three thousand watches: faults do not touch what they are about, and they take real time;
/// - the floods: in virtual time a flood without end lasts no time, so whoever waits for a buffer would wait for ever.
mod sim_faulty {
    tests! { heartring_tests::on_seeds, heartring_tests::SimFaulty, crate::IPV4,
        ops: submit_never_completes_inline each_op_has_one_terminal_completion
            every_op_on_a_reset_connection_ends;
        accepting: accept_binds_the_reserved_slot clients_wait_in_the_queue_until_they_are_asked_for
            unlisten_ends_every_accept_first the_address_is_free_after_unlistened;
        receiving: bytes_arrive_in_order_each_once end_of_stream_comes_after_every_byte
            a_lease_ends_at_its_deadline_never_before a_lease_that_has_passed_ends_at_once
            a_lease_ends_although_bytes_keep_coming
            a_lease_that_ends_while_the_thread_is_away_loses_nothing;
        watching: a_watch_is_ready_when_anything_arrives a_watch_never_expires_early
            a_watch_whose_bytes_were_taken_ends_once a_watch_after_old_bytes_expires
            a_beat_in_time_is_told_to_a_late_thread;
        sending: a_send_takes_a_prefix_and_returns_the_payload a_send_to_a_reset_peer_fails
            a_parked_send_resumes_when_the_peer_reads;
        examining: examination_sees_unread_bytes examination_sees_unsent_bytes_and_the_state;
        closing: shutdown_keeps_receiving close_joins_every_op_first close_in_the_turn_of_its_ops_joins_them
            abortive_close_resets_the_peer abortive_close_resets_in_any_state
            orderly_close_delivers_what_was_sent a_slot_is_free_after_closed
            a_slot_is_reused_a_thousand_times_with_late_data;
        resets: a_reset_at_any_moment_ends_everything_once;
        waiting: wait_returns_at_until wait_without_a_bound_returns_for_a_completion one_instant_per_batch;
        the_end: the_ledger_returns_to_zero;
    }
}
