//! The memory that messages may hold while they come in: a budget, shared out to those it is charged to.

use super::reader;
use crate::domain::budget::Held;

impl reader::Memory for Held {
    fn grow_to(&mut self, octets: usize) -> bool {
        Self::grow_to(self, octets).is_ok()
    }

    fn release(&mut self) {
        Self::release(self);
    }
}
