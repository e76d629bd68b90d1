//! Threads of a machine with three vCPUs.

use super::*;

fn three() -> Threads {
    Threads::new(3)
}

fn thread(number: usize) -> Tid {
    NonZeroUsize::new(number).unwrap()
}

#[test]
fn thread_numbers_are_vcpu_numbers_plus_one() {
    let threads = three();
    let all: Vec<CpuId> = threads.all().collect();
    assert_eq!(all.len(), 3);
    for vcpu in &all {
        assert_eq!(threads.vcpu(thread_of(*vcpu)), Some(*vcpu));
    }
    assert_eq!(threads.vcpu(thread(1)), Some(CpuId::BOOT));
    for number in [4, 5, usize::MAX] {
        assert_eq!(threads.vcpu(thread(number)), None);
    }
    let names: Vec<String> = threads.all().map(name_of).collect();
    assert_eq!(names, ["CPU 0", "CPU 1", "CPU 2"]);
}

#[test]
fn an_invalid_thread_does_not_change_the_selection() {
    let mut threads = three();
    assert!(threads.select(ThreadSelector::One(thread(3))));
    for wrong in [ThreadSelector::One(thread(4)), ThreadSelector::All, ThreadSelector::Invalid] {
        assert!(!threads.select(wrong), "{wrong:?}");
        assert_eq!(thread_of(threads.selected()), thread(3));
    }
    assert!(threads.select(ThreadSelector::Any), "any thread is the selected one");
    assert_eq!(threads.id(threads.selected()), "3");
    threads.name_process();
    assert_eq!(threads.id(threads.selected()), "p1.3");
    threads.resize(3);
    assert_eq!(thread_of(threads.selected()), thread(3));
    threads.resize(2);
    assert_eq!((threads.id(threads.selected()), threads.vcpu(thread(3))), ("p1.1".to_owned(), None));
    threads.resize(3);
    threads.stopped(CpuId::BOOT);
    assert_eq!(threads.selected(), CpuId::BOOT, "gdb selects the thread that stopped");
}
