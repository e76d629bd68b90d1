//! An IDE channel in words.
//!
//! ATA/ATAPI-6, "Interface register definitions".

use super::IdeChannel;
use super::drive::{Drive, Phase};

/// Device control: interrupts are off; and a software reset is under way.
const INTERRUPTS_OFF: u8 = 1 << 1;
const RESET: u8 = 1 << 2;

/// The state in words, a line each.
pub(super) fn lines(channel: &IdeChannel) -> Vec<String> {
    let interrupts = if channel.control & INTERRUPTS_OFF != 0 { "off" } else { "on" };
    let reset = if channel.control & RESET != 0 { ", held in software reset" } else { "" };
    let mut lines = vec![format!("device {} is selected, interrupts {interrupts}{reset}", channel.selected)];
    for (number, drive) in channel.drives.iter().enumerate() {
        lines.push(match drive {
            Some(drive) => format!("device {number}: {}", of_drive(drive)),
            None => format!("device {number}: none"),
        });
    }
    lines
}

fn of_drive(drive: &Drive) -> String {
    let kind = if drive.geometry.cdrom { "CD-ROM drive" } else { "disk" };
    let phase = match drive.phase {
        Phase::Idle => "accepts commands",
        Phase::Busy => "waits for the disk",
        Phase::DataIn => "has data for the host",
        Phase::DataOut => "waits for data of the host",
        Phase::Dma => "transfers data by DMA",
        Phase::Packet => "waits for a command packet",
    };
    let interrupt = if drive.interrupt { ", interrupt pending" } else { "" };
    let failure = if drive.failure != 0 { ", the last command failed" } else { "" };
    let power = if drive.asleep {
        ", asleep"
    } else if drive.standby {
        ", in standby"
    } else {
        ""
    };
    format!("{kind} of {} sectors, {phase}{interrupt}{failure}{power}", drive.geometry.sectors)
}
