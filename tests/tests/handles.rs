//! Letters into and between the shards of whole gateways: from threads outside by a handle, from handler to handler, and what
//! becomes of them when a mailbox is full, a shard stands still, or the gateway ends.

mod handles {
    pub(crate) mod directory;
    pub(crate) mod ending;
    pub(crate) mod flooding;
    pub(crate) mod posting;
    pub(crate) mod sending;
    pub(crate) mod talker;
    pub(crate) mod trial;
    pub(crate) mod watching;
}

macro_rules! on_each_backend {
    ($($group:ident: $($name:ident)*;)*) => {
        mod uring {
            $($(#[test]
            fn $name() {
                let backend = heartring::BackendChoice::Uring;
                heartring_tests::On { backend, deadlines: None, module: "uring" }
                    .run(crate::handles::$group::$name);
            })*)*
        }

        mod epoll {
            $($(#[test]
            fn $name() {
                let backend = heartring::BackendChoice::Epoll;
                heartring_tests::On { backend, deadlines: None, module: "epoll" }
                    .run(crate::handles::$group::$name);
            })*)*
        }
    };
}

on_each_backend! {
    sending: what_is_sent_reaches_its_connection_and_no_other
        what_is_sent_to_an_identity_reaches_its_holder_on_whichever_shard
        a_broadcast_reaches_every_connection_of_every_shard_once
        a_handle_closes_in_order
        what_cannot_be_delivered_is_counted;
    posting: messages_go_in_both_directions_through_mailboxes_of_one_letter
        a_full_mailbox_is_told_and_holds_up_nobody_else
        all_that_four_threads_have_posted_arrives_in_order;
    flooding: a_flood_of_letters_does_not_starve_the_sockets
        a_flood_of_frames_does_not_starve_the_letters;
    watching: a_snapshot_names_the_shard_that_does_not_answer;
    ending: before_the_start_and_after_the_end_every_call_says_so
        what_is_accepted_while_it_ends_is_dealt_with
        a_shard_that_panics_ends_the_others_although_letters_wait_for_it
        a_gateway_that_does_not_start_takes_no_letters
        ticks_that_post_do_not_hold_up_the_end;
    directory: a_directory_outside_answers_through_the_handle;
}
