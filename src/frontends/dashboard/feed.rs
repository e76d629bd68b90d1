//! The thread that reads the machine for the dashboard and carries out its orders.
//!
//! It talks to the supervisor through the request queue, as the console does, and waits for its answers. The
//! user-interface thread never does: it sends [`Order`]s, and is woken for [`News`].

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::sample::{Sample, Wanted};
use crate::inspect::disassembly::{self, LONGEST_INSTRUCTION};
use crate::inspect::expression::Expression;
use crate::inspect::source_text::SourceFiles;
use crate::inspect::translate::read_virtual;
use crate::inspect::values::Known;
use crate::machine::output::Doorbell;
use crate::supervisor::command_interpreter::{CommandReply, CommandSource};
use crate::supervisor::notice::Notice;
use crate::supervisor::request_queue::{RequestSender, RunOver};
use crate::supervisor::stopped_machine::{RunStatus, StoppedMachine};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(100);
/// Time between two looks at the mapped ranges.
const MAPS_INTERVAL: Duration = Duration::from_secs(1);
/// Stack of the thread, in bytes.
const STACK: usize = 256 << 10;

/// What the user wants of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Pause the guest.
    Pause,
    /// Let it go on.
    Resume,
    /// Execute one instruction.
    Step,
    /// The same, but a call with all that it calls.
    Next,
    /// Set a breakpoint at a linear address, or delete those there.
    ToggleBreakpoint(u64),
    /// Find the address that an expression means.
    Find(String),
    /// Show something else.
    Show(Wanted),
}

/// What the dashboard is notified of.
#[derive(Debug)]
pub enum News {
    /// The state of the machine.
    Sample(Box<Sample>),
    /// A line for the user.
    Message(String),
    /// The answer to [`Order::Find`].
    Found(u64),
}

/// The dashboard's end of the feed. Dropping it ends the thread.
#[derive(Debug)]
pub struct FeedHandle {
    orders: Sender<Order>,
    news: Receiver<News>,
}

