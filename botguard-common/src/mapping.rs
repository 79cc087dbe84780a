//! A map's memory in this process (`BPF_F_MMAPABLE`): the tables are written by plain stores, with
//! no system call for an entry. Unsafe, and therefore here, small, and with nothing else.
//!
//! Not here: what the words mean.

use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a mapped map. Dropping it takes the memory out of this process, not the map out of
/// the kernel.
#[derive(Debug)]
pub struct Mapping<W: Word> {
    start: NonNull<W>,
    n_words: usize,
}

/// Words that kernel and user space may both touch at any time.
pub trait Word: sealed::Sealed {}

impl Word for AtomicU32 {}
impl Word for AtomicU64 {}

mod sealed {
    use core::sync::atomic::{AtomicU32, AtomicU64};

    #[expect(unnameable_types, reason = "sealed: nobody else may implement it")]
    /// Only atomic integers: any bits are a value, and shared writes are no race.
    pub trait Sealed: Send + Sync {}

    impl Sealed for AtomicU32 {}
    impl Sealed for AtomicU64 {}
}

impl<W: Word> Mapping<W> {
    /// Maps the first `n_words` words of a map.
    ///
    /// Errors: as mmap(2); EINVAL or EPERM where the map is smaller, or not mmapable. Internal.
    pub fn of(map: impl AsFd, n_words: usize) -> io::Result<Self> {
        let length = n_words
            .checked_mul(size_of::<W>())
            .and_then(NonZeroUsize::new)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address that the kernel chooses overlaps nothing.
        let start = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map,
                0,
            )
        };
        Ok(Self {
            start: start?.cast(),
            n_words,
        })
    }
}

impl<W: Word> Deref for Mapping<W> {
    type Target = [W];

    fn deref(&self) -> &[W] {
        // SAFETY: `start` begins `n_words` mapped words, aligned to a page, until `self` is dropped;
        // any bits are a `W` (sealed: atomic integers), and the kernel keeps the pages for as long
        // as the mapping lives, since the mapping holds a reference to the map.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.n_words) }
    }
}

impl<W: Word> Drop for Mapping<W> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this start and length, and nothing borrows it any more.
        // munmap(2) fails only for a range that is not one.
        let _unmapped: nix::Result<()> =
            unsafe { munmap(self.start.cast(), self.n_words * size_of::<W>()) };
    }
}

// SAFETY: it owns its mapping, and its words are atomic integers.
unsafe impl<W: Word> Send for Mapping<W> {}
// SAFETY: as above.
unsafe impl<W: Word> Sync for Mapping<W> {}
