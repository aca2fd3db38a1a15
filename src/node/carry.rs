//! Words between the leader's half and the worker's half of runs.
//!
//! In one node they meet without a network, and are carried here all the same, one by one, in
//! order: the leader orders itself as it orders others. Those of another node go out as words of
//! its session.

use super::Node;
use super::effect::Effect;
use super::office::BY_NODE;
use crate::run::dispatch::Instruction;
use crate::run::session::Said;
use crate::run::worker::Work;
use crate::store::Record;

impl Node {
    /// Carries until neither half has anything to say. Each word moves a run along a table that
    /// has no way back without a disk or a launcher, so this ends.
    pub(super) fn carry(&mut self) {
        loop {
            let decides = !self.is_handing_over();
            if let Some(instruction) = decides.then(|| self.dispatch.poll()).flatten() {
                self.instruct(instruction);
            } else if let Some(work) = self.worker.poll() {
                self.work(work);
            } else {
                return;
            }
        }
    }

    fn instruct(&mut self, instruction: Instruction) {
        let me = self.identity.node;
        match instruction {
            Instruction::Order(order) if order.spawn.run.node == me => {
                self.worker.order(*order, self.now);
            }
            Instruction::Question(run) if run.node == me => self.worker.question(run),
            Instruction::Settle(run) if run.node == me => self.worker.settled(run, self.now),
            Instruction::Order(order) => self.tell(order.spawn.run.node, Said::Order(order)),
            Instruction::Question(run) => self.tell(run.node, Said::Question(run)),
            Instruction::Settle(run) => self.tell(run.node, Said::Settle(run)),
            Instruction::Finish(finished) => {
                self.append(Record::Finished(*finished), BY_NODE);
            }
            Instruction::Retry(retry) => {
                self.append(Record::Retry(retry), BY_NODE);
            }
        }
    }

    fn work(&mut self, work: Work) {
        match work {
            Work::Append(record) => self.batch.runs.push(record),
            Work::Launcher(command) => self.effects.push_back(Effect::Launcher(command)),
            Work::Watch(process) => self.effects.push_back(Effect::Watch(process)),
            // Before the office is established the state may lack claims that are committed, and
            // an end would be taken for a settled one. The office begins by asking anew.
            Work::Report(run, report) if self.established.is_some() && self.is_of_this_store() => {
                self.dispatch.report(&self.state, run, report, self.now);
            }
            Work::Report(run, report) if self.established.is_none() => {
                if let Some((to, word)) = self.tether.report(run, report) {
                    self.send(to, word);
                }
            }
            Work::Report(..) => {}
        }
    }
}
