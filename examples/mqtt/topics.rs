//! Who listens to what: a tree of topic levels, with the wildcards `+` and `#` as levels of their own.

use std::collections::BTreeMap;

use heartring::ConnId;
use mqtt_protocol_core::mqtt::packet::SubOpts;

/// The subscriptions of one shard.
#[derive(Default)]
pub(crate) struct Topics {
    root: Level,
}

#[derive(Default)]
struct Level {
    below: BTreeMap<String, Level>,
    subscribers: BTreeMap<ConnId, SubOpts>,
}

impl Topics {
    /// Whether it is a new subscription.
    pub(crate) fn subscribe(&mut self, filter: &str, conn: ConnId, options: SubOpts) -> bool {
        let mut level = &mut self.root;
        for name in filter.split('/') {
            level = level.below.entry(name.to_owned()).or_default();
        }
        level.subscribers.insert(conn, options).is_none()
    }

    /// Whether there was such a subscription.
    pub(crate) fn unsubscribe(&mut self, filter: &str, conn: ConnId) -> bool {
        self.root.remove(filter.split('/'), conn)
    }

    /// Everybody who listens to a topic, once, with the highest QoS of their subscriptions.
    pub(crate) fn listeners(&self, topic: &str) -> BTreeMap<ConnId, SubOpts> {
        let mut found = BTreeMap::new();
        // Wildcards at the front do not match what is the server's own.
        self.root.collect(topic.split('/'), !topic.starts_with('$'), &mut found);
        found
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl Level {
    fn remove<'a>(&mut self, mut names: impl Iterator<Item = &'a str>, conn: ConnId) -> bool {
        let Some(name) = names.next() else { return self.subscribers.remove(&conn).is_some() };
        let Some(below) = self.below.get_mut(name) else { return false };
        let removed = below.remove(names, conn);
        if below.is_empty() {
            self.below.remove(name);
        }
        removed
    }

    fn collect<'a>(
        &self,
        mut names: impl Iterator<Item = &'a str> + Clone,
        wildcards: bool,
        found: &mut BTreeMap<ConnId, SubOpts>,
    ) {
        // `a/#` also matches `a`.
        if wildcards && let Some(rest) = self.below.get("#") {
            rest.give(found);
        }
        let Some(name) = names.next() else { return self.give(found) };
        let one = self.below.get("+").filter(|_| wildcards);
        for below in self.below.get(name).into_iter().chain(one) {
            below.collect(names.clone(), true, found);
        }
    }

    fn give(&self, found: &mut BTreeMap<ConnId, SubOpts>) {
        for (conn, options) in &self.subscribers {
            let best = found.entry(*conn).or_insert_with(|| options.clone());
            if (best.qos() as u8) < options.qos() as u8 {
                *best = options.clone();
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.below.is_empty() && self.subscribers.is_empty()
    }
}

/// Whether a filter is one (MQTT 5.0, section 4.7.1): wildcards stand alone in their level, `#` in the last.
pub(crate) fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let is_level = |(nth, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => nth + 1 == levels.len(),
        name => !name.contains(['+', '#']),
    };
    !filter.is_empty() && levels.iter().enumerate().all(is_level)
}

/// Whether a topic matches a filter.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut one = Topics::default();
    let nobody = ConnId::new(0, 0);
    one.subscribe(filter, nobody, SubOpts::new());
    !one.listeners(topic).is_empty()
}
