//! A queue from which anybody in it can be taken out at once, wherever it stands.

use slab::Slab;

/// No slot.
const NONE: usize = usize::MAX;

/// First come first served; entering, leaving and being served cost the same whatever its length.
#[derive(Debug)]
pub(super) struct Line<T> {
    slab: Slab<Link<T>>,
    first: usize,
    last: usize,
    numbers: u64,
}

#[derive(Debug)]
struct Link<T> {
    who: T,
    number: u64,
    before: usize,
    after: usize,
}

/// Where somebody stands. A slot is used again, a number never: so a key that came too late finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    slot: usize,
    number: u64,
}

impl<T> Line<T> {
    pub(super) fn new() -> Self {
        Self { slab: Slab::new(), first: NONE, last: NONE, numbers: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn push_back(&mut self, who: T) -> Key {
        self.insert(who, self.last, NONE)
    }

    /// For somebody who was the first before.
    pub(super) fn push_front(&mut self, who: T) -> Key {
        self.insert(who, NONE, self.first)
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        (self.first != NONE).then(|| self.unlink(self.first))
    }

    /// Takes somebody out. `None`: it has been served.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let found = self.slab.get(key.slot).is_some_and(|link| link.number == key.number);
        found.then(|| self.unlink(key.slot))
    }

    fn insert(&mut self, who: T, before: usize, after: usize) -> Key {
        let number = self.numbers;
        self.numbers += 1;
        let slot = self.slab.insert(Link { who, number, before, after });
        match self.slab.get_mut(before) {
            Some(link) => link.after = slot,
            None => self.first = slot,
        }
        match self.slab.get_mut(after) {
            Some(link) => link.before = slot,
            None => self.last = slot,
        }
        Key { slot, number }
    }

    fn unlink(&mut self, slot: usize) -> T {
        let Link { who, before, after, .. } = self.slab.remove(slot);
        match self.slab.get_mut(before) {
            Some(link) => link.after = after,
            None => self.first = after,
        }
        match self.slab.get_mut(after) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
        if self.slab.is_empty() {
            // A long line once is no reason to keep room for it.
            self.slab = Slab::new();
        }
        who
    }
}

#[cfg(all(test, not(taskgroup_loom)))]
mod tests {
    use super::*;

    fn all(line: &mut Line<u32>) -> Vec<u32> {
        std::iter::from_fn(|| line.pop_front()).collect()
    }

    #[test]
    fn who_leaves_from_anywhere_is_gone_and_the_others_keep_their_order() {
        for gone in 0..4 {
            let mut line = Line::new();
            let keys: Vec<Key> = (0..4).map(|number| line.push_back(number)).collect();
            assert_eq!(line.remove(keys[gone]), Some(gone as u32));
            assert_eq!(line.remove(keys[gone]), None);
            assert_eq!(line.len(), 3);
            let left: Vec<u32> = (0..4).filter(|&number| number != gone as u32).collect();
            assert_eq!(all(&mut line), left);
            assert_eq!(line.len(), 0);
        }
    }

    #[test]
    fn a_late_key_does_not_take_out_who_stands_in_its_slot_now() {
        let mut line = Line::new();
        let late = line.push_back(1);
        assert_eq!(line.pop_front(), Some(1));
        line.push_back(2);
        assert_eq!(line.remove(late), None);
        line.push_front(0);
        line.push_back(3);
        assert_eq!(all(&mut line), [0, 2, 3]);
    }
}
