//! What TCP notices by itself, and when: the rows of the facts that heartring rests on, measured through a whole gateway in
//! network namespaces.
//!
//! A dead path, a reboot or an unplugged cable cannot be made on loopback. Every row has a pair of namespaces of its own, so
//! all of them run at the same time on both backends, and the whole takes as long as the longest. The table is printed with
//! `--nocapture`.
//!
//! Where TCP is to be the first to notice, the device negotiates a deadline of an hour with its first frame; the
//! configuration's own `dead_within` must be below the user timeout.

mod tcp_rows {
    pub(crate) mod departures;
    pub(crate) mod idle;
    pub(crate) mod in_flight;
    pub(crate) mod outages;
    pub(crate) mod row;
}

use tcp_rows::row::{Row, run};
use tcp_rows::{departures, idle, in_flight, outages};

const ROWS: &[Row] = &[
    Row { situation: "idle, black hole", measure: idle::keepalive_finds_it },
    Row { situation: "idle, black hole, the article's settings", measure: idle::the_articles_settings },
    Row { situation: "idle, black hole", measure: idle::a_user_timeout_replaces_the_probes_downwards },
    Row { situation: "idle, black hole", measure: idle::a_user_timeout_below_the_idle_time },
    Row { situation: "idle, black hole", measure: idle::a_user_timeout_replaces_the_probes_upwards },
    Row { situation: "idle, device rebooted", measure: idle::a_reboot_answers_the_first_probe },
    Row { situation: "data in flight, black hole", measure: in_flight::the_user_timeout_finds_it },
    Row { situation: "data in flight, black hole", measure: in_flight::without_it_the_heartbeat_decides },
    Row { situation: "device rebooted, we write", measure: in_flight::a_reboot_answers_at_once },
    Row {
        situation: "data in flight, cable unplugged",
        measure: in_flight::an_unplugged_peer_is_unreachable,
    },
    Row { situation: "closed window", measure: in_flight::a_closed_window_is_a_slow_consumer },
    Row { situation: "closed window", measure: in_flight::a_user_timeout_ends_a_closed_window },
    Row { situation: "FIN, then our path is gone", measure: departures::a_fin_before_the_path_is_gone },
    Row { situation: "FIN and gone, our queue full", measure: departures::a_fin_with_a_full_queue },
    Row { situation: "ss -K", measure: departures::an_operator_kills_it },
    Row { situation: "vanished, in grace", measure: departures::grace_leaves_nothing },
    Row { situation: "outage, healed", measure: outages::a_healed_outage_is_survived },
    Row { situation: "200 vanish at one instant", measure: outages::two_hundred_vanish_together },
];

#[test]
fn every_row_is_as_the_facts_say() {
    run("every_row_is_as_the_facts_say", ROWS);
}
