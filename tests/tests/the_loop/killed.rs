//! `kill -9` of the daemon in the middle of commands, over and over, while datagrams flow: what was
//! acknowledged holds from that instant on, and nobody else notices anything.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::config::Config;
use botguard_tests::daemon::Daemon;
use botguard_tests::host::Host;
use botguard_tests::wait;

use crate::datagrams::{Datagrams, Mark};
use crate::fixture::{PARTNER, SCRAPER, USER, USER_V6, exit_of, running};

/// What was acknowledged of a source.
#[derive(Clone, Copy)]
enum Known {
    /// It is blocked since then.
    Blocked(Mark),
    /// It was never blocked, or a command about it had no answer.
    Nothing,
}

/// Whoever gives commands, and what they know by the answers.
struct Operator<'a> {
    host: &'a Host,
    datagrams: &'a Datagrams,
    /// Two lists of one name; both hold [`PARTNER`].
    lists: [PathBuf; 2],
    /// By a single block.
    scraper: Known,
    /// By either list.
    partner: Known,
}

impl Operator<'_> {
    /// Gives commands until the daemon has been killed, and one more.
    fn work(&mut self, answers: &Sender<()>, is_killed: &AtomicBool) -> Result<()> {
        let mut step = 0;
        loop {
            let is_last = is_killed.load(Ordering::SeqCst);
            let is_done = self.step(step)?;
            ensure!(
                is_done || is_killed.load(Ordering::SeqCst),
                "step {step} failed while the daemon was well"
            );
            // The killer wants to hear of some of them only.
            let _unheard: Result<_, _> = answers.send(());
            if is_last {
                return Ok(());
            }
            step += 1;
        }
    }

    /// One command, or a look; whether it was acknowledged.
    fn step(&mut self, number: usize) -> Result<bool> {
        let Self { host, .. } = *self;
        let is_done = |arguments: &[&str]| Ok(exit_of(host, arguments)?.0 == 0);
        match number % 6 {
            0 => {
                let is_done = is_done(&["block", "add", SCRAPER, "--ttl", "1h"])?;
                self.scraper = self.after(self.scraper, is_done);
                Ok(is_done)
            }
            // Whichever of the two is in force where it is not acknowledged holds the partner.
            1 | 2 => {
                let list = self.lists[number % 2].to_str().context("a path is text")?;
                let is_done = is_done(&["block", "import", list])?;
                self.partner = self.after(self.partner, is_done);
                Ok(is_done)
            }
            3 => {
                self.check()?;
                Ok(true)
            }
            4 => {
                self.check()?;
                self.scraper = Known::Nothing;
                is_done(&["block", "del", SCRAPER])
            }
            _ => {
                self.check()?;
                self.partner = Known::Nothing;
                is_done(&["block", "del", "--origin", "feed"])
            }
        }
    }

    /// Lifts what is in force, so that the next blocks are new ones.
    fn lift(&mut self) -> Result<()> {
        self.scraper = Known::Nothing;
        self.partner = Known::Nothing;
        for arguments in [
            ["block", "del", SCRAPER].as_slice(),
            &["block", "del", "--origin", "feed"],
        ] {
            // There may be nothing to lift.
            exit_of(self.host, arguments)?;
        }
        Ok(())
    }

    /// What is known after a command that blocks.
    fn after(&self, before: Known, is_acknowledged: bool) -> Known {
        match before {
            Known::Nothing if is_acknowledged => Known::Blocked(self.datagrams.mark()),
            Known::Blocked(_) | Known::Nothing => before,
        }
    }

    /// Nothing of those who are blocked has arrived since it was acknowledged, and everything of
    /// those who are not, or are allowed.
    fn check(&self) -> Result<()> {
        for (source, since) in self.blocked() {
            let has_arrived = self.datagrams.has_arrived(source, since)?;
            ensure!(!has_arrived, "{source} got through");
        }
        for source in [USER, USER_V6] {
            let n_lost = self.datagrams.n_lost(source)?;
            ensure!(n_lost == 0, "{n_lost} datagrams of {source} were lost");
        }
        Ok(())
    }

    /// The same, and what botguard says of itself, after a restart.
    fn check_anew(&self) -> Result<()> {
        self.check()?;
        for (source, _since) in self.blocked() {
            let (exit, said) = exit_of(self.host, &["would-block", source])?;
            ensure!(exit == 0, "{source} is not blocked any more: {said}");
        }
        let (exit, said) = exit_of(self.host, &["status"])?;
        ensure!(exit == 0, "degraded: {said}");
        Ok(())
    }

    fn blocked(&self) -> impl Iterator<Item = (&'static str, Mark)> {
        let all = [(SCRAPER, self.scraper), (PARTNER, self.partner)];
        all.into_iter().filter_map(|(source, known)| match known {
            Known::Blocked(since) => Some((source, since)),
            Known::Nothing => None,
        })
    }
}

