//! Clients, who ask any node for anything, and again when they were not told what became of it.

use std::collections::BTreeMap;

use super::super::jobs::random_job;
use super::world::World;
use crate::api::{Peer, Role};
use crate::http::{Body, Headers, Method, Request, Response};
use crate::ident::{Index, RequestId};
use crate::node::{Input, Produced};
use crate::rng::Rng;

use super::machine::{MS, SECOND};

pub(super) const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// How often one change is asked for with its key.
const TRIES_MAX: u32 = 30;

/// What a client wants.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) who: String,
    method: Method,
    path: String,
    body: String,
    keyed: bool,
    changes: bool,
    tries: u32,
}

/// A request that has no answer yet.
pub(super) struct Asked {
    pub(super) machine: usize,
    wish: Wish,
    at: u64,
    /// What the answer must see.
    sees: Option<Index>,
}

pub(super) struct Clients {
    rng: Rng,
    pub(super) asked: BTreeMap<u64, Asked>,
    /// What is asked for again, and when.
    pub(super) again: BTreeMap<(u64, u64), Wish>,
    next: u64,
    /// When the next one asks for something new.
    pub(super) next_at: u64,
    gap: u64,
    pub(super) answers: BTreeMap<u16, u64>,
    /// The newest record of a change that was answered.
    answered: Option<Index>,
}

impl Clients {
    pub(super) fn new(mut rng: Rng) -> Clients {
        let gap = (100 + rng.below(1_500)) * MS;
        Clients {
            rng,
            asked: BTreeMap::new(),
            again: BTreeMap::new(),
            next: 0,
            next_at: 3 * SECOND,
            gap,
            answers: BTreeMap::new(),
            answered: None,
        }
    }

    /// When a client comes next.
    pub(super) fn next(&self) -> u64 {
        let again = self.again.keys().next().map_or(u64::MAX, |&(at, _)| at);
        self.next_at.min(again)
    }

