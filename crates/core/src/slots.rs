//! Generational slots: the dense table in which a shard keeps its connections.
//!
//! A freed slot is reused at once, the most recently freed first (its cache lines are warm), under a new generation, so
//! that an id outlives its connection without ever naming another.

use crate::id::ConnId;

/// A bounded table of `T`, addressed by [`ConnId`].
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    /// Freed slots, the last freed on top.
    free: Vec<u32>,
    capacity: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// An empty table for at most `capacity` values. Memory grows with use.
    ///
    /// # Panics
    ///
    /// If `capacity` exceeds what a [`ConnId`] can name.
    pub fn new(capacity: u32) -> Self {
        assert!(capacity <= ConnId::SLOT_MAX, "a slot number has 24 bits");
        Self { entries: Vec::new(), free: Vec::new(), capacity }
    }

    /// Puts `value` into a free slot; gives it back if there is none.
    ///
    /// # Errors
    ///
    /// `value`, when all slots are taken.
    pub fn insert(&mut self, value: T) -> Result<ConnId, T> {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            assert!(entry.value.is_none(), "a slot on the free list is empty");
            entry.value = Some(value);
            return Ok(ConnId::new(slot, entry.generation));
        }
        if self.entries.len() >= self.capacity as usize {
            return Err(value);
        }
        let slot = self.entries.len() as u32;
        self.entries.push(Entry { generation: 0, value: Some(value) });
        Ok(ConnId::new(slot, 0))
    }

    /// The value that `id` names, unless it was removed.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.entries.get(id.slot() as usize)?;
        if entry.generation == id.generation() { entry.value.as_ref() } else { None }
    }

    /// The value that `id` names, unless it was removed.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.slot() as usize)?;
        if entry.generation == id.generation() { entry.value.as_mut() } else { None }
    }

    /// Takes the value out; `id` never names anything again.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let entry = self.entries.get_mut(id.slot() as usize)?;
        if entry.generation != id.generation() {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot());
        Some(value)
    }

    /// The id of the present occupant of `slot`.
    pub fn id_of(&self, slot: u32) -> Option<ConnId> {
        let entry = self.entries.get(slot as usize)?;
        entry.value.as_ref().map(|_| ConnId::new(slot, entry.generation))
    }

    /// All occupants, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| {
            entry.value.as_ref().map(|value| (ConnId::new(slot as u32, entry.generation), value))
        })
    }

    /// All occupants, by slot, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().filter_map(|entry| entry.value.as_mut())
    }

    /// Slots that were ever in use: all ids lie below.
    pub fn high_water(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Occupied slots.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether no slot is occupied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_id() {
        let mut slots = Slots::new(2);
        let first = slots.insert('a').unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b').unwrap();
        assert_eq!(second.slot(), first.slot());
        assert_ne!(second, first);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
    }

    #[test]
    fn a_full_table_gives_the_value_back() {
        let mut slots = Slots::new(1);
        let only = slots.insert(1).unwrap();
        assert_eq!(slots.insert(2), Err(2));
        slots.remove(only);
        assert!(slots.insert(2).is_ok());
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_generation_wraps_without_a_panic() {
        let mut slots = Slots::new(1);
        slots.entries.push(Entry { generation: u32::MAX, value: Some(()) });
        let last = slots.id_of(0).unwrap();
        assert_eq!(slots.remove(last), Some(()));
        assert_eq!(slots.insert(()).unwrap().generation(), 0);
    }
}
