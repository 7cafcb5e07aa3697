//! What is noted of places, in an octet each.

/// Notes on places: bits that mean what whoever notes them says.
#[derive(Debug, Default)]
pub struct Marks {
    places: Vec<u8>,
}

impl Marks {
    pub(super) fn mark(&mut self, place: u32, bit: u8) {
        let Ok(place) = usize::try_from(place) else { return };
        if self.places.len() <= place {
            self.places.resize(place.saturating_add(1), 0);
        }
        if let Some(marks) = self.places.get_mut(place) {
            *marks |= bit;
        }
    }

    pub(super) fn unmark(&mut self, place: u32, bit: u8) {
        let place = usize::try_from(place).ok();
        if let Some(marks) = place.and_then(|place| self.places.get_mut(place)) {
            *marks &= !bit;
        }
    }

    /// Whether nothing was ever noted.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The bits of a place; zero where nothing is noted.
    pub fn of(&self, place: u32) -> u8 {
        usize::try_from(place).ok().and_then(|place| self.places.get(place)).copied().unwrap_or(0)
    }
}
