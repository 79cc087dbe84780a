//! What a reload makes of upstreams. One that is to be as it was stays, with its connections and
//! what is known of its endpoints; one that changes takes over the addresses of its names; one that
//! is gone keeps what is under way, and nothing else.

use std::sync::Arc;

use super::Upstream;

/// From the upstreams in force to those of a new configuration.
pub(in crate::edge) struct Changeover {
    old: Vec<Arc<Upstream>>,
    /// Each new one, and what is in force for it.
    settled: Vec<(Arc<Upstream>, Arc<Upstream>)>,
}

impl Changeover {
    /// Begins with those that are in force now.
    pub(in crate::edge) const fn of(old: Vec<Arc<Upstream>>) -> Self {
        Self {
            old,
            settled: Vec::new(),
        }
    }

    /// What is to be in force for `new`: one for all listeners that name it.
    pub(in crate::edge) fn settle(&mut self, new: &Arc<Upstream>) -> Arc<Upstream> {
        let settled = self.settled.iter().find(|(of, _)| Arc::ptr_eq(of, new));
        if let Some((_, in_force)) = settled {
            return Arc::clone(in_force);
        }
        let in_force = match self.old.iter().find(|old| new.is_as(old)) {
            Some(old) => Arc::clone(old),
            None => {
                for old in self.old.iter().filter(|old| old.name() == new.name()) {
                    new.core.take_over(&old.core);
                }
                Arc::clone(new)
            }
        };
        self.settled.push((Arc::clone(new), Arc::clone(&in_force)));
        in_force
    }

    /// Closes what is kept of those that are not `in_force` any more.
    pub(in crate::edge) fn end(self, in_force: &[Arc<Upstream>]) {
        let is_in_force = |old: &Arc<Upstream>| in_force.iter().any(|new| Arc::ptr_eq(new, old));
        for old in self.old.iter().filter(|old| !is_in_force(old)) {
            old.core.retire();
            let same = in_force.iter().filter(|new| new.name() == old.name());
            let endpoints = same.flat_map(|new| &new.core.endpoints);
            old.core.unpublish(&endpoints.collect::<Vec<_>>());
        }
    }
}

impl Upstream {
    /// Whether it is to be as `other` is, so that connections and what is known of the endpoints can
    /// stay.
    fn is_as(&self, other: &Self) -> bool {
        let keys_are_as = match (&self.keys, &other.keys) {
            (None, None) => true,
            (Some(one), Some(other)) => one.are_as(other),
            _ => false,
        };
        self.core.common.upstream == other.core.common.upstream
            && self.settings == other.settings
            && self.core.tls_files == other.core.tls_files
            && keys_are_as
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::upstreams;
    use super::*;

    fn app(lines: &str) -> Arc<Upstream> {
        upstreams(lines).unwrap().named("app").unwrap()
    }

    #[test]
    fn who_is_the_same_stays_and_is_one_for_all() {
        let lines = "endpoints = ['http://127.0.0.1:1']";
        let (old, other, new) = (app(lines), app(lines), app(lines));
        let changed = app("endpoints = ['http://127.0.0.1:1']\nresolve = '1s'");

        // Two listeners that had one each, and are to have the same.
        let mut changeover = Changeover::of(vec![Arc::clone(&old), Arc::clone(&other)]);
        for _ in 0..2 {
            assert!(Arc::ptr_eq(&changeover.settle(&new), &old));
            assert!(Arc::ptr_eq(&changeover.settle(&changed), &changed));
        }
        changeover.end(&[Arc::clone(&old), changed]);
        assert!(!old.core.is_retired());
        assert!(other.core.is_retired());
    }

    #[test]
    fn addresses_stay_with_their_name() {
        let check = |endpoint: &str, expected: &[&str]| {
            let old = app("endpoints = ['http://127.0.0.1:1', 'http://b:2', 'http://c:3']");
            old.core.found(1, vec!["192.0.2.1:2".parse().unwrap()]);
            let new = app(&format!("endpoints = ['{endpoint}']"));
            Changeover::of(vec![old]).settle(&new);
            let targets = new.core.targets();
            let addresses: Vec<_> = (targets.iter())
                .map(|target| target.address().to_string())
                .collect();
            assert_eq!(addresses, expected, "{endpoint}");
        };
        check("http://b:2", &["192.0.2.1:2"]);
        check("h2c://b:2", &["192.0.2.1:2"]);
        check("http://b:3", &[]);
        check("http://c:3", &[]);
        check("http://a:2", &[]);
        check("http://127.0.0.1:2", &["127.0.0.1:2"]);
    }

    #[test]
    fn what_is_gone_is_not_said_to_be_up() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let old = app("endpoints = ['http://127.0.0.1:1', 'http://127.0.0.1:2']");
        let new = app("endpoints = ['http://127.0.0.1:1']");
        metrics::with_local_recorder(&recorder, || {
            old.core.publish();
            let changeover = Changeover::of(vec![Arc::clone(&old)]);
            changeover.end(&[new]);
            // Its tasks may have one more turn.
            old.core.publish();
        });
        let page = recorder.handle().render();
        let check = |port: u8, expected: u8| {
            let line = format!("endpoint=\"http://127.0.0.1:{port}\"}} {expected}\n");
            assert!(page.contains(&line), "{line} in {page}");
        };
        check(1, 1);
        check(2, 0);
    }

    #[test]
    fn files_are_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let write = || {
            let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
            std::fs::write(&file, made.cert.pem()).unwrap();
        };
        let lines = format!(
            "endpoints = ['https://a']\ntls = {{ ca = '{}' }}",
            file.display()
        );
        write();
        let old = app(&lines);
        assert!(app(&lines).is_as(&old));
        write();
        assert!(!app(&lines).is_as(&old));
    }
}
