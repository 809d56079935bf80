//! Archives written by hand, for tests: also such as no program would write.

use super::header::BLOCK;

/// A header block, ustar's unless `magic` says otherwise, with a right checksum.
pub fn block(typeflag: u8, path: &str, size: u64, change: impl FnOnce(&mut [u8; BLOCK])) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0001750\0");
    block[116..124].copy_from_slice(b"0001751\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000012\0");
    block[156] = typeflag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A header of ustar with an owner of 1000:1001, a mode of 644 and a time of 10.
pub fn header(typeflag: u8, path: &str, size: u64) -> Vec<u8> {
    block(typeflag, path, size, |_| ()).to_vec()
}

/// Data and what fills its last block.
pub fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

/// An extended header and its data.
pub fn extended(typeflag: u8, data: &str) -> Vec<u8> {
    [header(typeflag, "extension", data.len() as u64), padded(data.as_bytes())].concat()
}

/// A header with an owner, whose fields can be anything.
pub fn owned(typeflag: u8, path: &str, mode: u32, owner: (u32, u32)) -> Vec<u8> {
    block(typeflag, path, 0, |block| {
        block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        block[108..116].copy_from_slice(format!("{:07o}\0", owner.0).as_bytes());
        block[116..124].copy_from_slice(format!("{:07o}\0", owner.1).as_bytes());
    })
    .to_vec()
}

/// A file with this text.
pub fn file(path: &str, text: &str) -> Vec<u8> {
    [header(b'0', path, text.len() as u64), padded(text.as_bytes())].concat()
}

/// A folder.
pub fn folder(path: &str) -> Vec<u8> {
    owned(b'5', path, 0o755, (0, 0))
}

/// A hard link (`1`) or symbolic link (`2`).
pub fn link(typeflag: u8, path: &str, target: &str) -> Vec<u8> {
    block(typeflag, path, 0, |block| block[157..157 + target.len()].copy_from_slice(target.as_bytes()))
        .to_vec()
}

/// A record of a pax header, with its length.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}
