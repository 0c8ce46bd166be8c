//! The scenarios of the design on real sockets: every way in which a peer can disappear or misbehave, on both backends, and
//! with every way of keeping deadlines where that matters.
//!
//! A test's name begins with what it runs on: `cargo test --test scenarios uring::lease`. Real time decides nothing here
//! but what must not be early; bounds upwards are wide, for the machine may be busy.

mod scenarios {
    pub(crate) mod beats;
    pub(crate) mod departures;
    pub(crate) mod frames;
    pub(crate) mod grace;
    pub(crate) mod limits;
    pub(crate) mod ourselves;
    pub(crate) mod silence;
    pub(crate) mod slowness;
}

/// A test per name, on this backend and strategy.
macro_rules! tests {
    ($backend:ident, $deadlines:expr, $module:literal, $($group:ident: $($name:ident)*;)*) => {
        $($(
            #[test]
            fn $name() {
                let backend = heartring::BackendChoice::$backend;
                heartring_tests::On { backend, deadlines: $deadlines, module: $module }
                    .run(crate::scenarios::$group::$name);
            }
        )*)*
    };
}

/// Tests in which deadlines decide.
macro_rules! deadline_tests {
    ($backend:ident, $deadlines:expr, $module:literal) => {
        tests! { $backend, $deadlines, $module,
            beats: one_way_beats_keep_a_connection_alive a_beat_in_time_brings_an_overdue_connection_back
                a_negotiated_deadline_is_kept a_longer_negotiated_deadline_is_kept;
            silence: a_silent_peer_is_closed_once_and_leaves_nothing a_peer_without_hello_is_cut
                garbage_is_no_hello a_hanging_program_is_told_from_a_dead_peer
                a_pong_in_time_keeps_a_connection_alive;
            grace: late_beat_is_still_delivered_during_grace a_device_that_gives_up_in_grace_is_closed_in_order
                a_flood_in_grace_is_delivered_whole_and_in_order without_grace_the_verdict_closes_at_once;
            ourselves: a_blocked_handler_blames_nobody a_blocked_handler_gives_the_asked_time_to_answer;
        }
    };
}

/// The module of a backend.
macro_rules! backend {
    ($name:ident, $backend:ident, $module:literal, $($other:ident $strategy:ident $path:literal),*) => {
        mod $name {
            deadline_tests! { $backend, None, $module }
            tests! { $backend, None, $module,
                departures: a_fin_is_known_at_once a_reset_is_known_at_once
                    a_reset_right_after_connect_is_counted a_half_closed_peer_still_gets_its_answer
                    ipv6_is_served_alike the_handler_can_close;
                frames: half_a_frame_is_cut_by_the_frame_deadline a_drip_is_cut_by_the_frame_deadline
                    a_gigabyte_is_refused_at_its_length a_line_without_end_is_cut;
                slowness: a_peer_that_never_reads_is_a_slow_consumer a_slow_reader_is_not_cut;
                limits: a_full_gateway_refuses_and_counts without_descriptors_nothing_spins
                    two_thousand_connections_stop_in_order peers_that_never_close_do_not_hold_up_the_stop;
            }
            $(
                mod $other {
                    deadline_tests! { $backend, Some(heartring::DeadlineStrategy::$strategy), $path }
                }
            )*
        }
    };
}

backend!(uring, Uring, "uring", lease Lease "uring::lease", sweep Sweep "uring::sweep");
backend!(epoll, Epoll, "epoll", linked Linked "epoll::linked", lease Lease "epoll::lease");
