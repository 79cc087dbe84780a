//! A map with a hard cap: when it is full, the newcomer takes the place of one that was not used
//! lately (CLOCK, second chance).
//!
//! Memory grows in chunks and is never moved, so that no request pays for a copy of the table.
//! The map is exact, so the hasher's seed changes nothing that can be seen.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// At most `capacity` values of type `V` by their keys.
pub(crate) struct ClockTable<K, V> {
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    slots: Slots<K, V>,
    capacity: u32,
    /// Where the search for a place goes on.
    hand: u32,
}

/// One place; public in the crate for its size.
pub(crate) struct Slot<K, V> {
    key: K,
    value: V,
    /// How often the hand passes by before it is taken.
    used: u8,
}

impl<K: Copy + Eq + Hash, V: Default> ClockTable<K, V> {
    /// An empty table of at most `capacity` values; a capacity of zero becomes one.
    pub(crate) fn new(capacity: u32) -> Self {
        let capacity = capacity.max(1);
        Self {
            index: HashTable::with_capacity(capacity as usize),
            hasher: DefaultHashBuilder::default(),
            slots: Slots {
                chunks: Vec::new(),
                len: 0,
            },
            capacity,
            hand: 0,
        }
    }

    /// The value of `key`, which counts as a use; a default one is inserted if there is none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V {
        let hash = self.hasher.hash_one(key);
        let place = match self.place(hash, &key) {
            Some(place) => {
                self.mark(place, USED);
                place
            }
            None => self.insert(hash, key),
        };
        &mut self.slots.slot_mut(place).value
    }

    /// The same, but it does not count as a use.
    pub(crate) fn entry_unused(&mut self, key: K) -> &mut V {
        let hash = self.hasher.hash_one(key);
        let place = match self.place(hash, &key) {
            Some(place) => place,
            None => self.insert(hash, key),
        };
        &mut self.slots.slot_mut(place).value
    }

    /// The value of `key`, if there is one; does not count as a use.
    pub(crate) fn find(&self, key: &K) -> Option<&V> {
        let place = self.place(self.hasher.hash_one(key), key)?;
        Some(&self.slots.slot(place).value)
    }

    /// The value of `key`, if there is one; does not count as a use.
    pub(crate) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(self.hasher.hash_one(key), key)?;
        Some(&mut self.slots.slot_mut(place).value)
    }

    /// Keeps the value of `key`, if it has one, until as many newcomers have come as there are places.
    ///
    /// A use is not enough for that: where all were used, one newcomer clears every mark.
    pub(crate) fn hold(&mut self, key: &K) {
        if let Some(place) = self.place(self.hasher.hash_one(key), key) {
            self.mark(place, HELD);
        }
    }

    fn mark(&mut self, place: u32, mark: u8) {
        let used = &mut self.slots.slot_mut(place).used;
        *used = mark.max(*used);
    }

    /// All of them, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let slots = self.slots.chunks.iter().flatten();
        slots.map(|slot| (&slot.key, &slot.value))
    }

    /// The same, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        let slots = self.slots.chunks.iter_mut().flatten();
        slots.map(|slot| (slot.key, &mut slot.value))
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.slots.len as usize
    }

    fn place(&self, hash: u64, key: &K) -> Option<u32> {
        self.index
            .find(hash, |place| self.slots.slot(*place).key == *key)
            .copied()
    }

    /// A newcomer starts unused: a flood of those that come once replaces itself, not the regulars.
    fn insert(&mut self, hash: u64, key: K) -> u32 {
        let newcomer = Slot {
            key,
            value: V::default(),
            used: 0,
        };
        let place = if self.slots.len < self.capacity {
            self.slots.push(newcomer)
        } else {
            let place = self.evict();
            *self.slots.slot_mut(place) = newcomer;
            place
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index
            .insert_unique(hash, place, |place| hasher.hash_one(slots.slot(*place).key));
        place
    }

    /// Ends within three rounds, since the first two clear every mark; amortised, each step pays
    /// for one earlier use.
    fn evict(&mut self) -> u32 {
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.capacity;
            let slot = self.slots.slot_mut(place);
            if slot.used > 0 {
                slot.used -= 1;
                continue;
            }
            let hash = self.hasher.hash_one(slot.key);
            if let Ok(entry) = self.index.find_entry(hash, |found| *found == place) {
                entry.remove();
            }
            return place;
        }
    }
}

const USED: u8 = 1;
const HELD: u8 = 2;

struct Slots<K, V> {
    chunks: Vec<Vec<Slot<K, V>>>,
    len: u32,
}

impl<K, V> Slots<K, V> {
    fn push(&mut self, slot: Slot<K, V>) -> u32 {
        let place = self.len;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(slot),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(slot);
                self.chunks.push(chunk);
            }
        }
        self.len += 1;
        place
    }

    fn slot(&self, place: u32) -> &Slot<K, V> {
        &self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    fn slot_mut(&mut self, place: u32) -> &mut Slot<K, V> {
        &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }
}

const CHUNK: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_holds() {
        let mut table: ClockTable<u64, u64> = ClockTable::new(100);
        for key in 0..10_000 {
            *table.entry(key) = key;
        }
        assert_eq!(table.len(), 100);
        let n_found = (0..10_000)
            .filter(|key| table.find(key) == Some(key))
            .count();
        assert_eq!(n_found, 100);
    }

    #[test]
    fn regulars_outlive_a_flood_and_one_timers_do_not() {
        let mut table: ClockTable<u64, u64> = ClockTable::new(100);
        for key in 0..50_000 {
            *table.entry(7) += 1;
            table.entry(1_000 + key);
        }
        assert_eq!(table.find(&7), Some(&50_000));
        assert_eq!(table.find(&1_000), None);
    }

    #[test]
    fn what_is_held_outlives_a_flood_of_regulars() {
        let check = |newcomers: u64, expected: Option<&u64>| {
            let mut table: ClockTable<u64, u64> = ClockTable::new(100);
            *table.entry(7) = 1;
            for round in 0..50 {
                table.hold(&7);
                for n in 0..newcomers {
                    let key = 1_000 + round * newcomers + n;
                    table.entry(key);
                    table.entry(key);
                }
            }
            assert_eq!(table.find(&7), expected, "{newcomers}");
            table.hold(&1);
            assert_eq!(table.find(&1), None);
        };
        check(20, Some(&1));
        check(90, Some(&1));
        check(500, None);
    }

    #[test]
    fn more_than_one_chunk() {
        let mut table: ClockTable<u64, u64> = ClockTable::new(3_000);
        for key in 0..3_000 {
            *table.entry(key) = key + 1;
        }
        assert!((0..3_000).all(|key| table.find(&key) == Some(&(key + 1))));
        *table.find_mut(&5).unwrap() = 0;
        assert_eq!(table.find(&5), Some(&0));
        assert_eq!(table.find_mut(&3_000), None);
    }
}
