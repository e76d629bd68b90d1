//! bzImages for tests, whose setup header can be made wrong.

/// A bzImage in the making.
#[derive(Clone)]
pub(super) struct TestKernel {
    bytes: Vec<u8>,
}

/// Offset of the protected-mode code.
pub(super) const CODE_OFFSET: usize = 0x400;

impl TestKernel {
    /// A kernel of protocol 2.15 for 0x200000 with both entry points: 0x300 bytes of code that needs 0x10000.
    pub(super) fn new() -> TestKernel {
        let kernel = TestKernel { bytes: vec![0; CODE_OFFSET + 0x300] };
        let kernel = kernel.put(0x1F1, &[1]).put(0x1F4, &0x30u32.to_le_bytes()).put(0x1FE, &[0x55, 0xAA]);
        let kernel = kernel.put(0x200, &[0xEB, 0x6A]).put(0x202, b"HdrS").put(0x206, &0x20Fu16.to_le_bytes());
        let kernel = kernel.put(0x20E, &0x80u16.to_le_bytes()).put(0x280, b"6.1.0-test #1\0");
        let kernel = kernel.put(0x211, &[1]).put(0x214, &0x10_0000u32.to_le_bytes());
        let kernel = kernel.put(0x22C, &0x7FFF_FFFFu32.to_le_bytes()).put(0x230, &0x1000u32.to_le_bytes());
        let kernel =
            kernel.put(0x234, &[1, 12]).put(0x236, &1u16.to_le_bytes()).put(0x238, &100u32.to_le_bytes());
        let kernel = kernel.put(0x258, &0x20_0000u64.to_le_bytes()).put(0x260, &0x1_0000u32.to_le_bytes());
        kernel.put(CODE_OFFSET, b"32-bit").put(CODE_OFFSET + 0x200, b"64-bit")
    }

    /// Replaces bytes.
    pub(super) fn put(mut self, offset: usize, bytes: &[u8]) -> TestKernel {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Gives the kernel another version of the protocol.
    pub(super) fn version(self, version: u16) -> TestKernel {
        self.put(0x206, &version.to_le_bytes())
    }

    /// Adds bytes at the end.
    pub(super) fn followed_by(mut self, bytes: &[u8]) -> TestKernel {
        self.bytes.extend(bytes);
        self
    }

    /// The file.
    pub(super) fn build(self) -> Vec<u8> {
        self.bytes
    }
}
