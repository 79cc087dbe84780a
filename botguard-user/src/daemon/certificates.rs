//! The certificates of all listeners as one group: a reload or a change of their files brings all of
//! them in force, or none. Followed like the data files, and refused like them: what cannot be used
//! leaves the old ones in force, is logged once, and is a degraded state until it is mended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::data_files::{Followed, Stamps};
use crate::edge::listener::{ListenerSettings, Prepared};
use crate::edge::tls::{CertificateError, Certificates, Fresh};

/// Those in force, by listener.
#[derive(Debug)]
pub(super) struct ServerCertificates {
    listeners: RwLock<Listeners>,
    files: Mutex<Followed>,
}

type Listeners = Vec<(SocketAddr, Arc<Certificates>)>;

impl ServerCertificates {
    /// Those of `prepared`, whose files were as `stamps` before they were read.
    pub(super) fn new(prepared: &[Prepared], stamps: Stamps) -> Self {
        Self {
            listeners: RwLock::new(prepared.iter().map(of).collect()),
            files: Mutex::new(Followed::new(stamps)),
        }
    }

    /// Those of a new configuration come in force: where the listener is the same, in what it serves
    /// with; those of new listeners are followed from here on. `stamps` as for [`Self::new`].
    pub(super) fn take_over(&self, prepared: &[Prepared], stamps: Stamps) {
        let mut files = self.files.lock();
        let mut listeners = self.listeners.write();
        let mut old = std::mem::take(&mut *listeners);
        for listener in prepared {
            let same = old.iter().position(|(bind, _)| *bind == listener.bind());
            listeners.push(match same {
                Some(same) => {
                    let (bind, certificates) = old.remove(same);
                    certificates.take_over(listener.certificates());
                    (bind, certificates)
                }
                None => of(listener),
            });
        }
        drop(listeners);
        files.accept(stamps);
    }

    /// Takes up files that have changed, if they can be used.
    pub(super) fn look(&self) {
        let stamps = self.stamps();
        if !self.files.lock().look(stamps.clone()) {
            return;
        }
        let read = self.read();
        // From here on no reload comes in between; one that did has judged what is there.
        let mut files = self.files.lock();
        if !files.saw(&stamps) || self.stamps() != stamps {
            return;
        }
        match read {
            Err(error) => files.refuse_logged(stamps, format!("certificates: {error}")),
            Ok(fresh) => {
                for (certificates, fresh) in fresh {
                    certificates.accept(fresh);
                }
                files.accept(stamps);
                tracing::info!("certificates changed and are in force");
            }
        }
    }

    /// What is wrong with files that are not in force.
    pub(super) fn problem(&self) -> Option<String> {
        self.files.lock().problem().map(str::to_owned)
    }

    fn read(&self) -> Result<Vec<(Arc<Certificates>, Fresh)>, CertificateError> {
        let mut all = Vec::new();
        // Files are read without the lock.
        let listeners = self.listeners.read().clone();
        for (_bind, certificates) in listeners {
            if let Some(fresh) = certificates.read()? {
                all.push((certificates, fresh));
            }
        }
        Ok(all)
    }

    fn stamps(&self) -> Stamps {
        let listeners = self.listeners.read();
        let files = listeners.iter().flat_map(|(_, of)| of.files());
        Stamps::of_files(files)
    }
}

fn of(listener: &Prepared) -> (SocketAddr, Arc<Certificates>) {
    (listener.bind(), Arc::clone(listener.certificates()))
}

/// The files that `listeners` name, as they are now.
pub(super) fn stamps(listeners: &[ListenerSettings]) -> Stamps {
    let files = (listeners.iter())
        .flat_map(|listener| &listener.certificate)
        .flat_map(|pair| [&pair.cert, &pair.key]);
    Stamps::of_files(files.map(PathBuf::clone))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::edge::listener::prepare;
    use crate::edge::upstream::Upstreams;

    fn write_pair(folder: &Path, key_of: Option<&rcgen::KeyPair>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let made = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("cert.pem"), made.pem()).unwrap();
        let key = key_of.unwrap_or(&key).serialize_pem();
        std::fs::write(folder.join("key.pem"), key).unwrap();
    }

    #[test]
    fn a_pair_that_does_not_match_waits_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path(), None);
        let text = "bind = '127.0.0.1:0'\nupstream = 'app'\n\
                    certificate = [{ cert = 'cert.pem', key = 'key.pem' }]";
        let mut settings: ListenerSettings = toml::from_str(text).unwrap();
        for pair in &mut settings.certificate {
            pair.cert = folder.path().join(&pair.cert);
            pair.key = folder.path().join(&pair.key);
        }
        let upstreams = toml::from_str("app = { endpoints = ['http://127.0.0.1:3000'] }").unwrap();
        let upstreams = Upstreams::new(&upstreams).unwrap();
        let settings = [settings];
        let prepared = || prepare(&settings, &upstreams, Path::new("")).unwrap();
        let running = ServerCertificates::new(&prepared(), stamps(&settings));

        write_pair(folder.path(), Some(&rcgen::KeyPair::generate().unwrap()));
        running.look();
        assert_eq!(
            running.problem(),
            None,
            "it may not be written to its end yet"
        );
        running.look();
        let problem = running.problem().unwrap();
        assert!(problem.starts_with("certificates: the key in"), "{problem}");

        write_pair(folder.path(), None);
        running.look();
        assert!(running.problem().is_some());
        running.look();
        assert_eq!(running.problem(), None);

        write_pair(folder.path(), Some(&rcgen::KeyPair::generate().unwrap()));
        running.look();
        running.look();
        assert!(running.problem().is_some());
        write_pair(folder.path(), None);
        running.take_over(&prepared(), stamps(&settings));
        assert_eq!(running.problem(), None);
    }
}
