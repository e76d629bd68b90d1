//! Arbitrary use of the configuration device of firmware: its ports, and DMA with control structures anywhere in memory.

use super::board::Board;
use crate::devices::fw_cfg::DMA_CONTROL;
use crate::memory::GuestMemory;

/// Guest memory, in bytes.
const MEMORY: u64 = 1 << 20;
/// The ports, from the selector to the low half of the DMA address.
const PORTS: u16 = 0x510;
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;
/// Most steps of one input.
const MOST_STEPS: usize = 256;

/// Reads `input` as accesses and DMA requests.
///
/// # Panics
///
/// If the device does.
pub fn use_configuration(input: &[u8]) {
    let memory = GuestMemory::new(MEMORY).expect("a MiB can be had");
    let mut board = Board::default();
    board.set_up_firmware(&memory, vec![0x55; 700], 2);
    for step in input.chunks(3 + DMA_CONTROL).take(MOST_STEPS) {
        let byte = |at: usize| step.get(at).copied().unwrap_or(0);
        let address = u64::from(byte(1)) << 12 | u64::from(byte(2));
        let control = step.get(3..).unwrap_or_default();
        match byte(0) % 4 {
            0 => {
                let port = PORTS + u16::from(byte(1) % 12);
                let value = u32::from_le_bytes([byte(3), byte(4), byte(5), byte(6)]);
                let _ = board.port_out(port, 1 << (byte(2) % 3), value);
            }
            1 => {
                let _ = board.port_in(PORTS + u16::from(byte(1) % 12), 1 << (byte(2) % 3));
            }
            kind => {
                // Not all of them are in RAM.
                let _ = memory.write(address, control);
                let high = if kind == 2 { 0 } else { u32::from(byte(4)) };
                let _ = board.port_out(DMA_HIGH, 4, high.to_be());
                let _ = board.port_out(DMA_LOW, 4, (address as u32).to_be());
            }
        }
        board.transfer_firmware_configuration(&memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    #[test]
    fn any_use_of_the_configuration_device_is_answered() {
        FuzzDriver::new("fw_cfg").run(use_configuration);
    }

    #[test]
    fn a_request_of_the_fuzzer_reaches_the_device() {
        let memory = GuestMemory::new(MEMORY).unwrap();
        let mut board = Board::default();
        board.set_up_firmware(&memory, Vec::new(), 2);
        // Select and read the signature: "QEMU" to 0x2000.
        memory.write(0x1000, &[0, 0, 0, 0x0A, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0x20, 0]).unwrap();
        let _ = board.port_out(DMA_HIGH, 4, 0);
        let _ = board.port_out(DMA_LOW, 4, 0x1000u32.to_be());
        board.transfer_firmware_configuration(&memory);
        let mut signature = [0; 4];
        memory.read(0x2000, &mut signature).unwrap();
        assert_eq!(&signature, b"QEMU");
    }
}
