//! Resume actions of a machine with three vCPUs.

use std::num::NonZeroUsize;

use gdbstub::common::Tid;

use super::*;

fn three() -> Threads {
    Threads::new(3)
}

fn thread(number: usize) -> Tid {
    NonZeroUsize::new(number).unwrap()
}

/// The body of what the library gets of the packet `body`; `None` if it is refused.
fn for_library(threads: &Threads, body: &str) -> Option<String> {
    let packet = packet(threads, &actions(body.as_bytes()).unwrap())?;
    let packet = String::from_utf8(packet).unwrap();
    Some(packet.split(['$', '#']).nth(1).unwrap().to_owned())
}

#[test]
fn each_thread_is_named_once_and_each_step_has_its_thread() {
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
    assert!(threads.select_resumed(ThreadSelector::One(thread(3))));
    assert!(!threads.select_resumed(ThreadSelector::One(thread(4))));
    assert_eq!(for_library(&threads, "c").unwrap(), "vCont;c:3");
    assert_eq!(for_library(&threads, "s").unwrap(), "vCont;s:3");
    assert_eq!(for_library(&threads, "vCont;c").unwrap(), "vCont;c", "`vCont` knows nothing of `Hc`");
    assert!(threads.select_resumed(ThreadSelector::All));
    assert_eq!(for_library(&threads, "c").unwrap(), "vCont;c");
}

#[test]
fn impossible_actions_are_refused_as_a_whole() {
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
fn resume_actions_are_decoded() {
    assert_eq!(actions(b"vCont?"), None);
    assert_eq!(actions(b"vCont"), None);
    assert_eq!(actions(b"g"), None);
    let read = actions(b"vCont;r1f,20:p1.2;c").unwrap();
    let (second, all) = (ThreadSelector::One(NonZeroUsize::new(2).unwrap()), ThreadSelector::All);
    assert_eq!(
        read,
        [
            ResumeAction { action: b"r1f,20", threads: second, plain: true },
            ResumeAction { action: b"c", threads: all, plain: true }
        ]
    );
    assert_eq!(
        actions(b"s").unwrap(),
        [ResumeAction { action: b"s", threads: ThreadSelector::Selected, plain: false }]
    );
    assert_eq!(
        actions(b"s200000").unwrap(),
        [ResumeAction { action: b"s", threads: ThreadSelector::Invalid, plain: false }]
    );
    assert_eq!(actions(b"sideways"), None);
}

#[test]
fn packets_of_gdb_reach_the_library_unchanged() {
    let threads = three();
    let route = |body: &str| route(&threads, &actions(body.as_bytes()).unwrap());
    for body in [
        "vCont;c",
        "vCont;c:p1.-1",
        "vCont;s:p1.1;c:p1.-1",
        "vCont;s:1;c",
        "vCont;s:p1.2",
        "vCont;r10,20:p1.3;c",
    ] {
        assert_eq!(route(body), Route::Library, "{body}");
    }
    for body in
        ["c", "s", "vCont;s", "vCont;c;s:1", "vCont;c:1;s:1", "vCont;s:p0.1", "vCont;c:0", "vCont;S05"]
    {
        assert!(matches!(route(body), Route::Replaced(_)), "{body}");
    }
    assert_eq!(route("vCont;s:4"), Route::Refused(INVALID));
}
