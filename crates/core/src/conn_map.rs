//! What a handler remembers of each of its connections.

use std::ops::{Index, IndexMut};

use crate::id::ConnId;

/// A value per connection, found by the connection's slot: one load, no hash.
///
/// Slots are reused. A value stays with the connection that it was inserted for: a later occupant of the slot does not find
/// it, and drops it when a value of its own is inserted. Remove it in [`Handler::closed`](crate::Handler::closed).
#[derive(Debug)]
pub struct ConnMap<T> {
    entries: Vec<Option<(u32, T)>>,
    len: usize,
}

impl<T> ConnMap<T> {
    /// An empty map.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), len: 0 }
    }

    /// Remembers `value` for a connection; gives back what was remembered in its slot.
    pub fn insert(&mut self, conn: ConnId, value: T) -> Option<T> {
        let slot = conn.slot() as usize;
        if self.entries.len() <= slot {
            self.entries.resize_with(slot + 1, || None);
        }
        let former = self.entries[slot].replace((conn.generation(), value));
        self.len += usize::from(former.is_none());
        former.map(|(_, value)| value)
    }

    /// What is remembered of a connection.
    pub fn get(&self, conn: ConnId) -> Option<&T> {
        let (generation, value) = self.entries.get(conn.slot() as usize)?.as_ref()?;
        (*generation == conn.generation()).then_some(value)
    }

    /// What is remembered of a connection, to change it.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        let (generation, value) = self.entries.get_mut(conn.slot() as usize)?.as_mut()?;
        (*generation == conn.generation()).then_some(value)
    }

    /// Forgets a connection.
    pub fn remove(&mut self, conn: ConnId) -> Option<T> {
        self.get(conn)?;
        self.len -= 1;
        self.entries[conn.slot() as usize].take().map(|(_, value)| value)
    }

    /// Every connection that something is remembered of, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| {
            let (generation, value) = entry.as_ref()?;
            Some((ConnId::new(slot as u32, *generation), value))
        })
    }

    /// How many connections something is remembered of.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is remembered.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// For values that are there from [`Handler::opened`](crate::Handler::opened) to [`Handler::closed`](crate::Handler::closed): not
/// to find one is a bug.
impl<T> Index<ConnId> for ConnMap<T> {
    type Output = T;

    fn index(&self, conn: ConnId) -> &T {
        self.get(conn).expect("something is remembered of this connection")
    }
}

impl<T> IndexMut<ConnId> for ConnMap<T> {
    fn index_mut(&mut self, conn: ConnId) -> &mut T {
        self.get_mut(conn).expect("something is remembered of this connection")
    }
}

impl<T> Default for ConnMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_occupant_of_the_slot_does_not_find_what_was_its_predecessors() {
        let mut map = ConnMap::new();
        let (old, new) = (ConnId::new(3, 1), ConnId::new(3, 2));
        assert_eq!(map.insert(old, 'a'), None);
        assert_eq!((map.get(old), map.get(new)), (Some(&'a'), None));
        assert_eq!(map.remove(new), None);
        assert_eq!(map.insert(new, 'b'), Some('a'));
        assert_eq!((map.get(old), map.len()), (None, 1));
        assert_eq!(map.get_mut(new), Some(&mut 'b'));
        assert_eq!((map[new], &mut map[new]), ('b', &mut 'b'));
        assert_eq!(map.iter().collect::<Vec<_>>(), [(new, &'b')]);
        assert_eq!((map.remove(new), map.is_empty()), (Some('b'), true));
    }
}
