//! The parts of core against models that are too simple to be wrong.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use heartring_core::{
    ConnId, Deadline, FrameKind, Instant, LengthPrefixed, Lines, MqttPackets, Protocol, Slots, Tick, Ticks,
};
use heartring_fuzz::Stream;
use proptest::prelude::*;

/// Feeds `stream` in the pieces that `cuts` make of it, as the shard does. Returns the frames and what is left.
fn decode<P: Protocol>(protocol: &P, stream: &[u8], cuts: &[usize]) -> (Vec<(FrameKind, Vec<u8>)>, Vec<u8>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let mut decoded = Stream::new(usize::MAX);
    for pair in cuts.windows(2) {
        decoded.feed(protocol, &stream[pair[0]..pair[1]]);
    }
    assert_eq!(decoded.end, None, "the streams are valid");
    let waiting = decoded.waiting().to_vec();
    (decoded.frames.into_iter().map(|frame| (frame.kind, frame.payload)).collect(), waiting)
}

/// Streams in which ends of lines are frequent.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(b'\n'), 1 => Just(b'\r'), 6 => any::<u8>()];
    prop::collection::vec(byte, 0..200)
}

/// A packet with the shortest length that its body can have.
fn mqtt_packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![header];
    let mut length = body.len();
    while length > 0x7F {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12)
}

proptest! {
    #[test]
    fn lines_are_the_same_however_they_arrive(stream in text(), cuts in prop::collection::vec(0..1_000_usize, 0..20)) {
        let (frames, left) = decode(&Lines, &stream, &cuts);
        // The model: what stands between the ends of lines.
        let mut lines: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
        prop_assert_eq!(&left[..], lines.pop().unwrap_or_default());
        let lines = lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        prop_assert_eq!(frames.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>(), lines.collect::<Vec<_>>());
        prop_assert!(frames.iter().all(|(kind, line)| (*kind == FrameKind::Beat) == line.is_empty()));
    }

    #[test]
    fn length_prefixed_frames_are_the_same_however_they_arrive(
        bodies in bodies(),
        front in prop::collection::vec(any::<u8>(), 0..3),
        cuts in prop::collection::vec(0..1_000_usize, 0..20),
    ) {
        let mut stream: Vec<u8> = bodies.iter().flat_map(|body| LengthPrefixed::encode(body)).collect();
        stream.extend(&front);
        let (frames, left) = decode(&LengthPrefixed, &stream, &cuts);
        prop_assert_eq!(left, front, "half a header waits");
        prop_assert_eq!(frames.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>(), bodies);
        prop_assert!(frames.iter().all(|(kind, body)| (*kind == FrameKind::Beat) == body.is_empty()));
    }

    #[test]
    fn mqtt_packets_are_the_same_however_they_arrive(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
        front in prop::collection::vec(0x80..0xFF_u8, 0..3),
        cuts in prop::collection::vec(0..5_000_usize, 0..20),
    ) {
        // CONNECT, then PINGREQ where there is no body and PUBLISH where there is one.
        let header = |body: &Vec<u8>| if body.is_empty() { 0xC0 } else { 0x30 };
        let mut packets = vec![mqtt_packet(0x10, b"hello")];
        packets.extend(bodies.iter().map(|body| mqtt_packet(header(body), body)));
        let front = [&[0x30], &front[..]].concat();
        let (frames, left) = decode(&MqttPackets, &[&packets.concat()[..], &front].concat(), &cuts);
        prop_assert_eq!(left, front, "a length without its end waits");
        prop_assert!(frames.iter().all(|(kind, packet)| (*kind == FrameKind::Ping) == (packet[0] == 0xC0)));
        prop_assert_eq!(frames.into_iter().map(|(_, packet)| packet).collect::<Vec<_>>(), packets);
    }
}

/// What is done to a table of slots.
#[derive(Clone, Debug)]
enum SlotStep {
    Insert(u16),
    /// The nth id that was ever given out, whether it is still good or not.
    Remove(usize),
    Change(usize, u16),
}

