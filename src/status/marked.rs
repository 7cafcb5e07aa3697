//! Which of many places are marked.

/// Places, each marked or not.
#[derive(Debug, Default)]
pub struct Marked {
    places: Vec<bool>,
}

impl Marked {
    pub(super) fn mark(&mut self, place: u32) {
        let Ok(place) = usize::try_from(place) else { return };
        if self.places.len() <= place {
            self.places.resize(place.saturating_add(1), false);
        }
        if let Some(is_marked) = self.places.get_mut(place) {
            *is_marked = true;
        }
    }

    pub(super) fn unmark(&mut self, place: u32) {
        let place = usize::try_from(place).ok();
        if let Some(is_marked) = place.and_then(|place| self.places.get_mut(place)) {
            *is_marked = false;
        }
    }

    /// Whether no place was ever marked.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether this place is marked.
    pub fn holds(&self, place: u32) -> bool {
        usize::try_from(place).ok().and_then(|place| self.places.get(place)).is_some_and(|is_marked| *is_marked)
    }
}