    fn wish(&mut self, wall: i64) -> Wish {
        self.next += 1;
        let rng = &mut self.rng;
        let name = NAMES[rng.below(5) as usize];
        let path = format!("/v1/jobs/{name}");
        let (method, path, body) = match rng.below(16) {
            0..=5 => (Method::Post, "/v1/jobs".into(), random_job(rng, name, wall)),
            6 => (Method::Patch, path, format!(r#"{{"keep":{}}}"#, rng.below(4))),
            7 if rng.chance(1, 2) => (Method::Delete, path, String::new()),
            7..=10 => (Method::Post, format!("{path}/run"), String::new()),
            11 | 12 => {
                let how = ["toggle", "enable", "disable"][rng.below(3) as usize];
                (Method::Post, format!("{path}/{how}"), String::new())
            }
            13 => (Method::Get, "/v1/busy".into(), String::new()),
            14 => (Method::Get, path, String::new()),
            _ => (Method::Get, format!("{path}/executions"), String::new()),
        };
        let changes = method != Method::Get;
        let keyed = changes && rng.chance(1, 2);
        let who = format!("{}{}", if keyed { "k" } else { "r" }, self.next);
        Wish { who, method, path, body, keyed, changes, tries: 0 }
    }
}

impl World {
    /// The next client comes.
    pub(super) fn client(&mut self) {
        let t = self.t;
        let due = self.clients.again.first_key_value().filter(|((at, _), _)| *at <= t);
        let wish = match due.map(|(&key, _)| key) {
            Some(key) => self.clients.again.remove(&key).unwrap(),
            None => {
                let gap = self.clients.gap;
                self.clients.next_at = t + 1 + self.clients.rng.below(2 * gap);
                let wall = self.now(0).wall.0;
                self.clients.wish(wall)
            }
        };
        let machine = self.clients.rng.below(self.machines.len() as u64) as usize;
        self.ask(machine, wish);
    }

    /// Deletes a job, however often it must be asked.
    pub(super) fn delete(&mut self, name: &str) {
        self.clients.next += 1;
        let wish = Wish {
            who: format!("k{}", self.clients.next),
            method: Method::Delete,
            path: format!("/v1/jobs/{name}"),
            body: String::new(),
            keyed: true,
            changes: true,
            tries: 0,
        };
        let machine = self.clients.rng.below(self.machines.len() as u64) as usize;
        self.ask(machine, wish);
    }

    /// Asks for something by hand.
    pub(super) fn wish(&mut self, machine: usize, line: (Method, &str), body: &str) -> String {
        self.clients.next += 1;
        let who = format!("r{}", self.clients.next);
        let (method, path) = line;
        // Asking for voters that are there, and for another leader, writes nothing.
        let writes = !path.starts_with("/v1/voters") && path != "/v1/leave";
        let changes = method != Method::Get && writes;
        let (path, body) = (path.to_owned(), body.to_owned());
        let wish = Wish { who: who.clone(), method, path, body, keyed: false, changes, tries: 0 };
        self.ask(machine, wish);
        who
    }

    fn ask(&mut self, machine: usize, mut wish: Wish) {
        let t = self.t;
        wish.tries += 1;
        if self.machines[machine].node.is_none() || self.machines[machine].paused_until > t {
            return self.ask_again(wish);
        }
        self.clients.next += 1;
        let id = self.clients.next;
        if self.told {
            let n = machine + 1;
            let (name, path) = (wish.method.name(), &wish.path);
            println!("  {:.3}: n{n} is asked {name} {path} by {}", t as f64 / 1e9, wish.who);
        }
        let mut headers = Headers::default();
        if wish.keyed {
            headers.push("Idempotency-Key", wish.who.as_str());
        }
        // Every other read is to see all that was answered before.
        let reads = wish.method == Method::Get && wish.path.starts_with("/v1/");
        let (path, asked) = match wish.path.strip_suffix("?consistent") {
            Some(path) => (path, true),
            None => (wish.path.as_str(), false),
        };
        let consistent = asked || (reads && id.is_multiple_of(2));
        let sees = self.clients.answered.filter(|_| consistent);
        let request = Request {
            method: wish.method.clone(),
            path: path.to_owned(),
            query: consistent
                .then(|| ("consistent".to_owned(), String::new()))
                .into_iter()
                .collect(),
            headers,
            body: wish.body.clone().into_bytes(),
            host: Some("localhost".into()),
            version_10: false,
        };
        let who = wish.who.clone();
        let peer = Peer { role: Some(Role::Admin), who, on_unix_socket: true };
        self.clients.asked.insert(id, Asked { machine, wish, at: t, sees });
        let request = Box::new(request);
        self.input(machine, Input::Request { id: RequestId(id), peer, request });
    }

    fn ask_again(&mut self, wish: Wish) {
        if wish.keyed && wish.tries < TRIES_MAX {
            self.clients.next += 1;
            let wait = 300 * MS + self.clients.rng.below(2 * SECOND);
            self.clients.again.insert((self.t + wait, self.clients.next), wish);
        }
    }

    /// The agent of that machine has died, and with it all connections.
    pub(super) fn hang_up(&mut self, machine: usize) {
        let gone = |_: &u64, asked: &mut Asked| asked.machine == machine;
        let gone: Vec<Asked> =
            self.clients.asked.extract_if(.., gone).map(|(_, asked)| asked).collect();
        for asked in gone {
            self.ask_again(asked.wish);
        }
    }

    pub(super) fn answered(&mut self, machine: usize, id: RequestId, response: Response) {
        let asked = self.clients.asked.remove(&id.0).expect("each request is answered once");
        assert_eq!(asked.machine, machine, "an answer comes from who was asked");
        let Wish { method, path, who, .. } = &asked.wish;
        let what = format!("{} {path} as {who}", method.name());
        let status = response.status;
        *self.clients.answers.entry(status).or_default() += 1;
        if self.told {
            let body = match &response.body {
                Body::Bytes(body) => String::from_utf8_lossy(body).into_owned(),
                Body::Empty | Body::Stream(_) => String::new(),
            };
            println!("  {:.3}: {what} is answered {status} {body}", self.t as f64 / 1e9);
        }
        assert_ne!(status, 500, "{what}: {response:?}");
        self.wishes.insert(who.clone(), status);
        if !asked.wish.changes {
            let applied = self.machines[machine].node.as_ref().unwrap().state().applied();
            let sees = asked.sees.is_none_or(|index| applied >= index || status == 503);
            assert!(sees, "{what} sees {applied}, and {:?} was answered before", asked.sees);
        }
        if let Body::Stream(stream) = response.body {
            let mut bytes = Vec::new();
            let node = self.machines[machine].node.as_mut().unwrap();
            while node.produce(stream, &mut bytes) == Produced::More {}
            self.input(machine, Input::StreamClosed(stream));
            return;
        }
        if !asked.wish.changes {
            return;
        }
        let effect = self.watch.oracle.effects.get(who).and_then(|list| list.last()).copied();
        match status {
            200..=299 => {
                let index = effect.unwrap_or_else(|| {
                    panic!("{what} is answered before it is committed: {response:?}")
                });
                let applied = self.machines[machine].node.as_ref().unwrap().state().applied();
                let waited = self.t - asked.at;
                // After ten seconds, by its own clock, it does not wait any longer.
                let reads = applied >= index || waited >= 99 * SECOND / 10;
                assert!(reads, "{what}: who asks there now does not see what was answered");
                self.clients.answered = self.clients.answered.max(Some(index));
            }
            // Nobody can know.
            504 => self.ask_again(asked.wish),
            _ => {
                // Another try with the same key may have had its effect.
                if !asked.wish.keyed {
                    assert_eq!(effect, None, "{what} is refused and has an effect: {response:?}");
                    self.watch.refused.insert(who.clone());
                } else if status == 503 {
                    self.ask_again(asked.wish);
                }
            }
        }
    }
}
