//! The programs of the bench, loaded: `botguard-ebpf/src/bench`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aya::maps::Array;
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};

use crate::layout::{KEYS, KEYS_PER_PAGE_V4, KEYS_PER_PAGE_V6};

/// The programs and maps of the bench.
pub(crate) struct Object {
    ebpf: Ebpf,
}

/// Sources in the order in which packets come from them.
pub(crate) enum Keys {
    /// Of IPv4.
    V4(Vec<u32>),
    /// Of IPv6.
    V6(Vec<u128>),
}

/// Sizes and pins of maps, by name.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Most entries, where the object's own number will not do.
    pub(crate) sizes: Vec<(&'a str, u32)>,
    /// Maps that exist already.
    pub(crate) pins: Vec<(&'a str, PathBuf)>,
}

impl Object {
    /// Makes the maps; programs are loaded when they are asked for.
    pub(crate) fn load(bytes: &[u8], setup: &Setup<'_>) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        for (name, size) in &setup.sizes {
            loader.map_max_entries(name, *size);
        }
        for (name, path) in &setup.pins {
            loader.map_pin_path(name, path);
        }
        let ebpf = loader.load(bytes).context("the bench's object")?;
        Ok(Self { ebpf })
    }

    /// Loads programs; asking twice is no error.
    pub(crate) fn prepare(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            let program = self.xdp_mut(name)?;
            if program.fd().is_err() {
                program.load().with_context(|| (*name).to_owned())?;
            }
        }
        Ok(())
    }

    /// A program that was prepared.
    pub(crate) fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self.ebpf.program(name).with_context(|| name.to_owned())?;
        Ok(program.try_into()?)
    }

    /// The same, to attach it.
    pub(crate) fn xdp_mut(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(name);
        Ok(program.with_context(|| name.to_owned())?.try_into()?)
    }

    /// The object's maps.
    pub(crate) const fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Fills the key table, over and over where there are fewer keys than places.
    pub(crate) fn fill(&mut self, keys: &Keys) -> Result<()> {
        match keys {
            Keys::V4(keys) => {
                let keys = keys.iter().map(|key| key.to_be_bytes());
                self.fill_pages::<4, KEYS_PER_PAGE_V4>("keys_v4", keys)
            }
            Keys::V6(keys) => {
                let keys = keys.iter().map(|key| key.to_be_bytes());
                self.fill_pages::<16, KEYS_PER_PAGE_V6>("keys_v6", keys)
            }
        }
    }

    fn fill_pages<const N: usize, const M: usize>(
        &mut self,
        map: &str,
        keys: impl Iterator<Item = [u8; N]> + Clone,
    ) -> Result<()> {
        let mut keys = keys.cycle();
        let mut pages: Array<_, [[u8; N]; M]> = self.array(map)?;
        for index in 0..KEYS / u32::try_from(M)? {
            let page = std::array::from_fn(|_| keys.next().unwrap_or([0; N]));
            pages.set(index, page, 0)?;
        }
        Ok(())
    }

    /// An array of the object.
    pub(crate) fn array<V: Pod>(
        &mut self,
        name: &str,
    ) -> Result<Array<&mut aya::maps::MapData, V>> {
        let map = self.ebpf.map_mut(name).with_context(|| name.to_owned())?;
        Ok(map.try_into()?)
    }
}

/// Runs a program on `packet` over and over: the kernel's own count of nanoseconds a run, which is
/// whole, and what the last run returned.
///
/// Not wall time: for more than one run the kernel changes its dispatcher, and waits for a tick.
pub(crate) fn run(program: &Xdp, packet: &[u8], repeat: u32) -> Result<(f64, u32)> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(packet);
    options.repeat = repeat;
    let result = program.test_run(options)?;
    let ns = u32::try_from(result.duration.as_nanos()).context("a run that lasts seconds")?;
    Ok((f64::from(ns), result.return_value))
}

/// `XDP_DROP`.
pub(crate) const XDP_DROP: u32 = 1;
