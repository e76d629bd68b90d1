//! A source sends any bytes at all: nothing of it may panic, hang, take memory without bound, or make a
//! destination run a guest that was not handed over.
#![no_main]

use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use kvm::memory::GuestMemory;
use kvm::migration::decision::Decision;
use kvm::migration::destination::{Arrival, Caller, greet, take_in, take_over};
use kvm::migration::frame::Hello;
use kvm::migration::wire::{Transport, Wire};
use libfuzzer_sys::fuzz_target;

/// A source that has said everything already and listens to nothing.
struct Said(Cursor<Vec<u8>>);

impl Read for Said {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Said {
    fn set_patience(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) {}
}

/// A host with little memory.
struct Small;

impl Arrival for Small {
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, String> {
        if hello.memory > 4 << 20 {
            return Err("too large".to_owned());
        }
        GuestMemory::new(hello.memory).map(Arc::new).map_err(|error| error.to_string())
    }

    fn round_begins(&mut self, _: u32, _: u64) {}

    fn pages_arrived(&mut self, _: u64) {}

    fn build(&mut self, _: Vec<u8>, _: &mut dyn FnMut()) -> Result<(), String> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(wire) = Wire::new(Box::new(Said(Cursor::new(bytes.to_vec())))) else { return };
    let Ok((wire, Caller::Brings(hello))) = greet(wire) else { return };
    let Ok(wire) = take_in(wire, &hello, &mut Small) else { return };
    let decision = Decision::default();
    if take_over(wire, hello.token, &decision).is_ok() {
        assert!(bytes.windows(16).filter(|window| *window == hello.token).count() >= 2);
    }
});
