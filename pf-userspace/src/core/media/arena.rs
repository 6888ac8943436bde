//! Places with generations: an id of something gone never names its successor.

use std::{fmt, marker::PhantomData};

/// The id of a `T` in an [`Arena`].
pub struct Id<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

#[cfg(test)]
impl<T> Id<T> {
    /// The first id of any arena.
    pub(crate) const FIRST: Id<T> = Id { index: 0, generation: 0, of: PhantomData };
}

impl<T> Id<T> {
    /// The place: small, used again after a removal.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Id<T> {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Id<T>) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

/// A growing set of `T`s that keep their ids.
#[derive(Debug)]
pub(super) struct Arena<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Arena<T> {
    pub(super) fn insert(&mut self, value: T) -> Id<T> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.places.push((0, None));
                // Four thousand million connections do not fit into memory.
                (self.places.len() - 1) as u32
            }
        };
        let place = &mut self.places[index as usize];
        place.1 = Some(value);
        Id { index, generation: place.0, of: PhantomData }
    }

    #[inline]
    pub(super) fn get(&self, id: Id<T>) -> Option<&T> {
        match self.places.get(id.index as usize) {
            Some((generation, value)) if *generation == id.generation => value.as_ref(),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        match self.places.get_mut(id.index as usize) {
            Some((generation, value)) if *generation == id.generation => value.as_mut(),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let place = self.places.get_mut(id.index as usize).filter(|p| p.0 == id.generation)?;
        let value = place.1.take()?;
        place.0 = place.0.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All, in order of place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.places.iter().enumerate().filter_map(|(index, (generation, value))| {
            let id = Id { index: index as u32, generation: *generation, of: PhantomData };
            Some((id, value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_names_nothing() {
        let mut arena = Arena::default();
        let old = arena.insert('a');
        assert_eq!(arena.remove(old), Some('a'));
        let new = arena.insert('b');
        assert_eq!(old.index(), new.index());
        assert_eq!((arena.get(old), arena.get(new)), (None, Some(&'b')));
        assert_eq!(arena.remove(old), None);
        assert_eq!(arena.len(), 1);
    }
}
