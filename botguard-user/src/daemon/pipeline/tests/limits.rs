//! Limits under many threads at once.

use super::*;

#[test]
fn no_more_is_granted_than_declared_however_many_ask_at_once() {
    const BURST: u64 = 50;
    let bench = Bench::of(
        "[identity]\napi_key = [\"header:x-api-key\"]\n\
         [[tier]]\nname = \"machine\"\nkeys = [\"*\"]\nclient = \"machine\"\n\
         rate = \"600/min\"\nburst = 50\n[default]\nmode = \"enforce\"\n",
        &[],
    );
    let start = Monotonic::read();
    let granted: u64 = std::thread::scope(|scope| {
        let ask = || {
            let answers = (0..500).map(|n| bench.page("192.0.2.1", n));
            answers.filter(Option::is_none).count() as u64
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    let elapsed = Monotonic::read().since(start);
    let came_in = u64::try_from(elapsed.as_millis()).unwrap() / 100 + 1;
    assert!(granted >= BURST, "{granted}");
    assert!(granted <= BURST + came_in, "{granted} in {elapsed:?}");
    // The mirror: somebody else at the same time has the whole of it.
    assert_eq!(bench.page("192.0.2.2", 0), None);
}
