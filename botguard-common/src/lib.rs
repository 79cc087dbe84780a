//! The words that botguard's kernel and user halves share.
#![no_std]
