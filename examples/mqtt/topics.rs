//! Who listens to what: a tree of topic levels, with the wildcards `+` and `#` as levels of their own.

use std::collections::BTreeMap;

use heartring::ConnId;
use mqtt_protocol_core::mqtt::packet::SubOpts;

/// How deep the tree gets: it is taken down by recursion.
const LEVELS_MAX: usize = 100;

/// One level, and what is below it; above the first names is a level without a name.
#[derive(Default)]
pub(crate) struct Topics {
    below: BTreeMap<String, Topics>,
    listeners: BTreeMap<ConnId, SubOpts>,
}

impl Topics {
    pub(crate) fn subscribe(&mut self, filter: &str, conn: ConnId, options: SubOpts) {
        let level = filter.split('/').fold(self, |level, name| level.below.entry(name.into()).or_default());
        level.listeners.insert(conn, options);
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str, conn: ConnId) {
        let (name, rest) = filter.split_once('/').map_or((filter, None), |(name, rest)| (name, Some(rest)));
        let Some(level) = self.below.get_mut(name) else { return };
        match rest {
            Some(rest) => level.unsubscribe(rest, conn),
            None => drop(level.listeners.remove(&conn)),
        }
        if level.below.is_empty() && level.listeners.is_empty() {
            self.below.remove(name);
        }
    }

    /// Everybody who listens to a topic, once, by the subscription with the highest QoS.
    pub(crate) fn listeners(&self, topic: &str) -> BTreeMap<ConnId, SubOpts> {
        // Wildcards at the front do not mean what is the server's own (5.0, section 4.7.2).
        let (mut levels, mut meant, mut wildcards) = (vec![self], Vec::new(), !topic.starts_with('$'));
        for name in topic.split('/') {
            meant.extend(levels.iter().filter_map(|level| level.below.get("#")).filter(|_| wildcards));
            let one = levels.iter().filter_map(|level| level.below.get("+")).filter(|_| wildcards);
            let named = levels.iter().filter_map(|level| level.below.get(name));
            (levels, wildcards) = (named.chain(one).collect(), true);
        }
        // `a/#` means `a` as well.
        meant.extend(levels.iter().filter_map(|level| level.below.get("#")));
        meant.extend(levels);
        let mut found = BTreeMap::new();
        for (conn, options) in meant.iter().flat_map(|level| &level.listeners) {
            let best = found.entry(*conn).or_insert(*options);
            if best.qos() < options.qos() {
                *best = *options;
            }
        }
        found
    }
}

/// Whether a topic can be published to: it has no wildcards (5.0, section 4.7).
pub(crate) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

/// Whether a filter can be subscribed to: wildcards stand alone in their level, `#` in the last.
pub(crate) fn is_filter(filter: &str) -> bool {
    let levels = filter.split('/').count();
    let is_level = |(nth, level): (usize, &str)| match level {
        "#" => nth + 1 == levels,
        "+" | "" => true,
        name => is_topic(name),
    };
    !filter.is_empty() && levels <= LEVELS_MAX && filter.split('/').enumerate().all(is_level)
}
