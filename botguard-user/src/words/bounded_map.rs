//! A map that never holds more than its capacity: what was not asked for lately goes first (second
//! chance, Corbató 1968). For answers that are dear to find and may be found again.

use std::fmt;
use std::hash::Hash;

use hashbrown::HashMap;

/// At most `capacity` values, by key. Entering one costs a constant on average.
pub struct BoundedMap<K, V> {
    capacity: usize,
    places: HashMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    /// The slot that is looked at next when room is needed.
    hand: usize,
}

struct Slot<K, V> {
    key: K,
    value: V,
    /// Asked for since the hand last passed.
    was_asked_for: bool,
}

impl<K: Clone + Eq + Hash, V> BoundedMap<K, V> {
    /// An empty map; a capacity of zero becomes one. Takes memory as it fills.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            places: HashMap::new(),
            slots: Vec::new(),
            hand: 0,
        }
    }

    /// The value of a key, which stays longer for being asked for.
    pub fn find(&mut self, key: &K) -> Option<&V> {
        let slot = &mut self.slots[*self.places.get(key)?];
        slot.was_asked_for = true;
        Some(&slot.value)
    }

    /// Enters a value, in place of the key's old one or, where the map is full, of one that was not
    /// asked for lately.
    pub fn insert(&mut self, key: K, value: V) {
        let slot = Slot {
            key: key.clone(),
            value,
            was_asked_for: false,
        };
        if let Some(place) = self.places.get(&key) {
            self.slots[*place].value = slot.value;
        } else if self.slots.len() < self.capacity {
            self.places.insert(key, self.slots.len());
            self.slots.push(slot);
        } else {
            let place = self.make_room();
            self.places.remove(&self.slots[place].key);
            self.places.insert(key, place);
            self.slots[place] = slot;
        }
    }

    /// Number of values.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slot to give up. Ends, since a slot that is passed has lost its mark.
    fn make_room(&mut self) -> usize {
        loop {
            let place = self.hand;
            self.hand = (place + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[place].was_asked_for) {
                return place;
            }
        }
    }
}

impl<K, V> fmt::Debug for BoundedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundedMap({} of {})", self.slots.len(), self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_asked_for_stays() {
        let mut map = BoundedMap::new(3);
        for key in 0..3 {
            map.insert(key, key * 10);
        }
        assert_eq!(map.find(&0), Some(&0));
        for key in 3..100 {
            map.insert(key, key * 10);
            assert_eq!(map.find(&0), Some(&0), "after {key}");
        }
        assert_eq!((map.len(), map.find(&1)), (3, None));
        map.insert(0, 7);
        assert_eq!((map.len(), map.find(&0)), (3, Some(&7)));
    }

    proptest! {
        #[test]
        fn it_holds_what_was_entered_last_and_no_more_than_it_may(
            capacity in 0_usize..6,
            keys in prop::collection::vec((0_u8..12, any::<bool>()), 0..60),
        ) {
            let mut map = BoundedMap::new(capacity);
            let mut all = std::collections::HashMap::new();
            for (value, (key, asks)) in keys.into_iter().enumerate() {
                if asks {
                    let found = map.find(&key).copied();
                    prop_assert!(found.is_none() || found == all.get(&key).copied());
                } else {
                    map.insert(key, value);
                    all.insert(key, value);
                    prop_assert_eq!(map.find(&key), Some(&value));
                }
                prop_assert!(map.len() <= capacity.max(1) && map.places.len() == map.len());
            }
        }
    }
}