/// How often; `cargo xtask test --full` says 100.
fn n_kills() -> Result<usize> {
    let kills = std::env::var("BOTGUARD_KILLS").ok();
    kills.map_or(Ok(10), |kills| kills.parse().context("BOTGUARD_KILLS"))
}

/// Kills the daemon at another of the operator's commands each time: half of the times as soon as
/// it is answered, which is when something may not be on the disk yet, and else some datagrams
/// later, in the middle of the next.
fn kill_in_the_middle(
    kill: usize,
    daemon: Daemon,
    datagrams: &Datagrams,
    answers: &Receiver<()>,
    is_killed: &AtomicBool,
) -> Result<()> {
    for _ in 0..=kill / 2 % 6 {
        // An operator who has given up says why.
        let _given_up: Result<_, _> = answers.recv();
    }
    let mark = datagrams.mark();
    let n_wanted = (kill % 2 * kill * 37 % 200) as u64;
    let is_late = || (datagrams.n_sent_since(mark) >= n_wanted).then_some(());
    let waited = wait::until("datagrams", Duration::from_secs(60), is_late);
    // Whatever happened: the operator works until it is said.
    is_killed.store(true, Ordering::SeqCst);
    waited.and_then(|()| daemon.kill())
}

#[test]
fn a_killed_daemon_takes_back_nothing_and_loses_no_packet() {
    let (mut host, mut daemon) = running("killed", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["allow", "add", USER_V6]);
    botguard(&["block", "add", USER_V6, "--scope", "host"]);
    // The file's name is the list's.
    let lists = ["a", "b"].map(|name| host.lab.directory().join(name).join("feed.txt"));
    for (list, content) in lists.iter().zip([format!("{PARTNER}\n"), long_list()]) {
        std::fs::create_dir(list.parent().unwrap()).unwrap();
        std::fs::write(list, content).unwrap();
    }
    let others = [SCRAPER, PARTNER];
    let datagrams = Datagrams::start(&mut host, &[USER, USER_V6], &others).unwrap();
    // They do get through as long as nobody blocks them.
    let start = datagrams.mark();
    for source in others {
        assert!(datagrams.has_arrived(source, start).unwrap());
    }
    let mut operator = Operator {
        host: &host,
        datagrams: &datagrams,
        lists,
        scraper: Known::Nothing,
        partner: Known::Nothing,
    };
    for kill in 0..n_kills().unwrap() {
        operator.lift().unwrap();
        let (sender, answers) = channel();
        let is_killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (operator, is_killed) = (&mut operator, &is_killed);
            let work = scope.spawn(move || operator.work(&sender, is_killed));
            let killed = kill_in_the_middle(kill, daemon, &datagrams, &answers, is_killed);
            work.join().unwrap().unwrap();
            killed.unwrap();
        });
        operator.check().unwrap();
        daemon = host.botguard.start(&host.lab).unwrap();
        operator.check_anew().unwrap();
    }
    drop(daemon);
}

/// A network that holds the partner, and some hundred hosts; too short for the gates to compare.
fn long_list() -> String {
    let hosts = (0..900_u32).map(|n| std::net::Ipv4Addr::from(0x4000_0000 + n));
    let hosts: Vec<_> = hosts.map(|host| host.to_string()).collect();
    format!("5.9.0.0/16\n{}\n", hosts.join("\n"))
}
