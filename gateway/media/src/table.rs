//! A table by [`LegId`] for the packet path: one multiplication and, nearly always, one comparison.
//!
//! Ids are never given twice, so the id kept with each value is its generation: an order or a
//! packet for a leg that is gone finds nothing. Values are boxed: growing moves pointers only.

use crate::LegId;

/// Places of a table that holds anything; a power of two.
const PLACES_MIN: usize = 16;
/// Spreads ids that follow each other in any step over the places (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

type Place<T> = Option<(LegId, Box<T>)>;

/// Values by leg; at most half of the places are taken, so searches stay short.
#[derive(Debug)]
pub struct LegTable<T> {
    /// A value lies at its id's home or in the places just after it, with no hole between.
    places: Vec<Place<T>>,
    len: usize,
}

impl<T> Default for LegTable<T> {
    fn default() -> Self {
        Self { places: Vec::new(), len: 0 }
    }
}

impl<T> LegTable<T> {
    fn home(&self, id: LegId) -> usize {
        // The upper bits are the well mixed ones. `places` has 2^n entries, n at least 4.
        (id.0.wrapping_mul(SPREAD) >> (64 - self.places.len().trailing_zeros())) as usize
    }

    /// The place of `id`, or the hole where it belongs. Only for a table with places.
    fn find(&self, id: LegId) -> usize {
        let last = self.places.len() - 1;
        let mut place = self.home(id);
        while self.places[place].as_ref().is_some_and(|(other, _)| *other != id) {
            place = (place + 1) & last;
        }
        place
    }

    /// The value of `id`.
    #[must_use]
    pub fn get(&self, id: &LegId) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        self.places[self.find(*id)].as_ref().map(|(_, value)| &**value)
    }

    /// The value of `id`, to change.
    #[must_use]
    pub fn get_mut(&mut self, id: &LegId) -> Option<&mut T> {
        if self.len == 0 {
            return None;
        }
        let place = self.find(*id);
        self.places[place].as_mut().map(|(_, value)| &mut **value)
    }

    /// There is a value of `id`.
    #[must_use]
    pub fn contains_key(&self, id: &LegId) -> bool {
        self.get(id).is_some()
    }

    /// Puts a value in; the former one comes back.
    pub fn insert(&mut self, id: LegId, value: impl Into<Box<T>>) -> Option<Box<T>> {
        if (self.len + 1) * 2 > self.places.len() {
            self.grow();
        }
        let place = self.find(id);
        let former = self.places[place].replace((id, value.into()));
        self.len += usize::from(former.is_none());
        former.map(|(_, value)| value)
    }

    /// Takes a value out.
    pub fn remove(&mut self, id: &LegId) -> Option<Box<T>> {
        if self.len == 0 {
            return None;
        }
        let mut hole = self.find(*id);
        let (_, value) = self.places[hole].take()?;
        self.len -= 1;
        let last = self.places.len() - 1;
        let mut place = (hole + 1) & last;
        // Whatever was pushed beyond the hole moves back, so that no search ends at it.
        while let Some((other, _)) = &self.places[place] {
            let from_home = place.wrapping_sub(self.home(*other)) & last;
            if from_home >= place.wrapping_sub(hole) & last {
                self.places.swap(hole, place);
                hole = place;
            }
            place = (place + 1) & last;
        }
        Some(value)
    }

    fn grow(&mut self) {
        let size = (self.places.len() * 2).max(PLACES_MIN);
        let mut empty = Vec::new();
        empty.resize_with(size, || None);
        for (id, value) in std::mem::replace(&mut self.places, empty).into_iter().flatten() {
            let place = self.find(id);
            self.places[place] = Some((id, value));
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All ids, in no order.
    pub fn keys(&self) -> impl Iterator<Item = LegId> + '_ {
        self.places.iter().flatten().map(|(id, _)| *id)
    }

    /// All values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (LegId, &T)> {
        self.places.iter().flatten().map(|(id, value)| (*id, &**value))
    }

    /// All values, to change, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (LegId, &mut T)> {
        self.places.iter_mut().flatten().map(|(id, value)| (*id, &mut **value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_agrees_with_a_map_whatever_comes_and_goes() {
        for step in [1, 2, 3, 64, 1 << 32] {
            let (mut table, mut map) = (LegTable::<u64>::default(), HashMap::new());
            let mut seed = 9u64;
            for n in 0..4_000u64 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let id = LegId((seed >> 33) % 300 * step);
                if n % 5 < 3 {
                    assert_eq!(table.insert(id, n).map(|former| *former), map.insert(id, n));
                } else {
                    assert_eq!(table.remove(&id).map(|value| *value), map.remove(&id));
                }
                if let Some(value) = table.get_mut(&id) {
                    *value += 1;
                    *map.get_mut(&id).unwrap() += 1;
                }
                assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
            }
            assert!((0..300).all(|n| table.get(&LegId(n * step)) == map.get(&LegId(n * step))));
            assert_eq!(table.iter().map(|(id, value)| (id, *value)).collect::<HashMap<_, _>>(), map);
            assert!(table.keys().all(|id| table.contains_key(&id)));
        }
    }

    #[test]
    fn an_empty_table_takes_no_memory_and_finds_nothing() {
        let mut table = LegTable::<u8>::default();
        assert!(table.get(&LegId(1)).is_none() && table.remove(&LegId(1)).is_none() && table.places.capacity() == 0);
    }
}
