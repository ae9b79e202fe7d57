//! Results on their way to a consumer who takes them in the order of the items.

use std::collections::VecDeque;

/// From the next one to be given on. Never more than the limit of the map: what is in it counts as in flight.
pub(super) struct Window<T> {
    next: usize,
    /// By the distance from `next`; `None`: not there yet.
    places: VecDeque<Option<Option<T>>>,
}

impl<T> Window<T> {
    pub(super) fn new() -> Self {
        Self { next: 0, places: VecDeque::new() }
    }

    /// What came of an item; without a value it is passed over.
    pub(super) fn put(&mut self, index: usize, result: Option<T>) {
        let place = index - self.next;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        self.places[place] = Some(result);
    }

    /// What came of the next item, if it is there.
    pub(super) fn take_next(&mut self) -> Option<(usize, Option<T>)> {
        let result = self.places.front_mut()?.take()?;
        self.places.pop_front();
        self.next += 1;
        Some((self.next - 1, result))
    }
}