impl FeedHandle {
    /// Sends an order; without effect once the run is over.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// The next news, if there are any.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

/// Starts the thread.
///
/// # Errors
///
/// The host's, if it gives no thread.
pub fn start(caller: RequestSender, doorbell: Arc<Doorbell>) -> io::Result<FeedHandle> {
    let ((orders, received), (sender, news)) = (channel(), channel());
    let notices = caller.notices();
    let mut feed = Feed {
        caller,
        doorbell,
        notices,
        news: sender,
        wanted: Wanted::default(),
        temporary: None,
        maps_taken: None,
        sources: SourceFiles::default(),
    };
    thread::Builder::new().name("dashboard".into()).stack_size(STACK).spawn(move || {
        // It ends with the run, or with the dashboard.
        let _: Result<(), RunOver> = feed.run(&received);
    })?;
    Ok(FeedHandle { orders, news })
}

struct Feed {
    caller: RequestSender,
    doorbell: Arc<Doorbell>,
    notices: Receiver<Notice>,
    news: Sender<News>,
    wanted: Wanted,
    /// The number of the breakpoint behind a call that is stepped over.
    temporary: Option<u32>,
    /// When the mapped ranges were read.
    maps_taken: Option<Instant>,
    sources: SourceFiles,
}

/// What comes after the next instruction, if that is a call or repeats itself.
struct StepOver {
    behind: u64,
    rsp: u64,
}

impl Feed {
    fn run(&mut self, orders: &Receiver<Order>) -> Result<(), RunOver> {
        loop {
            match orders.recv_timeout(INTERVAL) {
                Ok(order) => self.carry_out(order)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            while let Ok(order) = orders.try_recv() {
                self.carry_out(order)?;
            }
            let passed = self.temporary;
            self.sample()?;
            while let Ok(notice) = self.notices.try_recv() {
                // The user has asked for a step, not for a breakpoint.
                if passed.is_none_or(|number| !notice.text.starts_with(&format!("breakpoint {number} "))) {
                    self.tell(&notice.text);
                }
            }
            self.doorbell.wake();
        }
    }

    /// Passes on the first line of `text`.
    fn tell(&self, text: &str) {
        if let Some(line) = text.lines().next() {
            let _ = self.news.send(News::Message(line.to_owned()));
        }
    }

    fn command(&self, line: &str) -> Result<CommandReply, RunOver> {
        self.caller.run_command(CommandSource::Console, line)
    }

    /// Carries out a command whose answer the user sees.
    fn command_of_user(&self, line: &str) -> Result<(), RunOver> {
        let reply = self.command(line)?;
        self.tell(&reply.text);
        Ok(())
    }

    /// The same for a command whose success the user sees anyway.
    fn silent_command(&self, line: &str) -> Result<(), RunOver> {
        let reply = self.command(line)?;
        if reply.failed {
            self.tell(&reply.text);
        }
        Ok(())
    }

    fn carry_out(&mut self, order: Order) -> Result<(), RunOver> {
        match order {
            Order::Pause => self.silent_command("pause"),
            Order::Resume => self.silent_command("resume"),
            Order::Step => self.silent_command("step"),
            Order::Next => self.step_over(),
            Order::ToggleBreakpoint(address) => self.toggle(address),
            Order::Find(text) => self.find(text),
            Order::Show(wanted) => {
                self.wanted = wanted;
                Ok(())
            }
        }
    }

    fn step_over(&mut self) -> Result<(), RunOver> {
        let Some(StepOver { behind, rsp }) = self.caller.with_stopped_machine(step_over)? else {
            return self.silent_command("step");
        };
        // A call of the same function by itself has a lower stack.
        let reply = self.command(&format!("break {behind:#x} if $rsp >= {rsp:#x}"))?;
        if reply.failed {
            self.tell(&reply.text);
            return Ok(());
        }
        self.temporary = number_in(&reply.text);
        self.silent_command("resume")
    }

    fn toggle(&mut self, address: u64) -> Result<(), RunOver> {
        let set: Vec<u32> = self.caller.with_stopped_machine(move |machine| {
            machine
                .points()
                .breakpoints()
                .filter(|(_, at)| *at == address)
                .map(|(number, _)| number)
                .collect()
        })?;
        if set.is_empty() {
            return self.command_of_user(&format!("break {address:#x}"));
        }
        set.into_iter().try_for_each(|number| self.command_of_user(&format!("delete {number}")))
    }

    fn find(&mut self, text: String) -> Result<(), RunOver> {
        match self.caller.with_stopped_machine(move |machine| evaluate(machine, &text))? {
            Ok(address) => _ = self.news.send(News::Found(address)),
            Err(message) => self.tell(&message),
        }
        Ok(())
    }

    fn sample(&mut self) -> Result<(), RunOver> {
        let mut wanted = self.wanted;
        // Large tables take milliseconds, so they are not read each time.
        wanted.maps &= self.maps_taken.is_none_or(|taken| taken.elapsed() >= MAPS_INTERVAL);
        let mut sample = self.caller.with_stopped_machine(move |machine| Sample::take(machine, &wanted))?;
        sample.add_source_texts(&mut self.sources);
        if sample.maps.is_some() {
            self.maps_taken = Some(Instant::now());
        }
        if sample.status != Some(RunStatus::Running)
            && let Some(number) = self.temporary.take()
        {
            self.silent_command(&format!("delete {number}"))?;
        }
        let _ = self.news.send(News::Sample(Box::new(sample)));
        Ok(())
    }
}

/// What lies behind the next instruction, if a step would not end there.
fn step_over(machine: &dyn StoppedMachine) -> Option<StepOver> {
    let registers = machine.registers().ok()?;
    let here = registers.next_instruction();
    let mut bytes = [0; LONGEST_INSTRUCTION];
    let count = read_virtual(machine.memory(), &registers, here, &mut bytes);
    let decoded = disassembly::decode(&bytes[..count], registers.bitness(), registers.general.rip)?;
    // A string instruction with a prefix stops after each element.
    let repeats = decoded.text.starts_with("rep");
    let behind = here.checked_add(decoded.length as u64)?;
    (decoded.is_call || repeats).then_some(StepOver { behind, rsp: registers.general.rsp })
}

/// The address that an expression means; otherwise a line that says what is wrong.
fn evaluate(machine: &dyn StoppedMachine, text: &str) -> Result<u64, String> {
    let expression = Expression::parse(text, &|name| machine.address_of(name));
    let expression = expression.map_err(|error| error.to_string())?;
    let registers = machine.registers().map_err(|error| error.to_string())?;
    let mut values = Known { registers: &registers, memory: machine.memory() };
    expression.evaluate(&mut values, 0).map_err(|error| format!("{text}: {error}"))
}

/// The number in the answer to `break`: `breakpoint 3 at ...`.
fn number_in(answer: &str) -> Option<u32> {
    answer.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_new_breakpoint_is_in_the_answer() {
        assert_eq!(number_in("breakpoint 12 at 0x1000 (main)\n"), Some(12));
        assert_eq!(number_in("there are too many"), None);
    }
}
