//! Small files that have the form of a kernel.

/// A kernel of 4096 bytes: five sectors of setup code, of which the header says four and one, and the rest.
pub fn kernel() -> Vec<u8> {
    let mut bytes = vec![0x90; 4096];
    bytes[0x1f1] = 4;
    bytes[0x1f4..0x1f8].copy_from_slice(&((4096_u32 - 5 * 512) / 16).to_le_bytes());
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x20e..0x210].copy_from_slice(&[0, 0]);
    bytes
}
