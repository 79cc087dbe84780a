#!/bin/sh
# rustc, as Cargo's RUSTC_WORKSPACE_WRAPPER: with the coverage that libFuzzer is guided by, for the
# crates that are fuzzed. All else is built as ever and shared with the other builds; build scripts
# could not be linked with it. The flags are those of cargo-fuzz, without the sanitizers, which
# stable has not.
case " $* " in
*" --crate-name botguard "* | *" --crate-name botguard_common "* | \
    *" --crate-name botguard_fuzz "* | *" --crate-name fuzz_"*)
    set -- "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$@"
