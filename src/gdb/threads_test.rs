//! Threads, as a machine with three vCPUs has them.

use super::super::packets::resumption;
use super::*;

fn three() -> Threads {
    Threads::new(NonZeroUsize::new(3).unwrap())
}

fn thread(number: usize) -> Tid {
    NonZeroUsize::new(number).unwrap()
}

/// The body of what the library gets of the packet `body`; nothing if it is refused.
fn for_library(threads: &Threads, body: &str) -> Option<String> {
    let packet = threads.packet(&resumption(body.as_bytes()).unwrap())?;
    let packet = String::from_utf8(packet).unwrap();
    Some(packet.split(['$', '#']).nth(1).unwrap().to_owned())
}

#[test]
fn each_thread_is_a_vcpu_and_no_other_number_is() {
    let threads = three();
    let all: Vec<VcpuNumber> = threads.all().collect();
    assert_eq!(all.len(), 3);
    for vcpu in &all {
        assert_eq!(threads.vcpu(vcpu.thread()), Some(*vcpu));
    }
    assert_eq!(threads.vcpu(thread(1)), Some(VcpuNumber::FIRST));
    for number in [4, 5, usize::MAX] {
        assert_eq!(threads.vcpu(thread(number)), None);
    }
    let names: Vec<String> = threads.all().map(|vcpu| vcpu.to_string()).collect();
    assert_eq!(names, ["vCPU 0", "vCPU 1", "vCPU 2"]);
}

#[test]
fn what_is_looked_at_stays_when_a_wrong_thread_is_named() {
    let mut threads = three();
    assert!(threads.look_at(Meant::One(thread(3))));
    for wrong in [Meant::One(thread(4)), Meant::All, Meant::Nobody] {
        assert!(!threads.look_at(wrong), "{wrong:?}");
        assert_eq!(threads.looked_at().thread(), thread(3));
    }
    assert!(threads.look_at(Meant::Any), "any will do: the one there is");
    assert_eq!(threads.id(threads.looked_at()), "3");
    threads.name_process();
    assert_eq!(threads.id(threads.looked_at()), "p1.3");
    threads.stopped(VcpuNumber::FIRST);
    assert_eq!(threads.looked_at(), VcpuNumber::FIRST, "the one that stopped, as gdb takes it");
}

#[test]
fn the_library_is_told_of_steps_with_their_threads_and_of_each_thread_once() {
    let mut threads = three();
    threads.stopped(threads.vcpu(thread(2)).unwrap());
    for (body, expected) in [
        ("vCont;c", "vCont;c"),
        ("vCont;c:p1.-1", "vCont;c"),
        ("vCont;s:p1.2;c:p1.-1", "vCont;s:2;c"),
        ("vCont;s:2;c", "vCont;s:2;c"),
        ("vCont;s:2", "vCont;s:2"),
        ("vCont;r200000,200010:p1.3;c", "vCont;r200000,200010:3;c"),
        ("vCont;s:3;s:1", "vCont;s:1;s:3"),
        ("vCont;s", "vCont;s:1;s:2;s:3"),
        ("vCont;c:1;s", "vCont;c:1;s:2;s:3"),
        ("vCont;C05:1;s:1", "vCont;C05:1"),
        ("vCont;c;s:1", "vCont;c"),
        // `c` and `s` are for all until `Hc` has chosen one: the one that is looked at steps.
        ("c", "vCont;c"),
        ("s", "vCont;s:2;c"),
    ] {
        assert_eq!(for_library(&threads, body).as_deref(), Some(expected), "{body}");
    }
    assert!(threads.choose(Meant::One(thread(3))));
    assert!(!threads.choose(Meant::One(thread(4))));
    assert_eq!(for_library(&threads, "c").unwrap(), "vCont;c:3");
    assert_eq!(for_library(&threads, "s").unwrap(), "vCont;s:3");
    assert_eq!(for_library(&threads, "vCont;c").unwrap(), "vCont;c", "`vCont` knows nothing of `Hc`");
    assert!(threads.choose(Meant::All));
    assert_eq!(for_library(&threads, "c").unwrap(), "vCont;c");
}

#[test]
fn what_cannot_be_is_refused_as_a_whole() {
    let threads = three();
    for body in [
        "vCont;s:4",
        "vCont;s:1;c:4",
        "vCont;s:p2.1",
        "vCont;c:p1.4",
        "vCont;c:",
        "vCont;s:x",
        "vCont;s:10000000000000000",
        "vCont;",
        "vCont;;c",
        "vCont;t",
        "vCont;x:1",
        "vCont;cc",
        "vCont;C",
        "vCont;C100:1",
        "vCont;r:1",
        "vCont;r1:1",
        "vCont;r1,x:1",
    ] {
        assert_eq!(for_library(&threads, body), None, "{body}");
    }
}

#[test]
fn each_vcpu_does_what_it_is_told_and_the_others_run_or_stay() {
    let mut threads = three();
    let does = |threads: &Threads| threads.all().map(|vcpu| threads.action(vcpu).clone()).collect::<Vec<_>>();
    threads.set(thread(2), Action::Step);
    assert_eq!(does(&threads), [Action::Continue, Action::Step, Action::Continue]);
    threads.lock();
    threads.set(thread(3), Action::StepOutOf(1..2));
    assert_eq!(does(&threads), [Action::Stay, Action::Step, Action::StepOutOf(1..2)]);
    threads.set(thread(4), Action::Step);
    threads.clear();
    assert_eq!(does(&threads), [Action::Continue, Action::Continue, Action::Continue]);
    threads.lock();
    threads.begin();
    assert_eq!(does(&threads), [Action::Continue, Action::Continue, Action::Continue], "for a new client");
}
