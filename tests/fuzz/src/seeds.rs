//! Puts a target's seeds where libFuzzer looks for them.

use std::path::Path;

/// Writes each seed into a file of its own, in the directories that the target was started with.
///
/// # Panics
///
/// A seed cannot be written: the target would look with less than it was given.
pub fn write(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let directories: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| Path::new(argument).is_dir())
        .collect();
    for (number, seed) in seeds.into_iter().enumerate() {
        for directory in &directories {
            let file = Path::new(directory).join(format!("seed-{number:03}"));
            if let Err(error) = std::fs::write(&file, &seed) {
                panic!("{}: {error}", file.display());
            }
        }
    }
}