fn slot_steps() -> impl Strategy<Value = Vec<SlotStep>> {
    let step = prop_oneof![
        3 => any::<u16>().prop_map(SlotStep::Insert),
        2 => any::<usize>().prop_map(SlotStep::Remove),
        1 => (any::<usize>(), any::<u16>()).prop_map(|(nth, value)| SlotStep::Change(nth, value)),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn slots_are_a_bounded_map_whose_ids_never_come_back(steps in slot_steps(), capacity in 0..20_u32) {
        let mut slots = Slots::new(capacity);
        let (mut model, mut ever) = (HashMap::<ConnId, u16>::new(), Vec::<ConnId>::new());
        for step in steps {
            match step {
                SlotStep::Insert(value) => match slots.insert(value, PACE) {
                    Ok(id) => {
                        prop_assert!(!ever.contains(&id), "{} was given out before", id);
                        prop_assert!(id.slot() < capacity);
                        ever.push(id);
                        model.insert(id, value);
                    }
                    Err(back) => prop_assert_eq!((back, model.len()), (value, capacity as usize)),
                },
                SlotStep::Remove(nth) if !ever.is_empty() => {
                    let id = ever[nth % ever.len()];
                    prop_assert_eq!(slots.remove(id), model.remove(&id));
                }
                SlotStep::Change(nth, value) if !ever.is_empty() => {
                    let id = ever[nth % ever.len()];
                    let (there, modelled) = (slots.get_mut(id), model.get_mut(&id));
                    prop_assert_eq!(there.is_some(), modelled.is_some());
                    if let (Some(there), Some(modelled)) = (there, modelled) {
                        (*there, *modelled) = (value, value);
                    }
                }
                SlotStep::Remove(_) | SlotStep::Change(..) => {}
            }
            for id in &ever {
                prop_assert_eq!(slots.get(*id), model.get(id));
            }
            prop_assert_eq!((slots.len(), slots.is_empty()), (model.len(), model.is_empty()));
            let all: HashMap<ConnId, u16> = slots.iter().map(|(id, value)| (id, *value)).collect();
            prop_assert_eq!(&all, &model);
            let by_slot: HashSet<ConnId> = (0..slots.high_water()).filter_map(|slot| slots.id_of(slot)).collect();
            prop_assert_eq!(by_slot, model.keys().copied().collect());
        }
    }
}

/// When a beat is overdue does not matter here.
const PACE: Ticks = Ticks::ZERO;

const SLOTS: u32 = 200;
const TICK_NANOS: u64 = 1 << 16;

/// What is done to deadlines; times are in ticks and fractions of a tick.
#[derive(Clone, Debug)]
enum DeadlineStep {
    /// A deadline that may be earlier than before.
    Set(u32, u64),
    /// A deadline that is later than before, if there is one.
    Touch(u32, u64),
    Clear(u32),
    /// Time passes and the array is swept, for so many at most.
    Sweep(u64, usize),
}

fn deadline_steps() -> impl Strategy<Value = Vec<DeadlineStep>> {
    let ahead = || prop_oneof![4 => 0..100 * TICK_NANOS, 1 => 0..20_000_000 * TICK_NANOS / 16];
    let step = prop_oneof![
        4 => (0..SLOTS, ahead()).prop_map(|(slot, ahead)| DeadlineStep::Set(slot, ahead)),
        4 => (0..SLOTS, ahead()).prop_map(|(slot, ahead)| DeadlineStep::Touch(slot, ahead)),
        1 => (0..SLOTS).prop_map(DeadlineStep::Clear),
        2 => (0..50 * TICK_NANOS, prop_oneof![Just(usize::MAX >> 1), 0..70_usize])
            .prop_map(|(passed, max)| DeadlineStep::Sweep(passed, max)),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Near the origin, in the middle, and around the instants at which the counter of ticks wraps.
    #[test]
    fn a_sweep_finds_exactly_what_is_due(
        steps in deadline_steps(),
        which in prop_oneof![Just(Deadline::Beat), Just(Deadline::Stall)],
        start in prop_oneof![
            0..1_000_000_u64,
            any::<u64>().prop_map(|nanos| nanos >> 2),
            (1..5_u64, 0..200 * TICK_NANOS).prop_map(|(wraps, before)| (wraps << 48) - before),
        ],
    ) {
        let mut deadlines = Slots::new(SLOTS);
        while deadlines.insert((), PACE).is_ok() {}
        let mut model = HashMap::<u32, u64>::new();
        let mut now = start;
        for step in steps {
            match step {
                DeadlineStep::Set(slot, ahead) => {
                    deadlines.set(which, slot, Tick::at_or_after(Instant::from_nanos(now + ahead)));
                    model.insert(slot, now + ahead);
                }
                DeadlineStep::Touch(slot, ahead) => {
                    let Some(before) = model.get_mut(&slot).filter(|before| **before <= now + ahead) else { continue };
                    deadlines.touch(which, slot, Tick::at_or_after(Instant::from_nanos(now + ahead)));
                    *before = now + ahead;
                }
                DeadlineStep::Clear(slot) => {
                    deadlines.clear(which, slot);
                    model.remove(&slot);
                }
                DeadlineStep::Sweep(passed, max) => {
                    now += passed;
                    let mut found = Vec::new();
                    deadlines.sweep(which, Instant::from_nanos(now), max, &mut found);
                    // What is due by a whole tick must be found; what is not due at all must not be. Between the two lies
                    // the rounding, to which the tick that is left out adds another.
                    let must: HashSet<u32> = due(&model, now.saturating_sub(2 * TICK_NANOS));
                    let may: HashSet<u32> = due(&model, now);
                    let unique: HashSet<u32> = found.iter().copied().collect();
                    prop_assert_eq!(unique.len(), found.len(), "each once");
                    prop_assert!(unique.is_subset(&may), "early: {:?}", unique.difference(&may));
                    prop_assert!(found.len() <= max);
                    prop_assert!(found.len() == max || must.is_subset(&unique), "missed {:?}", must.difference(&unique));
                    for slot in unique {
                        deadlines.clear(which, slot);
                        model.remove(&slot);
                    }
                }
            }
            let bound = deadlines.bound(which, Instant::from_nanos(now));
            if let Some(earliest) = model.values().min() {
                let bound = bound.expect("something is pending").as_nanos();
                prop_assert!(bound <= earliest.div_ceil(TICK_NANOS) * TICK_NANOS + TICK_NANOS, "{} after {}", bound, earliest);
            }
        }
    }

    /// A deadline is never early and late by less than two ticks, wherever on the clock.
    #[test]
    fn arithmetic_in_ticks_rounds_up_and_by_less_than_three_ticks(
        start in any::<u64>().prop_map(|nanos| nanos >> 2),
        ahead in 0..86_400_000_000_000_u64,
    ) {
        let (now, exact) = (Instant::from_nanos(start), Instant::from_nanos(start) + Duration::from_nanos(ahead));
        let ticks = Ticks::of(Duration::from_nanos(ahead));
        let due = Tick::at_or_after(now).plus(ticks).near(now);
        prop_assert!(due >= exact);
        prop_assert!(due.saturating_since(exact) < Duration::from_nanos(3 * TICK_NANOS));
        prop_assert!(ticks.duration() >= Duration::from_nanos(ahead));
    }
}

fn due(model: &HashMap<u32, u64>, now: u64) -> HashSet<u32> {
    model.iter().filter(|(_, at)| **at <= now).map(|(slot, _)| *slot).collect()
}
